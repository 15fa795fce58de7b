"""Outlines: an annotated outline that runs beside an object is moved onto the object's edge.

Annotated outlines are polygons with few corners, so strips of the background belong to the object's mask, and parts of
the object do not. In a band around the outline, the annotated mask is regressed on the colours in a window that is
wider than such strips (`regressed_alpha`). What the regression changes is kept only where the picture has a clearer
edge at the new outline than at the annotated one. Elsewhere, for instance in glass, the annotation stays.

All this is done on a small copy of the object, with integers and IEEE double precision, so the result is the same on any
machine. The blend finds the exact rim afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from olrd.arrays import Image, Mask
from olrd.masks import disc, with_margin
from olrd.panoptic import Box
from olrd.triplets.guided import regressed_alpha
from olrd.triplets.scene import Scene
from olrd.triplets.several import Cut
from olrd.triplets.window_sums import box_sums

Bits = npt.NDArray[np.uint8]
"""A mask of 0 and 1, uint8 [h, w]."""

SURROUNDINGS = 16
"""Pixels around the object that are looked at."""
LARGEST = 112
"""The longer side of the small copy, in pixels."""
OUTWARD = 4
"""Pixels by which an outline may move outwards."""
INWARD, LEAST_INWARD, MOST_INWARD = 0.08, 3.0, 12.0
"""How far an outline may move inwards: as a share of the square root of the object's area, and in pixels."""
ROUNDS = 3
"""Each round starts from the mask that the one before has found."""
TRUST = 300.0
"""See `olrd.triplets.guided.guided`."""
CLEARER = 1.3
"""An edge is clearer if the mean gradient along it is larger by this factor."""
ALONG = 4
"""Gradients are averaged along the outline in a square that reaches this many pixels to each side."""
CRUMB = 0.02
"""Separate pieces smaller than this share of the object are dropped."""
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
_SQUARE = np.ones((3, 3), np.uint8)


class Outlines:
    """The objects of a photo with refined outlines. Each is refined once."""

    def __init__(self, scene: Scene, cuts: Iterable[Cut], room: int) -> None:
        """Refine the objects `cuts` of a scene.

        room: distance that pasted objects keep from all others, in pixels; outlines grow within it.
        """
        self._scene, self._room = scene, room
        self._cuts = {cut.number: cut for cut in cuts}
        self._found: dict[tuple[int, int], Mask] = {}

    def refined(self, cut: Cut, scale: float) -> Cut:
        """An object, or the part of it inside the frame, with its refined outline. It needs the decoded photo.

        A part of which nothing is left keeps the annotated outline. scale: at which it is pasted.
        """
        whole = self._cuts[cut.number]
        outward = min(OUTWARD, int(self._room / max(scale, 1.0)))
        if (cut.number, outward) not in self._found:
            outline = refined_outline(self._scene.photo.pixels, whole.segment.bbox, whole.mask, outward)
            self._found[cut.number, outward] = outline
        outer, inner = whole.segment.bbox, cut.segment.bbox
        part = Box(inner.x - outer.x, inner.y - outer.y, inner.w, inner.h)
        mask = np.ascontiguousarray(self._found[cut.number, outward][part.crop()])
        return cut._replace(mask=mask) if mask.any() else cut


def refined_outline(pixels: Image, box: Box, mask: Mask, outward: int) -> Mask:
    """The mask of an object with its outline moved onto the edges of the picture.

    Args:
        pixels: the photo, uint8 [H, W, 3].
        box: of the object.
        mask: bool [h, w], the object inside its box.
        outward: the largest distance by which the outline may move outwards, in pixels. It never leaves the box.

    Returns:
        bool [h, w]. The annotated mask, if nothing of the object would be left.
    """
    window, own = with_margin(box, mask, SURROUNDINGS, pixels.shape)
    inside = Box(box.x - window.x, box.y - window.y, box.w, box.h).crop()
    size = _reduced(own.shape)
    scale = size[0] / own.shape[1]
    crop = np.asarray(Pillow.fromarray(pixels[window.crop()]).resize(size, Pillow.Resampling.BOX))
    small = _resized(own, size, Pillow.Resampling.BOX)
    inward = min(max(INWARD * float(np.count_nonzero(mask)) ** 0.5, LEAST_INWARD), MOST_INWARD)
    found = _followed(crop, small, max(1, round(inward * scale)), round(outward * scale))
    moved = cv2.dilate(found ^ small, _SQUARE)
    if not moved.any():
        return mask
    large = own.shape[::-1]
    nearby = _resized(moved, large, Pillow.Resampling.NEAREST)
    result = np.where(nearby[inside] != 0, _resized(found, large, Pillow.Resampling.BILINEAR)[inside], mask) != 0
    return without_crumbs(result) if result.any() else mask


