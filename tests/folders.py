"""Comparing and running whole builds."""

from __future__ import annotations

import subprocess
import sys

from bench.faults.scene import digest as digest


def command(*words: object, module: str = "olrd.cli.build") -> subprocess.CompletedProcess[str]:
    """Run one of the commands as a user does, in a process of its own."""
    argv = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
