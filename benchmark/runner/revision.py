"""The git revision of the code that makes a run, for its record."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHANGED = "+changes"
"""What follows the commit if tracked files differ from it."""
PATIENCE = 20
"""Seconds that git may take."""


def git_revision(root: Path = ROOT) -> str:
    """The commit of the code, followed by `+changes` if tracked files differ from it.

    It comes from the clone that the package runs from, else from $OLRD_REVISION, else from what pip noted when it
    installed the package from a repository. Empty if none of them knows.

    Args:
        root: the folder of the package's sources; a clone if it holds `.git`.
    """
    return _of_clone(root) or os.environ.get("OLRD_REVISION", "") or _of_installation()


def _of_clone(root: Path) -> str:
    """The commit of a clone or a worktree; empty if `root` is none, or git cannot be asked."""
    if not (root / ".git").exists():  # a folder of another repository around an installed package is not ours
        return ""
    words = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--exclude=*", f"--dirty={CHANGED}"]
    try:
        asked = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return _from_head(root / ".git")
    return asked.stdout.strip() if asked.returncode == 0 else _from_head(root / ".git")


def _from_head(folder: Path) -> str:
    """The commit that the files of a clone name, where there is no git program."""
    try:
        text = (folder / "HEAD").read_text().strip()
        if not text.startswith("ref: "):
            return text
        name = text.removeprefix("ref: ")
        if (folder / name).is_file():
            return (folder / name).read_text().strip()
        packed = (line.split(" ") for line in (folder / "packed-refs").read_text().splitlines())
        return next((words[0] for words in packed if words[1:] == [name]), "")
    except OSError:
        return ""


def _of_installation() -> str:
    """The commit that pip installed from (PEP 610), or an empty text."""
    try:
        text = importlib.metadata.distribution("olrd").read_text("direct_url.json")
        found = json.loads(text or "{}").get("vcs_info", {}).get("commit_id", "")
    except (importlib.metadata.PackageNotFoundError, ValueError, AttributeError):
        return ""
    return str(found)
