"""Small photos with an object, their masks and truths, written as people keep them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from olrd.arrays import Image, Mask, encode_mask

HEIGHT, WIDTH = 48, 64
AppleDouble = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "


def truth_of(seed: int) -> Image:
    """A smooth background."""
    coarse = np.random.default_rng(seed).integers(60, 190, (3, 4, 3), dtype=np.uint8)
    return np.asarray(Pillow.fromarray(coarse).resize((WIDTH, HEIGHT), Pillow.Resampling.BICUBIC))


def mask_of(seed: int) -> Mask:
    """A box of a twelfth of the picture."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:26, 8 + seed % 8 : 24 + seed % 8] = True
    return mask


def photo_of(seed: int) -> Image:
    """The background with a striped object in the mask."""
    stripes = np.full((HEIGHT, WIDTH, 3), (220, 120, 110), np.uint8)
    stripes[::3] = (60, 40, 90)
    return np.where(mask_of(seed)[..., None], stripes, truth_of(seed))


def write(path: Path, pixels: Image | Mask) -> Path:
    """Write a picture, and the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels.dtype == bool:
        path.write_bytes(encode_mask(pixels))
    else:
        Pillow.fromarray(pixels).save(path)
    return path


def write_pairs(root: Path, files: Mapping[str, Image | Mask]) -> Path:
    """Write pictures below a folder by their paths. Returns the folder."""
    for name, pixels in files.items():
        write(root / name, pixels)
    return root


def three(photo: str = "image/{}.png", mask: str = "mask/{}.png", truth: str = "gt/{}.png") -> dict[str, Image | Mask]:
    """The pictures of the pairs 1, 2 and 3 by path. A pattern may be empty: there are no such files."""
    found: dict[str, Image | Mask] = {}
    for seed in (1, 2, 3):
        parts = ((photo, photo_of(seed)), (mask, mask_of(seed)), (truth, truth_of(seed)))
        found |= {pattern.format(seed): pixels for pattern, pixels in parts if pattern}
    return found
