"""SIGKILL at random moments: of a worker, of the whole build, of a repair."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from perf.faults.scene import FaultError, Scene, ended
from perf.faults.shards import truncate

LEAVING = 5.0
"""Seconds that workers may take to notice that their parent is gone."""


def worker_killed(scene: Scene, folder: Path, draw: random.Random) -> Path:
    """One worker is killed; the build has to end well by itself."""
    while True:
        out = folder / f"out-{draw.random()}"
        process = scene.start(out)
        _sleep(process, draw.uniform(0, scene.seconds))
        killed = False
        while process.poll() is None and not killed:
            if workers := workers_of(process.pid):
                with suppress(ProcessLookupError):  # gone meanwhile
                    os.kill(draw.choice(workers), signal.SIGKILL)
                    killed = True
            time.sleep(0.01)
        code, said = ended(process)
        if code != 0:
            raise FaultError(f"the build did not survive its worker: {said[-500:]}")
        if killed:
            return out


def parent_killed(scene: Scene, folder: Path, draw: random.Random) -> Path:
    """The build is killed, its workers leave, and the same command again finishes it."""
    number, latest = 0, scene.seconds
    while not kill_build(scene, folder / str(number), draw.uniform(0, latest)):
        number, latest = number + 1, latest * 0.8  # it was over before
    scene.must_build(folder / str(number))
    return folder / str(number)


def repair_killed(scene: Scene, folder: Path, draw: random.Random) -> Path:
    """A finished build with a truncated shard; its repair is killed, then run again."""
    out, latest = truncate(scene, folder, draw), scene.seconds
    while not kill_build(scene, out, draw.uniform(0, latest), "--repair"):
        out, latest = truncate(scene, folder, draw), latest * 0.8
    scene.must_build(out, "--repair")
    return out


def kill_build(scene: Scene, out: Path, seconds: float, *more: object) -> bool:
    """Kill a build after that time and see its workers leave. False if it was over before."""
    with scene.start(out, *more) as process:
        _sleep(process, seconds)
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
    """The worker processes below a build, at any depth."""
    return [child for child in _descendants(pid) if _is_worker(child)]


def _descendants(pid: int) -> Iterator[int]:
    try:
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, words):
        yield child
        yield from _descendants(child)


def _is_worker(pid: int) -> bool:
    try:
        return "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def _sleep(process: subprocess.Popen[str], seconds: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=seconds)
