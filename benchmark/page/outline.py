"""The outline of a mask as an SVG path."""

from __future__ import annotations

import cv2
import numpy as np

from olrd.arrays import Mask
from olrd.masks import mask_box

PATH_LENGTH = 6000
"""Longest path of an outline in characters. Masks with a finer outline are simplified."""
PIECES = 1000
"""Most pieces and holes that an outline has."""
COARSEST = 64
"""Largest gap in pixels that is closed to simplify an outline."""


def outline_path(mask: Mask, limit: int = PATH_LENGTH) -> str:
    """The outline of a mask as the data of an SVG path, in pixels of the mask.

    The line runs half a pixel outside the mask, so it hides no erased pixel. Gaps between pieces are closed, wider and
    wider, until the path has at most `limit` characters; after the last step the path is the box of the mask.

    Args:
        mask: bool [H, W].
        limit: most characters of the path.

    Returns:
        Such as `M9.5 4.5L20.5 4.5...Z`; empty for an empty mask.
    """
    if not mask.any():
        return ""
    pixels = np.ascontiguousarray(mask).view(np.uint8)
    gap = 0
    while gap <= COARSEST:
        closed = pixels if gap == 0 else cv2.morphologyEx(pixels, cv2.MORPH_CLOSE, _square(gap))
        path = _path(cv2.dilate(closed, _square(1)), max(0.5, gap / 2))
        if path is not None and len(path) <= limit:
            return path
        gap = 2 * gap or 1
    x, y, w, h = mask_box(mask)
    return f"M{x} {y}L{x + w} {y}L{x + w} {y + h}L{x} {y + h}Z"


def _square(radius: int) -> np.ndarray:
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def _path(pixels: np.ndarray, tolerance: float) -> str | None:
    """The path along the border pixels of uint8 [H, W], at most `tolerance` pixels away from them. None if there are
    over `PIECES` pieces and holes."""
    contours, _ = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if len(contours) > PIECES:
        return None
    parts = []
    for contour in contours:
        points = cv2.approxPolyDP(contour, tolerance, True)[:, 0]
        parts.append("M" + "L".join(f"{x}.5 {y}.5" for x, y in points) + "Z")
    return "".join(parts)
