"""Small built datasets of drawn photos, with real recipes, written with the package's own schema."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import olrd
from olrd.arrays import Image, Mask, encode_image, encode_mask
from olrd.config import BLENDS, BuildConfig
from olrd.dataset.record import BuildRecord, ShardRecord
from olrd.dataset.schema import schema
from olrd.masks import mask_box
from olrd.panoptic import Box, encode_rle
from olrd.sources import SourceInfo, SourceSpec
from olrd.storage.files import sha256, to_json
from olrd.triplets.compose import compose, pixels_sha256
from olrd.triplets.recipe import PhotoRef, Recipe
from olrd.triplets.tally import Tally

WIDTH, HEIGHT = 180, 128
CATEGORIES = (("dog", "animal"), ("cup", "kitchen"), ("kite", "sports"))


def _field(rng: np.random.Generator, cells: int, size: tuple[int, int]) -> np.ndarray:
    """A smooth random colour field, float64 [H, W, 3], from a coarse grid of colours."""
    coarse = rng.uniform(40, 215, (cells, cells, 3))
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))


def draw_photo(number: int) -> tuple[Image, Mask]:
    """Photo `number` with one object at its left, and the object's mask, bool [H, W].

    The object's edge is soft and everything carries the same grain, as a camera would see it.
    """
    rng = np.random.default_rng(number)
    size = WIDTH, HEIGHT
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    axes = int(rng.integers(16, 24)), int(rng.integers(20, 32))
    cv2.ellipse(mask, (48, 62), axes, float(rng.integers(0, 90)), 0, 360, 1, -1)
    alpha = cv2.GaussianBlur(mask.astype(np.float64), (0, 0), 1.2)[..., None]
    scene = _field(rng, 5, size) * (1 - alpha) + _field(rng, 9, size) * alpha
    scene = scene + rng.normal(0, 4, scene.shape)
    return np.clip(scene, 0, 255).astype(np.uint8), mask.astype(np.bool_)


def write_dataset(
    folder: Path,
    photos: int = 12,
    per_photo: int = 2,
    blend: str = "hard",
    form: str = "full",
    splits: tuple[str, ...] = ("train", "test"),
    donor: str = "same",
    scale: float = 1.0,
    flip: bool = False,
    meta: dict[str, Any] | None = None,
) -> Path:
    """Write a finished dataset folder. Photo k is in split k mod len(splits); with donor `other`
    its object comes from the next photo. meta: columns to overwrite in every row."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in splits}
    for number in range(photos):
        split = splits[number % len(splits)]
        for copy in range(per_photo):
            row = _row(number, copy, (number + (donor == "other")) % photos, blend, scale, flip)
            row |= {"split": split} | (meta or {})
            if form == "recipes":
                row = {k: v for k, v in row.items() if k not in ("image", "mask", "background")}
            rows[split].append(row)
    (folder / "data").mkdir(parents=True)
    shards = []
    for name, part in rows.items():
        file = f"data/{name}-00000-of-00001.parquet"
        table = pa.Table.from_pylist(part, schema=schema(form))
        pq.write_table(table, folder / file, compression="none", row_group_size=5)
        data = (folder / file).read_bytes()
        shards.append(ShardRecord(file, name, len(part), len(data), sha256(data)))
    config = BuildConfig(SourceSpec("coco"), form=form, blend=blend, donor=donor)
    record = BuildRecord(
        identity="drawn",
        config=config.resolved(),
        source=SourceInfo("drawn", "drawn", "stuff"),
        shards=tuple(shards),
        totals=Tally(triplets=sum(len(part) for part in rows.values())),
        units=(),
        olrd=olrd.__version__,
        command=config.command(),
        versions={},
    )
    (folder / "build.json").write_text(to_json(record.to_json()))
    return folder


def _reference(number: int) -> PhotoRef:
    return PhotoRef(str(number), f"{number:06d}.jpg", sha256(f"file {number}".encode()))


def _row(number: int, copy: int, donor: int, blend: str, scale: float, flip: bool) -> dict[str, Any]:
    background, _ = draw_photo(number)
    pixels, full = draw_photo(donor)
    box = mask_box(full)
    cut = np.ascontiguousarray(full[box.crop()])
    position = WIDTH - box.w - 18, 20 + 16 * copy
    recipe = Recipe(
        f"drawn-{number}-{copy}",
        _reference(number),
        _reference(donor),
        1,
        None,
        Box(*box),
        encode_rle(cut),
        scale,
        flip,
        position,
        blend,
        dict(BLENDS.get(blend).defaults),
    )
    triplet = compose(background, pixels, cut, recipe)
    recipe = replace(recipe, pixels_sha256=pixels_sha256(triplet))
    category, family = CATEGORIES[number % len(CATEGORIES)]
    return {
        "id": recipe.id,
        "image": {"bytes": encode_image(triplet.image), "path": None},
        "mask": {"bytes": encode_mask(triplet.mask), "path": None},
        "background": {"bytes": encode_image(triplet.background), "path": None},
        "source": "drawn",
        "image_id": str(number),
        "donor_image_id": str(donor),
        "segment_id": 1,
        "category": category,
        "supercategory": family,
        "background_kind": "stuff",
        "background_labels": ["grass", "sky"] if number % 2 else ["sand"],
        "prompt": "A photo of R* grass",
        "caption": None,
        "width": WIDTH,
        "height": HEIGHT,
        "bbox": list(mask_box(triplet.mask)),
        "source_bbox": list(box),
        "shift": [position[0] - box.x, position[1] - box.y],
        "scale": scale,
        "flip": flip,
        "mask_area": float(triplet.mask.mean()),
        "placement": "uniform",
        "blend": blend,
        **{
            f"{who}{name}": value
            for who in ("", "donor_")
            for name, value in (
                ("license", "CC-BY-2.0"),
                ("license_url", "https://creativecommons.org/licenses/by/2.0/"),
                ("source_url", f"https://example.org/{number}"),
                ("author", "Drawn"),
            )
        },
        "recipe": recipe.to_json(),
    }
