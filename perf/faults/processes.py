"""The processes of a build: finding its workers, and killing it."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from perf.faults.scene import FaultError, Scene

LEAVING = 5.0
"""Seconds within which workers must exit after their parent was killed."""


def kill_build(scene: Scene, out: Path, seconds: float, *more: object) -> bool:
    """Start a build, kill it after some seconds, and wait until its workers have exited.

    more: further words of the command.

    Returns:
        False if the build finished before it could be killed.

    Raises:
        FaultError: If a worker outlives its parent by more than `LEAVING` seconds.
    """
    with scene.start(out, *more) as process:
        wait_for(process, seconds)
        workers = workers_of(process.pid)
        process.kill()
        if process.wait() != -signal.SIGKILL:
            return False
        deadline = time.monotonic() + LEAVING
        while any(_is_worker(pid) for pid in workers):
            if time.monotonic() > deadline:
                raise FaultError(f"workers outlived their parent by {LEAVING} seconds")
            time.sleep(0.05)
    return True


def workers_of(pid: int) -> list[int]:
    """List the worker processes below a build, at any depth.

    A worker is spawned, or forked by the server process of `multiprocessing`, whose command line it has then.
    """
    return [
        child
        for child, parent in _descendants(pid)
        if "spawn_main" in _command(child) or ("forkserver" in _command(child) and "forkserver" in _command(parent))
    ]


def _descendants(pid: int) -> Iterator[tuple[int, int]]:
    """The processes below `pid`, each with its parent."""
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, words):
        yield child, pid
        yield from _descendants(child)


def _is_worker(pid: int) -> bool:
    return any(word in _command(pid) for word in ("spawn_main", "forkserver"))


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def wait_for(process: subprocess.Popen[str], seconds: float) -> None:
    """Wait until a process ends, but not longer than some seconds."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
