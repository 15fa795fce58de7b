"""Soft shadows of pasted objects: where they fall, and how much light they take.

A contact shadow is the dark seam below an object's feet. A cast shadow is its silhouette, laid flat on the ground: a point
of the object that is h pixels above its feet falls `lean` times h pixels to the right and down. It gets softer and a
little lighter with the distance from the feet. A shadow darkens the composite only, never the ground truth, and only the
pixels of its region: ground like that below the object, without the things on it.

All sums are of integers, so that a recipe gives the same pixels on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask
from olrd.masks import mask_box
from olrd.panoptic import Box, decode_rle, encode_rle

UNIT = 1024
"""A lean of `UNIT` moves a shadow by as many pixels as the point above it is high."""
MAX_LEAN = 3 * UNIT
MAX_SOFTNESS = 64
"""Largest radius, in pixels, of one of the three box filters that soften the far end of a shadow."""
LEAST = 4
"""Pixels that lose less light, in 256ths, are no part of a shadow."""
FADES = 3
"""The far end of a cast shadow takes 1 / FADES less light than its start."""
NOWHERE = Box(0, 0, 0, 0)
Light = npt.NDArray[np.int32]


class Caster(NamedTuple):
    """An object in a photo. mask: bool [h, w]. position: (x, y) of the mask's corner in the photo."""

    mask: Mask
    position: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Shadow:
    """The shadow of a triplet's objects.

    Attributes:
        lean: where a point falls that is one pixel high, right and down, in 1024ths of a pixel.
        cast, contact: the light that the two kinds of shadow take at most, in 256ths; 0 for none.
        softness: radius, in pixels, of the filters that soften the far end of a cast shadow.
        box, rle: the region: the pixels that the shadow darkens, as COCO counts inside a box; width 0 if there are none.
    """

    lean: tuple[int, int] = (0, 0)
    cast: int = 0
    contact: int = 0
    softness: int = 0
    box: Box = NOWHERE
    rle: str = ""

    def region(self, shape: tuple[int, int]) -> Mask:
        """bool [H, W]: the pixels that the shadow darkens. Raises `Rejected` if the counts do not fit the box."""
        whole = np.zeros(shape, np.bool_)
        if self.box.w:
            whole[self.box.crop()] = decode_rle(self.rle, self.box.h, self.box.w)
        return whole

    def fits(self, shape: tuple[int, int]) -> bool:
        """Whether the region's box lies in a photo of this (height, width)."""
        return self.box.x + self.box.w <= shape[1] and self.box.y + self.box.h <= shape[0]


def light_taken(objects: Sequence[Caster], shadow: Shadow, shape: tuple[int, int]) -> tuple[Box, Light]:
    """The light that objects take from the ground, were all of it ground.

    Args:
        objects: what casts the shadow.
        shadow: how; its region does not matter.
        shape: (height, width) of the photo.

    Returns:
        A box in the photo, and int32 [h, w], 0 to 255: the share of the light that its pixels lose, in 256ths.
        Outside the box it is 0.
    """
    pad = 3 * MAX_SOFTNESS
    wide = _extent(objects, shadow, shape, pad)
    kept = np.full((wide.h, wide.w), 256, np.int32)
    cast = np.zeros_like(kept)
    for one in objects:
        kept = kept * (256 - _contact(one, wide, shadow.contact)) // 256
        if shadow.cast and shadow.lean[1]:
            np.maximum(cast, _cast(one, wide, shadow), out=cast)
    taken = 256 - kept * (256 - cast) // 256
    taken[taken < LEAST] = 0
    # `wide` is a coordinate system that begins `pad` pixels left of and above the photo.
    left, top = max(0, pad - wide.x), max(0, pad - wide.y)
    right, bottom = min(wide.w, shape[1] + pad - wide.x), min(wide.h, shape[0] + pad - wide.y)
    inside = np.minimum(taken[top:bottom, left:right], 255)
    return Box(wide.x + left - pad, wide.y + top - pad, inside.shape[1], inside.shape[0]), inside


def darkened(image: Image, objects: Sequence[Caster], shadow: Shadow) -> Image:
    """A copy of a photo, uint8 [H, W, 3], with the shadow in its region."""
    shaded = image.copy()
    if not shadow.box.w:
        return shaded
    height, width = image.shape[:2]
    box, taken = light_taken(objects, shadow, (height, width))
    kept = (256 - taken * shadow.region((height, width))[box.crop()]).astype(np.uint16)
    shaded[box.crop()] = (shaded[box.crop()] * kept[..., None] + np.uint16(128)) >> 8
    return shaded


