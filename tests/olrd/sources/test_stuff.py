"""Stuff beside instances: COCO-Stuff as JSON, as panoptic PNGs and as pixel maps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_instances import HEIGHT, WIDTH, DrawnInstances, config_of, disc, packed, runs, spec_of
from PIL import Image as Pillow

from olrd.builder.build import build
from olrd.dataset.folder import Dataset
from olrd.errors import Rejected, SourceError
from olrd.models.coco_categories import coco_categories
from olrd.panoptic import check_panoptic
from olrd.sources import Source, open_source
from olrd.sources.instances.stuff_names import stuff_names
from olrd.tools.verify import verify

pytestmark = pytest.mark.usefixtures("no_sample_sheets")

SKY, GRASS, OTHER = 157, 124, 183
STUFF = {SKY: "sky-other", GRASS: "grass"}


def labels(number: int) -> np.ndarray:
    """The stuff of photo `number`, by COCO-Stuff's numbers: sky over grass, with two rows of nothing."""
    values = np.full((HEIGHT, WIDTH), GRASS, np.uint8)
    values[: 40 + number] = SKY
    values[:2] = 0
    return values


def as_instances(instances: DrawnInstances) -> str:
    """COCO's stuff_train.json: run lengths, and the class `other` where instances are."""
    annotations = []
    for image in instances.images:
        values = labels(image["id"])
        for kind, form in ((SKY, packed), (GRASS, runs)):
            annotations.append((image["id"], kind, form(values == kind)))
        annotations.append((image["id"], OTHER, packed(disc(20, 60, 40, 50))))
    document = {
        "images": instances.images,
        "annotations": [
            {"id": n, "image_id": image, "category_id": kind, "segmentation": shape, "iscrowd": 0}
            for n, (image, kind, shape) in enumerate(annotations, start=1)
        ],
        "categories": [
            *({"id": kind, "name": name, "supercategory": "stuff"} for kind, name in STUFF.items()),
            {"id": OTHER, "name": "other", "supercategory": "other"},
        ],
    }
    (instances.root / "annotations/stuff_train.json").write_text(json.dumps(document))
    return "annotations/stuff_train.json"


def as_panoptic(instances: DrawnInstances) -> str:
    """A panoptic JSON with the names of COCO-Stuff, and a thing that is left to the instances."""
    folder = instances.root / "annotations/panoptic_train"
    folder.mkdir()
    annotations = []
    for image in instances.images:
        values = labels(image["id"]).astype(np.uint32)
        values[disc(20, 60, 40, 50)] = 1
        segments = []
        for kind in (SKY, GRASS, 1):
            rows, columns = np.nonzero(values == kind)
            left, top = int(columns.min()), int(rows.min())
            box = [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1]
            segments.append({"id": kind, "category_id": kind, "area": len(rows), "bbox": box, "iscrowd": 0})
        name = f"{image['id']:012d}.png"
        Pillow.fromarray(np.stack([values, values * 0, values * 0], axis=-1).astype(np.uint8)).save(folder / name)
        annotations.append({"image_id": image["id"], "file_name": name, "segments_info": segments})
    document = {
        "images": instances.images,
        "annotations": annotations,
        "categories": [
            {"id": 1, "name": "dog", "supercategory": "animal", "isthing": 1},
            *({"id": k, "name": name, "supercategory": "stuff", "isthing": 0} for k, name in STUFF.items()),
        ],
    }
    (instances.root / "annotations/panoptic_train.json").write_text(json.dumps(document))
    return "annotations/panoptic_train.json"


def as_pixelmaps(instances: DrawnInstances) -> str:
    """stuff_train_pixelmaps: 0 is nothing, 183 is where instances are."""
    folder = instances.root / "annotations/stuff_train_pixelmaps"
    folder.mkdir()
    for image in instances.images:
        values = labels(image["id"])
        values[disc(20, 60, 40, 50)] = OTHER
        Pillow.fromarray(values).save(folder / f"{image['id']:012d}.png")
    return "annotations/stuff_train_pixelmaps"


def as_stuffthingmaps(instances: DrawnInstances) -> str:
    """stuffthingmaps: ids less one, things too, and 255 is nothing."""
    folder = instances.root / "stuffthingmaps"
    folder.mkdir()
    for image in instances.images:
        values = labels(image["id"]) - np.uint8(1)  # 0 becomes 255
        values[disc(20, 60, 40, 50)] = 17
        Pillow.fromarray(values).save(folder / f"{image['id']:012d}.png")
    return "stuffthingmaps"


