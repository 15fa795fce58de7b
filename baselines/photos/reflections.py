"""Finds the mirror image of a masked object below it, in water or on a wet floor.

A reflection is the object upside down, darker, blurred and paler. So the mirrored object must correlate with what is
below it, in the structure that is neither too fine to survive ripples nor a mere gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask

Floats = npt.NDArray[np.float32]

WHOLE, DETAIL, MARGIN = 0.55, 0.38, 0.2
"""Least correlation of a reflection, as it is and without the means of rows and columns, and how much better both must be
than anywhere else."""
SMALLEST = 450
"""Fewest pixels of the mirrored object inside the photo. Few pixels correlate by chance."""
LEAST_INSIDE = 0.5
"""Share of the mirrored object that must lie inside the photo."""
HEIGHT_USED = 96
"""The object is compared at a size of at most this many rows."""


class _Fit(NamedTuple):
    """A correlation, and the row about which the object is mirrored there."""

    score: float
    line: int


def reflection_of(image: Image, mask: Mask) -> Mask:
    """Find the masked object's mirror image.

    Args:
        image: uint8 [H, W, 3] RGB.
        mask: bool [H, W], the object; at least one pixel.

    Returns:
        bool [H, W], all False where there is no convincing reflection.
    """
    empty = np.zeros_like(mask)
    rows = np.nonzero(mask.any(axis=1))[0]
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    if mask.shape[0] - bottom < 0.2 * (bottom - top):
        return empty
    shrink = min(1.0, HEIGHT_USED / (bottom - top))
    size = max(1, round(mask.shape[1] * shrink)), max(1, round(mask.shape[0] * shrink))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    hole = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    if not hole.any():
        return empty
    bands = _bands(small, hole)
    detail = _best_fit(bands, hole, detail=True)
    if detail is None:
        return empty
    whole = _best_fit(bands, hole, detail=False)
    if whole is None or abs(whole.line - detail.line) > 2:
        return empty
    mirrored = _mirrored(hole, detail.line) & ~hole
    found = cv2.resize(mirrored.astype(np.float32), mask.shape[::-1], interpolation=cv2.INTER_LINEAR) > 0.5
    grown = cv2.dilate(found.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return grown & ~mask


def _bands(image: Image, hole: Mask) -> Floats:
    """Structure between the scales of ripples and of gradients, float32 [h, w, 3]: brightness and two colours."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    size = float(np.sqrt(np.count_nonzero(hole)))
    return cv2.GaussianBlur(lab, (0, 0), 1.5) - cv2.GaussianBlur(lab, (0, 0), max(4.0, size / 4))


def _mirrored(hole: Mask, line: int) -> Mask:
    """The mask, turned upside down about the upper edge of row `line`; what leaves the photo is cut off."""
    height = hole.shape[0]
    turned = np.zeros_like(hole)
    count = min(line, height - line)
    turned[line : line + count] = hole[line - count : line][::-1]
    return turned


def _best_fit(bands: Floats, hole: Mask, detail: bool) -> _Fit | None:
    """The row about which the object is mirrored best, if nothing beside, above, below or unmirrored is nearly as good."""
    rows, columns = np.nonzero(hole.any(axis=1))[0], np.nonzero(hole.any(axis=0))[0]
    bottom, tall, wide = int(rows[-1]) + 1, int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
    lines = range(bottom - round(0.12 * tall), bottom + round(0.12 * tall) + 1)
    fits = [_Fit(_correlation(bands, hole, line, 0, True, detail), line) for line in lines]
    best = max(fits)
    if best.score < (DETAIL if detail else WHOLE):
        return None
    beside = (-2 * wide, -wide, -wide // 2, wide // 2, wide, 2 * wide)
    others = [_correlation(bands, hole, best.line, shift, True, detail) for shift in beside]
    others += [_correlation(bands, hole, best.line + by, 0, True, detail) for by in (-tall // 3, tall // 3, tall // 2)]
    others += [_correlation(bands, hole, line, 0, False, detail) for line in lines]
    return best if max(others) <= best.score - MARGIN else None


def _correlation(bands: Floats, hole: Mask, line: int, shift: int, mirror: bool, detail: bool) -> float:
    """Correlation of the object, mirrored about `line` (or moved below it), with what is `shift` columns beside there.

    With `detail` the means of rows and columns are taken off first: dark feet over a dark shadow are no reflection, nor
    are upright lines that go on below. The result is -1 where too little of the mirrored object is in the photo.
    """
    height, width = hole.shape
    rows, columns = np.nonzero(hole)
    there = 2 * line - 1 - rows if mirror else rows + line - int(rows.min())
    across = columns + shift
    inside = (there >= 0) & (there < height) & (across >= 0) & (across < width)
    inside[inside] &= ~hole[there[inside], across[inside]]
    if np.count_nonzero(inside) < max(SMALLEST, LEAST_INSIDE * len(rows)):
        return -1.0
    row, column = rows[inside], columns[inside]
    a, b = bands[row, column], bands[there[inside], across[inside]]
    for values in (a, b):
        values -= values.mean(axis=0)
        for axis, length in ((row, height), (column, width), (row, height)) if detail else ():
            counts = np.maximum(np.bincount(axis, minlength=length), 1)
            for channel in range(3):
                means = np.bincount(axis, weights=values[:, channel], minlength=length) / counts
                values[:, channel] -= means[axis].astype(np.float32)
    power = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / power if power > 1e-6 else -1.0
