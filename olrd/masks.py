"""Masks, bool [H, W], True = erase: extent, growth, outline, connected pieces."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Mask
from olrd.panoptic import Box


def mask_box(mask: Mask) -> Box:
    """The exact extent of a non-empty mask."""
    import cv2  # imported here, so that `--help` does not load it

    return Box(*cv2.boundingRect(mask.view(np.uint8)))


def with_margin(box: Box, mask: Mask, reach: int, shape: tuple[int, ...]) -> tuple[Box, npt.NDArray[np.uint8]]:
    """An object with its surroundings, as far as the picture has them.

    Args:
        box: of the object.
        mask: bool [h, w], the object inside its box.
        reach: pixels around the box.
        shape: (H, W) of the picture; further sizes do not count.

    Returns:
        The larger box, and the object inside it: 0 and 1, uint8.
    """
    y, x = max(box.y - reach, 0), max(box.x - reach, 0)
    below, right = min(box.y + box.h + reach, shape[0]), min(box.x + box.w + reach, shape[1])
    own = np.zeros((below - y, right - x), np.uint8)
    own[box.y - y : box.y - y + box.h, box.x - x : box.x - x + box.w] = mask
    return Box(x, y, right - x, below - y), own


def largest_piece(mask: Mask) -> float:
    """The area share of the largest 8-connected piece of a non-empty mask."""
    count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
    if count <= 2:
        return 1.0
    areas = np.bincount(labels.ravel())[1:]
    return float(areas.max() / areas.sum())


@lru_cache
def disc(radius: int) -> np.ndarray:
    """A disc-shaped structuring element, uint8 [2r + 1, 2r + 1]."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (x * x + y * y <= radius * radius + radius).astype(np.uint8)


def grown(mask: Mask, radius: int, square: bool = False) -> Mask:
    """Grow a mask by a disc, or by a square.

    Args:
        mask: bool [H, W].
        radius: in pixels; 0 returns a copy.
        square: grow by a square of side 2 * radius + 1 instead of `disc(radius)`.

    Returns:
        bool [H, W]: every pixel that the disc or square around some pixel of the mask covers.
    """
    mask = np.ascontiguousarray(mask)
    if square:
        side = 2 * radius + 1
        return cv2.dilate(mask.view(np.uint8), np.ones((side, side), np.uint8)).view(np.bool_)
    # The disc is the union of the rectangles that its rows span. OpenCV grows by a rectangle so fast
    # that all of them together take less time than the disc itself.
    shape = disc(radius)
    result = np.zeros_like(mask, np.uint8)
    for row in range(radius + 1):
        width = int(shape[row].sum())
        if row and width == int(shape[row - 1].sum()):
            continue  # the rectangle of the row before contains this one
        rectangle = np.ones((2 * (radius - row) + 1, width), np.uint8)
        cv2.bitwise_or(result, cv2.dilate(mask.view(np.uint8), rectangle), result)
    return result.view(np.bool_)


def outline(mask: Mask, thickness: float) -> Mask:
    """The pixels just outside bool [H, W] `mask`, up to `thickness` (at least 1) pixels from it."""
    return grown(mask, max(1, round(thickness))) & ~mask
