"""build.json as a type: what earlier versions wrote is read, and what is damaged is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from olrd.dataset.record import FORMAT, BuildRecord
from olrd.errors import IntegrityError

FIXTURES = Path(__file__).parent / "fixtures"


def values(form: str = "full") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FIXTURES / f"build-0.1.0-{form}.json").read_text())
    return found


@pytest.mark.parametrize("form", ["full", "recipes"])
def test_a_record_of_the_first_version_is_read_and_written_back(form: str) -> None:
    """It has no `format`; everything else stays as it is."""
    record = BuildRecord.read(FIXTURES / f"build-0.1.0-{form}.json")
    assert record.to_json() == values(form) | {"format": FORMAT}
    assert BuildRecord.from_json(record.to_json(), "build.json") == record


@pytest.mark.parametrize("form", ["full", "recipes"])
def test_its_numbers_are_those_of_the_json(form: str) -> None:
    record, plain = BuildRecord.read(FIXTURES / f"build-0.1.0-{form}.json"), values(form)
    assert record.form == form == record.settings().form
    assert record.rows == sum(shard["rows"] for shard in plain["shards"]) == record.totals.triplets
    assert record.bytes == sum(shard["bytes"] for shard in plain["shards"])
    assert [unit.name for unit in record.units] == [unit["name"] for unit in plain["units"]]
    assert record.settings().hash(record.source.fingerprint) == record.identity


def test_one_shard_can_be_replaced() -> None:
    record = BuildRecord.from_json(values(), "build.json")
    shard = record.shards[-1]
    changed = record.with_shard(type(shard)(shard.file, shard.split, shard.rows, shard.bytes + 1, "0" * 64))
    assert changed.bytes == record.bytes + 1 and changed.shards[:-1] == record.shards[:-1]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"identity": None}, r"build.json: identity is 'None', expected a text"),
        ({"shards": {}}, r"build.json: shards is '{}', expected a list"),
        ({"shards": [{"file": "data/a.parquet"}]}, r"build.json lacks shards\[0\].split"),
        ({"shards": [{"file": 1, "split": "a", "rows": 1, "bytes": 1, "sha256": ""}]}, r"shards\[0\].file is '1'"),
        ({"config": []}, r"build.json lacks config.form"),
        ({"config": {"form": 3}}, r"build.json lacks config.form"),
        ({"source": "coco"}, r"build.json: source is 'coco', expected an object"),
        ({"totals": {"photos": 3}}, r"totals does not hold the counts"),
        ({"totals": None}, r"build.json: totals is 'None', expected an object"),
        ({"totals": {"photos_read": "5"}}, r"build.json: totals: photos_read is '5', expected a whole number"),
        ({"totals": {"photos_rejected": ["a"]}}, r"totals: photos_rejected is .*, expected an object"),
        ({"totals": {"failures": 3}}, r"totals: failures is '3', expected a list"),
        ({"captions": "a caption"}, r"build.json: captions is 'a caption', expected an object"),
        ({"units": None}, r"build.json lacks the list units"),
        ({"units": [{"name": "train-00000"}]}, r"units\[0\] lacks rows"),
        ({"format": 2}, r"is of format 2; this version of olrd reads format 1"),
    ],
    ids=repr,
)
def test_a_damaged_field_is_named(damage: dict[str, Any], said: str) -> None:
    with pytest.raises(IntegrityError, match=said):
        BuildRecord.from_json(values() | damage, "build.json")


@pytest.mark.parametrize("text", ["", "[]", "{", "3", "null"])
def test_what_is_no_record_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text(text)
    with pytest.raises(IntegrityError, match=r"build\.json"):
        BuildRecord.read(tmp_path / "build.json")


def test_a_configuration_that_does_not_fit_is_named() -> None:
    record = BuildRecord.from_json(values() | {"config": {"form": "full"}}, "build.json")
    with pytest.raises(IntegrityError, match=r"the configuration in build.json does not fit"):
        record.settings()
