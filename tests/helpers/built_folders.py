"""Comparing and running whole builds."""

from __future__ import annotations

import hashlib
import subprocess
import sys

from olrd.storage.remote import Remote, location
from perf.faults.scene import digest as digest


def command(*words: object, module: str = "olrd.cli.build") -> subprocess.CompletedProcess[str]:
    """Run one of the commands as a user does, in a separate process."""
    argv = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)


def stored(url: str) -> dict[str, str]:
    """The sha256 of every file below a URL, as `digest`."""
    out = location(url)
    assert isinstance(out, Remote)
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in out.walk_names()}
