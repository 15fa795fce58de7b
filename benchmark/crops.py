"""The crop that shows the erased place.

A mask covers a few per cent of a photo. In a small copy of the whole photo the erased place is a few pixels wide, so
reports and boards show a crop of the photo's own pixels instead.
"""

from __future__ import annotations

from olrd.arrays import Mask
from olrd.masks import mask_box
from olrd.panoptic import Box

CONTEXT = 1.5
"""Side of a report's crop in sides of the mask's box, before `MARGIN` is added."""
MARGIN = 64
"""Pixels that are added to the side of a report's crop."""
SMALLEST = 192
"""Shortest side of a report's crop in pixels. Less would show single pixels and no surroundings."""


def crop_box(mask: Mask, context: float = CONTEXT, margin: int = MARGIN, smallest: int = SMALLEST) -> Box:
    """The square around the erased place, with context.

    The crop contains every pixel of the mask. It is a square unless the mask is longer than the photo's short side;
    then it is as high or as wide as the photo.

    Args:
        mask: bool [H, W]. If it is empty, the crop is the whole photo.
        context: side of the crop in sides of the mask's box.
        margin: pixels that are added to this side.
        smallest: shortest side in pixels. Small photos have shorter ones.

    Returns:
        The box of the crop, inside the photo.
    """
    height, width = mask.shape
    if not mask.any():
        return Box(0, 0, width, height)
    erased = mask_box(mask)
    longest = max(erased.w, erased.h)
    side = max(smallest, round(context * longest) + margin)
    side = min(side, max(longest, min(width, height)))
    w, h = min(side, width), min(side, height)
    x = min(max(0, erased.x + erased.w // 2 - w // 2), width - w)
    y = min(max(0, erased.y + erased.h // 2 - h // 2), height - h)
    return Box(x, y, w, h)
