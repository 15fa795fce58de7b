"""Processes killed with SIGKILL at random moments: a worker, the whole build, a repair."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

from perf.faults.processes import kill_build, wait_for, workers_of
from perf.faults.scene import FaultError, Scene, ended
from perf.faults.shards import truncate


def worker_killed(scene: Scene, folder: Path, draw: random.Random) -> Path:
    """One worker is killed. The build must finish without help."""
    while True:
        out = folder / f"out-{draw.random()}"
        process = scene.start(out)
        wait_for(process, draw.uniform(0, scene.seconds))
        killed = False
        while process.poll() is None and not killed:
            if workers := workers_of(process.pid):
                with suppress(ProcessLookupError):  # the worker ended in the meantime
                    os.kill(draw.choice(workers), signal.SIGKILL)
                    killed = True
            time.sleep(0.01)
        code, said = ended(process)
        if code != 0:
            raise FaultError(f"the build did not survive its worker: {said[-500:]}")
        if killed:
            return out


def parent_killed(scene: Scene, folder: Path, draw: random.Random) -> Path:
    """The build is killed and its workers exit. The same command finishes it."""
    number, latest = 0, scene.seconds
    while not kill_build(scene, folder / str(number), draw.uniform(0, latest)):
        number, latest = number + 1, latest * 0.8  # the build had finished before
    scene.must_build(folder / str(number))
    return folder / str(number)


def repair_killed(scene: Scene, folder: Path, draw: random.Random) -> Path:
    """A shard of a finished build is truncated. Its repair is killed and then run again."""
    out, latest = truncate(scene, folder, draw), scene.seconds
    while not kill_build(scene, out, draw.uniform(0, latest), "--repair"):
        out, latest = truncate(scene, folder, draw), latest * 0.8
    scene.must_build(out, "--repair")
    return out
