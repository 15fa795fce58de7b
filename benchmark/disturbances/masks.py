"""Disturbed masks. Each function takes a mask, bool [H, W], a level, and the key of its draws, and returns a mask.

Levels are pixels at the size that the protocol prepares, or JPEG's quality.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from olrd.arrays import Mask
from olrd.draws import draw_share
from olrd.masks import grown

Key = tuple[object, ...]
"""The key of a draw: (seed, sample id)."""
ChangeMask = Callable[[Mask, int, Key], Mask]


def dilate(mask: Mask, level: int, key: Key) -> Mask:
    """Grow the mask by a disc with a radius of `level` pixels."""
    return grown(mask, level)


def erode(mask: Mask, level: int, key: Key) -> Mask:
    """Keep the pixels whose disc with a radius of `level` pixels lies in the mask. The photo's frame does not erode."""
    return ~grown(~mask, level)


def shift(mask: Mask, level: int, key: Key) -> Mask:
    """Move the mask by `level` pixels in a drawn direction. What leaves the photo is lost."""
    right, down = direction(level, key)
    return moved(mask, right, down)


def direction(level: int, key: Key) -> tuple[int, int]:
    """A vector of length `level`, rounded to pixels to the right and down; its angle is drawn."""
    angle = 2 * math.pi * draw_share(*key, "shift")
    return round(level * math.cos(angle)), round(level * math.sin(angle))


def moved(mask: Mask, right: int, down: int) -> Mask:
    """The mask moved by pixels to the right and down, False where nothing came from."""
    height, width = mask.shape
    result = np.zeros_like(mask)
    to_rows, from_rows = _slices(height, down)
    to_columns, from_columns = _slices(width, right)
    result[to_rows, to_columns] = mask[from_rows, from_columns]
    return result


def _slices(size: int, step: int) -> tuple[slice, slice]:
    """Where to write and where to read for a move by `step` along a side of `size` pixels."""
    step = max(-size, min(size, step))
    return slice(max(step, 0), size + min(step, 0)), slice(max(-step, 0), size - max(step, 0))


def blur(mask: Mask, level: int, key: Key) -> Mask:
    """Blur with a Gaussian of `level` pixels standard deviation and keep what is at least one half: corners become
    round, thin parts vanish. The frame mirrors the mask."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), float(level), borderType=cv2.BORDER_REFLECT)
    return soft >= 0.5


def jpeg(mask: Mask, level: int, key: Key) -> Mask:
    """Save the mask as a JPEG of quality `level` and keep the grey levels of at least 128."""
    return _as_jpeg(mask, level) >= 128


def jpeg_nonzero(mask: Mask, level: int, key: Key) -> Mask:
    """Save the mask as a JPEG of quality `level` and keep every grey level above 0, as many scripts do."""
    return _as_jpeg(mask, level) > 0


def _as_jpeg(mask: Mask, quality: int) -> np.ndarray:
    """The grey levels, uint8 [H, W], of a mask (0 and 255) that was saved as JPEG."""
    done, data = cv2.imencode(".jpg", mask.view(np.uint8) * np.uint8(255), [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
