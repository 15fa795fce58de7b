"""Erase the 15 real objects of the embedded photos and draw all results, good and bad ones.

    python tools/real_objects.py docs/real-objects.jpg
    python tools/real_objects.py docs/small-real-objects.jpg --method ffc-small --method magiceraser

The objects are the largest thing of every class in every photo. Each is erased as `olrd-erase` does it by default. There
is no truth for a real object, so that only the eye can judge.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from baselines import open_eraser
from baselines.eraser import Hints
from baselines.photos.erasing import erase_photo, wanted
from baselines.photos.objects import Mapped, mask_of, things_of
from olrd.arrays import Image, decode_photo
from olrd.masks import outline
from olrd.sources import SourceSpec, open_source

ACROSS = 3
"""Objects in a line of the picture."""
WIDTH = 300
"""Of one photo in pixels."""
GAP = 6
RED = (255, 45, 60)


def objects() -> Iterator[tuple[Image, Mapped, str, str]]:
    """The photo, its map, the object's name, and the photo's id."""
    source = open_source(SourceSpec("demo"))
    for index in range(len(source)):
        record = source.record(index)
        photo = decode_photo(source.photo_bytes(record), record.file_name).pixels
        mapped = Mapped(source.panoptic(record, record.width, record.height), source.categories)
        for thing in things_of(mapped):
            if thing.name.endswith(":1"):
                yield photo, mapped, thing.name, record.image_id


def small(picture: Image) -> Image:
    """The picture at the width of a column, with white below to the height of 4 : 3."""
    height = round(WIDTH * picture.shape[0] / picture.shape[1])
    paper = np.full((WIDTH * 3 // 4 + 3, WIDTH, 3), 255, np.uint8)
    paper[:height] = cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA)[: len(paper)]
    return paper


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="picture to write")
    parser.add_argument("--method", action="append", metavar="NAME", help="eraser (default patchmatch); repeatable")
    args = parser.parse_args()
    erasers = [open_eraser(name, {}, "cpu") for name in args.method or ["patchmatch"]]
    cells: list[Image] = []
    for photo, mapped, name, image_id in objects():
        what = wanted(photo, mask_of(mapped, [name]))
        hints = Hints(image_id, panoptic=mapped.panoptic, categories=mapped.categories, category=name[:-2])
        drawn = np.where(outline(what.mask, 2)[..., None], np.uint8(RED), photo)
        results = [erase_photo(photo, what, eraser, hints).pixels for eraser in erasers]
        cells.append(np.hstack([small(one) for one in (drawn, *results)]))
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % ACROSS)
    gap = np.full((len(cells[0]), 3 * GAP, 3), 255, np.uint8)
    bar = np.full((GAP, ACROSS * cells[0].shape[1] + (ACROSS - 1) * gap.shape[1], 3), 255, np.uint8)
    lines: list[Image] = []
    for first in range(0, len(cells), ACROSS):
        line = [part for cell in cells[first : first + ACROSS] for part in (gap, cell)][1:]
        lines += [np.hstack(line), bar]
    Pillow.fromarray(np.vstack(lines[:-1])).save(args.out, quality=88, optimize=True)


if __name__ == "__main__":
    main()
