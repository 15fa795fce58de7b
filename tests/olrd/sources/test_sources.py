"""One conformance suite over every registered source that can be opened without a network."""

from __future__ import annotations

import csv
import pickle
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from built_folders import digest
from drawn_instances import draw_instances
from drawn_masks import ONE, draw_masks
from drawn_openimages import rules
from drawn_pairs import three, write_pairs
from PIL import Image

from olrd.arrays import decode_photo
from olrd.builder import units
from olrd.builder.build import build
from olrd.builder.join import join
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.errors import OBJECT_REASONS, PHOTO_REASONS, UsageError
from olrd.licenses import license_code
from olrd.panoptic import Box, check_panoptic
from olrd.sources import SEEN, SOURCES, Source, SourceSpec, open_source, source_info
from olrd.sources.panoptic.coco import DEMO_ROOT
from olrd.sources.seen import SeenSource
from olrd.tools.rebuild import rebuild
from olrd.tools.verify import verify
from tools.drawn_clip import Scene

OPENIMAGES_COLUMNS = "MaskPath ImageID LabelName BoxID BoxXMin BoxXMax BoxYMin BoxYMax PredictedIoU Clicks"
SEEN_TERMS = {"license": "CC0-1.0", "source_url_prefix": "https://example.org/"}
NETWORKS = {"images"}
"""Tested in tests/test_images_source.py, with a network configured there."""


