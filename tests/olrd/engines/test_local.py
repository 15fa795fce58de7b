"""A worker of the local engine dies while another one starts. `submit` starts workers, and runs in the main thread; the
pool's own thread notices the death. Each order of the two is forced here."""

from __future__ import annotations

import threading
from concurrent.futures import process as pools
from pathlib import Path
from typing import Any

import pytest
from toy_tasks import DieOnce

from olrd.engines import EngineSpec
from olrd.engines.local import LocalEngine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        hasattr(pools._ExecutorManagerThread, "_terminate_broken"),
        reason="this Python starts no worker while a pool breaks",
    ),
]


class Late(dict[int, Any]):
    """The processes of a pool. The second one becomes known when `wait` returns."""

    def __init__(self, wait: Any) -> None:
        super().__init__()
        self.wait = wait

    def __setitem__(self, pid: int, started: Any) -> None:
        if self:
            self.wait()
        super().__setitem__(pid, started)


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
