"""Small copies of pictures that together stay within a number of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image as Pillow

from olrd.arrays import Image, Mask
from olrd.dataset.sheet import ACCENT
from olrd.masks import outline

RUNGS = (
    (640, 82),
    (512, 80),
    (448, 78),
    (384, 76),
    (320, 74),
    (288, 72),
    (256, 70),
    (224, 66),
    (192, 62),
    (160, 58),
    (128, 52),
    (96, 45),
    (64, 35),
)
"""Longest side in pixels and WebP quality, best first."""
SAMPLE_EXTRA = 400
"""Bytes per sample for file names, sizes and quotation marks."""


class Thumbnails:
    """Pictures as data URIs. All pictures of a sample have one size and quality, so that they can be compared.

    Each sample may use an equal share of the bytes that are left, so photos that compress well leave more to the
    others. The smallest size is used even if it does not fit.

    Args:
        budget: bytes for all samples together.
        samples: number of samples.
    """

    def __init__(self, budget: int, samples: int) -> None:
        self._left, self._samples, self._rung = budget, samples, 0

    def of(self, pictures: Sequence[Image | None], mask: Mask | None) -> tuple[list[str | None], list[str] | None]:
        """The URIs of the pictures (None stays None), and of the mask: one in black and white, and one of its outline
        on a transparent background."""
        room = self._left // max(1, self._samples) - SAMPLE_EXTRA
        start = max(0, self._rung - 1)  # start near the last sample's size; one size larger is tried too
        for number in range(start, len(RUNGS)):
            self._rung = number
            side, quality = RUNGS[number]
            small = [None if p is None else _uri(_fit(p, side), "webp", quality) for p in pictures]
            masks = None if mask is None else _mask_uris(mask, side)
            size = sum(len(text) for text in [*small, *(masks or [])] if text)
            if size <= room:
                break
        self._left -= size + SAMPLE_EXTRA
        self._samples -= 1
        return small, masks


def _fit(pixels: np.ndarray, side: int) -> Pillow.Image:
    """Shrink by area averaging so that no side is longer than `side`. Small pictures are not enlarged."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Pillow.fromarray(pixels).resize(size, Pillow.Resampling.BOX)


def _mask_uris(mask: Mask, side: int) -> list[str]:
    scale = min(1.0, side / max(mask.shape))
    shares = np.asarray(_fit(mask.astype(np.uint8) * 255, side))
    rim = np.asarray(_fit(outline(mask, 1.6 / scale).astype(np.uint8) * 255, side))
    line = Pillow.new("RGBA", (rim.shape[1], rim.shape[0]), (*ACCENT, 0))
    line.putalpha(Pillow.fromarray(rim & 0xE0))  # eight levels are smooth enough and take few bytes
    return [_uri(Pillow.fromarray(shares > 127), "png"), _uri(line, "png")]


def _uri(picture: Pillow.Image, kind: str, quality: int = 80) -> str:
    buffer = io.BytesIO()
    if kind == "png":
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.save(buffer, "WEBP", quality=quality, method=2)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
