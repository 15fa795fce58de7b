"""Fills: functions that paint a hole from its surroundings, and the eraser that each of them makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from baselines.eraser import EraserInfo, Hints
from olrd.arrays import Image, Mask

Fill = Callable[[Image, Mask, Hints], Image]


class Filler:
    """An eraser made of a function (image, mask, hints) -> image that needs no weights."""

    def __init__(self, info: EraserInfo, fill: Fill) -> None:
        self.info, self._fill = info, fill

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        """See `Eraser.erase`; one sample after the other."""
        hints = hints or [Hints()] * len(images)
        return [
            self._fill(image, mask, hint) if mask.any() else image.copy()
            for image, mask, hint in zip(images, masks, hints, strict=True)
        ]


def mean_fill(image: Image, mask: Mask, hint: Hints) -> Image:
    """See `open_mean_fill`. The mean is rounded to whole grey levels."""
    outside = image[~mask]
    colour = outside.mean(axis=0) if len(outside) else np.full(3, 128.0)
    filled = image.copy()
    filled[mask] = np.rint(colour).astype(np.uint8)
    return filled
