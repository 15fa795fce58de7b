"""`--source images` end to end with a real, tiny Mask2Former: cache, resume, corrections."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from photo_folder import NAMES, Open, check, joined, picture, png_of

from olrd.arrays import decode_ids, decode_photo, encode_ids
from olrd.masks import mask_box
from olrd.models import mask2former as segmenter
from olrd.models.coco_categories import coco_categories
from olrd.sources import SourceSpec, open_source
from olrd.sources.panoptic.json_file import image_id

pytestmark = pytest.mark.slow


def test_every_record_is_exact(root: Path, opened: Open, segmented: list[int]) -> None:
    source = opened(batch="3")
    assert segmented == [3, 1]
    assert (source.name, source.background_kind, len(source)) == ("images", "stuff", 4)
    assert dict(source.categories) == {c.id: c for c in coco_categories().values()}
    records = [source.record(index) for index in range(4)]
    assert [record.file_name for record in records] == NAMES
    things = stuff = 0
    for record in records:
        photo = decode_photo(source.photo_bytes(record))
        assert photo.pixels.shape == (record.height, record.width, 3)
        checked = check(source, record)
        kinds = [source.categories[s.category_id].isthing for s in checked.segments]
        things, stuff = things + sum(kinds), stuff + len(kinds) - sum(kinds)
        named = [s.category_id for s in checked.segments if s.category_id > 91]
        assert len(named) == len(set(named))  # stuff once per class
    assert things >= 6
    assert stuff >= 3
    assert (records[0].width, records[0].height) == (90, 120)  # orientation applied
    assert {record.license for record in records} == {"unknown"}


def test_json_is_valid_coco(root: Path, opened: Open) -> None:
    opened()
    path, document = joined(root)
    assert next(iter(document)) == "info"
    assert [image["file_name"] for image in document["images"]] == NAMES
    assert all(type(image["id"]) is int for image in document["images"])
    assert [note["image_id"] for note in document["annotations"]] == [image["id"] for image in document["images"]]
    for note in document["annotations"]:
        ids = decode_ids((path.with_suffix("") / note["file_name"]).read_bytes())
        assert sum(s["area"] for s in note["segments_info"]) == np.count_nonzero(ids)
        assert all(s["iscrowd"] == 0 for s in note["segments_info"])
    assert len(document["categories"]) == 133
    assert not list(path.parent.glob("*.unjoined"))
    assert not list(path.parent.rglob(".*"))  # no temporary file stays


def test_second_run_touches_nothing(root: Path, opened: Open, segmented: list[int]) -> None:
    first = opened()
    path, _ = joined(root)
    before = path.stat().st_mtime_ns
    second = open_source(SourceSpec("images", str(root)))  # options are remembered
    assert segmented == [1, 1, 1, 1]
    assert path.stat().st_mtime_ns == before
    assert second.fingerprint == first.fingerprint


def test_result_does_not_depend_on_the_batch(root: Path, opened: Open, tmp_path: Path) -> None:
    one = opened(panoptic=str(tmp_path / "one"))
    four = opened(panoptic=str(tmp_path / "four"), batch="4")
    for index in range(4):
        assert one.record(index).image_id == four.record(index).image_id
        same = check(one, one.record(index)).index == check(four, four.record(index)).index
        assert same.mean() > 0.99  # batched kernels may round differently


def test_deleted_png_is_segmented_again(root: Path, opened: Open, segmented: list[int]) -> None:
    opened()
    document = joined(root)[1]
    png = png_of(root, "a/two.PNG")
    content = png.read_bytes()
    png.unlink()
    opened()
    assert segmented == [1] * 5
    assert png.read_bytes() == content
    assert joined(root)[1] == document


@pytest.mark.parametrize("kill_at", ["segment", "png", "part", "join", "clear"])
def test_kill_and_resume(
    root: Path, opened: Open, kill_at: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Killed at its third photo or while joining, the next run ends with what one run gives."""
    from olrd.sources.panoptic import cache as panoptic_cache

    whole = opened(panoptic=str(tmp_path / "whole"))
    module, name, at = {
        "segment": (segmenter.Mask2FormerSegmenter, "segment", 3),
        "png": (panoptic_cache, "encode_ids", 3),
        "part": (panoptic_cache, "new_part", 3),
        "join": (panoptic_cache, "write_document", 1),
        "clear": (panoptic_cache.PanopticCache, "_clear_parts", 2),
    }[kill_at]
    calls = 0
    original = getattr(module, name)

    def killed(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, killed)
        with pytest.raises(KeyboardInterrupt):
            opened()
    seen: list[int] = []
    inner = segmenter.Mask2FormerSegmenter.segment

    def counted(self: Any, photos: Any) -> Any:
        seen.append(len(photos))
        return inner(self, photos)

    monkeypatch.setattr(segmenter.Mask2FormerSegmenter, "segment", counted)
    source = opened()
    assert sum(seen) == {"segment": 2, "png": 2, "part": 2}.get(kill_at, 0)
    assert source.fingerprint == whole.fingerprint
    opened()
    assert sum(seen) == {"segment": 2, "png": 2, "part": 2}.get(kill_at, 0)


