"""Things and stuff: one rule, whoever wrote the annotations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_coco import write_coco

from baselines.photos.panoptic_file import read_map
from olrd.arrays import encode_ids
from olrd.errors import SourceError, UsageError
from olrd.sources import SourceSpec
from olrd.sources.panoptic.coco import open_coco
from olrd.sources.things import Declared, decide_things, read_isthing

Change = Callable[[dict[str, Any]], None]


def declared(*kinds: tuple[str, bool | None]) -> list[Declared]:
    return [Declared(number, name, "", isthing) for number, (name, isthing) in enumerate(kinds)]


def things_of(*kinds: tuple[str, bool | None], **options: Any) -> set[str]:
    return {c.name for c in decide_things("a.json", declared(*kinds), **options).values() if c.isthing}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((value, True) for value in (1, True, "1", 1.0, "true")),
        *((value, False) for value in (0, False, "0")),
        *((value, None) for value in (None, "", [], float("nan"), 7)),
    ],
)
def test_isthing_is_read_in_every_form(value: object, expected: bool | None) -> None:
    assert read_isthing(value) is expected


def test_what_the_file_says_is_believed() -> None:
    assert things_of(("sky", True), ("dog", False)) == {"sky"}


@pytest.mark.parametrize("value", [None, False, True])
@pytest.mark.parametrize(
    "names", [("dog", "grass", "sky"), ("car", "rail_track", "vegetation"), ("chest of drawers, chest", "road, route")]
)
def test_names_decide_where_the_file_says_nothing(
    names: tuple[str, ...], value: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also if all are called the same. One line says what is assumed."""
    assert things_of(*((name, value) for name in names)) == {names[0]}
    assert names[0] in capsys.readouterr().err


def test_options_win() -> None:
    kinds = ("dog", True), ("sky", False), ("hat", None)
    assert things_of(*kinds, things=["sky"]) == {"sky"}
    assert things_of(*kinds, stuff=["dog"]) == {"sky", "hat"}
    assert things_of(*kinds, things=["hat"], stuff=["sky"]) == {"dog", "hat"}


def test_unknown_and_one_sided_sets_are_refused_with_the_option() -> None:
    with pytest.raises(SourceError, match=r"no category is a thing: say --source-option things=NAME,NAME.*'widget'"):
        things_of(("widget", False), ("gadget", False))
    with pytest.raises(SourceError, match=r"no category is stuff.*stuff=NAME,NAME"):
        things_of(("widget", True), ("gadget", True))
    with pytest.raises(SourceError, match="isthing is missing"):
        things_of(("widget", None), ("sky", None))
    with pytest.raises(UsageError, match="Did you mean 'dog'"):
        things_of(("dog", True), ("sky", False), things=["dgo"])
    with pytest.raises(SourceError, match="both name"):
        things_of(("dog", True), ("sky", False), things=["dog"], stuff=["dog"])


def changed(root: Path, change: Change) -> SourceSpec:
    """A drawn COCO folder whose JSON is changed."""
    path = write_coco(root, 2) / "annotations" / "panoptic_train2017.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return SourceSpec(root=str(root))


def all_zero(document: dict[str, Any]) -> None:
    for kind in document["categories"]:
        kind["isthing"] = 0


def as_text(document: dict[str, Any]) -> None:
    for kind in document["categories"]:
        kind["isthing"] = str(kind["isthing"])


def in_segments(document: dict[str, Any]) -> None:
    told = {kind["id"]: kind.pop("isthing") for kind in document["categories"]}
    for kind in document["categories"]:
        kind["name"] = f"class {kind['id']}"  # names that no table knows
    used = set()
    for note in document["annotations"]:
        for segment in note["segments_info"]:
            segment["isthing"] = bool(told[segment["category_id"]])
            used.add(segment["category_id"])
    document["categories"] = [kind for kind in document["categories"] if kind["id"] in used]


@pytest.mark.parametrize("change", [all_zero, as_text, in_segments])
def test_a_folder_opens_with_the_same_things(tmp_path: Path, change: Change) -> None:
    before = open_coco(changed(tmp_path / "a", lambda _: None)).categories
    after = open_coco(changed(tmp_path / "b", change)).categories
    assert after
    assert all(before[number].isthing == kind.isthing for number, kind in after.items())


def test_options_reach_the_folder(tmp_path: Path) -> None:
    spec = changed(tmp_path, all_zero)
    names = tmp_path / "names.txt"
    names.write_text("dog\nsuitcase\n")
    for text in ("dog, suitcase", str(names)):
        source = open_coco(SourceSpec(root=spec.root, options={"things": text}))
        assert {c.name for c in source.categories.values() if c.isthing} == {"dog", "suitcase"}


def test_a_given_map_follows_the_same_rule(tmp_path: Path) -> None:
    """`"0"` is stuff, and a missing isthing is decided by the name."""
    png, listed = tmp_path / "a.png", tmp_path / "a.json"
    png.write_bytes(encode_ids(np.repeat(np.array([[1, 2]], np.uint32), 4, axis=0)))
    kinds = [{"id": 1, "name": "lawn", "isthing": "0"}, {"id": 2, "name": "dog"}]
    segments = [{"id": number, "category_id": number} for number in (1, 2)]
    listed.write_text(json.dumps({"categories": kinds, "segments_info": segments}))
    _, categories = read_map(png, listed)
    assert [categories[number].isthing for number in (1, 2)] == [False, True]
