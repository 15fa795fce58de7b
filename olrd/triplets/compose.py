"""Composing: cut the object out, move it, blend it in, and check that nothing else changed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image as Pillow

from olrd.arrays import Image, Mask, resize_image
from olrd.config import BLENDS
from olrd.errors import IntegrityError
from olrd.masks import mask_box
from olrd.panoptic import Box, decode_rle
from olrd.storage.files import sha256
from olrd.triplets.matching import match_patch
from olrd.triplets.recipe import Part, Recipe
from olrd.triplets.requantise import Coding, requantise
from olrd.triplets.shadow import Caster, darkened
from olrd.triplets.user_masks import user_mask

MAX_PATCH = 1 << 22
"""Largest number of pixels of a cut-out with the surroundings that its blend needs, or four times the photo's pixels if
that is more."""


class Triplet(NamedTuple):
    """The pictures of a triplet.

    Attributes:
        image: the composite, uint8 [H, W, 3].
        mask: bool [H, W], True for every pixel that the blend may have changed, and more if a user's mask is drawn.
        background: the ground truth, uint8 [H, W, 3].
        effect: bool [H, W], all that changes with the object, if that is more than the mask: it contains the mask.
        masks: bool [H, W] each, the mask of every object if there are several; `mask` is their union.
    """

    image: Image
    mask: Mask
    background: Image
    effect: Mask | None = None
    masks: tuple[Mask, ...] | None = None

    @property
    def changed(self) -> Mask:
        """Where image and background may differ: the effect, or the mask if there is none."""
        return self.mask if self.effect is None else self.effect


def transformed(mask: Mask, scale: float, flip: bool) -> Mask:
    """A mask scaled (area-averaged, threshold one half) and, with `flip`, mirrored left to right."""
    if scale != 1.0:
        size = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
        grey = Pillow.fromarray(mask.astype(np.uint8) * 255)
        mask = np.asarray(grey.resize(size, Pillow.Resampling.BOX)) > 127
    return np.ascontiguousarray(mask[:, ::-1]) if flip else mask


def cut_out(donor: Image, box: Box, mask: Mask, pad: int, scale: float, flip: bool) -> tuple[Image, Mask]:
    """The object with `pad` pixels of its surroundings; beyond the frame, edge pixels are repeated.

    mask: bool [h, w] inside `box`, before scaling. Returns the scaled and mirrored patch, uint8 [h' + 2 pad,
    w' + 2 pad, 3], and its mask of the same size.
    """
    moved = transformed(mask, scale, flip)
    height, width = moved.shape
    # Margins in the donor's pixels that become `pad` pixels at the new scale.
    across, down = pad * box.w / width, pad * box.h / height
    left, top = math.ceil(across), math.ceil(down)
    patch = _crop(donor, Box(box.x - left, box.y - top, box.w + 2 * left, box.h + 2 * top))
    if scale != 1.0:
        window = left - across, top - down, left + box.w + across, top + box.h + down
        patch = resize_image(patch, (width + 2 * pad, height + 2 * pad), window)
    if flip:
        patch = patch[:, ::-1]
    padded = np.zeros((height + 2 * pad, width + 2 * pad), np.bool_)
    padded[pad : pad + height, pad : pad + width] = moved
    return np.ascontiguousarray(patch), padded


def _crop(image: Image, box: Box) -> Image:
    """The pixels in `box`. Beyond the frame, edge pixels are repeated."""
    height, width = image.shape[:2]
    if box.x >= 0 and box.y >= 0 and box.x + box.w <= width and box.y + box.h <= height:
        return image[box.crop()]
    rows = np.clip(np.arange(box.y, box.y + box.h), 0, height - 1)
    columns = np.clip(np.arange(box.x, box.x + box.w), 0, width - 1)
    return image[rows[:, None], columns[None, :]]


def compose(background: Image, donor: Image, mask: Mask, recipe: Recipe, coding: Coding | None = None) -> Triplet:
    """The triplet that a recipe describes, from the photos at working size.

    Args:
        background, donor: uint8 [H, W, 3].
        mask: bool [h, w], the object inside recipe.source_bbox.
        recipe: the recipe.
        coding: of the background's file, if the recipe matches `jpeg` (see `olrd.triplets.requantise.coding_of`).

    Raises:
        IntegrityError: the check fails (see `prove`).
    """
    check_fit(recipe, background.shape[1], background.shape[0])
    image, footprints = _shaded(background, mask, recipe), []
    for number, part in enumerate(recipe.parts):
        if number:
            mask = decode_rle(part.rle, part.source_bbox.h, part.source_bbox.w)
        key = f"{recipe.id}/{number}" if number else recipe.id
        footprints.append(_paste(image, donor, mask, part, recipe, key))
    shade = [] if recipe.shadow is None else [recipe.shadow.region(background.shape[:2])]
    changed = _union([*footprints, *shade])
    if coding:
        requantise(image, changed, coding)
    prove(image, changed, background)
    drawn = [
        user_mask(footprint, recipe.mask_style, recipe.id, *([number] if number else []))
        for number, footprint in enumerate(footprints)
    ]
    union = _union(drawn)
    if (len(drawn) > 1 or shade) and _union([union, *shade]).all():  # nothing would be left to fill with
        drawn, union = footprints, _union(footprints)
    effect = _union([union, *shade]) if shade else None
    return Triplet(image, union, background, effect, tuple(drawn) if len(drawn) > 1 else None)


def _shaded(background: Image, mask: Mask, recipe: Recipe) -> Image:
    """A copy of the photo, with the shadow of the objects if they cast one. mask: of the first object, in its box."""
    if recipe.shadow is None or not recipe.shadow.box.w:
        return background.copy()
    return darkened(background, casters(mask, recipe), recipe.shadow)


def casters(mask: Mask, recipe: Recipe) -> list[Caster]:
    """The objects of a recipe where they are pasted. mask: bool [h, w], the first one inside recipe.source_bbox."""
    masks = [mask, *(decode_rle(part.rle, part.source_bbox.h, part.source_bbox.w) for part in recipe.more)]
    return [
        Caster(transformed(one, part.scale, part.flip), part.position)
        for one, part in zip(masks, recipe.parts, strict=True)
    ]


def _paste(image: Image, donor: Image, mask: Mask, part: Part, recipe: Recipe, key: str) -> Mask:
    """Paste one object into `image`, in place. Returns its footprint, bool [H, W]: what the blend may have changed."""
    blend = BLENDS.get(recipe.blend)
    pad = blend.reach(recipe.params) + blend.view
    patch, cut = cut_out(donor, part.source_bbox, mask, pad, part.scale, part.flip)
    height, width = image.shape[:2]
    left, top = part.position[0] - pad, part.position[1] - pad
    # The part of the patch inside the frame: the rim of an object at the frame lies outside.
    ys = slice(max(-top, 0), min(height - top, cut.shape[0]))
    xs = slice(max(-left, 0), min(width - left, cut.shape[1]))
    place = slice(top + ys.start, top + ys.stop), slice(left + xs.start, left + xs.stop)
    patch, cut = np.ascontiguousarray(patch[ys, xs]), np.ascontiguousarray(cut[ys, xs])
    under = np.ascontiguousarray(image[place])
    if recipe.match:
        patch = match_patch(patch, cut, under, recipe.match, key)
    pasted = blend.run(patch, cut, under, recipe.params)
    touched = np.zeros((height, width), np.bool_)
    image[place] = pasted.pixels
    touched[place] = pasted.footprint
    return touched


def _union(masks: Sequence[Mask]) -> Mask:
    return masks[0] if len(masks) == 1 else np.any(masks, axis=0)


def check_fit(recipe: Recipe, width: int, height: int) -> None:
    """Refuse a cut-out that does not lie in a photo of that size, before memory is taken. Raises `IntegrityError`."""
    blend = BLENDS.get(recipe.blend)
    reach = blend.reach(recipe.params) + blend.view
    for part in recipe.parts:
        (x, y), box = part.position, part.source_bbox
        across, down = round(box.w * part.scale), round(box.h * part.scale)
        if x < 0 or y < 0 or x + across > width or y + down > height:
            raise IntegrityError(
                f"a cut-out of {across} x {down} at {(x, y)} does not lie in a photo of {width} x {height}"
            )
        if (across + 2 * reach) * (down + 2 * reach) > max(MAX_PATCH, 4 * width * height):
            raise IntegrityError(
                f"a blend that reaches {reach} pixels around a cut-out of {across} x {down} is too large"
            )
    if recipe.shadow is not None and not recipe.shadow.fits((height, width)):
        raise IntegrityError(f"a shadow at {tuple(recipe.shadow.box)} does not lie in a photo of {width} x {height}")


def covers(part: Part, mask: Mask) -> bool:
    """Whether a mask, bool [H, W], contains an object where its recipe pastes it."""
    (x, y), box = part.position, part.source_bbox
    moved = transformed(decode_rle(part.rle, box.h, box.w), part.scale, part.flip)
    return not (moved & ~mask[y : y + moved.shape[0], x : x + moved.shape[1]]).any()


def prove(image: Image, mask: Mask, background: Image) -> None:
    """Prove that the composite equals the background bit for bit outside the mask, and that the mask is neither empty
    nor full. Raises `IntegrityError` otherwise."""
    top, bottom = _rows_of(mask)
    inner = slice(top, bottom)
    outside = max(
        _largest_difference(image[:top], background[:top]),
        cv2.norm(image[inner], background[inner], cv2.NORM_INF, (~mask[inner]).view(np.uint8)),
        _largest_difference(image[bottom:], background[bottom:]),
    )
    if outside:
        raise IntegrityError(
            f"outside the mask the composite differs from the background, by up to {outside:.0f} levels"
        )
    area = np.count_nonzero(mask)
    if area == 0 or area == mask.size:
        raise IntegrityError(f"the mask covers {area} of {mask.size} pixels")


def _rows_of(mask: Mask) -> tuple[int, int]:
    """The first row of the mask and the first one below it; (0, 1) for an empty mask."""
    box = mask_box(mask)
    return box.y, box.y + max(box.h, 1)


def _largest_difference(one: Image, other: Image) -> float:
    """The largest difference of two pictures, in grey levels; 0 for empty ones."""
    return cv2.norm(one, other, cv2.NORM_INF) if one.size else 0.0


def pixels_sha256(triplet: Triplet, background_sha256: str | None = None, box: Box | None = None) -> str:
    """The hash of a triplet's pixels, which its recipe contains.

    It covers the hash of the background's bytes (in hexadecimal), the mask's bits, eight to a byte, then those of the
    effect, if there is one, and of the masks of the single objects, if there are several, and the composite's pixels
    where they may differ from the background. Elsewhere the composite equals the background, so all pictures are covered.

    background_sha256: the hash of the background, if it is known; the triplets of a photo share it. box: of the changed
    region, if it is known.
    """
    # The box of the region contains the same bytes as the whole picture and is read faster.
    changed = triplet.changed
    crop = (box or mask_box(changed)).crop()
    pixels = np.ascontiguousarray(triplet.image[crop]).reshape(-1, 3)
    inside = pixels.take(np.flatnonzero(changed[crop]), axis=0)
    under = background_sha256 or sha256(np.ascontiguousarray(triplet.background).data)
    effect = () if triplet.effect is None else (np.packbits(triplet.effect).data,)
    single = [np.packbits(mask).data for mask in triplet.masks or () if len(triplet.masks or ()) > 1]
    return sha256(under.encode(), np.packbits(triplet.mask).data, *effect, *single, inside.data)
