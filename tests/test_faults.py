"""Every fault of `bench.faults` once, on real builds: nothing lost, the bytes of an undisturbed build.
The counted runs are in docs/reliability.md."""

from __future__ import annotations

import pytest

from bench.faults.count import FAULTS, count_fault
from bench.faults.scene import Scene, prepare


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    found = prepare(tmp_path_factory.mktemp("faults"), photos=24)
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
