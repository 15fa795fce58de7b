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

SCORE, MARGIN = 0.5, 0.3
"""Least correlation of a reflection, and how much better it must be than anywhere else."""
SMALLEST = 450
"""Fewest pixels of the mirrored object inside the photo. Few pixels correlate by chance."""
HEIGHT_USED = 96
"""The object is compared at a size of at most this many rows."""


class _Fit(NamedTuple):
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
    best = _best_line(_bands(small, hole), hole)
    if best is None:
        return empty
    mirrored = _mirrored(hole, best.line) & ~hole
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


def _best_line(bands: Floats, hole: Mask) -> _Fit | None:
    """The row about which the object is mirrored best, if it is convincing."""
    rows = np.nonzero(hole.any(axis=1))[0]
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    tall = bottom - top
    fits = []
    lines = range(bottom - round(0.12 * tall), bottom + round(0.12 * tall) + 1)
    for line in lines:
        score = _correlation(bands, hole, line, 0, mirror=True)
        if score is not None:
            fits.append(_Fit(score, line))
    if not fits:
        return None
    best = max(fits)
    if best.score < SCORE:
        return None
    columns = np.nonzero(hole.any(axis=0))[0]
    wide = int(columns[-1] - columns[0]) + 1
    others = [
        _correlation(bands, hole, best.line, shift, mirror=True)
        for shift in (-2 * wide, -wide, -wide // 2, wide // 2, wide, 2 * wide)
    ]
    others += [
        _correlation(bands, hole, best.line + shift, 0, mirror=True) for shift in (-tall // 3, tall // 3, tall // 2)
    ]
    others += [_correlation(bands, hole, line, 0, mirror=False) for line in lines]
    if max((score for score in others if score is not None), default=-1.0) > best.score - MARGIN:
        return None
    return best


def _correlation(bands: Floats, hole: Mask, line: int, shift: int, mirror: bool) -> float | None:
    """Correlation of the object, mirrored about `line` (or moved below it), with what is `shift` columns beside there.

    The means of rows and columns are taken off first: dark feet over a dark shadow are no reflection, nor are
    upright lines that go on below.
    """
    height, width = hole.shape
    rows, columns = np.nonzero(hole)
    there = 2 * line - 1 - rows if mirror else rows + line - int(rows.min())
    across = columns + shift
    inside = (there >= 0) & (there < height) & (across >= 0) & (across < width)
    inside[inside] &= ~hole[there[inside], across[inside]]
    if np.count_nonzero(inside) < max(SMALLEST, 0.3 * len(rows)):
        return None
    row = rows[inside]
    a, b = bands[row, columns[inside]], bands[there[inside], across[inside]]
    for values in (a, b):
        for line_of, length in ((row, height), (columns[inside], width), (row, height)):
            counts = np.maximum(np.bincount(line_of, minlength=length), 1)
            for channel in range(3):
                means = np.bincount(line_of, weights=values[:, channel], minlength=length) / counts
                values[:, channel] -= means[line_of].astype(np.float32)
    power = float(np.sqrt(np.sum(a * a) * np.sum(b * b)))
    return float(np.sum(a * b)) / power if power > 1e-6 else None
