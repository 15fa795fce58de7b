"""A drawn folder with the official columns of Open Images."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pillow
from synthetic_coco import ellipse

from olrd.config import BuildConfig, CandidateRules
from olrd.panoptic import Record, check_panoptic
from olrd.sources import Source, SourceSpec, open_source

HEADER = [
    "MaskPath",
    "ImageID",
    "LabelName",
    "BoxID",
    "BoxXMin",
    "BoxXMax",
    "BoxYMin",
    "BoxYMax",
    "PredictedIoU",
    "Clicks",
]
BOX_HEADER = [
    "ImageID",
    "Source",
    "LabelName",
    "Confidence",
    "XMin",
    "XMax",
    "YMin",
    "YMax",
    "IsOccluded",
    "IsTruncated",
    "IsGroupOf",
    "IsDepiction",
    "IsInside",
]
IMAGE_HEADER = [
    "ImageID",
    "Subset",
    "OriginalURL",
    "OriginalLandingURL",
    "License",
    "AuthorProfileURL",
    "Author",
    "Title",
    "OriginalSize",
    "OriginalMD5",
    "Thumbnail300KURL",
    "Rotation",
]
WIDTH, HEIGHT = 240, 180
DOG, BALL, PIZZA = "/m/0bt9lr", "/m/018xm", "/m/0663v"
BACKGROUND = 1
"""The category that stands for what no mask and no box covers."""
Bits = np.ndarray
Shares = tuple[float, float, float, float]


@dataclass
class Drawn:
    """A folder in the making. Shares (x, y, w, h) are of the photo; masks have their own size."""

    root: Path
    subset: str = "test"
    rows: list[list[Any]] = field(default_factory=list)
    masks: dict[str, Bits] = field(default_factory=dict)

    def photo(self, image_id: str, width: int = WIDTH, height: int = HEIGHT) -> None:
        rng = np.random.default_rng(int(image_id, 16))
        slow = rng.normal(0, 1, (height // 8, width // 8, 3)).astype(np.float32)
        pixels = cv2.resize(slow, (width, height), interpolation=cv2.INTER_CUBIC) * 20 + 128
        pixels += rng.normal(0, 3, pixels.shape)
        folder = self.root / self.subset
        folder.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{image_id}.jpg")

    def mask(
        self,
        image_id: str,
        label: str,
        box_id: str,
        box: Shares,
        size: tuple[int, int] = (320, 240),
        box_around: Shares | None = None,
    ) -> str:
        """An ellipse in `box`; `box_around` is the box of the CSV if it is another one."""
        width, height = size
        x, y, w, h = (round(v * n) for v, n in zip(box, (width, height) * 2, strict=True))
        name = f"{image_id}_{label.strip('/').replace('/', '')}_{box_id}.png"
        self.masks[name] = ellipse((height, width), (x, y, w, h), 6.0)
        x0, y0, w0, h0 = box_around or box
        corners = [x0, x0 + w0, y0, y0 + h0]
        self.rows.append([name, image_id, label, box_id, *(f"{c:.6f}" for c in corners), "", ""])
        return name

    def save(self, folder: str = "test-masks", by_first: bool = False) -> Path:
        for name, mask in self.masks.items():
            home = self.root / (folder.replace("?", name[0]))
            home = home / name[0].upper() if by_first else home
            home.mkdir(parents=True, exist_ok=True)
            Pillow.fromarray(mask).save(home / name)
        (self.root / self.subset).mkdir(parents=True, exist_ok=True)
        self.write(f"{self.subset}-annotations-object-segmentation.csv", HEADER, self.rows)
        return self.root

    def write(self, name: str, header: list[str] | None, rows: Iterable[list[Any]]) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([*([header] if header else []), *rows])


def draw(root: Path) -> Drawn:
    """Photo ...01 has two objects apart, ...02 one over another, ...03 none at all."""
    drawn = Drawn(root)
    for k in (1, 2, 3):
        drawn.photo(f"{k:016x}")
    one, two = f"{1:016x}", f"{2:016x}"
    drawn.mask(one, DOG, "9a041d52", (0.1, 0.3, 0.15, 0.25))
    drawn.mask(one, BALL, "0000beef", (0.5, 0.5, 0.1, 0.15), (480, 360))
    drawn.mask(two, DOG, "aaaaaaaa", (0.2, 0.2, 0.5, 0.5))
    drawn.mask(two, PIZZA, "bbbbbbbb", (0.3, 0.3, 0.1, 0.1))
    return drawn


def opened(root: Path, **options: Any) -> Source:
    return open_source(SourceSpec("openimages", str(root), **options))


def by_id(source: Source) -> dict[str, Record]:
    return {source.image_id(k): source.record(k) for k in range(len(source))}


def ids_of(source: Source, record: Record, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    panoptic = source.panoptic(record, *size)
    check_panoptic(record.file_name, panoptic, size, source.categories)
    return panoptic.ids


def segment_of(source: Source, record: Record, name: str) -> int:
    (found,) = [s.id for s in record.segments if source.categories[s.category_id].name == name]
    return found


def rules() -> CandidateRules:
    return CandidateRules(min_area=0.002, max_area=0.3)


def config_of(root: Path, **change: Any) -> BuildConfig:
    spec = SourceSpec("openimages", str(root))
    return BuildConfig(spec, placement="uniform", rules=rules(), per_object=1, **change)
