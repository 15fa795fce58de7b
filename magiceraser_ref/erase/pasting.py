"""The result of a window back in its photo, without a seam.

One official sample shows a paste-back with a dilated, feathered mask; the values here are inferred.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask
from olrd.panoptic import Box

FEATHER = 16
"""Pixels outside the mask over which the result fades into the photo (the official sample's: 15-25)."""
LARGEST_SHIFT = 32.0
"""Grey levels by which `levelled` may move a colour: more would be no lost tone but another content."""
_COARSE = 4


def paste_back(photo: Image, result: Image, window: Box, mask: Mask, hole: Mask, *, composite: bool = True) -> Image:
    """A new photo with the result in it.

    photo: uint8 [H, W, 3]. result: uint8 [h, w, 3], the window's. mask: bool [H, W], what is pasted.
    hole: bool [h, w], every pixel of the window whose photo is not to be looked at.

    composite: only pixels of the mask change, and their tone is shifted so that the mask's border does
    not show (`levelled`); everything else stays bit for bit. Otherwise the result fades out over
    `FEATHER` pixels outside the mask.
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
    """float32 [h, w]: 1 in the mask, falling to 0 within `feather` pixels around it."""
    if mask.all():  # OpenCV measures the distance to the nearest zero, and there is none
        return np.ones(mask.shape, np.float32)
    outside = np.ascontiguousarray(~mask).view(np.uint8)
    far = cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.clip(1 - far / (feather + 1), 0, 1).astype(np.float32)


def levelled(photo: Image, result: Image, hole: Mask) -> Image:
    """The result with its tone shifted to the photo's around the hole.

    The model returns also the surroundings, a little off: the autoencoder loses some tone. That
    difference, averaged over a few pixels and continued smoothly into the hole, is added back.
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
    """float32 [h, w, 3]: sums / weights where there is weight, else what coarser levels say.

    sums: [h, w, 3], already weighted. weights: [h, w, 1], 0 to 1, not all 0.
    """
    height, width = weights.shape[:2]
    own = np.divide(sums, np.maximum(weights, 1e-6), dtype=np.float32)
    if weights.min() >= 1 or max(height, width) == 1:
        return own
    size = -(-width // 2), -(-height // 2)
    coarse = _continued(_shrunk(sums, size), _shrunk(weights, size))
    # cv2 drops the last axis of a single column or row of none: three channels are always kept.
    wide = cv2.resize(coarse, (width, height)).reshape(height, width, 3)
    trusted = np.minimum(weights, np.float32(1))
    mixed: npt.NDArray[np.float32] = own * trusted + wide * (1 - trusted)
    return mixed


def _shrunk(values: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    return small.reshape(size[1], size[0], values.shape[2])
