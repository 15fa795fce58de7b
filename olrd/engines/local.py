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
from olrd.progress import lock_for_one_process, say

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
                cause = _cause(pool)
                if deaths < RETRIES:
                    say(f"a worker process ended {cause}; what it was doing is done again")
                else:
                    raise WorkerDiedError(
                        f"worker processes died {RETRIES} times in a row, the last one {cause}. If memory ran out, use fewer "
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


def _cause(pool: ProcessPoolExecutor) -> str:
    """How a process of a broken pool ended, in words. The pool ends the other ones by SIGTERM."""
    processes = list((pool._processes or {}).values())
    for process in processes:
        process.join(1.0)
    codes = [process.exitcode for process in processes if process.exitcode]
    code = next((code for code in codes if code != -signal.SIGTERM), -signal.SIGTERM)
    if code > 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name} ({signal.strsignal(-code)})"
    except ValueError:  # a signal without a name
        return f"by signal {-code}"


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
    lock_for_one_process()
    worker.start()
    vars(multiprocessing.current_process())["worker"] = worker


def _work(task: Any) -> Any:
    return vars(multiprocessing.current_process())["worker"](task)


def _leave_with_parent(parent: int) -> None:
    """End this process when its parent is gone: otherwise it would wait for tasks without end."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
