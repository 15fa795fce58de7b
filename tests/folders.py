"""Comparing and running whole builds."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path


def digest(folder: Path) -> dict[str, str]:
    """The sha256 of every file under a folder, by relative name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def command(*words: object, module: str = "olrd.cli.build") -> subprocess.CompletedProcess[str]:
    """Run one of the commands as a user does, in a process of its own."""
    argv = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
