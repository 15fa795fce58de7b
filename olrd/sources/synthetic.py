"""Generated images and panoptic maps: any number, without files, for measuring the speed of large builds.

`--source synthetic --source-option count=100000,width=640,height=480`. Every photo is sky over grass
with boxes on it, and noise like that of a sensor. It takes the time of a real photo but does not look like one: do
not train on it.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow

from olrd.arrays import Ids, Image
from olrd.draws import digest, draw_integer
from olrd.errors import UsageError
from olrd.models.coco_categories import coco_categories
from olrd.panoptic import Box, PanopticMap, Record, Segment
from olrd.registry import checked_options
from olrd.sources import SourceSpec, check_unused
from olrd.storage.files import sha256

DEFAULTS = {"count": "1000", "width": "640", "height": "480"}
SMALLEST = 64
"""Least side of a photo in pixels."""
SKY, GRASS = 187, 193
THINGS = (1, 3, 17, 18, 19, 44, 62)
"""Categories of the boxes: from the COCO list, any would do."""
SLOTS = 5
"""Number of upright strips of a photo; most contain a box."""
QUALITY = 92
LICENSE_URL = "https://creativecommons.org/publicdomain/zero/1.0/"
CELL = 8
"""Side of the noise's coarse cells in pixels."""


class Layout(NamedTuple):
    """Where things are. horizon: first row of the grass. boxes: with their categories."""

    horizon: int
    boxes: tuple[tuple[int, Box], ...]


class Synthetic:
    """See `Source`. Photo `i` is a function of (i, width, height) alone."""

    name = "synthetic"
    background_kind = "stuff"

    def __init__(self, count: int, width: int, height: int) -> None:
        self.count, self.width, self.height = count, width, height
        used = (*THINGS, SKY, GRASS)
        self.categories = {c.id: c for c in coco_categories().values() if c.id in used}
        self.fingerprint = sha256(f"synthetic 1 {count} {width} {height}".encode())

    def __len__(self) -> int:
        return self.count

    def image_id(self, index: int) -> str:
        return f"{index:09d}"

    def record(self, index: int) -> Record:
        name = self.image_id(index)
        return Record(
            name,
            f"{name}.jpg",
            self.width,
            self.height,
            "CC0-1.0",
            LICENSE_URL,
            f"synthetic:{index}",
            "drawn by olrd",
            f"{name}.png",
            self._segments(index),
        )

    def photo_bytes(self, record: Record) -> bytes:
        index = int(record.image_id)
        file = io.BytesIO()
        Pillow.fromarray(self._pixels(index)).save(file, "JPEG", quality=QUALITY)
        return file.getvalue()

    def panoptic(self, record: Record, width: int, height: int) -> PanopticMap:
        return PanopticMap(self._ids(int(record.image_id)), record.segments)

    def layout(self, index: int) -> Layout:
        """Boxes in different strips, so none touches another, all standing on the grass."""
        key = ("synthetic", index)
        horizon = self.height * (35 + draw_integer(20, *key, "horizon")) // 100
        strip = self.width // SLOTS
        boxes = []
        for slot in range(SLOTS):
            if draw_integer(4, *key, "empty", slot) == 0:
                continue
            w = strip * (30 + draw_integer(40, *key, "w", slot)) // 100
            h = self.height * (12 + draw_integer(25, *key, "h", slot)) // 100
            x = slot * strip + 2 + draw_integer(strip - w - 3, *key, "x", slot)
            lowest = self.height - 2
            bottom = horizon + (lowest - horizon) * (20 + draw_integer(80, *key, "y", slot)) // 100
            category = THINGS[draw_integer(len(THINGS), *key, "category", slot)]
            boxes.append((category, Box(x, max(1, bottom - h), w, min(h, bottom - 1))))
        return Layout(horizon, tuple(boxes))

    def _segments(self, index: int) -> tuple[Segment, ...]:
        """Sky, grass, then the boxes; areas and extents are exact."""
        horizon, boxes = self.layout(index)
        above = sum(box.w * max(0, min(box.y + box.h, horizon) - box.y) for _, box in boxes)
        below = sum(box.w * box.h for _, box in boxes) - above
        width, height = self.width, self.height
        return (
            Segment(1, SKY, width * horizon - above, Box(0, 0, width, horizon)),
            Segment(2, GRASS, width * (height - horizon) - below, Box(0, horizon, width, height - horizon)),
            *(Segment(3 + k, category, box.w * box.h, box) for k, (category, box) in enumerate(boxes)),
        )

    def _ids(self, index: int) -> Ids:
        horizon, boxes = self.layout(index)
        ids = np.full((self.height, self.width), 2, np.uint32)
        ids[:horizon] = 1
        for number, (_, box) in enumerate(boxes):
            ids[box.crop()] = 3 + number
        return ids

    def _pixels(self, index: int) -> Image:
        """Flat colours, coarse cells of noise (a JPEG of a photo's size), fine noise over all."""
        horizon, boxes = self.layout(index)
        rows, columns = -(-self.height // CELL), -(-self.width // CELL)
        draws = np.random.Philox(key=digest("synthetic", index, "pixels"))
        cells = rows * columns * 3
        raw = np.asarray(draws.random_raw(cells // 8 + 1 + self.height * self.width // 8 + 1), "<u8")
        bytes_ = raw.view(np.uint8)
        coarse = (bytes_[:cells] >> 4).reshape(rows, columns, 3)
        wide = coarse.repeat(CELL, 0).repeat(CELL, 1)[: self.height, : self.width]
        fine = bytes_[-self.height * self.width :].reshape(self.height, self.width, 1) >> 4
        base = np.empty((self.height, self.width, 3), np.uint8)
        base[:horizon], base[horizon:] = (120, 160, 200), (70, 130, 60)
        for number, (_, box) in enumerate(boxes):
            base[box.crop()] = [draw_integer(200, "synthetic", index, number, c) for c in range(3)]
        pixels: Image = base + wide + fine
        return pixels


def open_synthetic(spec: SourceSpec) -> Synthetic:
    """Options: count, width, height (whole numbers)."""
    check_unused(spec, "root", "subset")
    options = checked_options(spec, DEFAULTS)
    numbers = {}
    for name, text in options.items():
        least = 1 if name == "count" else SMALLEST
        if not text.isdecimal() or int(text) < least:
            raise UsageError(f"the source synthetic: {name} is a whole number of at least {least}, not '{text}'")
        numbers[name] = int(text)
    return Synthetic(**numbers)