def without_crumbs(mask: Mask) -> Mask:
    """A non-empty mask without its small pieces, which are 8-connected."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    areas = stats[:, cv2.CC_STAT_AREA]
    kept = areas >= CRUMB * areas[1:].sum()
    kept[0] = False
    return kept[labels] if kept.any() else mask


def _reduced(shape: tuple[int, ...]) -> tuple[int, int]:
    """(width, height) of the small copy."""
    longer = max(shape)
    if longer <= LARGEST:
        return shape[1], shape[0]
    return max(1, round(shape[1] * LARGEST / longer)), max(1, round(shape[0] * LARGEST / longer))


def _resized(bits: Bits, size: tuple[int, int], how: Pillow.Resampling) -> Bits:
    """A mask at another size, (width, height); threshold one half."""
    grey = Pillow.fromarray(bits * np.uint8(255)).resize(size, how)
    return (np.asarray(grey) > 127).astype(np.uint8)


def _followed(crop: Image, mask: Bits, inward: int, outward: int) -> Bits:
    """The mask whose outline follows the picture's edges."""
    inner, outer = core(mask, inward), cv2.dilate(mask, disc(outward))
    at = np.flatnonzero(outer != inner)
    found = mask
    for _ in range(ROUNDS):
        alpha = regressed_alpha(crop, found, at, TRUST)
        found = inner.copy()
        found.reshape(-1)[at] = alpha > 0.5
    kept = np.where(_clearer(crop, mask, found), found, mask)
    changed = cv2.dilate(kept ^ mask, _SQUARE)
    return np.where(changed != 0, cv2.medianBlur(kept, 3) | inner, mask)  # single pixels are noise


def core(mask: Bits, reach: int) -> Bits:
    """The part of a mask that is certain: all pixels `reach` away from the outline. Parts that are too thin to have any
    keep their middle, at half the reach, and so on down to one pixel."""
    certain, covered = np.zeros_like(mask), np.zeros_like(mask)
    while reach:
        found = cv2.erode(mask, disc(reach), borderValue=0) & ~covered
        certain, covered = certain | found, covered | cv2.dilate(found, disc(reach + 1))
        reach //= 2
    return certain


def _clearer(crop: Image, old: Bits, new: Bits) -> Mask:
    """bool [h, w]: where the new outline lies on a clearer edge than the old one. False where they do not differ."""
    across = cv2.Sobel(crop, cv2.CV_16S, 1, 0)
    down = cv2.Sobel(crop, cv2.CV_16S, 0, 1)
    strength = (np.abs(across) + np.abs(down)).max(axis=2).astype(np.uint16)
    strength = cv2.dilate(strength, _SQUARE)  # an edge may lie beside the pixels of the outline
    near = cv2.dilate(old ^ new, _SQUARE)
    (old_sum, old_count), (new_sum, new_count) = (
        _along(strength, (one & ~cv2.erode(one, _CROSS)) & near) for one in (old, new)
    )
    better = new_sum * old_count.astype(np.float64) > CLEARER * (old_sum * new_count.astype(np.float64))
    return (old != new) & better & (old_count > 0) & (new_count > 0)


def _along(strength: npt.NDArray[np.uint16], outline: Bits) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The sum of the gradients on the outline around every pixel, and the number of its pixels there."""
    return box_sums(strength * outline, ALONG, cv2.BORDER_CONSTANT), box_sums(outline, ALONG, cv2.BORDER_CONSTANT)
