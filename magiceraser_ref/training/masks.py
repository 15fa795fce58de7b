"""Random masks as in the training of LaMa: thick brush strokes, boxes, or both."""

from __future__ import annotations

import cv2
import numpy as np

from olrd.arrays import Mask
from olrd.draws import draw_integer, draw_share

SMALLEST, LARGEST = 0.02, 0.5
"""Smallest and largest share of the picture that a mask covers."""
TRIES = 20


def random_mask(height: int, width: int, *key: object) -> Mask:
    """Draw a mask, bool [height, width], True = erase. It is a function of (height, width, key) alone.

    Strokes or boxes are drawn until the mask covers 2 to 50 % of the picture (ordinary values, like LaMa's "medium"
    masks, WACV 2022, section 2.3). If no attempt does, the last one is returned.
    """
    mask = np.zeros((height, width), np.uint8)
    for attempt in range(TRIES):
        mask[:] = 0
        draw = (*key, "mask", attempt)
        kind = draw_integer(3, *draw, "kind")
        if kind in (0, 2):
            _strokes(mask, draw)
        if kind in (1, 2):
            _boxes(mask, draw)
        if SMALLEST <= np.count_nonzero(mask) / mask.size <= LARGEST:
            break
    return mask.view(np.bool_)


def _strokes(mask: np.ndarray, key: tuple[object, ...]) -> None:
    """Draw broken lines with a thick round brush."""
    height, width = mask.shape
    longest = max(height, width)
    for line in range(1 + draw_integer(3, *key, "strokes")):
        x, y = (draw_integer(n, *key, "start", line, n) for n in (width, height))
        angle = 2 * np.pi * draw_share(*key, "angle", line)
        thickness = max(1, int(longest * (0.05 + 0.15 * draw_share(*key, "brush", line))))
        for part in range(1 + draw_integer(4, *key, "parts", line)):
            angle += np.pi * (draw_share(*key, "turn", line, part) - 0.5)
            length = longest * (0.05 + 0.25 * draw_share(*key, "length", line, part))
            end = (
                int(np.clip(x + length * np.cos(angle), 0, width - 1)),
                int(np.clip(y + length * np.sin(angle), 0, height - 1)),
            )
            cv2.line(mask, (x, y), end, 1, thickness)
            x, y = end


def _boxes(mask: np.ndarray, key: tuple[object, ...]) -> None:
    """Draw upright rectangles."""
    height, width = mask.shape
    for box in range(1 + draw_integer(3, *key, "boxes")):
        h, w = (
            max(1, int(side * (0.1 + 0.35 * draw_share(*key, "side", box, name))))
            for side, name in ((height, "h"), (width, "w"))
        )
        y = draw_integer(height - h + 1, *key, "top", box)
        x = draw_integer(width - w + 1, *key, "left", box)
        mask[y : y + h, x : x + w] = 1
