"""Panoptic sets in the folders of common tools, and options that say where the parts are."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bad_folder import Folder, config_of
from cases import every
from PIL import Image as Pillow

from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.errors import OlrdError, Rejected, SourceError
from olrd.sources import SourceSpec, open_source

pytestmark = pytest.mark.usefixtures("no_sample_sheets")


@pytest.fixture(scope="module")
def triplets(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """The number of triplets of the undisturbed set."""
    config = replace(config_of(pristine), form="recipes")
    found: int = build(config, tmp_path_factory.mktemp("good") / "out")["totals"]["triplets"]
    return found


def flat(root: Path) -> None:
    """JSON and photos as a labelling tool exports them."""
    (root / "annotations" / "panoptic_train2017.json").rename(root / "_annotations.coco.json")
    (root / "annotations" / "panoptic_train2017").rename(root / "masks")
    (root / "train2017").rename(root / "images")


def cityscapes(root: Path) -> None:
    """As cityscapesscripts leaves it: another name of the photos than in the JSON, folders by city."""
    document = json.loads((root / "annotations" / "panoptic_train2017.json").read_text())
    (root / "gtFine").mkdir()
    (root / "annotations" / "panoptic_train2017").rename(root / "gtFine" / "cityscapes_panoptic_val")
    for number, image in enumerate(document["images"]):
        city = root / "leftImg8bit" / "val" / f"city{number % 2}"
        city.mkdir(parents=True, exist_ok=True)
        photo = root / "train2017" / image["file_name"]
        image["file_name"] = f"city{number % 2}_{number:06d}_gtFine_leftImg8bit.png"
        with Pillow.open(photo) as picture:
            picture.save(city / image["file_name"].replace("_gtFine", ""))
    (root / "gtFine" / "cityscapes_panoptic_val.json").write_text(json.dumps(document))
    shutil.rmtree(root / "train2017")
    shutil.rmtree(root / "annotations")


def linked(root: Path) -> None:
    (root / "train2017").rename(root.parent / "elsewhere")
    (root / "train2017").symlink_to(os.path.relpath(root.parent / "elsewhere", root))


def coconut(root: Path) -> None:
    """As download_coconut.py leaves it, with COCO's photos beside."""
    (root / "annotations" / "panoptic_train2017.json").rename(root / "relabeled_coco_val.json")
    (root / "annotations" / "panoptic_train2017").rename(root / "relabeled_coco_val")
    (root / "annotations").rmdir()
    (root / "train2017").rename(root / "val2017")


def ade20k(root: Path) -> None:
    (root / "annotations" / "panoptic_train2017.json").rename(root / "ade20k_panoptic_train.json")
    (root / "annotations" / "panoptic_train2017").rename(root / "ade20k_panoptic_train")
    (root / "images").mkdir()
    (root / "train2017").rename(root / "images" / "training")


def segments_ai(root: Path) -> None:
    """One folder for photos and maps, and a JSON named after the release."""
    (root / "annotations" / "panoptic_train2017.json").rename(root / "export_coco-panoptic_someone_set_v0.1.json")
    out = root / "segments" / "someone_set" / "v0.1"
    out.mkdir(parents=True)
    for path in (*(root / "annotations/panoptic_train2017").iterdir(), *(root / "train2017").iterdir()):
        path.rename(out / path.name)
    shutil.rmtree(root / "annotations")
    shutil.rmtree(root / "train2017")


def predictions(root: Path) -> None:
    """As detectron2 and mmdetection write predictions: maps beside the JSON, without categories[].isthing or areas."""
    out = root / "inference"
    (root / "annotations" / "panoptic_train2017").rename(out)
    document = json.loads((root / "annotations" / "panoptic_train2017.json").read_text())
    things = {kind["id"]: bool(kind.pop("isthing")) for kind in document["categories"]}
    for note in document["annotations"]:
        for segment in note["segments_info"]:
            segment |= {"isthing": things[segment["category_id"]]}
            del segment["area"], segment["bbox"]
    (out / "predictions.json").write_text(json.dumps(document))
    shutil.rmtree(root / "annotations")


def mapillary(root: Path) -> None:
    base = root / "training" / "v2.0" / "panoptic"
    base.mkdir(parents=True)
    (root / "annotations" / "panoptic_train2017.json").rename(base / "panoptic_2020.json")
    for png in (root / "annotations" / "panoptic_train2017").iterdir():
        png.rename(base / png.name)
    (root / "train2017").rename(root / "training" / "images")
    shutil.rmtree(root / "annotations")


