"""Proposes an object's cast shadow and reflection, as a second mask for the eraser.

An object that is erased without its shadow leaves the shadow behind. Both are found from the photo and the object's mask
alone, without a network. The search is conservative: where the evidence is weak, nothing is proposed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from baselines.photos.reflections import reflection_of
from baselines.photos.shadows import shadow_of
from olrd.arrays import Image, Mask
from olrd.errors import UsageError

LONGEST = 512
"""Longest side of the copy that is searched, in pixels. Shadows and reflections are large, so that little is lost."""
SMALLEST = 250
"""An object with fewer pixels in that copy gives too little evidence."""


@dataclass(frozen=True)
class Effects:
    """What an object leaves on its surroundings.

    Attributes:
        shadow: bool [H, W], its cast shadow.
        reflection: bool [H, W], its mirror image in water or on a wet floor.

    Both are disjoint from the object's mask and from each other, and empty where nothing was found.
    """

    shadow: Mask
    reflection: Mask

    @property
    def mask(self) -> Mask:
        """Shadow and reflection together, bool [H, W]."""
        return self.shadow | self.reflection


def propose_effects(image: Image, mask: Mask) -> Effects:
    """Propose the shadow and the reflection of the masked object.

    Args:
        image: uint8 [H, W, 3] RGB.
        mask: bool [H, W], the object. It should be close to the outline: a mask that already contains the shadow gets
            no proposal.

    Returns:
        The same for the same input; photos with a side over `LONGEST` are searched on a smaller copy.

    Raises:
        UsageError: the arrays are not a photo and its mask.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UsageError(f"expected a photo uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
    if mask.dtype != np.bool_ or mask.shape != image.shape[:2]:
        raise UsageError(f"expected the photo's mask bool {list(image.shape[:2])}, got {mask.dtype} {list(mask.shape)}")
    height, width = mask.shape
    shrink = min(1.0, LONGEST / max(height, width, 1))
    photo, hole = image, mask
    if shrink < 1:
        size = max(1, round(width * shrink)), max(1, round(height * shrink))
        photo = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        hole = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
    if np.count_nonzero(hole) < SMALLEST or hole.all():
        return Effects(np.zeros_like(mask), np.zeros_like(mask))
    photo = np.ascontiguousarray(photo)
    reflection = _enlarged(reflection_of(photo, hole), mask)
    shadow = _enlarged(shadow_of(photo, hole), mask) & ~reflection
    return Effects(shadow, reflection)


def _enlarged(found: Mask, mask: Mask) -> Mask:
    """Bring what was found to the photo's size, close the seam to the object, and leave the object out."""
    if not found.any():
        return np.zeros_like(mask)
    height, width = mask.shape
    if found.shape == mask.shape:
        large = found
    else:
        large = cv2.resize(found.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5
    # Pixels at the outline mix object and ground, and are judged by neither search.
    reach = 2 * max(1, round(max(height, width) / LONGEST)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    near = cv2.dilate(mask.astype(np.uint8), disc) > 0
    seam = near & (cv2.dilate(large.astype(np.uint8), disc) > 0)
    return (large | seam) & ~mask
