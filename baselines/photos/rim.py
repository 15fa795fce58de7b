"""Growing a mask, so that the soft edge of the object is erased too, and pasting the result back without a seam.

A mask that follows the outline leaves a rim of the object: blurred edges, colour fringes, contact shadows. Erasers
continue it into the hole.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask
from olrd.masks import grown

SHARE = 0.04
"""Default growth, as a share of the side of a square that has the mask's area."""
LEAST, MOST = 2, 64
"""Limits of the default growth in pixels."""


def default_growth(mask: Mask) -> int:
    """The pixels by which a mask grows if nothing is said: 4 % of its size (see `SHARE`), from 2 to 64."""
    return int(np.clip(round(SHARE * float(np.count_nonzero(mask)) ** 0.5), LEAST, MOST))


def grown_by(mask: Mask, pixels: int) -> Mask:
    """Grow a mask by a disc, in the part of the photo where it can change anything.

    Args:
        mask: bool [H, W].
        pixels: Radius; 0 returns a copy.
    """
    if not pixels or not mask.any():
        return mask.copy()
    near, wide = _around(mask, pixels), np.zeros_like(mask)
    wide[near] = grown(mask[near], pixels)
    return wide


def paste(photo: Image, fill: Image, mask: Mask, hole: Mask) -> Image:
    """Put a fill into a photo.

    In the mask and the inner half of the rim around it the result is the fill. Over the outer half it fades into the
    photo. Pixels outside the hole do not change.

    Args:
        photo: uint8 [H, W, 3].
        fill: uint8 [H, W, 3].
        mask: bool [H, W], what the user wants to erase.
        hole: bool [H, W], the grown mask.
    """
    result = photo.copy()
    if not hole.any():
        return result
    # A ring of one pixel around the hole's box contains the nearest pixel of the photo to each pixel of the hole.
    near = _around(hole, 1)
    share, inside = fading(mask[near], hole[near]), hole[near]
    result[near][inside] = fill[near][inside]
    edge = inside & (share < 1)
    old, new, part = photo[near][edge], fill[near][edge], share[edge][:, None]
    result[near][edge] = np.rint(old * (1 - part) + new * part).astype(np.uint8)
    return result


def _around(mask: Mask, pixels: int) -> tuple[slice, slice]:
    """The rows and columns of the mask's box and of some pixels on each side of it. The mask is not empty."""
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    rows = slice(max(0, top - pixels), top + height + pixels)
    return rows, slice(max(0, left - pixels), left + width + pixels)


def fading(mask: Mask, hole: Mask) -> npt.NDArray[np.float32]:
    """The share of the fill, float32 [H, W]: 1 in the mask and the inner half of the rim, 0 outside the hole.

    The shares follow from the distances to the mask and to the photo outside the hole.
    """
    rim = hole & ~mask
    if not rim.any():
        return hole.astype(np.float32)
    if hole.all():
        return np.ones(hole.shape, np.float32)
    inner = _distance(~mask) if mask.any() else np.full(mask.shape, np.inf, np.float32)
    outer = _distance(hole)
    position = outer / np.maximum(inner + outer, np.float32(1e-6))  # 1 at the mask, near 0 at the photo
    share = np.where(rim, np.clip(2 * position, 0, 1), mask)
    return share.astype(np.float32)


def _distance(inside: Mask) -> npt.NDArray[np.float32]:
    """How far each True pixel is from the nearest False one, float32 [H, W], in pixels."""
    found: npt.NDArray[np.float32] = cv2.distanceTransform(
        np.ascontiguousarray(inside).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    return found