LAYOUTS: dict[Callable[[Path], None], dict[str, str]] = {
    flat: {},
    cityscapes: {},
    linked: {},
    coconut: {},
    ade20k: {},
    segments_ai: {"pngs": "segments/someone_set/v0.1", "photos": "segments/someone_set/v0.1"},
    predictions: {},
    mapillary: {
        "json": "training/v2.0/panoptic/panoptic_2020.json",
        "pngs": "training/v2.0/panoptic",
        "photos": "training/images",
    },
}


@pytest.mark.parametrize(
    ("layout", "options"), every(3, {layout.__name__: (layout, options) for layout, options in LAYOUTS.items()})
)
def test_layouts_of_common_tools_build(
    layout: Callable[[Path], None], options: dict[str, str], folder: Folder, triplets: int, tmp_path: Path
) -> None:
    root = folder.save()
    layout(root)
    totals = build(BuildConfig(SourceSpec("coco", str(root), options=options), per_object=1), tmp_path / "out")[
        "totals"
    ]
    assert totals["photos_rejected"] == {}
    assert totals["triplets"] == triplets


def test_two_listed_names_never_mean_one_file(folder: Folder) -> None:
    """The photos of two subfolders have equal names, and only one of them is there, in no subfolder."""
    first, second = folder.images[:2]
    photo = folder.photo(0)
    photo.rename(photo.with_name("x.jpg"))
    first["file_name"], second["file_name"] = "a/x.jpg", "b/x.jpg"
    source = open_source(SourceSpec("coco", str(folder.save())))
    for number in range(len(source)):
        record = source.record(number)
        if record.file_name in ("a/x.jpg", "b/x.jpg"):
            with pytest.raises(Rejected, match="is not there"):
                source.photo_bytes(record)
    second["file_name"] = "./a//x.jpg"
    folder.save()
    with pytest.raises(SourceError, match="is listed for the images"):
        open_source(SourceSpec("coco", str(folder.root)))


def test_the_map_of_a_photo_is_never_taken_for_the_photo(folder: Folder) -> None:
    """Both lie in one root, the photo is missing, and the map has its name."""
    root = folder.save()
    for photo in (root / "train2017").iterdir():
        photo.rename(root / photo.name)
    (root / "train2017").rmdir()
    name = str(folder.image["file_name"])
    (root / name).unlink()
    source = open_source(SourceSpec("coco", str(root)))
    record = next(r for r in map(source.record, range(len(source))) if r.file_name == name)
    with pytest.raises(Rejected, match="is not there"):
        source.photo_bytes(record)


def test_a_root_that_is_too_high_or_a_file_is_told(folder: Folder) -> None:
    root = folder.save()
    with pytest.raises(SourceError, match=rf"Is it --root {re.escape(str(root))}\?"):
        open_source(SourceSpec("coco", str(root.parent)))
    with pytest.raises(SourceError, match=r"is not a folder: give its folder, and --source-option json=panoptic_train"):
        open_source(SourceSpec("coco", str(root / "annotations" / "panoptic_train2017.json")))


def test_options_say_where_the_parts_are(folder: Folder) -> None:
    root = folder.save()
    (root / "a" / "deep").mkdir(parents=True)
    (root / "annotations" / "panoptic_train2017.json").rename(root / "a" / "deep" / "labels.json")
    (root / "annotations" / "panoptic_train2017").rename(root / "a" / "deep" / "maps")
    (root / "train2017").rename(root / "a" / "deep" / "pictures")
    with pytest.raises(SourceError, match=r"There are: a, annotations.*json=PATH"):
        open_source(SourceSpec("coco", str(root)))
    options = {"json": "a/deep/labels.json", "pngs": str(root / "a/deep/maps"), "photos": "a/deep/pictures/"}
    source = open_source(SourceSpec("coco", str(root), options=options))
    record = source.record(0)
    assert source.photo_bytes(record) and source.panoptic(record, record.width, record.height)
    for name in options:
        with pytest.raises(OlrdError, match=f"source option {name}=nowhere"):
            open_source(SourceSpec("coco", str(root), options=options | {name: "nowhere"}))


def test_options_say_which_classes_are_things(folder: Folder) -> None:
    name = next(kind["name"] for kind in folder.document["categories"] if kind["isthing"])
    for kind in folder.document["categories"]:
        del kind["isthing"]
    source = open_source(SourceSpec("coco", str(folder.save()), options={"things": name}))
    assert {kind.name for kind in source.categories.values() if kind.isthing} == {name}
