"""The local engine: tasks on a pool of processes. If a process dies, its tasks run again.

On Linux, the processes of a worker with `IMPORTS` are forked from a server process that has imported that module
(`multiprocessing`'s forkserver). The server does nothing else: nothing of the calling program is in it. Elsewhere, and
for other workers, each process is spawned and imports what it needs.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext
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
    """See `Engine`. One worker runs in this process; several run in separate processes.

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
            context = _context(getattr(worker, "IMPORTS", None))
            pool = ProcessPoolExecutor(min(self.workers, len(left)), context, _prepare, (dict(os.environ), worker))
            pool._processes = _Processes()
            futures: dict[Future[Any], Task] = {}
            try:
                for task in left:
                    futures[_submitted(pool, task)] = task
                for future in as_completed(futures):
                    result = future.result()
                    left.remove(futures[future])
                    yield result
                # All tasks are done. Workers that are asked to leave queue for a lock. If the one that holds it is
                # killed now, the pool waits for the others without end. So all of them are killed.
                _kill(pool)
            except BrokenProcessPool as error:
                deaths = 0 if len(left) < before else deaths + 1
                if pool._broken:
                    cause = _cause(pool)
                else:
                    cause = "as it started"
                    time.sleep(0.1)  # a server that was killed counts as running for a moment: it would be asked again
                # The pool ends the processes that it knew when it broke. One that `submit` started meanwhile would
                # wait for tasks without end, and the pool's thread for it.
                _kill(pool)
                if deaths < RETRIES:
                    say(f"a worker process ended {cause}; what it was doing is done again")
                else:
                    raise WorkerDiedError(
                        f"worker processes died {RETRIES} times in a row, the last one {cause}. If memory ran out, use fewer "
                        "--workers. In your own script, the call must stand under "
                        "`if __name__ == '__main__':`. Run again to go on from here"
                    ) from error
            except BaseException:  # an error of a task, Ctrl-C, or the end of this iterator
                # What the workers are doing is not wanted any more. They write files that are whole or absent.
                _kill(pool)
                raise
            finally:
                # The futures are not cancelled here. The pool is broken by now, and its thread ends all waiting futures. It
                # would fail at a cancelled one, before its own clean-up.
                pool.shutdown(wait=False)


class _Processes(dict[int, Any]):
    """The processes of a pool. Its thread goes through them while `submit` adds another one."""

    def values(self) -> Any:
        """A copy, so that the thread does not fail."""
        return list(super().values())


def _submitted(pool: ProcessPoolExecutor, task: Any) -> Future[Any]:
    """The future of one more task of the pool.

    Raises:
        BrokenProcessPool: if the pool broke before, or meanwhile.
    """
    try:
        with _signals_wait():
            return pool.submit(_work, task)
    except (EOFError, ConnectionError) as error:  # the new process, or the server that forks it, was killed
        raise BrokenProcessPool(str(error)) from error
    except OSError as error:  # `submit` started a process with the pool's queue, which was closed as the pool broke
        if not pool._broken:
            raise
        raise BrokenProcessPool(str(error)) from error


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until a process has started, usually for less than a second. An interrupted start leaves a
    process that the pool does not list: it is not killed, and prints a traceback when it finds no pool.

    The handlers are replaced. Blocking the signals is not enough, because they would go to the threads of libraries.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield
        return
    came: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number, handler in before.items():
            if callable(handler):
                signal.signal(number, lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            if callable(handler):
                signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


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


def start_early(spec: EngineSpec, imports: str) -> None:
    """Start the server process for the workers of `spec` if it will be needed, so that it imports while this process does.

    imports: the worker's `IMPORTS`.
    """
    if spec.name == "local" and (spec.workers or local_workers()) > 1:
        _context(imports)


def _context(imports: str | None) -> BaseContext:
    """How processes are started. The server process is started if it does not run."""
    if imports is None or sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([imports])
    # The server and what it forks inherit the mask. Ctrl-C reaches all processes; the parent ends these. The tracker, which
    # the server needs, starts before, because its start clears SIGINT from the mask.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def _prepare(environment: dict[str, str], worker: Worker[Any, Any]) -> None:
    """Start the worker of this process. The process object holds it for as long as the process lives.

    environment: that of the parent. The server process has the one of the time when it was started.
    """
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends this one
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    lock_for_one_process()
    worker.start()
    vars(multiprocessing.current_process())["worker"] = worker


def _work(task: Any) -> Any:
    return vars(multiprocessing.current_process())["worker"](task)


def _leave_with_parent() -> None:
    """End this process when its parent is gone: otherwise it would wait for tasks without end."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
