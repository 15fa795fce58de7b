"""Objects and their effects, by the difference between a picture and the clean plate of its place.

A change is *weak* where the difference exceeds what noise explains, and *strong* where it exceeds several times that.
Strong pixels that are no shadow of the plate (darker by one ratio in all channels, with the plate's own texture) are
objects. A connected weak change with an object in it is the object's effect: its shadow and its reflection. A weak
change alone belongs to the nearest object.

Shadow test: brightness and chromaticity distortion, as Horprasert, Harwood and Davis (1999) separate shadows.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask
from olrd.masks import grown, mask_box
from olrd.panoptic import Box
from olrd.sources.seen import Change

WEAK, STRONG = 6.0, 2.5
"""The smallest weak change, in standard deviations of the noise, and the smallest strong change, as a multiple of it."""
LEAST_WEAK, LEAST_STRONG = 3.0, 12.0
"""No weak and no strong change is smaller than this, in levels."""
DARKEST, LIGHTEST, COLOUR, TEXTURE = 0.3, 0.97, 0.08, 0.05
"""A shadow: ratio to the plate between the first two, differences between channels and between neighbours below the
others."""
MARGIN = 1 / 270
"""Width by which an effect is grown, as a share of the picture's shorter side; at least one pixel."""
MOST_CHANGED = 0.5
"""Share of the picture above which it is another scene."""
UNSURE = 0.1
"""Largest share of unsure pixels of an effect."""
SEAM = 3.0
"""Largest difference in levels, beyond the noise, between picture and plate around an effect."""
_RING = 4
_GAP = 0.15
"""Gaps of an object that are closed, as a share of the root of its area."""
_LEAST_PIECE = 0.1
_REACH, _LEAST_SHADOW = 0.5, 0.05
"""Largest distance of a detached shadow from its object, as a share of the longer side of the object's box, and its smallest
area, as a share of the object's."""
_SPECK = 0.0002
"""Share of the picture below which a change is noise."""
_FAINT = 10
"""A change without a strong pixel is counted as faint if its area is at least this multiple of the smallest object's."""

Levels = npt.NDArray[np.float32]


class Difference(NamedTuple):
    """What differs. weak and strong: bool [H, W]; strong pixels are no shadow. noise: in levels."""

    weak: Mask
    strong: Mask
    noise: float


class Found(NamedTuple):
    """The objects of a picture. rejected: the other changes, by reason. share: of the picture that changed."""

    changes: tuple[Change, ...]
    rejected: Counter[str]
    share: float


def difference_of(picture: Image, plate: Image, sure: Mask, spread: npt.NDArray[np.uint8] | None = None) -> Difference:
    """Compare a picture with its plate.

    Args:
        picture, plate: uint8 [H, W, 3], in one tone.
        sure: bool [H, W]: elsewhere nothing counts as changed.
        spread: uint8 [H, W], how far the plate's layers vary; differences up to four times that are no change.
    """
    shift = cv2.subtract(picture, plate, dtype=cv2.CV_32F)
    smooth = cv2.blur(shift, (3, 3))
    size = np.abs(smooth).max(axis=2)
    noise = 1.4826 * float(np.median(size[sure])) if sure.any() else 0.0
    least = np.full(size.shape, max(LEAST_WEAK, WEAK * noise), np.float32)
    if spread is not None:
        np.maximum(least, 4.0 * spread, out=least)
    weak = _cleaned((size > least) & sure)
    strong = (np.abs(shift).max(axis=2) > np.maximum(LEAST_STRONG, STRONG * least)) & sure
    return Difference(weak, strong & ~_shadow(picture, plate, size), noise)


def _shadow(picture: Image, plate: Image, size: Levels) -> Mask:
    """bool [H, W]: darker than the plate by one ratio in all channels, which neighbours share."""
    one, other = (cv2.blur(each, (3, 3)).astype(np.float32) + 4 for each in (picture, plate))
    ratio = one / other
    mean = ratio.mean(axis=2)
    wide = cv2.blur(mean, (7, 7))
    rough = cv2.blur(np.abs(mean - wide), (5, 5))
    same = (ratio.max(axis=2) - ratio.min(axis=2)) < COLOUR
    return same & (mean > DARKEST) & (mean < LIGHTEST) & (rough < TEXTURE)


