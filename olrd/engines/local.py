"""The local engine: units on a pool of processes, each unit retried whole if its worker dies."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from olrd.engines import RETRIES, EngineSpec, Result, Task, WorkerDiedError
from olrd.errors import UsageError

MOST = 8
"""Processes when the number is left open, on a machine with more cores."""


def local_workers() -> int:
    """The processes that are used when their number is left open."""
    return min(MOST, os.cpu_count() or 1)


class LocalEngine:
    """See `Engine`. One worker runs in this process; more run in spawned processes. If a process is
    killed, all unfinished tasks run again on a new pool."""

    def __init__(self, spec: EngineSpec) -> None:
        if spec.address is not None:
            raise UsageError(f"--ray-address is for --engine ray, not for --engine {spec.name}")
        self.workers = spec.workers or local_workers()

    def run(
        self,
        work: Callable[[Task], Result],
        tasks: Sequence[Task],
        start: Callable[..., None],
        start_args: tuple[Any, ...],
    ) -> Iterator[Result]:
        """See `Engine`."""
        if self.workers == 1 or len(tasks) <= 1:
            start(*start_args)
            for task in tasks:
                yield work(task)
            return
        left, deaths = list(tasks), 0
        while left:
            before = len(left)
            pool = ProcessPoolExecutor(
                min(self.workers, len(left)),
                multiprocessing.get_context("spawn"),
                _prepare,
                (os.getpid(), start, start_args),
            )
            futures: dict[Future[Any], Task] = {}
            try:
                futures |= {pool.submit(work, task): task for task in left}
                for future in as_completed(futures):
                    result = future.result()
                    left.remove(futures[future])
                    yield result
                # Nothing is in hand any more. Asked to leave, workers queue for a lock that one of
                # them holds: were that one killed meanwhile, the pool would wait for the others for
                # ever.
                for process in list(pool._processes.values()):
                    process.kill()
            except BrokenProcessPool as error:
                deaths = 0 if len(left) < before else deaths + 1
                if deaths >= RETRIES:
                    raise WorkerDiedError(
                        f"worker processes died {RETRIES} times in a row. Memory may have run out: use fewer "
                        "--workers. In a script of your own, the call must stand under "
                        "`if __name__ == '__main__':`. Run again to go on from here"
                    ) from error
            finally:
                # Here and not by `cancel_futures`: the pool's own thread does that only as long as
                # it still finds the pool, which is gone once this iterator is closed.
                for future in futures:
                    future.cancel()
                pool.shutdown(wait=False)


def _prepare(parent: int, start: Callable[..., None], start_args: tuple[Any, ...]) -> None:
    threading.Thread(target=_leave_with_parent, args=(parent,), daemon=True).start()
    start(*start_args)


def _leave_with_parent(parent: int) -> None:
    """A worker whose parent was killed would wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