def test_correction_after_a_kill_is_kept(root: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after the JSON was joined: what waited is void, and must not undo a correction."""
    from olrd.sources.panoptic.cache import PanopticCache

    calls: list[int] = []

    def killed(self: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PanopticCache, "_clear_parts", killed)
        with pytest.raises(KeyboardInterrupt):
            opened()
    path, document = joined(root)
    document["annotations"][0]["segments_info"][0]["category_id"] = 24
    path.write_text(json.dumps(document))
    assert opened().record(0).segments[0].category_id == 24
    picture(8, 60, 60).save(root / "added.jpg")
    record = next(r for r in map(opened().record, range(5)) if r.file_name == "a/one.jpg")
    assert record.segments[0].category_id == 24


def test_hand_correction_is_kept(root: Path, opened: Open, segmented: list[int]) -> None:
    opened()
    path, document = joined(root)
    png = png_of(root, "grey.jpeg")
    ids = decode_ids(png.read_bytes())
    ids[:20, :20] = 77
    png.write_bytes(encode_ids(ids))
    note = next(n for n in document["annotations"] if n["file_name"] == png.name)
    note["segments_info"] = [
        segment | {"area": int((ids == segment["id"]).sum()), "bbox": list(mask_box(mask))}
        for segment in note["segments_info"]
        if (mask := ids == segment["id"]).any()
    ]
    note["segments_info"].append({"id": 77, "category_id": 18, "iscrowd": 0, "bbox": [0, 0, 20, 20], "area": 400})
    document["licenses"].append({"id": 9, "name": "mine", "url": "https://creativecommons.org/licenses/by/4.0/"})
    document["images"][0] |= {"license": 9, "author": "A. Nonymous"}
    path.write_text(json.dumps(document, indent=1))
    corrected = png.read_bytes()
    picture(6, 60, 75).save(root / "b/added.webp")
    source = opened(license="cc0-1.0")
    assert segmented == [1] * 5  # only the added photo
    assert png.read_bytes() == corrected
    records = {source.record(i).file_name: source.record(i) for i in range(len(source))}
    assert list(records) == sorted([*NAMES, "b/added.webp"])
    grey = records["grey.jpeg"]
    assert 18 in [s.category_id for s in grey.segments]
    check(source, grey)
    assert (records["a/one.jpg"].license, records["a/one.jpg"].author) == ("CC-BY-4.0", "A. Nonymous")
    assert {r.license for n, r in records.items() if n != "a/one.jpg"} == {"CC0-1.0"}


def test_orphan_png_is_set_aside(root: Path, opened: Open) -> None:
    """A PNG that no JSON lists may be someone's work: it is renamed, not overwritten."""
    opened()
    png = png_of(root, "grey.jpeg")
    other = encode_ids(np.full((60, 60), 5, np.uint32))
    png.write_bytes(other)
    joined(root)[0].unlink()
    opened()
    assert png.read_bytes() != other
    assert png.with_name(f"{png.name}.bak").read_bytes() == other


def test_added_photo_changes_no_id(root: Path, opened: Open, segmented: list[int]) -> None:
    first = opened()
    ids = {first.record(i).file_name: first.record(i).image_id for i in range(4)}
    picture(7, 60, 60).save(root / "0-before-all.bmp")
    second = opened()
    assert segmented == [1] * 5
    assert second.record(0).file_name == "0-before-all.bmp"
    assert {second.record(i).file_name: second.record(i).image_id for i in range(1, 5)} == ids
    assert ids["a/one.jpg"] == str(image_id("a/one.jpg")) != ids["b/deep/one.jpg"]


def test_unreadable_photos_are_listed(root: Path, opened: Open, segmented: list[int]) -> None:
    whole = (root / "a/one.jpg").read_bytes()
    (root / "a/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "empty.png").write_bytes(b"")
    buffer = io.BytesIO()
    picture(8, 60, 60).convert("1").save(buffer, "PNG")
    (root / "print.png").write_bytes(buffer.getvalue())
    clear = picture(9, 60, 60).convert("RGBA")
    clear.putalpha(128)
    clear.save(root / "clear.png")
    source = opened()
    assert sum(segmented) == 4
    records = {source.record(i).file_name: source.record(i) for i in range(len(source))}
    bad = {name for name, record in records.items() if record.panoptic_name is None}
    assert bad == {"a/cut.jpg", "empty.png", "print.png", "clear.png"}
    codes = {i["file_name"]: i.get("rejected") for i in joined(root)[1]["images"]}
    assert (codes["print.png"], codes["clear.png"]) == ("photo_mode", "photo_mode")
    assert (codes["a/cut.jpg"], codes["empty.png"]) == ("photo_unreadable", "photo_unreadable")
    assert codes["grey.jpeg"] is None
    before = joined(root)[0].stat().st_mtime_ns
    assert opened().fingerprint == source.fingerprint  # tried again, nothing new, nothing written
    assert joined(root)[0].stat().st_mtime_ns == before
    (root / "a/cut.jpg").write_bytes(whole)  # repaired
    repaired = opened()
    record = next(r for r in map(repaired.record, range(8)) if r.file_name == "a/cut.jpg")
    check(repaired, record)
    assert sum(segmented) == 5
    entries = {image["file_name"]: image for image in joined(root)[1]["images"]}
    assert entries["a/cut.jpg"]["width"] == record.width
    assert {name for name, entry in entries.items() if "rejected" in entry} == bad - {"a/cut.jpg"}
