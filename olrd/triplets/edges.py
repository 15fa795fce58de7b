"""Edge agreement: whether an annotated outline follows the picture's edges.

Outlines drawn by hand run through the background, or cut off a part of the object. There, the colours on both sides of
the outline are alike.
"""

from __future__ import annotations

import cv2
import numpy as np

from olrd.arrays import Image, Mask
from olrd.masks import disc, with_margin
from olrd.panoptic import Box
from olrd.triplets.window_sums import local_mean

WIDE = 7
"""Colours are averaged over a square that reaches this many pixels from a pixel of the outline."""
GAP = 2
"""Pixels on each side of the outline that do not count, because both colours are mixed there."""
FEW = 8
"""Smallest number of pixels on each side. Thin parts have fewer and do not count."""
STEP = 18
"""Smallest distance of two colours that is an edge, in grey levels (Euclidean, over the three channels)."""


def edge_agreement(pixels: Image, box: Box, mask: Mask) -> float:
    """The share of an object's outline at which the mean colours inside and outside differ.

    Args:
        pixels: the photo, uint8 [H, W, 3].
        box: of the object.
        mask: bool [h, w], the object inside its box.

    Returns:
        0 to 1. 1 if the object is so thin that nothing can be compared.
    """
    window, own = with_margin(box, mask, WIDE + GAP, pixels.shape)
    crop = np.ascontiguousarray(pixels[window.crop()])
    outline = np.flatnonzero(own & ~cv2.erode(own, np.ones((3, 3), np.uint8)))
    (inside, many), (outside, others) = (
        local_mean(crop, side, WIDE, outline) for side in (cv2.erode(own, disc(GAP)), 1 - cv2.dilate(own, disc(GAP)))
    )
    told = (many >= FEW) & (others >= FEW)
    if not told.any():
        return 1.0
    apart = ((inside - outside)[told] ** 2).sum(axis=1) > STEP**2
    return float(np.count_nonzero(apart) / len(apart))
