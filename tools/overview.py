"""Draw the README's picture: embedded triplets, and what erasers make of them.

    python -m tools.overview docs/overview.png

Per line one triplet, whole photos: the composite with the mask outlined, the mask, the ground truth, then the output
of each eraser inside the mask. The lines are a small, a medium and a large object; nothing is retouched.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from baselines import open_eraser
from baselines.eraser import Hints
from benchmark.datasets import open_dataset
from olrd.arrays import Image, Mask

TRIPLETS = ("demo-1-8487576-1", "demo-10-12339170-2", "demo-7-14362483-0")
ERASERS = ("opencv-telea", "patchmatch", "magiceraser")
TILE = (240, 180)
"""Width and height of a picture on the sheet, in pixels. Pictures keep their aspect in it."""
GAP, HEAD = 6, 26
ACCENT, INK = (255, 45, 120), (63, 63, 70)


def outlined(photo: Image, mask: Mask) -> Image:
    """The photo with the mask's rim drawn in."""
    rims, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    shown = photo.copy()
    cv2.drawContours(shown, rims, -1, ACCENT, 4)
    return shown


def tile(picture: Image) -> Pillow.Image:
    """The picture, scaled to fit the tile, on white."""
    small = Pillow.fromarray(picture)
    small.thumbnail(TILE, Pillow.Resampling.LANCZOS)
    paper = Pillow.new("RGB", TILE, (255, 255, 255))
    paper.paste(small, ((TILE[0] - small.width) // 2, (TILE[1] - small.height) // 2))
    return paper


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the PNG to write")
    args = parser.parse_args()
    data = open_dataset("olrd", None, {"split": "all"})
    numbers = {name: number for number, name in enumerate(data.ids())}
    erasers = [open_eraser(name, device="cpu") for name in ERASERS]
    heads = ("image", "mask", "background (truth)", *(f"erased by {name}" for name in ERASERS))
    step = TILE[0] + GAP
    sheet = Pillow.new("RGB", (len(heads) * step - GAP, HEAD + len(TRIPLETS) * (TILE[1] + GAP) - GAP), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        draw.text((column * step + 2, HEAD - 8), head, INK, ImageFont.load_default(15), anchor="ls")
    for line, name in enumerate(TRIPLETS):
        sample = data.sample(numbers[name])
        assert sample.truth is not None
        hint = Hints(sample.id, prompt=sample.prompt)
        white = np.repeat(sample.mask[..., None].astype(np.uint8) * 255, 3, axis=2)
        pictures = [outlined(sample.image, sample.mask), white, sample.truth]
        for eraser in erasers:
            output = eraser.erase([sample.image], [sample.mask], [hint])[0]
            pictures.append(np.where(sample.mask[..., None], output, sample.image))
        for column, picture in enumerate(pictures):
            sheet.paste(tile(picture), (column * step, HEAD + line * (TILE[1] + GAP)))
    sheet.save(args.out, optimize=True)


if __name__ == "__main__":
    main()