FORMS: dict[str, Callable[[DrawnInstances], str]] = {
    "instances": as_instances,
    "panoptic": as_panoptic,
    "pixel maps": as_pixelmaps,
    "things and stuff": as_stuffthingmaps,
}


def named_map(source: Source, index: int) -> tuple[np.ndarray, dict[str, set[int]]]:
    """The checked map of a photo, and the ids of its segments by class."""
    record = source.record(index)
    panoptic = source.panoptic(record, WIDTH, HEIGHT)
    check_panoptic(record.file_name, panoptic, (WIDTH, HEIGHT), source.categories)
    ids: dict[str, set[int]] = {}
    for segment in record.segments:
        ids.setdefault(source.categories[segment.category_id].name, set()).add(segment.id)
    return panoptic.ids, ids


@pytest.mark.parametrize("form", FORMS)
def test_stuff_lies_below_the_instances(form: str, instances: DrawnInstances) -> None:
    """Every pixel is compared with the drawing; void is where neither says something."""
    root = instances.save()
    stuff = FORMS[form](instances)
    plain, source = open_source(spec_of(root)), open_source(spec_of(root, stuff=stuff))
    assert source.background_kind == "stuff" and plain.background_kind == "unlabelled"
    assert source.fingerprint != plain.fingerprint
    for index, image in enumerate(instances.images):
        ids, segments = named_map(source, index)
        assert {"sky-other", "grass"} <= segments.keys() and "background" not in segments
        objects = np.zeros((HEIGHT, WIDTH), bool)
        if plain.record(index).segments:
            below, _ = named_map(plain, index)
            objects = below < 0xF0000000
            assert np.array_equal(ids[objects], below[objects])
        values = labels(image["id"])
        unknown = disc(20, 60, 40, 50) if form != "instances" else np.zeros_like(objects)
        for kind, name in STUFF.items():
            (number,) = segments[name]
            assert np.array_equal(ids == number, (values == kind) & ~objects & ~unknown)
        assert (ids[(values == 0) & ~objects] == 0).all()


def test_a_photo_without_stuff_is_void_outside_its_objects(instances: DrawnInstances) -> None:
    root = instances.save()
    stuff = root / as_pixelmaps(instances)
    (stuff / "000000000001.png").unlink()
    source = open_source(spec_of(root, stuff=str(stuff)))
    ids, segments = named_map(source, 0)
    assert set(segments) == {"dog", "sports ball"}
    assert (ids == 0).any()


def test_maps_of_another_size_or_kind_refuse_their_photo(instances: DrawnInstances) -> None:
    root = instances.save()
    stuff = root / as_pixelmaps(instances)
    Pillow.new("L", (9, 9)).save(stuff / "000000000001.png")
    Pillow.new("RGB", (WIDTH, HEIGHT)).save(stuff / "000000000002.png")
    source = open_source(spec_of(root, stuff=str(stuff)))
    for index, code in ((0, "panoptic_size"), (1, "panoptic_unreadable")):
        with pytest.raises(Rejected) as caught:
            source.panoptic(source.record(index), WIDTH, HEIGHT)
        assert caught.value.code == code


def test_a_folder_without_maps_and_a_missing_one_are_errors(instances: DrawnInstances) -> None:
    root = instances.save()
    (root / "empty").mkdir()
    with pytest.raises(SourceError, match="expected pixel maps of COCO-Stuff"):
        open_source(spec_of(root, stuff="empty"))
    with pytest.raises(SourceError, match="stuff=nothing: there is no such file or folder"):
        open_source(spec_of(root, stuff="nothing"))


def test_the_names_are_those_of_coco_stuff() -> None:
    """91 classes; COCO panoptic kept some with the same number."""
    names = stuff_names()
    assert list(names) == list(range(92, 183))
    kept = [c for c in coco_categories().values() if not c.isthing and not c.name.endswith("-merged")]
    assert len(kept) > 30
    for category in kept:
        assert names[category.id] == (category.name, category.supercategory)


@pytest.mark.slow
def test_a_build_with_stuff_verifies(instances: DrawnInstances, tmp_path: Path) -> None:
    root = instances.save()
    build(config_of(spec_of(root, stuff=as_pixelmaps(instances))), tmp_path / "out")
    verify(tmp_path / "out")
    rows = [triplet.row for triplet in Dataset(tmp_path / "out")]
    assert rows and {row["background_kind"] for row in rows} == {"stuff"}
    assert "A photo of R* grass" in {row["prompt"] for row in rows}
