#!/usr/bin/env bash
# Runs the tests of the core with the lowest versions of its dependencies that pyproject.toml allows.
#
#     tools/lowest_versions.sh [VENV]     # default: .venv-lowest; arguments for pytest in PYTEST_ARGS
#
# No extra is installed: tests that need torch, Ray or a store skip themselves. What the dependencies need in turn is
# installed in its newest version, as pip does it.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv-lowest}
"${PYTHON:-python3}" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet uv
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --resolution lowest-direct --editable .
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" pytest hypothesis pytest-xdist
"$venv/bin/uv" pip list --python "$venv/bin/python"
"$venv/bin/python" -m pytest tests/olrd -m "not slow" ${PYTEST_ARGS:--n 2 --dist loadfile}
