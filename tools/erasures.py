"""Draw the results of erasers on all triplets of a set, good and bad ones.

    benchmark run --method opencv-telea --save --out runs/telea
    benchmark run --method magiceraser --save --out runs/magiceraser
    python tools/erasures.py docs/magiceraser.jpg runs/telea runs/magiceraser

Each triplet is cut out around its mask and shown as: the input with the mask outlined, the mask, the output of every
run inside the mask, and the truth. A line has two triplets.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from benchmark.datasets import open_dataset
from olrd.arrays import Image, Mask
from olrd.storage.files import file_name_of

SIDE, GAP, ACROSS = 150, 4, 2
CONTEXT = 1.6
"""Side of the cut-out as a multiple of the mask's longer side."""


def cut(picture: Image, mask: Mask) -> Image:
    """Cut out the square around the mask, inside the picture, uint8 [SIDE, SIDE, 3]."""
    ys, xs = np.nonzero(mask)
    side = int(CONTEXT * max(np.ptp(ys), np.ptp(xs)) + 24)
    side = min(side, *picture.shape[:2])
    top, left = (
        int(np.clip((low + high - side) // 2, 0, full - side))
        for low, high, full in ((ys.min(), ys.max(), picture.shape[0]), (xs.min(), xs.max(), picture.shape[1]))
    )
    square = Pillow.fromarray(picture[top : top + side, left : left + side])
    return np.asarray(square.resize((SIDE, SIDE), Pillow.Resampling.LANCZOS))


def outlined(picture: Image, mask: Mask) -> Image:
    """Draw the outline of the mask in red."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    shown = picture.copy()
    cv2.drawContours(shown, found, -1, (255, 0, 0), max(1, int(max(np.ptp(np.nonzero(mask), 1)) / 60)))
    return shown


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="picture to write")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of `benchmark run --save`")
    parser.add_argument("--root", metavar="DIR", help="the triplets (default: the embedded ones)")
    parser.add_argument("--split", default="all", metavar="NAME", help="split of the triplets (default %(default)s)")
    parser.add_argument(
        "--limit", type=int, default=24, metavar="N", help="most triplets to draw (default %(default)s)"
    )
    args = parser.parse_args()
    data = open_dataset("olrd", args.root, {"split": args.split})
    rows = []
    for number, name in enumerate(data.ids()[: args.limit]):
        sample = data.sample(number)
        assert sample.truth is not None
        mask = sample.mask
        white = np.repeat(mask[:, :, None].astype(np.uint8) * 255, 3, 2)
        pictures = [outlined(sample.image, mask), white]
        for run in args.runs:
            output = np.asarray(Pillow.open(run / "outputs" / f"{file_name_of(name)}.webp"))
            pictures.append(np.where(mask[:, :, None], output, sample.image))
        rows.append(np.hstack([cut(picture, mask) for picture in [*pictures, sample.truth]]))
    rows += [np.full_like(rows[0], 255)] * (-len(rows) % ACROSS)
    gap = np.full((SIDE, 4 * GAP, 3), 255, np.uint8)
    lines = [np.hstack([rows[k], gap, rows[k + 1]]) for k in range(0, len(rows), ACROSS)]
    bar = np.full((GAP, lines[0].shape[1], 3), 255, np.uint8)
    sheet = np.vstack([part for line in lines for part in (line, bar)])
    Pillow.fromarray(sheet).save(args.out, quality=88)


if __name__ == "__main__":
    main()
