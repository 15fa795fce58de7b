"""Erasing from one photo: the mask grows, an eraser fills it, and the fill is pasted back."""

from __future__ import annotations

import time
from typing import NamedTuple

from baselines.checked import CheckedEraser, check_pair
from baselines.eraser import Hints
from baselines.photos.effects import Effects, propose_effects
from baselines.photos.files import doubt
from baselines.photos.rim import default_growth, grown_by, paste
from olrd.arrays import Image, Mask
from olrd.errors import UsageError

EFFECTS = ("off", "show", "erase")
"""What happens to the object's shadow and reflection: nothing; they are proposed; they are erased too."""
LARGEST_GROWTH = 1000


class Wanted(NamedTuple):
    """What is to be erased from a photo.

    Attributes:
        mask: bool [H, W], the object, with its effects if they are to be erased.
        hole: bool [H, W], the mask and the rim by which it grows. Pixels outside never change.
        growth: The rim's width in pixels.
        effects: The proposed shadow and reflection, or None if they were not looked for.
    """

    mask: Mask
    hole: Mask
    growth: int
    effects: Effects | None


class Erased(NamedTuple):
    """A photo without the object.

    Attributes:
        pixels: uint8 [H, W, 3].
        seconds: Time that the eraser took.
        warning: What makes the result look like a failure, or None.
    """

    pixels: Image
    seconds: float
    warning: str | None


def wanted(image: Image, mask: Mask, grow: int | None = None, effects: str = "off") -> Wanted:
    """Decide which pixels are erased.

    Args:
        image: uint8 [H, W, 3].
        mask: bool [H, W], True = erase.
        grow: Pixels by which the mask grows; 0 takes it as it is; None is `default_growth`.
        effects: One of `EFFECTS`.

    Raises:
        UsageError: If the mask is empty or does not fit the photo, or a value is out of its range.
    """
    check_pair(image, mask)
    if not mask.any():
        raise UsageError("the mask is empty: nothing is marked to be erased")
    growth = default_growth(mask) if grow is None else grow
    if not 0 <= growth <= LARGEST_GROWTH:
        raise UsageError(f"--grow is a number of pixels from 0 to {LARGEST_GROWTH}, got {growth}")
    if effects not in EFFECTS:
        raise UsageError(f"--effects is one of {', '.join(EFFECTS)}, got '{effects}'")
    found = None if effects == "off" else propose_effects(image, mask)
    if found is not None and effects == "erase":
        mask = mask | found.mask
    return Wanted(mask, grown_by(mask, growth), growth, found)


def erase_photo(image: Image, what: Wanted, eraser: CheckedEraser, hints: Hints | None = None) -> Erased:
    """Erase from one photo.

    Args:
        image: uint8 [H, W, 3].
        what: As `wanted` decides.
        eraser: The eraser. It gets the photo and the hole.
        hints: What else is known of the photo.
    """
    began = time.perf_counter()
    fill = eraser.erase(image, what.hole, hints)
    seconds = time.perf_counter() - began
    return Erased(paste(image, fill, what.mask, what.hole), seconds, doubt(image, what.hole, fill))
