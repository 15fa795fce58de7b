"""The workflow that verifies submissions: its commands exist and work, and foreign files are checked by our code."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from places import REPOSITORY

from benchmark.cli import main, parser

yaml = pytest.importorskip("yaml", reason="pip install '.[dev]'")


@pytest.fixture(scope="module")
def workflow() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / ".github/workflows/leaderboards.yml").read_text())
    return found


def commands(workflow: dict[str, Any], job: str) -> list[list[str]]:
    lines = [line for step in workflow["jobs"][job]["steps"] for line in step.get("run", "").splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("benchmark ")]


def test_the_commands_of_the_workflow_are_ours(workflow: dict[str, Any]) -> None:
    for job in workflow["jobs"]:
        for words in commands(workflow, job):
            parser().parse_args(words)


def test_a_pull_request_cannot_write_or_change_its_check(workflow: dict[str, Any]) -> None:
    assert "pull_request_target" not in workflow[True]  # YAML reads `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    trusted, proposed = (step["with"] for step in workflow["jobs"]["verify"]["steps"][:2])
    assert "base.sha" in trusted["ref"] and "ref" not in proposed
    assert not trusted["persist-credentials"] and not proposed["persist-credentials"]
    installs = [step["run"] for step in workflow["jobs"]["verify"]["steps"] if "pip install" in step.get("run", "")]
    assert installs == ["pip install './trusted[benchmark]'"]
    assert workflow["jobs"]["build"]["if"] == "github.event_name == 'push'"


def test_the_commands_verify_and_build(
    workflow: dict[str, Any], submitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(submitted, "proposed/submissions/one")
    shutil.copytree(submitted, "submissions/one")
    (verify,), (build,) = commands(workflow, "verify"), commands(workflow, "build")
    assert main(verify) == 0 and main(build) == 0
    shutil.copytree("leaderboards", "trusted/leaderboards")
    assert main(verify) == 0
    (tmp_path / "proposed/submissions/one/record.json").write_text("{}")
    assert main(verify) == 1
