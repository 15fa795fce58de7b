"""The local engine: tasks on a pool of processes. If a process dies, its tasks run again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from olrd.engines import RETRIES, EngineSpec, Result, Task, Worker, WorkerDiedError
from olrd.errors import UsageError

MOST = 8
"""Largest default number of processes."""


def local_workers() -> int:
    """The default number of processes: one per core, up to `MOST`."""
    return min(MOST, os.cpu_count() or 1)


class LocalEngine:
    """See `Engine`. One worker runs in this process; several run in spawned processes.

    If a process is killed, all unfinished tasks run again on a new pool.
    """

    def __init__(self, spec: EngineSpec) -> None:
        if spec.address is not None:
            raise UsageError(f"--ray-address is for --engine ray, not for --engine {spec.name}")
        self.workers = spec.workers or local_workers()

    def run(self, worker: Worker[Task, Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """See `Engine`."""
        if self.workers == 1 or len(tasks) <= 1:
            worker.start()
            yield from map(worker, tasks)
            return
        left, deaths = list(tasks), 0
        while left:
            before = len(left)
            pool = ProcessPoolExecutor(
                min(self.workers, len(left)), multiprocessing.get_context("spawn"), _prepare, (os.getpid(), worker)
            )
            futures: dict[Future[Any], Task] = {}
            try:
                futures |= {pool.submit(_work, task): task for task in left}
                for future in as_completed(futures):
                    result = future.result()
                    left.remove(futures[future])
                    yield result
                # All tasks are done. Workers that are asked to leave queue for a lock. If the one that holds it is
                # killed now, the pool waits for the others without end. So all of them are killed.
                _kill(pool)
            except BrokenProcessPool as error:
                deaths = 0 if len(left) < before else deaths + 1
                if deaths >= RETRIES:
                    raise WorkerDiedError(
                        f"worker processes died {RETRIES} times in a row. Memory may have run out: use fewer "
                        "--workers. In a script of your own, the call must stand under "
                        "`if __name__ == '__main__':`. Run again to go on from here"
                    ) from error
            except BaseException:  # an error of a task, Ctrl-C, or the end of this iterator
                # What the workers are doing is not wanted any more. They write files that are whole or absent.
                _kill(pool)
                raise
            finally:
                # `cancel_futures` does not serve here: the pool's thread cancels them only while the pool exists, and
                # it is gone once this iterator is closed.
                for future in futures:
                    future.cancel()
                pool.shutdown(wait=False)


def _kill(pool: ProcessPoolExecutor) -> None:
    processes = list((pool._processes or {}).values())
    for process in processes:
        process.kill()
    for process in processes:  # what they leave behind can be removed once they are gone
        process.join(1.0)


def _prepare(parent: int, worker: Worker[Any, Any]) -> None:
    """Start the worker of this process. The process object holds it for as long as the process lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends this one
    threading.Thread(target=_leave_with_parent, args=(parent,), daemon=True).start()
    worker.start()
    vars(multiprocessing.current_process())["worker"] = worker


def _work(task: Any) -> Any:
    return vars(multiprocessing.current_process())["worker"](task)


def _leave_with_parent(parent: int) -> None:
    """End this process when its parent is gone: otherwise it would wait for tasks without end."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
