"""The types behind run.json and summary.json: old files are read, and written back as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from seven_pairs import request
from synthetic_records import record

from benchmark.board.records import read_record, record_json
from benchmark.runner.inputs import open_inputs
from benchmark.runner.results import Run
from benchmark.runner.summary import RunIdentity, Summary
from olrd.errors import IntegrityError
from olrd.storage.files import to_json

RECORDS = sorted(Path(__file__).parents[3].glob("leaderboards/results/**/*.json"))


def test_every_record_of_the_leaderboards_is_read_and_written_back_byte_for_byte() -> None:
    assert RECORDS
    for path in RECORDS:
        assert to_json(record_json(read_record(path))) == path.read_text(), path


def test_a_summary_is_written_back_byte_for_byte(root: Path, plain: Path) -> None:
    for name, written in (("summary", Run(plain).summary), ("run", RunIdentity.read(plain / "run.json"))):
        assert to_json(written.to_json()) == (plain / f"{name}.json").read_text()
    assert RunIdentity.read(plain / "run.json") == open_inputs(request(root)).identity


def test_a_run_from_before_set_scores_had_intervals_is_read_and_written_back() -> None:
    values = record("a")
    found = Summary.from_json(values, "old.json")
    assert (found.sets["fid/raw"].low, found.sets["fid/raw"].clusters) == (None, None)
    assert record_json(found) == values


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n": True}, "n is 'True', expected a whole number"),
        ({"scores": []}, r"scores is '\[\]', expected an object"),
        ({"scores__psnr/mask/raw__n": None}, "scores.psnr/mask/raw.n is 'None', expected a whole number"),
        ({"scores__psnr/mask/raw__mean": "20"}, "scores.psnr/mask/raw.mean is '20', expected a number"),
        ({"sets__fid/raw": {"value": 1.0, "n": 3}}, "lacks sets.fid/raw.reason"),
        ({"protocol": {"id": "p"}}, "name"),
        ({"format": 2}, "newer version"),
        ({"dataset__n": -1}, "dataset.n is -1, expected at least 0"),
    ],
)
def test_a_damaged_field_is_named_with_its_file(change: dict[str, Any], said: str) -> None:
    with pytest.raises(IntegrityError, match=said) as caught:
        Summary.from_json(record("a", **change), "runs/a/summary.json")
    assert "runs/a/summary.json" in str(caught.value)


def test_a_damaged_run_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{ half")
    with pytest.raises(IntegrityError, match=r"is not valid JSON.*make the run again"):
        RunIdentity.read(tmp_path / "run.json")
    (tmp_path / "run.json").write_text(json.dumps({"method": {}}))
    with pytest.raises(IntegrityError, match=r"lacks method\.name"):
        RunIdentity.read(tmp_path / "run.json")
