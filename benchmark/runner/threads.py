"""How many threads the libraries of a worker use.

By default numpy, OpenCV and torch each start one thread per core. Workers that do so beside each other wait for cores
that the others' threads hold, and all of them take several times as long. So workers share the cores.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import cv2

from olrd.engines import EngineSpec
from olrd.engines.local import local_workers

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What the libraries read when they are loaded."""


def cores() -> int:
    """Number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_for(workers: int) -> int:
    """Threads for each of `workers` processes: an equal share of the cores, at least 1, and at most $OMP_NUM_THREADS."""
    share = max(1, cores() // workers)
    asked = os.environ.get(VARIABLES[0], "")
    return min(share, int(asked)) if asked.isdecimal() and int(asked) else share


class Crew(NamedTuple):
    """Number of processes of a run, and of the libraries' threads in each. None: not known."""

    workers: int | None
    threads: int | None


def crew_of(engine: EngineSpec, tasks: int) -> Crew:
    """What an engine works with. tasks: number of tasks; there are not more workers than that."""
    if engine.name == "local":
        workers = max(1, min(engine.workers or local_workers(), tasks))
        return Crew(workers, threads_for(workers))
    # Ray reserves one core for each of its workers. What other engines do is not known.
    return Crew(engine.workers, 1 if engine.name == "ray" else None)


@contextmanager
def inherited(threads: int) -> Iterator[None]:
    """Processes that start inside this context use this number of threads."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def limit_threads(threads: int) -> None:
    """Let the libraries of this process use this number of threads, those that are loaded and those that will be."""
    os.environ.update(dict.fromkeys(VARIABLES, str(threads)))
    cv2.setNumThreads(threads)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(threads)
