"""The development data: 100 real COCO photos and 10 of Open Images. Skips where they are not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image as Pillow

from olrd.builder.build import build
from olrd.cli.build import main as olrd_build
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.sources import SourceSpec
from olrd.tools.verify import verify

pytestmark = pytest.mark.slow

GREYSCALE = "86"


@pytest.fixture(scope="module", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("hf"))
        yield


@pytest.fixture(scope="module")
def annotations(shared_data: Path) -> dict[str, Any]:
    path = shared_data / "coco" / "annotations" / "panoptic_train2017.json"
    value: dict[str, Any] = json.loads(path.read_text())
    return value


@pytest.fixture(scope="module")
def coco(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("coco") / "out"
    words = ["--source", "coco", "--root", str(shared_data / "coco"), "--out", str(out)]
    assert olrd_build([*words, "--workers", "2"]) == 0
    return out


@pytest.fixture(scope="module")
def openimages(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of the issue, without any other option."""
    out = tmp_path_factory.mktemp("openimages") / "out"
    words = ["--source", "openimages", "--root", str(shared_data / "openimages")]
    assert olrd_build([*words, "--out", str(out), "--workers", "2"]) == 0
    return out


def test_coco_gives_enough_triplets_that_all_hold(coco: Path) -> None:
    result = verify(coco, workers=2)
    assert result["problems"] == []
    assert result["triplets"] >= 100
    assert len({row["image_id"] for row in Dataset(coco).rows(["image_id"])}) >= 45


def test_coco_counts_add_up(coco: Path, annotations: dict[str, Any]) -> None:
    totals = Dataset(coco).record.to_json()["totals"]
    segments = [s for note in annotations["annotations"] for s in note["segments_info"]]
    assert (totals["photos_read"], totals["objects_read"]) == (100, len(segments)) == (100, 1111)
    assert totals["photos_rejected"] == {}
    assert totals["failures"] == []
    assert totals["photos_used"] + totals["photos_without_triplet"] == 100
    assert totals["objects_used"] + sum(totals["objects_rejected"].values()) == 1111
    kinds = {kind["id"]: kind for kind in annotations["categories"]}
    assert totals["objects_rejected"]["stuff"] == sum(not kinds[s["category_id"]]["isthing"] for s in segments)
    assert totals["objects_rejected"]["crowd"] == sum(s["iscrowd"] for s in segments)
    rows = list(Dataset(coco).rows(["image_id", "segment_id"]))
    assert totals["triplets"] == len(rows)
    assert totals["photos_used"] == len({row["image_id"] for row in rows})
    assert totals["objects_used"] == len({(row["image_id"], row["segment_id"]) for row in rows})


def test_load_dataset_opens_coco_with_the_right_features(coco: Path, shared_data: Path) -> None:
    loaded = datasets.load_dataset(str(coco))
    assert set(loaded) == {"train", "validation", "test"}
    assert sum(map(len, loaded.values())) == len(Dataset(coco))
    kinds = loaded["train"].features
    assert kinds["image"] == kinds["background"] == datasets.Image(mode="RGB")
    assert kinds["mask"] == datasets.Image()
    assert kinds["bbox"] == datasets.List(datasets.Value("int32"), length=4)
    photos: dict[str, set[str]] = {}
    for split, part in loaded.items():
        for photo in part["image_id"]:
            photos.setdefault(photo, set()).add(split)
    assert all(len(splits) == 1 for splits in photos.values())
    for row in loaded["test"]:
        name = f"{int(row['image_id']):012d}.jpg"
        with Pillow.open(shared_data / "coco" / "train2017" / name) as photo:
            original = np.asarray(photo.convert("RGB"))
        assert np.array_equal(np.asarray(row["background"]), original)
        image, mask = np.asarray(row["image"]), np.asarray(row["mask"])
        assert mask.shape == original.shape[:2] == (row["height"], row["width"])
        assert np.array_equal(image[~mask], original[~mask])


def test_the_greyscale_photo_passes(coco: Path, annotations: dict[str, Any]) -> None:
    """Read and not rejected."""
    assert GREYSCALE in {str(image["id"]) for image in annotations["images"]}
    failures = Dataset(coco).record.to_json()["totals"]["failures"]
    assert GREYSCALE not in {failure["image_id"] for failure in failures}


