"""Erasers without weights: a function fills the hole of one photo, and `Filler` turns it into an eraser."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from baselines.eraser import EraserInfo, Hints
from olrd.arrays import Image, Mask

Fill = Callable[[Image, Mask, Hints], Image]
"""Takes a photo, a mask that is not empty, and hints. Returns the filled photo and leaves its inputs as they are."""


class Filler:
    """An eraser that applies a `Fill` to one photo after the other."""

    def __init__(self, info: EraserInfo, fill: Fill) -> None:
        self.info, self._fill = info, fill

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        """See `Eraser.erase`."""
        return one_by_one(self._fill, images, masks, hints)


def one_by_one(
    fill: Fill, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None
) -> list[Image]:
    """Fill one photo after the other. A photo with an empty mask is copied. The arguments are those of `Eraser.erase`."""
    return [
        fill(image, mask, hint) if mask.any() else image.copy()
        for image, mask, hint in zip(images, masks, hints or [Hints()] * len(images), strict=True)
    ]


def mean_fill(image: Image, mask: Mask, hint: Hints) -> Image:
    """Fill the mask with the mean colour outside it, rounded to whole grey levels.

    If the mask covers the whole photo, the colour is grey 128.
    """
    outside = image[~mask]
    colour = outside.mean(axis=0) if len(outside) else np.full(3, 128.0)
    filled = image.copy()
    filled[mask] = np.rint(colour).astype(np.uint8)
    return filled
