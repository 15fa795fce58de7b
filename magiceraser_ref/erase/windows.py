"""Windows of a large photo: each contains a part of the mask, and they are erased one after the other.

The paper works on 512 x 512 pixels and does not say how larger photos are treated: all of this is inferred.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from magiceraser_ref.erase.choices import MARGIN
from olrd.arrays import Mask
from olrd.masks import mask_box
from olrd.panoptic import Box

MAX_WINDOWS = 16
"""Most windows of a photo. If a mask has more separate pieces, near ones are joined."""


class Part(NamedTuple):
    """A window and the part of the mask that is erased in it: bool [H, W] of the photo's size."""

    window: Box
    mask: Mask


def parts_of(mask: Mask, resolution: int, margin: float = MARGIN) -> list[Part]:
    """Divide a mask into parts and return them with their windows, from top to bottom; none for an empty mask.

    Pieces of the mask share a window if they lie within a quarter of `resolution` of each other, or inside each
    other's windows.

    Args:
        mask: bool [H, W], True = erase.
        resolution: The model's resolution in pixels.
        margin: See `Choices.margin`.
    """
    reach = max(1, resolution // 4)
    pieces = _pieces(mask, reach)
    while len(pieces) > MAX_WINDOWS:
        reach *= 2
        pieces = _pieces(mask, reach)
    while (pair := _joinable(pieces, mask.shape, resolution, margin)) is not None:
        first, second = pair
        pieces[first] = pieces[first] | pieces.pop(second)
    return [Part(window_of(piece, resolution, margin), piece) for piece in pieces]


def window_of(mask: Mask, resolution: int, margin: float = MARGIN) -> Box:
    """Return the window around a mask that is not empty: a square with the mask's box in its middle.

    The square's side is the longer side of the box plus the margins, and at least `resolution`. A square that reaches
    beyond the photo is moved inside; along a side on which the photo is smaller, the window has the photo's size.
    """
    return _window(mask_box(mask), mask.shape, resolution, margin)


def _window(box: Box, shape: tuple[int, ...], resolution: int, margin: float) -> Box:
    side = max(resolution, math.ceil(max(box.w, box.h) * (1 + 2 * margin)))
    x, width = _placed(box.x, box.w, side, shape[1])
    y, height = _placed(box.y, box.h, side, shape[0])
    return Box(x, y, width, height)


def _placed(start: int, length: int, side: int, limit: int) -> tuple[int, int]:
    """Return (start, length) of an interval of `side` with the given one in its middle, within [0, limit)."""
    side = min(side, limit)
    return min(max(0, start + (length - side) // 2), limit - side), side


def _pieces(mask: Mask, reach: int) -> list[Mask]:
    """Divide the mask into pieces that are more than `reach` pixels apart."""
    kernel = np.ones((reach + 1, reach + 1), np.uint8)
    near = cv2.dilate(np.ascontiguousarray(mask).view(np.uint8), kernel)
    count, labels = cv2.connectedComponents(near, connectivity=8)
    found = [mask & (labels == number) for number in range(1, min(count, MAX_WINDOWS + 2))]
    return [piece for piece in found if piece.any()]


def _joinable(pieces: list[Mask], shape: tuple[int, ...], resolution: int, margin: float) -> tuple[int, int] | None:
    """Return the numbers of two pieces of which one lies in the window of the other, or None."""
    boxes = [mask_box(piece) for piece in pieces]
    windows = [_window(box, shape, resolution, margin) for box in boxes]
    for first in range(len(boxes)):
        for second in range(first + 1, len(boxes)):
            if _holds(windows[first], boxes[second]) or _holds(windows[second], boxes[first]):
                return first, second
    return None


def _holds(outer: Box, inner: Box) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.w <= outer.x + outer.w
        and inner.y + inner.h <= outer.y + outer.h
    )
