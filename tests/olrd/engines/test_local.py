"""A worker of the local engine, or the server that forks workers, dies while a worker starts. `submit` starts workers,
and runs in the main thread; the pool's own thread notices the death. Each order of the two is forced here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import process as pools
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from toy_tasks import DieOnce, Forked, Note

from olrd.engines import EngineSpec
from olrd.engines.local import LocalEngine, _Processes

pytestmark = pytest.mark.slow


class Late(_Processes):
    """The processes of a pool. The second one becomes known when `wait` returns."""

    def __init__(self, wait: Any) -> None:
        super().__init__()
        self.wait = wait

    def __setitem__(self, pid: int, started: Any) -> None:
        if self:
            self.wait()
        super().__setitem__(pid, started)


@pytest.mark.skipif(
    hasattr(pools._ExecutorManagerThread, "_terminate_broken"),
    reason="this Python starts no worker while a pool breaks",
)
@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("moment", ["it is about to start", "it has started and is not known"])
def test_a_worker_dies_while_another_one_starts(moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build ended with an OSError, or the pool's thread waited for the new worker without end."""
    pool_class, thread_class = pools.ProcessPoolExecutor, pools._ExecutorManagerThread
    submit, spawn = pool_class.submit, pool_class._spawn_process
    break_pool, join = thread_class.terminate_broken, thread_class.join_executor_internals
    noticed, starting, broken = threading.Event(), threading.Event(), threading.Event()
    made: list[Any] = []

    def wait_until_broken() -> None:
        starting.set()
        assert broken.wait(30)

    def late_submit(pool: Any, *args: Any) -> Any:
        if pool not in made:
            made.append(pool)
            if len(made) == 1 and moment == "it has started and is not known":
                pool._processes = Late(wait_until_broken)
        elif pool is made[0]:
            assert noticed.wait(30)
        return submit(pool, *args)

    def late_spawn(pool: Any) -> None:
        if pool is made[0] and pool._processes and moment == "it is about to start":
            wait_until_broken()
        spawn(pool)

    def late_break(thread: Any, cause: Any) -> None:
        noticed.set()
        assert starting.wait(30)
        break_pool(thread, cause)

    def watched_join(thread: Any) -> None:
        broken.set()
        join(thread)

    monkeypatch.setattr(pool_class, "submit", late_submit)
    monkeypatch.setattr(pool_class, "_spawn_process", late_spawn)
    monkeypatch.setattr(thread_class, "terminate_broken", late_break)
    monkeypatch.setattr(thread_class, "join_executor_internals", watched_join)

    engine = LocalEngine(EngineSpec(workers=2))
    assert sorted(engine.run(DieOnce(str(tmp_path)), [3, *range(3)])) == [0, 1, 4, 9]

    assert len(made) == 2
    waiting = [thread for thread in threading.enumerate() if isinstance(thread, thread_class)]
    for thread in waiting:
        thread.join(10)
    assert not any(thread.is_alive() for thread in waiting)


@pytest.mark.parametrize("end", [EOFError("unexpected EOF"), BrokenPipeError(32, "Broken pipe")])
@pytest.mark.parametrize("which", [1, 2])
def test_the_server_dies_while_it_forks_a_worker(
    which: int, end: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The build ended with a traceback, or with exit code 0, as for a reader that went away."""
    connect, asked = forkserver._forkserver.connect_to_new_process, []

    def late(fds: Any) -> Any:
        asked.append(fds)
        if len(asked) == which:
            (tmp_path / "go").touch()  # until now no worker is idle, so `submit` starts a second one
            server = forkserver._forkserver._forkserver_pid
            os.kill(server, signal.SIGKILL)
            while Path(f"/proc/{server}/stat").read_text().split()[2] != "Z":
                time.sleep(0.01)
            raise end
        return connect(fds)

    monkeypatch.setattr(forkserver, "connect_to_new_process", late)
    engine = LocalEngine(EngineSpec(workers=2))
    assert sorted(engine.run(Forked(str(tmp_path)), range(4))) == [0, 1, 4, 9]
    said = capsys.readouterr().err
    assert said.startswith("a worker process ended ") and said.endswith("; what it was doing is done again\n")
    assert len(asked) > which


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_pool_that_is_left_cleans_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread met a cancelled task, and ended with an error that the terminal showed."""
    thread_class = pools._ExecutorManagerThread
    wait = thread_class.wait_result_broken_or_wakeup
    left = threading.Event()

    def late(thread: Any) -> Any:
        found = wait(thread)
        if found[1]:  # the pool is broken
            assert left.wait(30)
        return found

    monkeypatch.setattr(thread_class, "wait_result_broken_or_wakeup", late)
    running = LocalEngine(EngineSpec(workers=2)).run(Note(str(tmp_path)), range(40))
    next(running)
    running.close()  # type: ignore[attr-defined]
    waiting = [thread for thread in threading.enumerate() if isinstance(thread, thread_class)]
    assert waiting
    left.set()
    for thread in waiting:
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.skipif(sys.platform != "linux", reason="processes are spawned there")
def test_ctrl_c_does_not_reach_what_the_server_forks(tmp_path: Path) -> None:
    """A process that was starting printed a traceback: the start of the resource tracker had cleared the mask."""
    code = (
        "from toy_tasks import Blocked; from olrd.engines import EngineSpec; from olrd.engines.local import LocalEngine\n"
        f"print(*LocalEngine(EngineSpec(workers=2)).run(Blocked({str(tmp_path)!r}), range(4)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["True"] * 4


@pytest.mark.skipif(sys.platform != "linux", reason="processes are spawned there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_process_that_starts(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knew a process whose start Ctrl-C interrupted: it printed a traceback about a semaphore that was gone."""
    start, started = pools.ProcessPoolExecutor._spawn_process, []

    def interrupted(pool: Any) -> None:
        signal.raise_signal(number)
        start(pool)
        started.extend(pool._processes.values())

    class Ended(BaseException):
        pass

    def end(*_: object) -> None:
        raise Ended

    monkeypatch.setattr(pools.ProcessPoolExecutor, "_spawn_process", interrupted)
    before = signal.signal(number, end)
    try:
        with pytest.raises(Ended):
            list(LocalEngine(EngineSpec(workers=2)).run(Note(str(tmp_path)), range(4)))
        assert signal.getsignal(number) is end
    finally:
        signal.signal(number, before)
    assert [process.exitcode for process in started] == [-signal.SIGKILL]
