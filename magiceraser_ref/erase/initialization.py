"""Content initialisation (section 3): the hole filled roughly by an eraser, the photo around it.

The fill is where denoising starts, at strength 0.9. The masked-photo channels of the UNet do not see
it: those show the hole. Big-LaMa is the paper's filler; that the image outside is the photo itself, and
that the mask is not dilated, are inferred.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from baselines.checked import check_pair
from baselines.eraser import Eraser, Hints
from baselines.fill import mean_fill
from olrd.arrays import Image, Mask
from olrd.errors import UsageError
from olrd.masks import grown

FILLER = "lama"
"""The full model's initialiser (section 3)."""


def content_initialization(
    images: Sequence[Image],
    masks: Sequence[Mask],
    filler: Eraser,
    dilate: int = 0,
    hints: Sequence[Hints] | None = None,
) -> list[Image]:
    """The photos, uint8 [H, W, 3], with `filler`'s content inside the masks and unchanged outside.

    images: uint8 [H, W, 3]. masks: bool [H, W], True = erase. dilate: pixels by which the filler's mask
    is larger, so that what sticks out of the mask (shadow, soft edge) is not continued into it. hints:
    for fillers that want them.

    The filler sees a blank in the hole: nothing of the result depends on the pixels under the masks.
    Raises `UsageError` for sizes that do not fit or a negative `dilate`.
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
    """A copy whose masked pixels have the mean colour of the others (grey 128 if there are none)."""
    return mean_fill(image, mask, Hints())
