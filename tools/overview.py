"""Draw the README's picture: pasted triplets and a real pair, and what erasers make of them.

    python -m tools.overview docs/overview.png

Per line one triplet, whole pictures: the image with the mask outlined, the mask, the ground truth, then the output of each
eraser inside the mask. The first lines are a medium and a large pasted object of the embedded photos. The last line is a
pair of `olrd-build --source clip`, of a clip that `tools/drawn_clip.py` draws: the outline of the effect, the object with its shadow,
is drawn too, the effect is grey in the mask, and the erasers erase the effect. Nothing is retouched.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont, ImageOps

import olrd
from baselines import open_eraser
from baselines.eraser import Hints
from benchmark.datasets import open_dataset
from olrd.arrays import Image, Mask
from tools.drawn_clip import Scene

TRIPLETS = ("demo-2-12339170-0", "demo-7-14362483-0")
FRAME = "clip-street-7-1"
ERASERS = ("opencv-telea", "patchmatch", "magiceraser")
TILE = (240, 180)
"""Width and height of a picture on the sheet, in pixels. Pictures keep their aspect in it."""
GAP, HEAD = 6, 26
ACCENT, EFFECT_ACCENT, INK = (255, 45, 120), (255, 190, 0), (63, 63, 70)


class Line(NamedTuple):
    """A line of the sheet. effect: bool [H, W], what is erased; it contains the mask."""

    image: Image
    mask: Mask
    effect: Mask
    truth: Image
    hint: Hints


def pasted() -> Iterator[Line]:
    """The pasted triplets."""
    data = open_dataset("olrd", None, {"split": "all"})
    numbers = {name: number for number, name in enumerate(data.ids())}
    for name in TRIPLETS:
        sample = data.sample(numbers[name])
        assert sample.truth is not None
        yield Line(sample.image, sample.mask, sample.mask, sample.truth, Hints(sample.id, prompt=sample.prompt))


def paired() -> Line:
    """A frame of the drawn clip and its clean plate."""
    with tempfile.TemporaryDirectory() as scratch:
        Scene(frames=16).save(Path(scratch, "clip", "street"))
        built = olrd.build("clip", root=Path(scratch, "clip"), out=Path(scratch, "out"), splits="train=1")
        found = {sample.id: sample for sample in built}
        sample = found.get(FRAME) or found[min(found)]
    assert sample.effect is not None
    return Line(
        sample.image, sample.mask, sample.effect, sample.background, Hints(sample.id, prompt=sample.row["prompt"])
    )


def outlined(photo: Image, mask: Mask, colour: tuple[int, int, int] = ACCENT) -> Image:
    """The photo with the mask's rim drawn in."""
    rims, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    shown = photo.copy()
    cv2.drawContours(shown, rims, -1, colour, max(1, round(photo.shape[1] / 300)))
    return shown


def tile(picture: Image) -> Pillow.Image:
    """The picture, scaled to fit the tile, on white."""
    small = ImageOps.contain(Pillow.fromarray(picture), TILE, Pillow.Resampling.LANCZOS)
    paper = Pillow.new("RGB", TILE, (255, 255, 255))
    paper.paste(small, ((TILE[0] - small.width) // 2, (TILE[1] - small.height) // 2))
    return paper


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the PNG to write")
    args = parser.parse_args()
    erasers = [open_eraser(name, device="cpu") for name in ERASERS]
    lines = [*pasted(), paired()]
    heads = ("image", "mask, effect grey", "background (truth)", *(f"erased by {name}" for name in ERASERS))
    step = TILE[0] + GAP
    sheet = Pillow.new("RGB", (len(heads) * step - GAP, HEAD + len(lines) * (TILE[1] + GAP) - GAP), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        draw.text((column * step + 2, HEAD - 8), head, INK, ImageFont.load_default(15), anchor="ls")
    for number, line in enumerate(lines):
        grey = np.where(line.mask, np.uint8(255), line.effect * np.uint8(128)).astype(np.uint8)
        beyond = (line.effect & ~line.mask).any()
        shown = outlined(line.image, line.effect, EFFECT_ACCENT) if beyond else line.image
        pictures = [outlined(shown, line.mask), np.repeat(grey[..., None], 3, axis=2), line.truth]
        for eraser in erasers:
            output = eraser.erase([line.image], [line.effect], [line.hint])[0]
            pictures.append(np.where(line.effect[..., None], output, line.image))
        for column, picture in enumerate(pictures):
            sheet.paste(tile(picture), (column * step, HEAD + number * (TILE[1] + GAP)))
    sheet.save(args.out, optimize=True)


if __name__ == "__main__":
    main()
