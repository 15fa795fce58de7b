"""A record names the commit of the code, and says if files were changed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmark.runner.revision import git_revision


def git(root: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    asked = subprocess.run(["git", *identity, *words], cwd=root, capture_output=True, text=True, check=True)
    return asked.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    monkeypatch.delenv("OLRD_REVISION", raising=False)
    git(tmp_path, "init", "-q")
    (tmp_path / "a.py").write_text("1")
    git(tmp_path, "add", "a.py")
    git(tmp_path, "commit", "-qm", "a")
    return tmp_path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("program", [True, False])
def test_the_commit_of_a_clone(packed: bool, program: bool, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = git(clone, "rev-parse", "HEAD")
    if packed:
        git(clone, "pack-refs", "--all")
    if not program:
        monkeypatch.setenv("PATH", "")
    assert git_revision(clone) == head


def test_changed_files_are_said(clone: Path) -> None:
    (clone / "a.py").write_text("2")
    assert git_revision(clone) == git(clone, "rev-parse", "HEAD") + "+changes"


def test_elsewhere_the_environment_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLRD_REVISION", "abc")
    assert git_revision(tmp_path) == "abc"


def test_an_installation_from_a_repository_knows_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OLRD_REVISION", raising=False)

    class Installed:
        def read_text(self, name: str) -> str:
            assert name == "direct_url.json"
            return '{"url": "https://x", "vcs_info": {"vcs": "git", "commit_id": "def"}}'

    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Installed())
    assert git_revision(tmp_path) == "def"
