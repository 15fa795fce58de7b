"""Time and memory are the eraser's own, and workers share the cores."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
from seven_pairs import Scripted, request, use

from benchmark.runner import evaluator, threads
from benchmark.runner.erasing import Meter
from benchmark.runner.results import Run
from benchmark.runner.run import run
from benchmark.runner.summary import Summary
from benchmark.runner.threads import Crew, crew_of, inherited, limit_threads, threads_for
from olrd.engines import EngineSpec


@pytest.mark.parametrize("batch", [1, 3])
def test_nothing_is_scored_or_read_while_the_eraser_works(
    batch: int, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is slowed down, so that two of them that may run beside each other do."""
    running: list[str] = []
    overlaps: list[tuple[str, ...]] = []

    def slow(name: str, step: Any) -> Any:
        def wrapped(*given: Any) -> Any:
            running.append(name)
            time.sleep(0.01)
            overlaps.append(tuple(sorted(running)))
            try:
                return step(*given)
            finally:
                running.remove(name)

        return wrapped

    eraser = Scripted({})
    monkeypatch.setattr(eraser, "erase", slow("erase", eraser.erase))
    use(monkeypatch, eraser)
    monkeypatch.setattr(evaluator, "score", slow("score", evaluator.score))
    monkeypatch.setattr(evaluator, "prepared", slow("read", evaluator.prepared))
    run(request(root, batch=batch), tmp_path / "out")
    assert {names for names in overlaps if "erase" in names} == {("erase",)}
    assert ("read", "score") in overlaps, "photos are read while outputs are scored"


def test_a_cpu_run_claims_no_memory(plain: Path) -> None:
    done = Run(plain)
    assert done.samples().peak_mb.isna().all() and done.summary.times.peak_mb is None


class Cuda(SimpleNamespace):
    """A stand-in for torch.cuda with 1 GiB that is not the eraser's."""

    allocated, peak = 1024 << 20, 0

    def synchronize(self, device: str) -> None:
        assert device == "cuda:1"

    def reset_peak_memory_stats(self, device: str) -> None:
        self.peak = self.allocated

    def memory_allocated(self, device: str) -> int:
        return self.allocated

    def max_memory_allocated(self, device: str) -> int:
        return self.peak

    def use(self, mib: int, keep: int = 0) -> None:
        self.peak = max(self.peak, self.allocated + (mib << 20))
        self.allocated += keep << 20


def test_memory_on_a_gpu_is_what_the_eraser_keeps_and_what_its_call_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda()
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    meter, costs = Meter("cuda:1"), []
    for needs, keeps in ((300, 200), (50, 0), (50, 0)):  # the first call loads 200 MiB of weights
        cuda.use(500, keep=10)  # the metrics' networks
        meter.start()
        cuda.use(needs, keeps)
        costs.append(meter.stop().peak_mb)
    assert costs == [300, 250, 250]
    meter.start()
    cuda.use(5000, keep=4000)  # tensors that the error of a failed call holds
    assert meter.stop(failed=True).peak_mb == 5200
    cuda.allocated -= 4000 << 20
    meter.start()
    assert meter.stop().peak_mb == 200


# --- threads -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cores", "workers", "asked", "expected"),
    [(8, 2, "", 4), (2, 2, "", 1), (2, 5, "", 1), (8, 2, "1", 1), (8, 2, "16", 4), (8, 1, "", 8), (8, 1, "x", 8)],
)
def test_workers_share_the_cores(
    cores: int, workers: int, asked: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "cores", lambda: cores)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert threads_for(workers) == expected


def test_the_crew_of_each_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert crew_of(EngineSpec(), 99) == Crew(1, 8)
    assert crew_of(EngineSpec(workers=4), 99) == Crew(4, 2)
    assert crew_of(EngineSpec(workers=4), 2) == Crew(2, 4), "more workers than tasks are not started"
    assert crew_of(EngineSpec("ray", 3), 99) == Crew(3, 1)
    assert crew_of(EngineSpec("mine", None), 99) == Crew(None, None)


def test_processes_inherit_the_number_of_threads_and_this_one_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with inherited(3):
        assert [os.environ[name] for name in threads.VARIABLES] == ["3"] * 3
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ


def test_a_worker_sets_the_threads_of_loaded_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[int] = []
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(set_num_threads=said.append))
    for name in threads.VARIABLES:
        monkeypatch.setenv(name, "5")  # also takes back what is set here
    before = cv2.getNumThreads()
    try:
        limit_threads(1)
        assert (said, cv2.getNumThreads(), os.environ["OMP_NUM_THREADS"]) == ([1], 1, "1")
    finally:
        cv2.setNumThreads(before)


def test_a_run_records_its_workers_and_threads(root: Path, plain: Path) -> None:
    times = Run(plain).summary.times
    assert (times.workers, times.threads) == (1, threads_for(1))
    values = Run(plain).summary.to_json()
    del values["times"]["workers"], values["times"]["threads"]
    older = Summary.from_json(values, "older")
    assert older.times.threads is None and older.to_json() == values
