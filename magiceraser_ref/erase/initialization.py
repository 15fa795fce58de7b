"""Content initialisation (section 3): an eraser fills the hole roughly, and denoising starts from the result.

Denoising starts at the strength `Choices.strength` (`DEFAULT_STRENGTH`); `painting.py` does this. The UNet's channels of the masked photo show the hole, not the fill. The paper uses
Big-LaMa to fill. That the image outside the hole is the photo itself, and that the mask is not dilated, are inferred.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from baselines import open_eraser
from baselines.checked import check_pair
from baselines.eraser import Eraser, Hints, WeightsMissingError
from baselines.fill import mean_fill
from olrd.arrays import Image, Mask
from olrd.errors import UsageError
from olrd.masks import grown
from olrd.progress import say_once

OWN = "MagicEraser cannot be its own initializer; patchmatch needs no weights"
STAND_IN = "patchmatch"
"""The initialiser if the model's own has no weights on this machine."""


def open_initializer(chosen: str | None, usual: str, device: str) -> Eraser:
    """Open the eraser that fills the hole roughly.

    Args:
        chosen: Its name, if the user gave one.
        usual: The name in the model's settings. If it has no weights here, `STAND_IN` takes its place, and it is said.
        device: Its device.

    Raises:
        UsageError: If an eraser has no such name, or would initialise itself.
        WeightsMissingError: If the chosen eraser has no weights.
    """
    name = chosen or usual
    if name == "magiceraser":
        raise UsageError(OWN)
    try:
        return open_eraser(name, device=device)
    except WeightsMissingError as error:
        if chosen is not None:
            raise WeightsMissingError(
                f"the initializer {name} cannot run: {error}; patchmatch needs no weights"
            ) from error
        say_once(f"the model's initializer {name} has no weights on this machine: {STAND_IN} takes its place")
        return open_eraser(STAND_IN, device=device)


def content_initialization(
    images: Sequence[Image],
    masks: Sequence[Mask],
    filler: Eraser,
    dilate: int = 0,
    hints: Sequence[Hints] | None = None,
) -> list[Image]:
    """Fill the masks with the content of another eraser. Pixels outside the masks do not change.

    The eraser sees a blank hole, so the result does not depend on the pixels under the masks.

    Args:
        images: uint8 [H, W, 3] each.
        masks: bool [H, W] each, True = erase.
        filler: The eraser.
        dilate: Pixels by which the eraser's mask is larger, so that what reaches beyond the mask (a shadow, a soft
            edge) is not continued into the hole.
        hints: For erasers that use them.

    Raises:
        UsageError: If the sizes do not fit, or `dilate` is negative.
    """
    if dilate < 0:
        raise UsageError(f"dilate is a number of pixels, 0 or more; got {dilate}")
    for image, mask in zip(images, masks, strict=True):
        check_pair(image, mask)
    holes = [grown(mask, dilate, square=True) for mask in masks]
    blanks = [blanked(image, hole) for image, hole in zip(images, holes, strict=True)]
    fills = filler.erase(blanks, holes, hints)
    return [np.where(mask[..., None], fill, image) for image, mask, fill in zip(images, masks, fills, strict=True)]


def blanked(image: Image, mask: Mask) -> Image:
    """Return a copy whose masked pixels have the mean colour of the others (grey 128 if there are none)."""
    return mean_fill(image, mask, Hints())
