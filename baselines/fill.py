"""Erasers without weights: a function fills the hole of one photo, and `Filler` turns it into an eraser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from baselines.eraser import EraserInfo, EraserSpec, Hints
from olrd.arrays import Image, Mask
from olrd.errors import UsageError

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
        hints = hints or [Hints()] * len(images)
        return [
            self._fill(image, mask, hint) if mask.any() else image.copy()
            for image, mask, hint in zip(images, masks, hints, strict=True)
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


def number_options(
    spec: EraserSpec, options: Mapping[str, str], limits: Mapping[str, tuple[float, float]]
) -> dict[str, float]:
    """Read an eraser's options that are numbers.

    Args:
        spec: The eraser.
        options: All options, as texts.
        limits: The smallest and largest value of every option that is a number.

    Raises:
        UsageError: If a value is not a number, or out of its limits.
    """
    numbers = {}
    for name, (low, high) in limits.items():
        try:
            numbers[name] = float(options[name])
        except ValueError:
            numbers[name] = float("nan")
        if not low <= numbers[name] <= high:
            raise UsageError(f"{spec.name}: {name} is a number from {low:,} to {high:,}, not '{options[name]}'")
    return numbers
