"""Where to work in a large photo: windows around the mask, and masks far apart one after the other.

The paper works on 512 x 512 pixels and does not say how larger photos are treated: all of this is
inferred.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from olrd.arrays import Mask
from olrd.masks import mask_box
from olrd.panoptic import Box

MARGIN = 0.5
"""Context on each side of the mask's box, as a share of its longer side (inferred)."""
MAX_WINDOWS = 16
"""A photo with more separate masks has near ones joined until so many windows are enough."""


class Part(NamedTuple):
    """One window and what is erased in it. mask: bool [H, W] of the photo's size, inside the window."""

    window: Box
    mask: Mask


def parts_of(mask: Mask, resolution: int, margin: float = MARGIN) -> list[Part]:
    """The windows in which a photo is worked on, from top to bottom; none for an empty mask.

    Pieces of the mask that lie within a quarter of `resolution` of each other, or inside each other's
    windows, share one. mask: bool [H, W], True = erase. resolution: the model's, in pixels.
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
    """The window around a non-empty mask: a square with its box in the middle.

    Its side is the box's longer one plus the margins, but at least `resolution`. Where the photo ends
    it is moved inside, and where the photo is smaller than the square, the window takes all of it.
    """
    return _window(mask_box(mask), mask.shape, resolution, margin)


def _window(box: Box, shape: tuple[int, ...], resolution: int, margin: float) -> Box:
    side = max(resolution, math.ceil(max(box.w, box.h) * (1 + 2 * margin)))
    x, width = _placed(box.x, box.w, side, shape[1])
    y, height = _placed(box.y, box.h, side, shape[0])
    return Box(x, y, width, height)


def _placed(start: int, length: int, side: int, limit: int) -> tuple[int, int]:
    """(start, length) of a stretch of `side` with the given one in its middle, within [0, limit)."""
    side = min(side, limit)
    return min(max(0, start + (length - side) // 2), limit - side), side


def _pieces(mask: Mask, reach: int) -> list[Mask]:
    """The mask in pieces that are more than `reach` pixels apart."""
    kernel = np.ones((reach + 1, reach + 1), np.uint8)
    near = cv2.dilate(np.ascontiguousarray(mask).view(np.uint8), kernel)
    count, labels = cv2.connectedComponents(near, connectivity=8)
    found = [mask & (labels == number) for number in range(1, min(count, MAX_WINDOWS + 2))]
    return [piece for piece in found if piece.any()]


def _joinable(pieces: list[Mask], shape: tuple[int, ...], resolution: int, margin: float) -> tuple[int, int] | None:
    """The numbers of two pieces of which one lies in the other's window."""
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
