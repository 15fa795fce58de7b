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


def changed(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """The record of the first version with another value at a path."""
    record = values("recipes")
    home: Any = record
    for part in path[:-1]:
        home = home[part]
    home[path[-1]] = value
    return record


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        *(
            (("shards", 0, "file"), name, r"shards\[0\]")
            for name in (
                "../victim.parquet",
                "/tmp/victim.parquet",
                "data/../victim.parquet",
                "data/a/b.parquet",
                "data/.hidden.parquet",
                "data/a\n.parquet",
                "data/a\\b.parquet",
                "data/.parquet",
                "data/a.txt",
                "parts/a.parquet",
                "",
            )
        ),
        *((("shards", 0, "split"), name, r"shards\[0\]") for name in ("../x", "a b", "", "a-b", "x" * 300)),
        *(
            (("units", 0, "name"), name, r"units\[0\]")
            for name in ("../victim/evil-00000", "train", "train-", "train-x", "train-1", "-00000", "train-٠٠٠٠٠")
        ),
        (("units", 0, "name"), "x" * 300 + "-00000", r"units\[0\]"),
        (("units", 0, "rows"), -1, "expected at least 0"),
        (("units", 0, "tally", "photos_read"), -1, "below 0"),
        (("units", 0, "tally", "photos_read"), 10**30, "expected a whole number"),
        (("shards", 0, "bytes"), -1, "expected at least 0"),
        (("totals", "photos_rejected"), {"<script>": 1}, "no reason"),
        (("totals", "failures"), [{"code": "photo_size"}], "expected a code and a message"),
        (("config", "form"), "../x", "expected one of full, recipes"),
    ],
    ids=repr,
)
def test_a_name_or_a_count_that_no_build_writes_is_refused(
    path: tuple[str | int, ...], value: object, said: str
) -> None:
    """Names become paths, so they are checked where the record is read."""
    with pytest.raises(IntegrityError, match=said):
        BuildRecord.from_json(changed(path, value), "build.json")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("splits", [["../../victim/evil", 1.0]]),
        ("splits", [["train", 2.0]]),
        ("splits", [["train"]]),
        ("splits", [["train", float("nan")]]),
        ("seed", "0"),
        ("shard_bytes", None),
        ("scale", [1.0]),
        ("scale", [float("nan"), 1.0]),
        ("source", {"name": "demo", "root": 3}),
        ("rules", {"categories": [1]}),
        ("surprise", 1),
    ],
    ids=repr,
)
def test_a_value_of_the_configuration_that_no_build_writes_is_refused(name: str, value: object) -> None:
    """A split of the configuration names the files that `olrd rebuild` writes."""
    record = BuildRecord.from_json(changed(("config", name), value), "build.json")
    with pytest.raises(IntegrityError, match=r"the configuration in build.json does not fit"):
        record.settings()


@pytest.mark.parametrize("what", ["shards", "units"])
def test_what_is_there_twice_is_refused(what: str) -> None:
    record = values("recipes")
    record[what].append(record[what][0])
    with pytest.raises(IntegrityError, match=f"is in {what} twice"):
        BuildRecord.from_json(record, "build.json")


def test_a_deeply_nested_record_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "build.json"
    for depth in (100, 200_000):
        file.write_text('{"identity": ' + "[" * depth + "]" * depth + "}")
        with pytest.raises(IntegrityError, match="levels deep"):
            BuildRecord.read(file)
