"""Draw random triplets of a built folder as one sheet: the composite with the mask outlined, the mask, the ground truth.

    olrd-build --source demo --out triplets/demo
    python -m tools.triplet_sheet triplets/demo docs/random-triplets.jpg --count 24

Which triplets are shown follows from their ids and --seed. A mask is white; the rest of an effect, shadow and
reflection, is grey, and outlined in another colour. The photos of the set must be free to show.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from olrd.arrays import Image, Mask
from olrd.dataset.folder import Dataset, Sample
from olrd.draws import draw_share

HEADS = ("image", "mask", "background (truth)")
TILE = (236, 177)
"""Width and height of a picture on the sheet, in pixels. Pictures keep their aspect in it."""
GAP, BETWEEN, HEAD = 4, 16, 22
MASK_COLOUR, EFFECT_COLOUR, INK = (255, 45, 120), (255, 190, 0), (63, 63, 70)


def drawn(dataset: Dataset, count: int, seed: int) -> list[Sample]:
    """Up to `count` triplets, drawn by id, in the order of their draws."""
    ids = sorted((row["id"] for row in dataset.rows(["id"])), key=lambda name: draw_share(seed, name, "sheet"))[:count]
    found = {sample.id: sample for sample in dataset if sample.id in set(ids)}
    return [found[name] for name in ids]


def outlined(photo: Image, region: Mask, colour: tuple[int, int, int]) -> Image:
    """The photo with the outline of a region, as thick as 1.5 pixels on the sheet."""
    scale = max(photo.shape[1] / TILE[0], photo.shape[0] / TILE[1])
    rims, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    shown = photo.copy()
    cv2.drawContours(shown, rims, -1, colour, max(1, round(1.5 * scale)))
    return shown


def panels(sample: Sample) -> list[Image]:
    """The pictures of a triplet in the order of `HEADS`, uint8 [H, W, 3]."""
    effect = sample.mask if sample.effect is None else sample.effect
    image = sample.image
    if (effect & ~sample.mask).any():
        image = outlined(image, effect, EFFECT_COLOUR)
    grey = np.where(sample.mask, np.uint8(255), effect * np.uint8(128)).astype(np.uint8)
    return [outlined(image, sample.mask, MASK_COLOUR), np.repeat(grey[..., None], 3, axis=2), sample.background]


def tile(picture: Image) -> Pillow.Image:
    """The picture, scaled to fit the tile, on white."""
    small = Pillow.fromarray(picture)
    small.thumbnail(TILE, Pillow.Resampling.LANCZOS)
    paper = Pillow.new("RGB", TILE, (255, 255, 255))
    paper.paste(small, ((TILE[0] - small.width) // 2, (TILE[1] - small.height) // 2))
    return paper


def sheet(samples: list[Sample], across: int) -> Pillow.Image:
    """The sheet, `across` triplets a line."""
    step, block = TILE[0] + GAP, 3 * (TILE[0] + GAP) + BETWEEN
    lines = -(-len(samples) // across)
    size = across * block - BETWEEN - GAP, HEAD + lines * (TILE[1] + GAP) - GAP
    page = Pillow.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(page)
    for column in range(min(across, len(samples))):
        for part, head in enumerate(HEADS):
            draw.text((column * block + part * step + 2, HEAD - 7), head, INK, ImageFont.load_default(13), anchor="ls")
    for number, sample in enumerate(samples):
        line, column = divmod(number, across)
        for part, picture in enumerate(panels(sample)):
            page.paste(tile(picture), (column * block + part * step, HEAD + line * (TILE[1] + GAP)))
    return page


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a built folder in full form")
    parser.add_argument("out", type=Path, help="the picture to write, JPEG or PNG")
    parser.add_argument("--count", type=int, default=24, help="number of triplets (default 24)")
    parser.add_argument("--across", type=int, default=2, help="triplets a line (default 2)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")
    args = parser.parse_args()
    samples = drawn(Dataset(args.folder), args.count, args.seed)
    sheet(samples, args.across).save(args.out, quality=85, optimize=True)
    print(f"{args.out}: {', '.join(sample.id for sample in samples)}")


if __name__ == "__main__":
    main()
