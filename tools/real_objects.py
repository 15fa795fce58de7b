"""Erase one real object from every embedded photo and draw the results, good and bad ones.

A photo without an object of suitable size gets a drawn hole. There is no truth for a real object.

    python tools/real_objects.py docs/real-objects.jpg

Each photo is shown as: the input with the mask outlined, the mask, the initialisation, and the small model's result. A
line has three photos.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from erasures import GAP, cut, outlined
from PIL import Image as Pillow

from baselines import open_eraser
from baselines.eraser import Hints
from magiceraser_ref.training.masks import random_mask
from olrd.arrays import Image, Mask, decode_photo
from olrd.masks import grown
from olrd.panoptic import PanopticMap
from olrd.sources import SourceSpec, open_source

ACROSS = 3
LEAST, MOST = 0.002, 0.25
RIM = 4
"""Pixels around an annotated object that are erased with it."""


def hole_of(found: PanopticMap, things: set[int], name: str) -> Mask:
    """Return the largest object of suitable size with a rim, or a hole that is drawn by the photo's name."""
    shape = found.ids.shape
    sizes = {s.id: s.area / found.ids.size for s in found.segments if s.category_id in things}
    fitting = {number: size for number, size in sizes.items() if LEAST <= size <= MOST}
    if not fitting:
        return random_mask(*shape, 0, name)
    return grown(found.ids == max(fitting, key=lambda number: fitting[number]), RIM, square=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="picture to write")
    args = parser.parse_args()
    source = open_source(SourceSpec("demo"))
    things = {number for number, category in source.categories.items() if category.isthing}
    erasers = [open_eraser(name, {}, "cpu") for name in ("ffc-small", "magiceraser")]
    rows: list[Image] = []
    for index in range(len(source)):
        record = source.record(index)
        photo = decode_photo(source.photo_bytes(record), record.file_name).pixels
        found = source.panoptic(record, record.width, record.height)
        mask = hole_of(found, things, record.image_id)
        hints = [Hints(record.image_id, panoptic=found, categories=source.categories)]
        white = np.repeat(mask[:, :, None].astype(np.uint8) * 255, 3, 2)
        outputs = [eraser.erase([photo], [mask], hints)[0] for eraser in erasers]
        rows.append(np.hstack([cut(p, mask) for p in [outlined(photo, mask), white, *outputs]]))
    rows += [np.full_like(rows[0], 255)] * (-len(rows) % ACROSS)
    gap = np.full((rows[0].shape[0], 4 * GAP, 3), 255, np.uint8)
    bar = np.full((GAP, ACROSS * rows[0].shape[1] + (ACROSS - 1) * gap.shape[1], 3), 255, np.uint8)
    parts: list[Image] = []
    for k in range(0, len(rows), ACROSS):
        line = [rows[k]]
        for row in rows[k + 1 : k + ACROSS]:
            line += [gap, row]
        parts += [np.hstack(line), bar]
    Pillow.fromarray(np.vstack(parts)).save(args.out, quality=88)


if __name__ == "__main__":
    main()
