"""Perceptual hashes and the exact search for all pairs within a Hamming radius."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageOps

from olrd.arrays import open_picture
from olrd.errors import Rejected
from olrd.trust import decoding

Thumb = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]

SIDE = 32
"""A picture is hashed from a grey thumbnail of SIDE x SIDE pixels; its aspect is not kept."""
_LOW = 8
# Rows 0..7 of the orthonormal DCT-II matrix.
_DCT = np.sqrt(2 / SIDE) * np.cos(np.pi / SIDE * np.arange(_LOW)[:, None] * (np.arange(SIDE)[None, :] + 0.5))
_DCT[0] /= np.sqrt(2)
_NOISE = 4.0
"""A DCT coefficient below this is as large as JPEG and rescaling noise, so its bit is random."""
_LEAST_SURE = 20
"""Pictures with fewer coefficients (of 63) above the noise are too flat to be compared."""


class Hash(NamedTuple):
    """The hash of a picture.

    Attributes:
        bits: 64-bit pHash.
        mirrored: pHash of the picture mirrored left to right.
        small: uint8 [256], a 16 x 16 grey thumbnail that confirms a match.
        informative: False for flat pictures.
    """

    bits: int
    mirrored: int
    small: npt.NDArray[np.uint8]
    informative: bool


def thumbnail(data: bytes) -> Thumb | None:
    """A grey 32 x 32 thumbnail of an encoded picture, EXIF applied, or None if it cannot be read.

    JPEGs are decoded at a fraction of their size, which is several times faster.
    """
    try:
        image = open_picture(data, "picture")
        if image.mode == "1":
            return None  # a mask, not a picture
        with decoding("photo_unreadable", "picture"):
            image.draft("L", (8 * SIDE, 8 * SIDE))
            grey = ImageOps.exif_transpose(image).convert("L")
    except Rejected:
        return None
    return np.asarray(grey.resize((SIDE, SIDE), Pillow.Resampling.BOX), np.float64)


def perceptual_hash(thumb: Thumb) -> Hash:
    """pHash (Zauner 2010) of a thumbnail, float64 [32, 32]: whether each of its 8 x 8 lowest DCT coefficients is above
    their median. Stable under rescaling, recompression and brightness, but not under cropping."""
    low = _DCT @ thumb @ _DCT.T
    signs = np.where(np.arange(_LOW) % 2, -1.0, 1.0)  # mirroring negates the odd columns
    sure = np.count_nonzero(np.abs(low.ravel()[1:]) > _NOISE)
    small = thumb.reshape(16, 2, 16, 2).mean(axis=(1, 3)).astype(np.uint8).ravel()
    return Hash(_bits(low), _bits(low * signs), small, bool(sure >= _LEAST_SURE))


def _bits(low: Thumb) -> int:
    """64 bits. The first coefficient, the mean, sets no bit and is not part of the median."""
    values = low.ravel().copy()
    values[0] = np.median(values[1:])
    packed = np.packbits(values > values[0])
    return int.from_bytes(packed.tobytes(), "big")


def near_pairs(a: Hashes, b: Hashes, radius: int) -> Iterator[tuple[int, int, int]]:
    """Every (i, j, distance) with Hamming distance(a[i], b[j]) <= radius; uint64 [n] and [m].

    The search is exact: all distances are computed in blocks, about half a billion pairs per second.
    """
    rows = max(1, 4_000_000 // max(1, len(b)))
    for start in range(0, len(a), rows):
        distance = np.bitwise_count(a[start : start + rows, None] ^ b[None, :])
        for i, j in zip(*np.nonzero(distance <= radius), strict=True):
            yield start + int(i), int(j), int(distance[i, j])


def correlation(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8], mirror: bool = False) -> float:
    """Pearson correlation of two 16 x 16 thumbnails (uint8 [256]). mirror: mirror the second one."""
    if mirror:
        b = b.reshape(16, 16)[:, ::-1].ravel()
    x, y = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / norm if norm else 0.0
