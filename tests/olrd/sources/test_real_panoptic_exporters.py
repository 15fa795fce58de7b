"""Panoptic sets written by the exporters of other projects give triplets.

OLRD_EXPORTERS_PYTHON names an interpreter that has them:
`python -m venv apart && apart/bin/pip install datumaro cityscapesscripts`. panopticapi is installed with `olrd[pq]`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from synthetic_coco import write_coco

from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.sources import SourceSpec

PYTHON = os.environ.get("OLRD_EXPORTERS_PYTHON", "")
apart = pytest.mark.skipif(not PYTHON, reason="OLRD_EXPORTERS_PYTHON names no interpreter with the exporters")
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_sample_sheets")]

DATUMARO = """
import json, sys
import numpy as np
from datumaro.components.annotation import Mask
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from PIL import Image as Pillow

root, out = sys.argv[1:]
given = json.load(open(f"{root}/annotations/panoptic_train2017.json"))
names = {kind["id"]: kind["name"] for kind in given["categories"]}
labels = sorted({names[s["category_id"]] for note in given["annotations"] for s in note["segments_info"]})
items = []
for note in given["annotations"]:
    stem = note["file_name"].removesuffix(".png")
    rgb = np.asarray(Pillow.open(f"{root}/annotations/panoptic_train2017/{note['file_name']}")).astype(int)
    ids = rgb @ [1, 256, 65536]
    masks = [
        Mask(ids == s["id"], label=labels.index(names[s["category_id"]]), id=k, group=k)
        for k, s in enumerate(note["segments_info"], start=1)
    ]
    photo = np.asarray(Pillow.open(f"{root}/train2017/{stem}.jpg").convert("RGB"))
    media = Image.from_numpy(data=photo)
    items.append(DatasetItem(id=stem, subset="train", media=media, annotations=masks, attributes={"id": note["image_id"]}))
Dataset.from_iterable(items, categories=labels).export(out, "coco_panoptic", save_media=True)
"""
CITYSCAPES = {"sky": 23, "road": 7, "terrain": 22, "person": 24, "car": 26}


def totals_of(root: Path, out: Path, **options: str) -> dict[str, Any]:
    config = BuildConfig(SourceSpec("coco", str(root), options=options), per_object=1)
    return dict(build(config, out)["totals"])


def documents(root: Path) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    document = json.loads((root / "annotations" / "panoptic_train2017.json").read_text())
    return document, {kind["id"]: kind for kind in document["categories"]}


def ids_of(root: Path, note: dict[str, Any]) -> np.ndarray:
    with Image.open(root / "annotations" / "panoptic_train2017" / note["file_name"]) as picture:
        return np.asarray(picture).astype(np.int64) @ [1, 256, 65536]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OLRD_CACHE", str(tmp_path / "cache"))
    return write_coco(tmp_path / "drawn")


@apart
def test_datumaros_panoptic_export_builds(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It writes isthing 0 for all classes: the names decide."""
    expected = totals_of(root, tmp_path / "expected")["triplets"]
    argv = [PYTHON, "-c", DATUMARO, str(root), str(tmp_path / "set")]
    subprocess.run(argv, check=True, capture_output=True, timeout=120)
    totals = totals_of(tmp_path / "set", tmp_path / "out")
    assert totals["photos_rejected"] == {} and totals["triplets"] >= expected  # its crowds are ordinary things
    assert "isthing is 0 for all" in capsys.readouterr().err


@apart
@pytest.mark.parametrize("train_ids", [False, True])
def test_cityscapesscripts_conversion_builds(train_ids: bool, root: Path, tmp_path: Path) -> None:
    """With its train ids, road is class 0."""
    document, kinds = documents(root)
    words = {"sky-other-merged": "sky", "road": "road", "grass-merged": "terrain", "sand": "terrain"}
    city = tmp_path / "cityscapes"
    for number, note in enumerate(document["annotations"]):
        ids = ids_of(root, note)
        labels = np.zeros(ids.shape, np.uint16)
        for k, segment in enumerate(note["segments_info"]):
            kind = kinds[segment["category_id"]]
            label = CITYSCAPES["car"] * 1000 + k if kind["isthing"] else CITYSCAPES[words[kind["name"]]]
            labels[ids == segment["id"]] = label
        name = f"ulm_{number:06d}_000019"
        for folder in ("gtFine", "leftImg8bit"):
            (city / folder / "val" / "ulm").mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(city / "gtFine" / "val" / "ulm" / f"{name}_gtFine_instanceIds.png")
        with Image.open(root / "train2017" / note["file_name"].replace(".png", ".jpg")) as photo:
            photo.save(city / "leftImg8bit" / "val" / "ulm" / f"{name}_leftImg8bit.png")
    argv = [PYTHON, "-m", "cityscapesscripts.preparation.createPanopticImgs", "--dataset-folder", str(city / "gtFine")]
    argv += ["--set-names", "val", *(["--use-train-id"] if train_ids else [])]
    subprocess.run(argv, check=True, capture_output=True, timeout=120)
    totals = totals_of(city, tmp_path / "out")
    assert totals["photos_rejected"] == {} and totals["triplets"] > 0
    assert totals["objects_rejected"].get("no_surface", 0) < totals["objects_read"] / 4


def test_panopticapis_combined_predictions_build(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script of panopticapi that joins instances and stuff."""
    combine = pytest.importorskip(
        "panopticapi.combine_semantic_and_instance_predictions", reason="pip install --no-deps panopticapi-lite"
    )
    # Its pool forks this process, whose threads may hold a lock at that moment: the fork then waits without end.
    threads = SimpleNamespace(Pool=ThreadPool, cpu_count=multiprocessing.cpu_count)
    monkeypatch.setattr(combine, "multiprocessing", threads)
    document, kinds = documents(root)
    instances, stuff = [], []
    for note in document["annotations"]:
        ids = ids_of(root, note)
        for segment in note["segments_info"]:
            rle = coco_mask.encode(np.asfortranarray((ids == segment["id"]).astype(np.uint8)))
            entry = {
                "image_id": note["image_id"],
                "category_id": segment["category_id"],
                "segmentation": rle | {"counts": rle["counts"].decode()},
            }
            if kinds[segment["category_id"]]["isthing"]:
                instances.append(entry | {"score": 0.9})
            else:
                stuff.append(entry)
    out = tmp_path / "set"
    out.mkdir()
    colours = [kind | {"color": [kind["id"], 200 - kind["id"], 90]} for kind in document["categories"]]
    names = ("images", "categories", "instances", "stuff")
    for name, content in zip(names, (document, colours, instances, stuff), strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    combine.combine_predictions(
        str(tmp_path / "stuff.json"),
        str(tmp_path / "instances.json"),
        str(tmp_path / "images.json"),
        str(tmp_path / "categories.json"),
        str(out / "panoptic"),
        str(out / "predictions.json"),
        0.5,
        0.5,
        0,
    )
    (root / "train2017").rename(out / "images")
    totals = totals_of(out, tmp_path / "out")
    assert totals["photos_rejected"] == {} and totals["triplets"] > 0
