"""Every fault of `perf.faults` once, on real builds: nothing lost, the bytes of an undisturbed build.
The counted runs are in docs/reliability.md."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest
from toy_tasks import Square

from olrd.engines import EngineSpec
from olrd.engines.local import LocalEngine
from perf.faults.count import FAULTS, count_fault
from perf.faults.scene import Scene, prepare

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    found = prepare(tmp_path_factory.mktemp("faults"), photos=18)
    assert len(found.rows) > 50
    assert sum(name.endswith(".parquet") for name in found.whole) >= 3
    return found


@pytest.mark.parametrize("name", FAULTS)
def test_a_build_comes_back(name: str, scene: Scene) -> None:
    count = count_fault(name, scene, times=1)
    if not count.tried:
        pytest.skip(count.problems[0])
    assert count.problems == []
    assert (count.recovered, count.rows_lost) == (1, 0)


def test_no_worker_waits_when_the_pool_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was killed while the pool closed made a complete build hang: the others waited
    for a lock that the dead one held."""
    alive: list[bool] = []
    shutdown = ProcessPoolExecutor.shutdown

    def watched(pool: ProcessPoolExecutor, *args: Any, **options: Any) -> None:
        for process in list(pool._processes.values()):
            # Not `is_alive`: who loses the race to reap a process takes it for alive.
            alive.append(not wait([process.sentinel], 5))
        shutdown(pool, *args, **options)

    monkeypatch.setattr(ProcessPoolExecutor, "shutdown", watched)
    engine = LocalEngine(EngineSpec(workers=2))
    assert sorted(engine.run(Square(str(tmp_path)), [1, 2, 3])) == [1, 4, 9]
    assert alive == [False, False]
