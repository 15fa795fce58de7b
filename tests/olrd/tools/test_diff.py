"""`olrd diff`: rows that came, went and changed, against sets that are known to differ in just that."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic_dataset import write_dataset

from olrd.cli.main import main
from olrd.dataset.record import BuildRecord
from olrd.dataset.schema import schema
from olrd.storage.files import to_json
from olrd.tools.diff import diff, diff_text, differs

FORM = "recipes"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos with two triplets of one object each. Shared: do not write into it."""
    return write_dataset(tmp_path_factory.mktemp("diff") / "old", photos=4, form=FORM, splits=("train",))


def rewritten(old: Path, new: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Path:
    """A copy of a dataset of one shard with other rows, and a record that fits."""
    record = BuildRecord.read(old / "build.json")
    (shard,) = record.shards
    rows = change(pq.read_table(old / shard.file).to_pylist())
    (new / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema(FORM)), new / shard.file)
    (new / "build.json").write_text(to_json(replace(record, shards=(replace(shard, rows=len(rows)),)).to_json()))
    return new


def with_recipe(row: dict[str, Any], **values: Any) -> dict[str, Any]:
    return row | {"recipe": json.dumps(json.loads(row["recipe"]) | values)}


def test_equal_sets_are_the_same_in_either_form(old: Path, tmp_path: Path) -> None:
    full = write_dataset(tmp_path / "full", photos=4, splits=("train",))
    result = diff(old, full)
    assert not differs(result) and result["same"] == 8
    assert result["settings"] == {"form": ["recipes", "full"]}
    assert diff_text(result).startswith("the same 8 triplets")


def test_each_kind_of_difference_is_found(old: Path, tmp_path: Path) -> None:
    ids: list[str] = []

    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        ids.extend(row["id"] for row in rows)
        rows[2] = with_recipe(rows[2], position=[1, 1], pixels_sha256="0" * 64)
        rows[3] |= {"caption": "a meadow", "split": "test"}
        rows[4] = with_recipe(rows[4] | {"id": "another"}, id="another")
        rows[7] = with_recipe(rows[7] | {"id": "new-object", "segment_id": 99}, id="new-object", segment_id=99)
        return rows[1:]  # one triplet of the first photo's object went

    result = diff(old, rewritten(old, tmp_path / "new", change))
    assert result["same"] == 3
    assert result["changed"] == [
        {"id": ids[2], "fields": ["pixels_sha256", "position"]},
        {"id": ids[3], "fields": ["split", "caption"]},
    ]
    assert result["renamed"] == [{"old": ids[4], "new": "another"}]
    assert result["went"] == [{"id": ids[0], "reason": "triplet"}, {"id": ids[7], "reason": "triplet"}]
    assert result["came"] == [{"id": "new-object", "reason": "object"}]
    text = diff_text(result)
    assert "3 the same, 1 came, 2 went, 2 changed, 1 renamed" in text
    assert f"~ {ids[2]}  (pixels_sha256, position)" in text and f"> {ids[4]} is now another" in text


def test_all_rows_are_accounted_for(old: Path, tmp_path: Path) -> None:
    more = write_dataset(tmp_path / "more", photos=6, per_photo=3, form=FORM, splits=("train",))
    result = diff(old, more)
    known = result["same"] + len(result["changed"]) + len(result["renamed"])
    assert known + len(result["went"]) == 8 and known + len(result["came"]) == 18
    reasons = [one["reason"] for one in result["came"]]
    assert reasons.count("photo") == 6 and reasons.count("triplet") == 4
    back = diff(more, old)
    assert back["went"] == result["came"] and back["came"] == result["went"]
    assert "... and" not in diff_text(result)


def test_settings_versions_and_counts_that_differ_are_named(old: Path, tmp_path: Path) -> None:
    new = rewritten(old, tmp_path / "new", lambda rows: rows)
    values = json.loads((new / "build.json").read_text())
    values["config"]["seed"] = 7
    values["config"]["rules"]["min_area"] = 0.05
    values["versions"]["pillow"] = "99"
    values["totals"]["objects_rejected"] = {"too_small": 5}
    values["totals"]["objects_read"] += 5
    (new / "build.json").write_text(json.dumps(values))
    result = diff(old, new)
    assert not differs(result)
    assert result["settings"]["seed"] == [0, 7] and result["settings"]["rules.min_area"][1] == 0.05
    assert result["left_out"]["too_small"] == [None, 5]
    assert result["versions"]["pillow"][1] == "99"


def test_exit_codes_are_those_of_diff(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(old), str(old)]) == 0
    less = rewritten(old, tmp_path / "less", lambda rows: rows[1:])
    assert main(["diff", str(old), str(less), "--json"]) == 1
    captured = capsys.readouterr().out
    assert len(json.loads(captured[captured.index("{") :])["went"]) == 1
    assert main(["diff", str(old), str(tmp_path)]) == 2
    twice = rewritten(old, tmp_path / "twice", lambda rows: [*rows, rows[0]])
    assert main(["diff", str(old), str(twice)]) == 2
    odd = rewritten(old, tmp_path / "odd", lambda rows: [rows[0] | {"recipe": "[1]"}])
    assert main(["diff", str(old), str(odd)]) == 2
    assert "expected an object" in capsys.readouterr().err


def test_texts_of_a_stranger_are_printed_as_one_line(old: Path, tmp_path: Path) -> None:
    name = "\x1b[31mred\n" + 200 * "x"
    new = rewritten(old, tmp_path / "new", lambda rows: [with_recipe(rows[0] | {"id": name}, scale=3.0)])
    text = diff_text(diff(old, new))
    assert "\x1b" not in text and max(map(len, text.splitlines())) < 200
