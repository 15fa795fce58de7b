"""The fuzzer finds planted faults, repeats them from their seed, and survives crashes; no reader has a finding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from planted_faults import never_starts, planted

from perf.fuzz.__main__ import details, table
from perf.fuzz.harness import Outcome, attempt, described, random_of, run_target
from perf.fuzz.honest import write_honest
from perf.fuzz.mutate import damaged_bytes, damaged_json
from perf.fuzz.targets import TARGETS, annotations, builds, folders, pictures, runs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_honest(tmp_path_factory.mktemp("honest"))


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_meets_damaged_files_without_a_finding(name: str, honest: Path, tmp_path: Path) -> None:
    outcome = run_target(name, TARGETS[name], honest, tmp_path, seconds=120, most=15)
    assert outcome.examples == 15
    assert not outcome.findings, details(outcome, 0)


def test_every_reader_accepts_the_honest_input(honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that refuses its own input would find nothing."""
    monkeypatch.setenv("OLRD_CACHE", str(tmp_path / "cache"))
    for module in (annotations, builds, folders, pictures, runs):
        for name in {"damaged_bytes", "damaged_value", "_damaged_table"} & vars(module).keys():
            monkeypatch.setattr(module, name, lambda value, _random: value)
        monkeypatch.setattr(module, "damaged_json", lambda value, _random: json.dumps(value).encode(), raising=False)
    for name in TARGETS.keys() - {"card", "index", "picture", "rle"}:  # these draw odd values themselves
        (tmp_path / name).mkdir()
        TARGETS[name](honest, tmp_path / name)(random_of(name, 0, 1))


def test_each_planted_fault_is_found_and_repeated(tmp_path: Path) -> None:
    outcome = run_target("planted", planted, tmp_path, tmp_path, seconds=120, most=16, slow=0.3, stuck=3)
    assert outcome.examples == 16
    found = {what: finding for (what, _), finding in outcome.findings.items()}
    assert set(found) == {"KeyError", "crash by SIGSEGV", "TooSlowError", "MemoryError", "hang"}
    assert found["KeyError"].where.startswith("tests/helpers/planted_faults.py:")
    draws = [random_of("planted", 0, number).randrange(10) for number in range(16)]
    faults = ("KeyError", "crash by SIGSEGV", "TooSlowError", "MemoryError", "hang")
    for draw, what in enumerate(faults):
        assert found[what].count == draws.count(draw) > 0
        assert found[what].example == draws.index(draw)
    error = attempt(planted(tmp_path, tmp_path), random_of("planted", 0, found["KeyError"].example))
    assert error is not None
    assert described(error)[0] == "KeyError"
    assert f"--only planted --seed 0 --example {found['KeyError'].example}" in details(outcome, 0)
    assert "| planted | 16 | " in table([outcome])


def test_a_target_that_cannot_start_is_a_finding(tmp_path: Path) -> None:
    outcome = run_target("broken", never_starts, tmp_path, tmp_path, seconds=5)
    assert [what for what, _ in outcome.findings] == ["RuntimeError"]
    assert outcome.examples == 0


def test_findings_of_one_line_are_one() -> None:
    outcome = Outcome("x")
    for number in (3, 8):
        outcome.add("KeyError", "a.py:1", f"{number}", number)
    (finding,) = outcome.findings.values()
    assert (finding.example, finding.count) == (3, 2)


def test_a_seed_repeats_the_damages() -> None:
    data, values = bytes(range(200)), {"a": [1, 2, {"b": "c"}], "d": {"e": None}}
    for number in range(300):
        first, second = (random_of("x", 1, number) for _ in range(2))
        assert damaged_bytes(data, first) == damaged_bytes(data, second)
        assert damaged_json(values, first) == damaged_json(values, second)
    texts = {damaged_json(values, random_of("x", 1, number)) for number in range(300)}
    assert len(texts) > 150
    assert json.loads(json.dumps(values)) == {"a": [1, 2, {"b": "c"}], "d": {"e": None}}
