"""Masks as users draw them, made from the footprint of a pasted object.

A footprint is exact: every pixel that the blend touched, and no other. A user draws a wider mask. A style makes such a
mask; its `strength` says how wide. The mask always contains the footprint, so the ground truth stays exact: outside the
mask, composite and background are equal.

    exact   the footprint
    grown   the footprint, grown by 1 pixel and up to 12 % of the object's size
    hull    its convex hull, grown by up to 6 %
    box     its box, each side up to 20 % further out
    brush   strokes of a round brush of 10 to 30 %, line by line, horizontal or vertical
    loose   a polygon of 12 sides around it, each side up to 30 % away, as drawn with a lasso

Percentages are of the object's size, the square root of its area. Which pixels a style takes is computed in integers.
To add a style, write a function here, add it to `_STYLES`, and its name to `MASK_STYLES` in olrd/config.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from olrd.arrays import Mask
from olrd.draws import draw_integer
from olrd.masks import grown, mask_box
from olrd.triplets.legal import mask_runs

MAX_RADIUS = 64
"""Largest radius, in pixels, by which a style grows a mask."""
SIDES, UNIT = 12, 1024
DIRECTIONS = tuple(
    (round(UNIT * math.cos(math.pi * k / 24)), round(UNIT * math.sin(math.pi * k / 24))) for k in range(48)
)
"""Directions every 7.5 degrees, as integers of length 1024."""


@dataclass(frozen=True, slots=True)
class MaskStyle:
    """How the mask of a triplet is drawn. name: one of `olrd.config.MASK_STYLES`. strength: 0 (close to the footprint)
    to 1. grow: pixels by which the drawn mask is grown afterwards."""

    name: str
    strength: float
    grow: int = 0


def user_mask(footprint: Mask, style: MaskStyle | None, *key: object) -> Mask:
    """The mask that a user would draw around a footprint.

    Args:
        footprint: bool [H, W], not empty.
        style: how it is drawn; None gives the footprint itself.
        key: of the draws (see olrd.draws). The same key gives the same mask.

    Returns:
        bool [H, W]. It contains the footprint. Where it would cover the whole picture, it is the footprint.
    """
    if style is None:
        return footprint
    size = math.isqrt(np.count_nonzero(footprint))
    box = mask_box(footprint)
    height, width = footprint.shape
    pad = size + MAX_RADIUS + style.grow
    rows = slice(max(0, box.y - pad), min(height, box.y + box.h + pad))
    columns = slice(max(0, box.x - pad), min(width, box.x + box.w + pad))
    inside = np.ascontiguousarray(footprint[rows, columns])
    drawn = _STYLES[style.name](inside, style.strength, size, (*key, style.strength)) | inside
    result = np.zeros_like(footprint)
    result[rows, columns] = grown(drawn, style.grow)
    return footprint.copy() if result.all() else result


Key = tuple[object, ...]


def _exact(mask: Mask, strength: float, size: int, key: Key) -> Mask:
    return mask


def _grown(mask: Mask, strength: float, size: int, key: Key) -> Mask:
    return grown(mask, _radius(1 + strength * size * 0.12))


def _hull(mask: Mask, strength: float, size: int, key: Key) -> Mask:
    filled = np.zeros(mask.shape, np.uint8)
    cv2.fillConvexPoly(filled, cv2.convexHull(_edge_points(mask)), 1)
    return grown(filled.view(np.bool_), _radius(strength * size * 0.06))


def _box(mask: Mask, strength: float, size: int, key: Key) -> Mask:
    box, most = mask_box(mask), int(strength * size * 0.2)
    left, top, right, bottom = (draw_integer(most + 1, *key, side) for side in ("left", "top", "right", "bottom"))
    drawn = np.zeros_like(mask)
    drawn[max(0, box.y - top) : box.y + box.h + bottom, max(0, box.x - left) : box.x + box.w + right] = True
    return drawn


def _brush(mask: Mask, strength: float, size: int, key: Key) -> Mask:
    upright = draw_integer(2, *key, "upright") == 1
    field = np.ascontiguousarray(mask.T) if upright else mask
    radius = max(2, int(size * (0.1 + 0.2 * strength)))
    box, shake = mask_box(field), max(1, radius // 4)
    drawn = np.zeros(field.shape, np.uint8)
    for stroke, y in enumerate(range(box.y + radius // 2, box.y + box.h + radius // 2, radius)):
        band: Mask = np.any(field[max(0, y - radius // 2) : y - radius // 2 + radius], axis=0, keepdims=True)
        for _, left, length in mask_runs(band):
            start, stop = (
                y + draw_integer(2 * shake + 1, *key, stroke, left, end) - shake for end in ("start", "stop")
            )
            cv2.line(drawn, (left, start), (left + length - 1, stop), 1, thickness=2 * radius)
    return np.ascontiguousarray(drawn.T if upright else drawn).view(np.bool_)


def _loose(mask: Mask, strength: float, size: int, key: Key) -> Mask:
    step, turn = len(DIRECTIONS) // SIDES, draw_integer(len(DIRECTIONS) // SIDES, *key, "turn")
    most = int(size * (0.02 + 0.28 * strength))
    x, y = _edge_points(mask)[:, 0].T
    across, down = np.arange(mask.shape[1], dtype=np.int64), np.arange(mask.shape[0], dtype=np.int64)[:, None]
    drawn = np.ones_like(mask)
    for side in range(SIDES):
        dx, dy = DIRECTIONS[turn + side * step]
        farthest = int((x * dx + y * dy).max()) + UNIT * draw_integer(most + 1, *key, "side", side)
        drawn &= across * dx + down * dy <= farthest
    return drawn


def _radius(pixels: float) -> int:
    return min(MAX_RADIUS, int(pixels))


def _edge_points(mask: Mask) -> np.ndarray:
    """The first and the last pixel of each row, int32 [n, 1, 2] as (x, y). Their convex hull is that of the mask."""
    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - 1 - mask[rows, ::-1].argmax(axis=1)
    points = np.stack([np.concatenate([first, last]), np.concatenate([rows, rows])], axis=1)
    return points.astype(np.int32)[:, None]


_STYLES: dict[str, Callable[[Mask, float, int, Key], Mask]] = {
    "exact": _exact,
    "grown": _grown,
    "hull": _hull,
    "box": _box,
    "brush": _brush,
    "loose": _loose,
}
