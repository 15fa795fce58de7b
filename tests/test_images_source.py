"""`--source images` end to end with a real, tiny Mask2Former: cache, resume, corrections."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from olrd import segmenter
from olrd.arrays import decode_ids, decode_photo, encode_ids
from olrd.coco_categories import coco_categories
from olrd.errors import OlrdError, SourceError, UsageError
from olrd.licenses import license_code
from olrd.panoptic import Record, SegmentMap, check_panoptic, mask_box
from olrd.sources import SourceSpec, open_source
from olrd.sources import images as images_module
from olrd.sources.images_options import ImagesOptions, license_url
from olrd.sources.panoptic_json import image_id, png_name

torch = pytest.importorskip("torch", reason="torch is absent: pip install 'olrd[models]'")
transformers = pytest.importorskip("transformers", reason="pip install 'olrd[models]'")

NAMES = ["a/one.jpg", "a/two.PNG", "b/deep/one.jpg", "grey.jpeg"]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Mask2Former with random weights, sharpened so that photos give several segments."""
    folder = tmp_path_factory.mktemp("mask2former")
    torch.manual_seed(0)
    backbone = transformers.SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=30,
        id2label=dict(enumerate(coco_categories())),
        label2id={name: number for number, name in enumerate(coco_categories())},
    )
    model = transformers.Mask2FormerForUniversalSegmentation(config)
    with torch.no_grad():
        model.class_predictor.weight *= 200
        model.class_predictor.bias[-1] = -1e4  # never "no object"
    model.save_pretrained(folder)
    transformers.Mask2FormerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def picture(seed: int, height: int, width: int) -> Image.Image:
    """Coloured blocks."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 15, width // 15, 3), dtype=np.uint8)
    return Image.fromarray(np.kron(small, np.ones((15, 15, 1), np.uint8)))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of four readable photos, with things in it that are no photos."""
    monkeypatch.setenv("OLRD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(segmenter, "OVERLAP", 0.05)  # random masks overlap
    root = tmp_path / "photos"
    for name in ("a", "b/deep", ".hidden"):
        (root / name).mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, shown standing
    picture(1, 90, 120).save(root / "a/one.jpg", exif=exif)
    picture(2, 60, 90).save(root / "a/two.PNG", "PNG")
    picture(3, 90, 60).save(root / "b/deep/one.jpg")
    picture(4, 60, 60).convert("L").save(root / "grey.jpeg")
    picture(5, 60, 60).save(root / ".hidden/no.jpg")
    picture(5, 60, 60).save(root / "a/._one.jpg", "JPEG")
    (root / "notes.txt").write_text("no photo")
    return root


Open = Callable[..., Any]


@pytest.fixture
def opened(root: Path, checkpoint: Path) -> Open:
    """Open the source with the tiny network, as a user would."""

    def call(**options: str) -> Any:
        options = {"checkpoint": str(checkpoint), "threshold": "0", "device": "cpu"} | options
        return open_source(SourceSpec("images", str(root), options=options))

    return call


@pytest.fixture
def segmented(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many photos each call of the network got."""
    calls: list[int] = []
    original = segmenter.Mask2FormerSegmenter.segment

    def counted(self: Any, photos: Any) -> Any:
        calls.append(len(photos))
        return original(self, photos)

    monkeypatch.setattr(segmenter.Mask2FormerSegmenter, "segment", counted)
    return calls


def joined(root: Path) -> tuple[Path, dict[str, Any]]:
    """The joined JSON's path and content."""
    path = root.parent / "photos-panoptic" / "annotations" / "panoptic_photos.json"
    return path, json.loads(path.read_text())


def check(source: Any, record: Record) -> SegmentMap:
    """The record's map, with every area, box and id checked."""
    size = record.width, record.height
    return check_panoptic("a map", source.panoptic(record, *size), size, source.categories)


def png_of(root: Path, name: str) -> Path:
    return joined(root)[0].with_suffix("") / png_name(name)


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
    assert [note["image_id"] for note in document["annotations"]] == [
        image["id"] for image in document["images"]
    ]
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
    from olrd.sources import panoptic_cache

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


def test_correction_after_a_kill_is_kept(
    root: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the JSON was joined: what waited is void, and must not undo a correction."""
    from olrd.sources.panoptic_cache import PanopticCache

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
    note["segments_info"].append(
        {"id": 77, "category_id": 18, "iscrowd": 0, "bbox": [0, 0, 20, 20], "area": 400}
    )
    document["licenses"].append(
        {"id": 9, "name": "mine", "url": "https://creativecommons.org/licenses/by/4.0/"}
    )
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
    assert (records["a/one.jpg"].license, records["a/one.jpg"].author) == (
        "CC-BY-4.0",
        "A. Nonymous",
    )
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
    picture(8, 60, 60).convert("CMYK").save(buffer, "JPEG")
    (root / "print.jpg").write_bytes(buffer.getvalue())
    picture(9, 60, 60).convert("P").save(root / "palette.png")
    source = opened()
    assert sum(segmented) == 4
    records = {source.record(i).file_name: source.record(i) for i in range(len(source))}
    bad = {name for name, record in records.items() if record.panoptic_name is None}
    assert bad == {"a/cut.jpg", "empty.png", "print.jpg", "palette.png"}
    codes = {i["file_name"]: i.get("rejected") for i in joined(root)[1]["images"]}
    assert (codes["print.jpg"], codes["palette.png"]) == ("photo_mode", "photo_mode")
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


def test_max_pixels_is_respected(root: Path, checkpoint: Path) -> None:
    options = {"checkpoint": str(checkpoint), "threshold": "0"}
    spec = SourceSpec("images", str(root), max_pixels=5500, options=options)
    source = open_source(spec)
    names = {source.record(i).file_name: source.record(i).panoptic_name for i in range(4)}
    assert [name for name, png in names.items() if png is None] == ["a/one.jpg"]


def test_declared_license_and_address(root: Path, opened: Open, segmented: list[int]) -> None:
    opened()
    source = opened(license="cc-by-sa-4.0", source_url_prefix="https://example.org/p/")
    record = source.record(0)
    assert record.license == "CC-BY-SA-4.0"
    assert record.license_url == "https://creativecommons.org/licenses/by-sa/4.0/"
    assert record.source_url == "https://example.org/p/a/one.jpg"
    assert opened().record(3).license == "CC-BY-SA-4.0"  # remembered
    changed = opened(license="pdm-1.0", source_url_prefix="https://example.org/q/").record(1)
    assert (changed.license, changed.source_url) == (
        "PDM-1.0",
        "https://example.org/q/a/two.PNG",
    )
    assert sum(segmented) == 4


def test_annotations_inside_the_root_are_no_photos(root: Path, opened: Open) -> None:
    source = opened(panoptic=str(root / "labels"))
    assert len(source) == len(opened(panoptic=str(root / "labels"))) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chekpoint": "x"}, "Did you mean 'checkpoint'"),
        ({"batch": "0"}, "batch: expected a number from 1"),
        ({"batch": "1.5"}, "whole number"),
        ({"threshold": "high"}, r"threshold: expected a number from 0\.0 to 1\.0, got 'high'"),
        ({"threshold": "nan"}, "got 'nan'"),
        ({"license": "cc-by-5"}, "no licence is called"),
        ({"device": "gpu"}, "expected auto, cpu, cuda"),
    ],
)
def test_bad_options(opened: Open, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        opened(**options)


def test_bad_folders_and_checkpoints(root: Path, opened: Open, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="needs --root"):
        open_source(SourceSpec("images"))
    with pytest.raises(SourceError, match="needs --root"):
        open_source(SourceSpec("images", str(tmp_path / "nowhere")))
    with pytest.raises(UsageError, match="no subsets"):
        open_source(SourceSpec("images", str(root), "train"))
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="found none"):
        open_source(SourceSpec("images", str(tmp_path / "none")))
    (tmp_path / "none" / "a.jpg").write_bytes(b"no photo")
    with pytest.raises(SourceError, match="none of the 1 photos"):
        open_source(SourceSpec("images", str(tmp_path / "none")))
    with pytest.raises(SourceError, match="cannot be loaded"):
        opened(checkpoint=str(tmp_path / "no-checkpoint"))
    opened()
    with pytest.raises(UsageError, match=r"made with threshold=0\.0, and threshold=0\.5"):
        opened(threshold="0.5")
    with pytest.raises(UsageError, match="made with checkpoint="):
        opened(checkpoint="other/network")


def test_two_photos_with_one_id(root: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_module, "image_id", lambda name: len(name) // 9)
    with pytest.raises(SourceError, match="both have the image id"):
        opened()


def test_annotations_from_elsewhere(root: Path, opened: Open, segmented: list[int]) -> None:
    """A finished cache without our `info` is someone's own: read as it is, not rewritten."""
    opened()
    path, document = joined(root)
    del document["info"]
    path.write_text(json.dumps(document))
    before = path.stat().st_mtime_ns
    assert len(opened(threshold="0.3")) == 4
    assert path.stat().st_mtime_ns == before
    document["categories"][0]["name"] = "human"
    path.write_text(json.dumps(document))
    picture(9, 60, 60).save(root / "new.png")
    with pytest.raises(SourceError, match=r"category 1 'person' .* is 1 'human'"):
        opened()
    assert sum(segmented) == 4  # refused before any work


def test_nothing_heavy_is_imported() -> None:
    import subprocess
    import sys

    code = (
        "import sys, olrd.sources.images, olrd.segmenter, olrd.pq, olrd.caption;"
        "print([m for m in ('torch', 'transformers', 'pandas', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@given(st.sampled_from(["by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd"]), st.booleans())
@settings(max_examples=12)
def test_license_codes_round_trip(kind: str, upper: bool) -> None:
    code = f"CC-{kind.upper()}-4.0"
    assert license_code(license_url(code if upper else code.lower())) == code


def test_special_licenses() -> None:
    for code in ("CC0-1.0", "PDM-1.0", "no-known-copyright", "US-government-work"):
        assert license_code(license_url(code)) == code
    assert license_url("https://example.org/mine") == "https://example.org/mine"


@given(st.text(min_size=1, max_size=300))
def test_png_names_are_safe(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    made = png_name(name)
    assert len(made.encode()) < 200
    assert made[0] != "."
    assert not set('/\\:\0"*?<>|') & set(made)


def test_things_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "things.txt").write_text("bed, with a comma\nlamp\n\n")
    parsed = ImagesOptions.parse({"things": str(tmp_path / "things.txt")})
    assert parsed.given["things"] == ["bed, with a comma", "lamp"]
    assert ImagesOptions.parse({"things": "lamp, bed"}).given["things"] == ["bed", "lamp"]
    assert issubclass(UsageError, OlrdError)