def _cleaned(mask: Mask) -> Mask:
    """Without specks, and without small gaps."""
    pixels = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return cv2.morphologyEx(pixels, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8)).view(np.bool_)


def objects_in(picture: Image, plate: Image, sure: Mask, spread: npt.NDArray[np.uint8] | None = None) -> Found:
    """The objects of a picture, each with its effect. The arguments are those of `difference_of`."""
    differs = difference_of(picture, plate, sure, spread)
    weak, least, margin = differs.weak, _SPECK * sure.size, _margin(sure.shape)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(weak.view(np.uint8), connectivity=8)
    parts = [number for number in range(1, count) if stats[number, cv2.CC_STAT_AREA] >= least]
    cores = {number: mask for number in parts if (mask := _core(labels, stats, number, differs.strong)) is not None}
    _adopt(labels, stats, parts, cores)
    changes: list[Change] = []
    rejected: Counter[str] = Counter()
    for number, mask in cores.items():
        own = labels == number
        others = (labels > 0) & ~own
        whole = _whole(own, mask) & ~others
        mask = _filled(mask) & whole
        effect = grown(whole, margin) & ~others
        reason = _doubt(picture, plate, sure, Change(mask, effect), differs)
        if reason is None:
            changes.append(Change(mask, effect))
        else:
            rejected[reason] += 1
    for number in parts:
        if number not in cores and stats[number, cv2.CC_STAT_AREA] >= _FAINT * least and (labels == number).any():
            rejected["faint"] += 1
    return Found(tuple(changes), rejected, float(weak.mean()))


def _margin(shape: tuple[int, ...]) -> int:
    return max(1, round(MARGIN * min(shape)))


def _whole(own: Mask, mask: Mask) -> Mask:
    """A change without its gaps, which have the colour of the background by chance."""
    box = mask_box(own)
    side = _side(int(np.count_nonzero(mask)))
    whole = own.copy()
    whole[box.crop()] = _filled(_closed(own[box.crop()].view(np.uint8), side).view(np.bool_))
    return whole


def _side(area: int) -> int:
    """The side of the disc that closes the gaps of an object. area: of the object, in pixels."""
    return 2 * max(3, round(_GAP * area**0.5)) + 1


def known_object(picture: Image, plate: Image, sure: Mask, mask: Mask, effect: Mask | None) -> Found:
    """An object with a mask that is known. effect: its effect, if that is known too; else it is what changed nearby."""
    differs = difference_of(picture, plate, sure)
    if not mask.any():
        return Found((), Counter(faint=1), float(differs.weak.mean()))
    if effect is None:
        _, labels = cv2.connectedComponents((differs.weak | mask).view(np.uint8), connectivity=8)
        near = np.unique(labels[_near(mask) & (differs.weak | mask)])
        effect = grown(np.isin(labels, near[near > 0]), _margin(mask.shape))
    change = Change(mask, effect | mask)
    reason = _doubt(picture, plate, sure, change, differs)
    if reason in (None, "left_behind"):  # a mask that somebody drew says which picture has the object
        return Found((change,), Counter(), float((differs.weak & ~mask).mean()))
    return Found((), Counter({str(reason): 1}), float((differs.weak & ~mask).mean()))


def _box(stats: np.ndarray, number: int) -> Box:
    """The box of a component."""
    return Box(*(int(value) for value in stats[number, :4]))


def _widened(box: Box, margin: int, shape: tuple[int, ...]) -> Box:
    """A box with a margin, inside a picture of that (height, width)."""
    x, y, w, h = box
    left, top = max(0, x - margin), max(0, y - margin)
    return Box(left, top, min(shape[1], x + w + margin) - left, min(shape[0], y + h + margin) - top)