def with_region(objects: Sequence[Caster], shadow: Shadow, ground: Mask) -> tuple[Shadow, float]:
    """The shadow with its region, and the share of the shadow's light that falls on no ground.

    ground: bool [H, W], the pixels that the shadow may darken.
    """
    height, width = ground.shape
    box, taken = light_taken(objects, shadow, (height, width))
    hidden = np.zeros(ground.shape, np.bool_)
    for one in objects:
        part, (x, y) = hidden[one.position[1] :, one.position[0] :], one.position
        rows, columns = min(one.mask.shape[0], height - y), min(one.mask.shape[1], width - x)
        part[:rows, :columns] |= one.mask[:rows, :columns]
    seen = taken * ~hidden[box.crop()]
    whole, on_ground = int(seen.sum()), int((seen * ground[box.crop()]).sum())
    region = np.zeros(ground.shape, np.bool_)
    region[box.crop()] = (taken > 0) & ground[box.crop()]
    if not whole or not region.any() or (region | hidden).all():
        return Shadow(), 1.0
    found = mask_box(region)
    placed = Shadow(shadow.lean, shadow.cast, shadow.contact, shadow.softness, found, encode_rle(region[found.crop()]))
    return placed, 1 - on_ground / whole


def silhouette(one: Caster, lean: tuple[int, int], window: Box) -> tuple[Mask, npt.NDArray[np.int64]]:
    """The shadow of an object on flat ground, bool [h, w] inside a window, without softness.

    Returns it with int64 [h, 1]: how high above the feet the points are that fall on each row of the window.
    """
    height, width = one.mask.shape
    foot = one.position[1] + height
    rows = np.arange(window.y, window.y + window.h)[:, None]
    columns = np.arange(window.x, window.x + window.w)
    high = (2 * (rows - foot) + 1) * (UNIT // 2) // lean[1]
    y, x = height - 1 - high, columns - one.position[0] - (high * lean[0] >> 10)
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return inside & one.mask[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)], high


def _cast(one: Caster, wide: Box, shadow: Shadow) -> Light:
    """The light, in 256ths, that a cast shadow takes in the window."""
    pad = 3 * MAX_SOFTNESS
    flat, high = silhouette(one, shadow.lean, Box(wide.x - pad, wide.y - pad, wide.w, wide.h))
    far = np.clip(high * 256 // one.mask.shape[0], 0, 256).astype(np.int32)
    sharp = flat.astype(np.uint8) * np.uint8(255)
    near, blurred = (
        _blurred(sharp, radius, radius).astype(np.int32) for radius in (max(1, shadow.softness // 4), shadow.softness)
    )
    mixed = (near * (256 - far) + blurred * far) >> 8
    return mixed * shadow.cast * (256 * FADES - far) // (255 * 256 * FADES)


def _contact(one: Caster, wide: Box, contact: int) -> Light:
    """The light, in 256ths, that a contact shadow takes in the window."""
    result = np.zeros((wide.h, wide.w), np.uint8)
    if not contact:
        return result.astype(np.int32)
    height, width = one.mask.shape
    across, down = contact_radii(one.mask)
    band = max(2, height * 8 // 100)
    pad = 3 * MAX_SOFTNESS
    x, y = one.position[0] + pad - wide.x, one.position[1] + pad - wide.y + height - band + down
    foot = one.mask[height - band :, :]
    rows, columns = slice(max(y, 0), min(y + band, wide.h)), slice(max(x, 0), min(x + width, wide.w))
    result[rows, columns] = foot[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x] * np.uint8(255)
    soft = _blurred(result, across, down).astype(np.int32)
    return soft * contact // max(1, int(soft.max()))


def contact_radii(mask: Mask) -> tuple[int, int]:
    """The radii of the filters of a contact shadow, across and down, in pixels."""
    across = min(MAX_SOFTNESS // 2, max(2, math.isqrt(np.count_nonzero(mask)) // 12))
    return across, max(1, across // 3)


def _blurred(values: npt.NDArray[np.uint8], across: int, down: int) -> npt.NDArray[np.uint8]:
    """Three box filters of 2 * radius + 1 pixels, each rounded to integers. Outside the array there is 0."""
    size = 2 * across + 1, 2 * down + 1
    count = size[0] * size[1]
    for _ in range(3):
        sums = cv2.boxFilter(values, cv2.CV_32S, size, normalize=False, borderType=cv2.BORDER_CONSTANT)
        values = ((sums + count // 2) // count).astype(np.uint8)
    return values


def _extent(objects: Sequence[Caster], shadow: Shadow, shape: tuple[int, int], pad: int) -> Box:
    """Where a shadow may fall, as a box in coordinates that begin `pad` pixels outside the photo, and not beyond `pad`
    pixels outside it."""
    edges = []
    for one in objects:
        (height, width), (x, y) = one.mask.shape, one.position
        right, down = (height * part // UNIT for part in shadow.lean)
        across, low = (3 * radius + 2 for radius in contact_radii(one.mask))
        soft = 3 * max(1, shadow.softness) + 2
        foot = y + height
        edges.append(
            (
                min(x - across, x + min(right, 0) - soft),
                min(foot - height * 8 // 100 - low - 3, foot + min(down, 0) - soft),
                max(x + width + across, x + width + max(right, 0) + soft),
                max(foot + 2 * low, foot + max(down, 0) + soft),
            )
        )
    left, top = (max(0, min(edge[axis] for edge in edges) + pad) for axis in (0, 1))
    right, bottom = (min(shape[1 - axis] + 2 * pad, max(edge[axis + 2] for edge in edges) + pad) for axis in (0, 1))
    return Box(left, top, max(1, right - left), max(1, bottom - top))
