"""Pastes the result of a window into its photo without a visible seam.

One official sample shows that the result is pasted with a dilated, feathered mask. The values here are inferred.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from baselines.levelling import levelled
from olrd.arrays import Image, Mask
from olrd.panoptic import Box

FEATHER = 16
"""Pixels outside the mask over which the result fades into the photo (15 to 25 in the official sample)."""


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
