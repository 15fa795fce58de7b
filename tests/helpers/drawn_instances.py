"""A drawn set of COCO instances: photos of discs and boxes, with polygons and run lengths of all kinds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pillow
from pycocotools import mask as coco
from synthetic_coco import ellipse, licenses

from olrd.arrays import Ids
from olrd.config import BuildConfig, CandidateRules
from olrd.panoptic import Record, check_panoptic
from olrd.sources import Source, SourceSpec, open_source

WIDTH, HEIGHT = 240, 180
CATEGORIES = ("dog", "sports ball", "person")
Bits = np.ndarray


@dataclass
class DrawnInstances:
    """A JSON and photos in the making."""

    root: Path
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    categories: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"id": number, "name": name, "supercategory": "thing"} for number, name in enumerate(CATEGORIES, start=1)
        ]
    )
    pixels: dict[str, np.ndarray] = field(default_factory=dict)

    def photo(self, number: int, **change: Any) -> dict[str, Any]:
        """A photo of slow shades; `change` are fields of its entry, None leaves one out."""
        rng = np.random.default_rng(number)
        slow = rng.normal(0, 1, (HEIGHT // 8, WIDTH // 8, 3)).astype(np.float32)
        pixels = cv2.resize(slow, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) * 20 + 128
        name = f"{number:012d}.jpg"
        entry = {
            "id": number,
            "file_name": name,
            "width": WIDTH,
            "height": HEIGHT,
            "license": 4,
            "coco_url": f"http://images.cocodataset.org/train/{name}",
        } | change
        self.images.append({key: value for key, value in entry.items() if value is not None})
        self.pixels[name] = np.clip(pixels + rng.normal(0, 3, pixels.shape), 0, 255).astype(np.uint8)
        return self.images[-1]

    def add(self, image: Any, category: Any, segmentation: Any, **change: Any) -> None:
        entry = {
            "id": 100 + len(self.annotations),
            "image_id": image,
            "category_id": category,
            "segmentation": segmentation,
            "iscrowd": 0,
        } | change
        self.annotations.append({key: value for key, value in entry.items() if value is not None})

    def document(self) -> dict[str, Any]:
        return {
            "info": {"description": "drawn"},
            "licenses": licenses(),
            "images": self.images,
            "annotations": self.annotations,
            "categories": self.categories,
        }

    def save(self, json_name: str = "annotations/instances_train.json", photos: str = "train") -> Path:
        (self.root / photos).mkdir(parents=True, exist_ok=True)
        for name, pixels in self.pixels.items():
            Pillow.fromarray(pixels).save(self.root / photos / name)
        path = self.root / json_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.document()))
        return self.root


def outline(mask: Bits) -> list[list[float]]:
    """The polygons of a mask, as labelling tools write them."""
    found, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [contour.ravel().astype(float).tolist() for contour in found if len(contour) > 2]


def runs(mask: Bits) -> dict[str, Any]:
    """Uncompressed run lengths by a loop over the pixels, column by column."""
    counts, now = [0], False
    for value in mask.ravel(order="F").tolist():
        if value != now:
            counts.append(0)
            now = value
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def packed(mask: Bits) -> dict[str, Any]:
    """Compressed run lengths."""
    found = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    return {"size": list(mask.shape), "counts": found["counts"].decode()}


def disc(x: int, y: int, w: int, h: int) -> Bits:
    return ellipse((HEIGHT, WIDTH), (x, y, w, h))


def draw_instances(root: Path) -> DrawnInstances:
    """Photo 1: two objects apart; 2: a small one over a large one, and a crowd; 3: none; 4: all kinds of segmentation.
    The annotations of the photos are mixed, as in COCO's files."""
    drawn = DrawnInstances(root)
    for number in (1, 2, 3, 4):
        drawn.photo(number)
    drawn.add(1, 1, outline(disc(20, 60, 40, 50)))
    drawn.add(2, 2, outline(disc(70, 70, 24, 24)))
    drawn.add(4, 1, packed(disc(30, 40, 40, 40)))
    drawn.add(1, 2, outline(disc(140, 90, 30, 30)))
    drawn.add(2, 1, outline(disc(40, 40, 110, 90)))
    drawn.add(4, 2, runs(disc(150, 60, 30, 40)))
    crowd = disc(170, 120, 30, 20) | disc(200, 130, 30, 20)
    drawn.add(2, 3, runs(crowd), iscrowd=1, id=900100000002)
    drawn.add(4, 3, [*outline(disc(90, 120, 20, 40)), *outline(disc(114, 120, 14, 40))])
    return drawn


def spec_of(root: Path, subset: str | None = None, source: str = "instances", **options: str) -> SourceSpec:
    return SourceSpec(source, str(root), subset, options)


def config_of(spec: SourceSpec) -> BuildConfig:
    return BuildConfig(spec, placement="uniform", rules=CandidateRules(min_area=0.002, max_area=0.3), per_object=1)


def opened(root: Path, subset: str | None = None, **options: str) -> Source:
    return open_source(spec_of(root, subset, **options))


def record_of(source: Source, image_id: str) -> Record:
    (found,) = [source.record(k) for k in range(len(source)) if source.image_id(k) == image_id]
    return found


def ids_of(source: Source, record: Record) -> Ids:
    """The map of a photo, checked."""
    panoptic = source.panoptic(record, WIDTH, HEIGHT)
    check_panoptic(record.file_name, panoptic, (WIDTH, HEIGHT), source.categories)
    return panoptic.ids
