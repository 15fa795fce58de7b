"""Pastes the result of a window into its photo without a visible seam.

One official sample shows that the result is pasted with a dilated, feathered mask. The values here are inferred.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask
from olrd.panoptic import Box

FEATHER = 16
"""Pixels outside the mask over which the result fades into the photo (15 to 25 in the official sample)."""
LARGEST_SHIFT = 32.0
"""Largest number of grey levels by which `levelled` moves a colour. A larger difference is not a shift of tone."""
_COARSE = 4


def paste_back(photo: Image, result: Image, window: Box, mask: Mask, hole: Mask, *, composite: bool = True) -> Image:
    """Return a new photo that contains the result.

    Args:
        photo: uint8 [H, W, 3].
        result: uint8 [h, w, 3], the window's result.
        window: The window's box in the photo.
        mask: bool [H, W], the part that is pasted.
        hole: bool [h, w], the pixels of the window whose photo must not be used.
        composite: Change only pixels of the mask, and shift their tone so that the mask's border is not visible
            (`levelled`). Otherwise the result fades out over `FEATHER` pixels outside the mask.
    """
    out, crop = photo.copy(), window.crop()
    inside = mask[crop]
    if composite:
        out[crop][inside] = levelled(photo[crop], result, hole)[inside]
        return out
    share = faded(inside)[..., None]
    blend = photo[crop] * (1 - share) + result * share
    out[crop] = np.where(share > 0, np.rint(blend).astype(np.uint8), photo[crop])
    return out


def faded(mask: Mask, feather: int = FEATHER) -> npt.NDArray[np.float32]:
    """Return float32 [h, w]: 1 in the mask, falling to 0 within `feather` pixels around it."""
    if mask.all():  # OpenCV measures the distance to the nearest zero, which does not exist here
        return np.ones(mask.shape, np.float32)
    outside = np.ascontiguousarray(~mask).view(np.uint8)
    far = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.clip(1 - far / (feather + 1), 0, 1).astype(np.float32)


def levelled(photo: Image, result: Image, hole: Mask) -> Image:
    """Shift the tone of the result to that of the photo around the hole.

    The model also returns the surroundings of the hole, with a slightly different tone because of the autoencoder. This
    difference is averaged over a few pixels, continued smoothly into the hole, and added to the result.
    """
    if hole.all():
        return result
    known = (~hole).astype(np.float32)[..., None]
    height, width = hole.shape
    small = max(1, width // _COARSE), max(1, height // _COARSE)
    off = (photo.astype(np.float32) - result) * known
    weights = _shrunk(known, small)
    smooth = _continued(_shrunk(off, small), weights)
    shift = np.clip(cv2.resize(smooth, (width, height)), -LARGEST_SHIFT, LARGEST_SHIFT)
    return np.clip(np.rint(result + shift), 0, 255).astype(np.uint8)


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