def _core(labels: np.ndarray, stats: np.ndarray, number: int, strong: Mask) -> Mask | None:
    """The object in a component: its strong pixels without specks and holes, or None."""
    box = _widened(_box(stats, number), 4, labels.shape)
    own = labels[box.crop()] == number
    pixels = (strong[box.crop()] & own).astype(np.uint8)
    if np.count_nonzero(pixels) < _SPECK * labels.size:
        return None
    # Dark windows of a car look like a shadow. Gaps that are small for the object belong to it.
    pixels = _closed(pixels, _side(int(np.count_nonzero(pixels))))
    pixels = cv2.morphologyEx(pixels, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) & own
    count, pieces, sizes, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8)
    if count < 2:
        return None
    areas = sizes[1:, cv2.CC_STAT_AREA]
    kept = [1 + k for k, area in enumerate(areas) if area >= _LEAST_PIECE * areas.max()]
    if areas.max() < _SPECK * labels.size:
        return None
    mask = np.zeros(labels.shape, np.bool_)
    mask[box.crop()] = _filled(np.isin(pieces, kept)) & own
    return mask


def _closed(pixels: np.ndarray, side: int) -> np.ndarray:
    """A closing by a disc, with room around the picture, so that nothing is closed against its border."""
    padded = cv2.copyMakeBorder(pixels, side, side, side, side, cv2.BORDER_CONSTANT)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)[side:-side, side:-side]


def _filled(mask: Mask) -> Mask:
    """Without holes: what the outer outlines enclose."""
    outlines, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), outlines, -1, 1, cv2.FILLED).view(np.bool_)


def _near(mask: Mask) -> Mask:
    """bool [H, W]: as far from the mask's box as the mask is large."""
    box = mask_box(mask)
    reach = max(box.w, box.h)
    near = np.zeros(mask.shape, np.bool_)
    near[max(0, box.y - reach) : box.y + box.h + reach, max(0, box.x - reach) : box.x + box.w + reach] = True
    return near


def _adopt(labels: np.ndarray, stats: np.ndarray, parts: list[int], cores: dict[int, Mask]) -> None:
    """Give weak changes without an object to the nearest object, if it is near for its size. In place.

    Small ones stay alone: leaves move everywhere.
    """
    for number in parts:
        if number in cores:
            continue
        area = stats[number, cv2.CC_STAT_AREA]
        gaps = {
            other: gap
            for other, mask in cores.items()
            if (gap := _gap(stats[number], stats[other])) <= _REACH * max(stats[other, 2], stats[other, 3])
            and area >= _LEAST_SHADOW * np.count_nonzero(mask)
        }
        if gaps:
            part = labels[_box(stats, number).crop()]
            part[part == number] = min(gaps, key=lambda other: (gaps[other], other))


def _gap(one: np.ndarray, other: np.ndarray) -> float:
    """The distance of two components' boxes in pixels."""
    across = max(one[0] - (other[0] + other[2]), other[0] - (one[0] + one[2]), 0)
    down = max(one[1] - (other[1] + other[3]), other[1] - (one[1] + one[3]), 0)
    return float(np.hypot(across, down))


def _doubt(picture: Image, plate: Image, sure: Mask, change: Change, differs: Difference) -> str | None:
    """The reason not to use a change, or None."""
    mask, effect = change
    if np.count_nonzero(effect & ~sure) > UNSURE * np.count_nonzero(effect):
        return "plate_unsure"
    crop = _widened(mask_box(effect), 8, mask.shape).crop()
    ring = grown(effect[crop], _RING) & ~effect[crop] & ~differs.weak[crop] & sure[crop]
    if ring.sum() >= 20:
        shift = picture[crop][ring].astype(np.float32) - plate[crop][ring]
        if np.abs(shift.mean(axis=0)).max() > SEAM + differs.noise:
            return "seam"
    if _edges(picture[crop], mask[crop]) < _edges(plate[crop], mask[crop]):
        return "left_behind"
    return None


def _edges(picture: Image, mask: Mask) -> float:
    """The mean gradient of the luma along the outline of a mask."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    rim = cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).view(np.bool_)
    size = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    return float(size[rim].mean()) if rim.any() else 0.0