def test_the_greyscale_photo_alone_gives_triplets(
    shared_data: Path, annotations: dict[str, Any], tmp_path: Path
) -> None:
    """With loose rules, so that it is opened whatever its objects are like."""
    root = tmp_path / "grey"
    (root / "annotations").mkdir(parents=True)
    (root / "train2017").symlink_to(shared_data / "coco" / "train2017")
    pngs = shared_data / "coco" / "annotations" / "panoptic_train2017"
    (root / "annotations" / "panoptic_train2017").symlink_to(pngs)
    document = annotations | {
        "images": [i for i in annotations["images"] if str(i["id"]) == GREYSCALE],
        "annotations": [a for a in annotations["annotations"] if str(a["image_id"]) == GREYSCALE],
    }
    (root / "annotations" / "panoptic_train2017.json").write_text(json.dumps(document))
    out = str(tmp_path / "out")
    words = ["--source", "coco", "--root", str(root), "--out", out, "--max-area", "0.9"]
    loose = ["--min-area", "0.0001", "--max-contact", "1", "--allow-truncated"]
    assert olrd_build([*words, *loose, "--placement", "uniform", "--workers", "1"]) == 0
    assert Dataset(out).record.to_json()["totals"]["photos_rejected"] == {}
    assert verify(out)["problems"] == []
    (image,) = document["images"]
    stored = (shared_data / "coco" / "train2017" / image["file_name"]).read_bytes()
    assert all(row["background"]["bytes"] == stored for row in Dataset(out).rows())
    assert len(Dataset(out)) >= 1


def test_licenses_keep_only_what_was_asked_for(shared_data: Path, annotations: dict[str, Any], tmp_path: Path) -> None:
    spec = SourceSpec("coco", str(shared_data / "coco"))
    config = BuildConfig(spec, form="recipes", licenses="4,5,7", per_object=1)
    totals = build(config, tmp_path / "out", workers=2)["totals"]
    numbers = Counter(image["license"] for image in annotations["images"])
    free = {str(i["id"]) for i in annotations["images"] if i["license"] in (4, 5, 7)}
    assert len(free) == numbers[4] + numbers[5] + numbers[7] == 26
    assert totals["photos_rejected"] == {"license_refused": 74}
    codes = {"CC-BY-2.0", "CC-BY-SA-2.0", "no-known-copyright"}
    rows = list(Dataset(tmp_path / "out").rows())
    assert len(rows) > 10
    for row in rows:
        assert {row["license"], row["donor_license"]} <= codes
        assert {row["image_id"], row["donor_image_id"]} <= free
    assert verify(tmp_path / "out")["problems"] == []


def test_open_images_gives_triplets_that_all_hold(openimages: Path) -> None:
    result = verify(openimages, workers=2)
    assert result["problems"] == []
    assert result["triplets"] >= 5
    rows = list(Dataset(openimages).rows(["background_kind", "license", "prompt"]))
    assert {row["background_kind"] for row in rows} == {"unlabelled"}
    assert {row["license"] for row in rows} == {"unknown"}  # the folder has no image CSV


def test_open_images_photos_without_masks_are_counted(openimages: Path) -> None:
    totals = Dataset(openimages).record.to_json()["totals"]
    assert totals["photos_read"] == 10
    assert totals["photos_rejected"] == {"annotation_missing": 3}
    assert totals["photos_used"] + totals["photos_without_triplet"] == 7
    assert totals["objects_read"] == 10 + 7  # masks, and one background for each annotated photo
    assert totals["objects_rejected"]["stuff"] == 7


def test_open_images_masks_of_another_size_are_fitted(openimages: Path, shared_data: Path) -> None:
    """Every pasted mask has its photo's size, though no mask file has it."""
    home = shared_data / "openimages"
    sizes = {}
    for path in (home / "test-masks").rglob("*.png"):
        with Pillow.open(path) as mask:
            sizes[path.name.split("_")[0]] = mask.size
    loaded = datasets.load_dataset(str(openimages))
    seen = 0
    for part in loaded.values():
        for row in part:
            with Pillow.open(home / "test" / f"{row['image_id']}.jpg") as photo:
                assert row["mask"].size == row["image"].size == photo.size
                seen += photo.size != sizes[row["image_id"]]
    assert seen >= 5
