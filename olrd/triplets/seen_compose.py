"""The triplet of a picture whose background was seen: the picture, masks, and the plate laid over the effect."""

from __future__ import annotations

import numpy as np

from olrd.arrays import Image, Mask
from olrd.errors import IntegrityError
from olrd.panoptic import Box
from olrd.triplets.compose import Triplet, prove


def lay_plate(picture: Image, mask: Mask, effect: Mask, box: Box, plate: Image) -> Triplet:
    """The triplet.

    Args:
        picture: with the object, uint8 [H, W, 3].
        mask, effect: bool [H, W]; the effect contains the mask.
        box: the extent of the effect.
        plate: uint8 [h, w, 3], the clean plate inside the box.

    Raises:
        IntegrityError: the effect does not contain the mask, or is empty or full.
    """
    if (mask & ~effect).any() or not mask.any():
        raise IntegrityError("an effect must contain its mask, and a mask must not be empty")
    background = picture.copy()
    inside = background[box.crop()]
    inside[effect[box.crop()]] = plate[effect[box.crop()]]
    prove(picture, effect, background)
    return Triplet(picture, mask, background, effect)


def placed(mask: Mask, box: Box, shape: tuple[int, int]) -> Mask:
    """A mask inside a box as a mask of the whole picture. Raises `IntegrityError` if the box does not lie in it."""
    if box.x + box.w > shape[1] or box.y + box.h > shape[0]:
        raise IntegrityError(f"a region at {tuple(box)} does not lie in a picture of {shape[1]} x {shape[0]}")
    whole = np.zeros(shape, np.bool_)
    whole[box.crop()] = mask
    return whole
