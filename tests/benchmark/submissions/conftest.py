"""Two submissions that the tests share, and copies of them to damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from seven_pairs import request

from benchmark.runner.results import Run
from benchmark.runner.run import run
from benchmark.submissions.submit import submit


@pytest.fixture(scope="session")
def pictured(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A submission with its pictures. Shared: do not write into it."""
    folder = tmp_path_factory.mktemp("pictured")
    return submit(run(request(root, save=True), folder / "run"), folder, outputs=True)


@pytest.fixture(scope="session")
def submitted(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A submission without pictures. Shared: do not write into it."""
    return submit(Run(plain), tmp_path_factory.mktemp("submitted"))


@pytest.fixture
def forged(submitted: Path, tmp_path: Path) -> Path:
    """A copy of the submission without pictures."""
    return Path(shutil.copytree(submitted, tmp_path / "forged"))
