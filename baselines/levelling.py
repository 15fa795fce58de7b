"""Shifts the tone of a fill to that of the photo around the hole, so that the border of the hole does not show."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask

LARGEST_SHIFT = 32.0
"""Largest number of grey levels by which `levelled` moves a colour. A larger difference is not a shift of tone."""
_COARSE = 4


def levelled(photo: Image, result: Image, hole: Mask) -> Image:
    """Shift the tone of the result to that of the photo around the hole.

    The result also shows the surroundings of the hole, in a slightly different tone. This difference is averaged over a few
    pixels, continued smoothly into the hole, and added to the result.

    Args:
        photo: uint8 [H, W, 3].
        result: uint8 [H, W, 3], with its own version of what is around the hole.
        hole: bool [H, W], where the photo must not be used.
    """
    if hole.all():
        return result
    known = (~hole).astype(np.float32)[..., None]
    height, width = hole.shape
    small = max(1, width // _COARSE), max(1, height // _COARSE)
    # In place, and freed early: the photo may be large.
    off = photo.astype(np.float32)
    off -= result
    off *= known
    sums, weights = _shrunk(off, small), _shrunk(known, small)
    del off, known
    shift = cv2.resize(_continued(sums, weights), (width, height)).reshape(height, width, 3)
    np.clip(shift, -LARGEST_SHIFT, LARGEST_SHIFT, out=shift)
    shift += result
    np.rint(shift, out=shift)
    return np.clip(shift, 0, 255, out=shift).astype(np.uint8)


def _continued(sums: npt.NDArray[np.float32], weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Divide sums by weights, and fill places without weight from coarser levels. Returns float32 [h, w, 3].

    sums: [h, w, 3], already weighted. weights: [h, w, 1], 0 to 1, not all 0.
    """
    height, width = weights.shape[:2]
    own = np.divide(sums, np.maximum(weights, 1e-6), dtype=np.float32)
    if weights.min() >= 1 or max(height, width) == 1:
        return own
    size = -(-width // 2), -(-height // 2)
    coarse = _continued(_shrunk(sums, size), _shrunk(weights, size))
    # cv2.resize may drop an axis, so the shape is restored.
    wide = cv2.resize(coarse, (width, height)).reshape(height, width, 3)
    trusted = np.minimum(weights, np.float32(1))
    mixed: npt.NDArray[np.float32] = own * trusted + wide * (1 - trusted)
    return mixed


def _shrunk(values: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    return small.reshape(size[1], size[0], values.shape[2])