@pytest.fixture(scope="module")
def openimages_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos with two, one and no masks; masks are 1-bit and larger than their photo."""
    root = tmp_path_factory.mktemp("openimages")
    (root / "test").mkdir()
    (root / "test-masks").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for name, boxes in {
        "00a1ab47b5439e8c": [(20, 30, 60, 90), (90, 40, 120, 100)],
        "00d5eb460eab4613": [],
        "0ad5ae737f7390b4": [(50, 20, 110, 70)],
    }.items():
        photo = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
        Image.fromarray(photo).save(root / "test" / f"{name}.jpg")
        for number, (left, top, right, bottom) in enumerate(boxes):
            box_id, label = f"{number}a041d5{number}", ("m0bt9lr", "m0663v")[number]
            mask = np.zeros((180, 240), np.bool_)
            mask[top * 3 // 2 : bottom * 3 // 2, left * 3 // 2 : right * 3 // 2] = True
            file = f"{name}_{label}_{box_id}.png"
            Image.fromarray(mask).save(root / "test-masks" / file)
            box = [left / 160, right / 160, top / 120, bottom / 120]
            rows.append([file, name, f"/m/{label[1:]}", box_id, *box, "", ""])
    with (root / "test-annotations-object-segmentation.csv").open("w", newline="") as file_:
        csv.writer(file_).writerows([OPENIMAGES_COLUMNS.split(), *rows])
    return root


@pytest.fixture(scope="module", params=sorted(set(SOURCES.builtin) - NETWORKS))
def spec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SourceSpec:
    """Where each source finds its data here."""
    if request.param == "demo":
        return SourceSpec("demo")
    if request.param == "coco":
        return SourceSpec("coco", str(request.getfixturevalue("coco_root")))
    if request.param == "instances":
        return SourceSpec("instances", str(draw_instances(tmp_path_factory.mktemp("instances")).save()))
    if request.param == "masks":
        root = draw_masks(
            tmp_path_factory.mktemp("masks"), {"photos/a.jpg": 1, "photos/b.jpg": 2}, {"masks/a.png": ONE}
        )
        return SourceSpec("masks", str(root), options={"source_url_prefix": "https://example.org/"})
    if request.param == "openimages":
        return SourceSpec("openimages", str(request.getfixturevalue("openimages_root")))
    if request.param == "synthetic":
        return SourceSpec("synthetic", options={"count": "12", "width": "180", "height": "131"})
    if request.param == "clip":
        root = tmp_path_factory.mktemp("clip")
        Scene(frames=7).save(root / "street")
        return SourceSpec("clip", str(root), options=SEEN_TERMS)
    if request.param == "pairs":
        return SourceSpec("pairs", str(write_pairs(tmp_path_factory.mktemp("pairs"), three())), options=SEEN_TERMS)
    pytest.fail(f"the source {request.param} needs an entry in this suite")


@pytest.fixture(scope="module")
def source(spec: SourceSpec) -> Source:
    return open_source(spec)


def test_there_are_photos_and_a_name(source: Source, spec: SourceSpec) -> None:
    assert len(source) > 0
    assert source.name == spec.name
    assert source.background_kind in ("stuff", "unlabelled", SEEN)
    assert source_info(source) == (source.name, source.fingerprint, source.background_kind)


def test_ids_are_those_of_the_records_and_differ(source: Source) -> None:
    ids = [source.image_id(index) for index in range(len(source))]
    assert ids == [source.record(index).image_id for index in range(len(source))]
    assert len(set(ids)) == len(ids)
    assert all(isinstance(number, str) and number for number in ids)


def test_a_second_opening_gives_the_same(source: Source, spec: SourceSpec) -> None:
    again = open_source(spec)
    assert again.fingerprint == source.fingerprint
    assert dict(again.categories) == dict(source.categories)
    assert [again.record(k) for k in range(len(again))] == [source.record(k) for k in range(len(source))]


def test_categories_are_keyed_by_their_ids(source: Source) -> None:
    assert all(number == category.id for number, category in source.categories.items())
    assert any(category.isthing for category in source.categories.values())
    assert any(not category.isthing for category in source.categories.values())


def test_every_record_passes_every_check(source: Source) -> None:
    """The photo has the recorded size, the map the photo's, and the segments are the record's."""
    if source.background_kind == SEEN:
        pytest.skip("it has no maps")
    annotated = 0
    for index in range(len(source)):
        record = source.record(index)
        pixels = decode_photo(source.photo_bytes(record), record.file_name).pixels
        height, width = pixels.shape[:2]
        assert (record.width, record.height) in ((width, height), (0, 0))
        if record.panoptic_name is None:
            assert not record.segments
            continue
        annotated += 1
        panoptic = source.panoptic(record, width, height)
        assert panoptic.ids.dtype == np.uint32
        assert panoptic.ids.shape == (height, width)
        checked = check_panoptic(record.file_name, panoptic, (width, height), source.categories)
        listed = [(s.id, s.category_id, s.iscrowd) for s in record.segments]
        assert [(s.id, s.category_id, s.iscrowd) for s in checked.segments] == listed
        if record.width:
            assert checked.segments == record.segments
    assert annotated


def test_what_is_seen_fits_its_picture(source: Source) -> None:
    """Masks lie in effects, layers are named by hash, the plate is a function of the layers, scenes are stable."""
    if source.background_kind != SEEN:
        pytest.skip("it has maps")
    opened = cast(SeenSource, source)
    found = 0
    for index in range(len(opened)):
        record = opened.record(index)
        assert opened.scene_id(index) and opened.picture(index).file_name == record.file_name
        pixels = decode_photo(opened.photo_bytes(record), record.file_name).pixels
        seen = opened.seen(index, pixels, None)
        whole = Box(0, 0, pixels.shape[1], pixels.shape[0])
        assert seen.plate(whole).shape == pixels.shape and seen.plate(whole).dtype == np.uint8
        assert all(len(layer.picture.sha256) == 64 for layer in seen.layers)
        assert set(seen.rejected) <= set(OBJECT_REASONS)
        for mask, effect in seen.changes:
            found += 1
            assert mask.shape == effect.shape == pixels.shape[:2] and mask.any() and not (mask & ~effect).any()
    assert found


def test_every_photo_has_its_terms(source: Source) -> None:
    for index in range(len(source)):
        record = source.record(index)
        assert record.license
        assert record.license == license_code(record.license_url)
        assert record.source_url


def test_records_are_hashable_and_small(source: Source) -> None:
    """They travel between processes."""
    record = source.record(0)
    assert pickle.loads(pickle.dumps(record)) == record
    assert hash(record) == hash(source.record(0))
    assert len(pickle.dumps(record)) < 50_000


def test_the_demo_is_complete() -> None:
    """Every photo of the demo is annotated and attributed; the set stays small."""
    source = open_source(SourceSpec("demo"))
    records = [source.record(index) for index in range(len(source))]
    assert len(records) >= 12
    attribution = (DEMO_ROOT / "ATTRIBUTION.md").read_text()
    things = 0
    for record in records:
        assert record.panoptic_name is not None
        assert record.file_name in attribution
        kinds = [source.categories[s.category_id].isthing for s in record.segments]
        things += sum(kinds)
        assert len(kinds) > sum(kinds)
    assert things >= 12
    files = [path for path in DEMO_ROOT.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 3_000_000


@pytest.mark.slow
def test_shadows_are_drawn_and_rebuilt(source: Source, spec: SourceSpec, tmp_path: Path) -> None:
    """Of every source that pastes: outside the effect nothing changes, and recipes give the same rows."""
    if source.background_kind == SEEN:
        pytest.skip("it pastes nothing")
    config = BuildConfig(spec, shadow="cast", placement="uniform", blend="hard", margin=0, per_object=1, limit=8)
    build(config, tmp_path / "full")
    build(replace(config, form="recipes"), tmp_path / "recipes")
    full, recipes = Dataset(tmp_path / "full"), Dataset(tmp_path / "recipes")
    names = ["id", "recipe", "bbox", "mask_area"]
    assert list(full.rows(names)) == list(recipes.rows(names))
    for sample in full:
        assert sample.effect is not None and not (sample.mask & ~sample.effect).any()
        assert np.array_equal(sample.image[~sample.effect], sample.background[~sample.effect])
    assert verify(tmp_path / "full")["problems"] == verify(tmp_path / "recipes")["problems"] == []
    if spec.name == "demo" or spec.root:
        rebuild(tmp_path / "recipes", spec.root or DEMO_ROOT, tmp_path / "again")
        assert digest(tmp_path / "again") == digest(tmp_path / "full")


@pytest.mark.slow
def test_the_shared_coco_photos_pass_every_check(shared_data: Path) -> None:
    """100 real photos with 1,111 segments."""
    if not (shared_data / "coco").is_dir():
        pytest.skip("the 100 COCO photos are not here")
    source = open_source(SourceSpec("coco", str(shared_data / "coco")))
    segments = 0
    for index in range(len(source)):
        record = source.record(index)
        size = record.width, record.height
        segments += len(check_panoptic("map", source.panoptic(record, *size), size, source.categories).segments)
    assert (len(source), segments) == (100, 1111)


def test_reasons_are_documented() -> None:
    assert all(text and not text.endswith(".") for text in PHOTO_REASONS.values())


def test_synthetic_photos_depend_on_their_number_alone() -> None:
    few, many = (open_source(SourceSpec("synthetic", options={"count": count})) for count in ("3", "100000"))
    assert len(many) == 100_000 and few.fingerprint != many.fingerprint
    assert few.record(2) == many.record(2)
    assert few.photo_bytes(few.record(2)) == many.photo_bytes(many.record(2))
    assert few.photo_bytes(few.record(1)) != few.photo_bytes(few.record(2))
    with pytest.raises(UsageError, match="width is a whole number of at least 64, not '12'"):
        open_source(SourceSpec("synthetic", options={"width": "12"}))
    with pytest.raises(UsageError, match="Did you mean 'count'"):
        open_source(SourceSpec("synthetic", options={"cuont": "12"}))


@pytest.mark.usefixtures("no_sample_sheet")
@pytest.mark.slow
def test_the_size_of_pieces_has_no_influence_on_the_bytes(
    spec: SourceSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every unit whole, and every unit in pieces of one photo."""
    config = BuildConfig(spec, splits=(("train", 1.0),), limit=9)
    if spec.name == "openimages":
        config = replace(config, rules=rules(), margin=0)
    build(config, tmp_path / "whole")
    monkeypatch.setattr(units, "LARGEST_PIECE", 1)
    monkeypatch.setattr("olrd.builder.build.in_pieces", lambda whole, _: units.in_pieces(whole, None))
    joined = []
    monkeypatch.setattr("olrd.builder.join.join", lambda *args: (joined.append(args[2].name), join(*args)))
    build(config, tmp_path / "pieces")
    assert joined and digest(tmp_path / "pieces") == digest(tmp_path / "whole")
