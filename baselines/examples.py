"""Brings a fill that was made at a smaller size to the photo's own scale with detail of the photo.

An enlarged fill is blurred. Its detail is taken from elsewhere in the photo: every patch of the small fill is compared
with the known patches of the small photo, and the detail of the most similar one, which enlarging would lose, is added
to the enlarged fill. Colours and large structures are those of the fill; only detail is copied, so that the edges
between patches do not show (Freeman et al., Example-Based Super-Resolution, 2002, with the photo as its own example).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from baselines.levelling import levelled
from olrd.arrays import Image, Mask

PATCH = 8
"""Side of a patch in pixels of the small photo."""
STEP = 6
"""Distance between patches of the hole: neighbours overlap by two pixels."""
MOST_EXAMPLES = 40_000
"""Number of known patches that are compared; with more, they are thinned out evenly."""
CHUNK = 512
"""Patches of the hole that are compared at a time. This bounds the memory."""

Levels = npt.NDArray[np.float32]
Places = npt.NDArray[np.intp]
"""[N, 2], row and column of the upper left corners of patches in the small photo."""


class Grid(NamedTuple):
    """What turns places of the small photo into places of the photo: factors for rows and columns."""

    down: float
    across: float


def enlarged_by_example(photo: Image, mask: Mask, small: Image, hole: Mask) -> Image:
    """Fill the mask of a photo with the enlarged small fill and detail of the photo.

    Args:
        photo: uint8 [H, W, 3]; the pixels under the mask are not used.
        mask: bool [H, W], True = fill.
        small: uint8 [h, w, 3], the filled photo at a smaller size.
        hole: bool [h, w], True where any pixel of the mask contributed.

    Returns:
        uint8 [H, W, 3]. Pixels outside the mask are the photo's.
    """
    height, width = mask.shape
    base = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    wanted, known = _wanted(hole), _known(hole)
    if len(wanted) and len(known):
        grid = Grid(height / hole.shape[0], width / hole.shape[1])
        near = _around(mask, grid)
        fill = _with_detail(photo, base, mask, wanted, _most_similar(small, wanted, known), near, grid)
        base[near] = levelled(photo[near], fill, mask[near])
    filled = photo.copy()
    filled[mask] = base[mask]
    return filled


def _around(mask: Mask, grid: Grid) -> tuple[slice, slice]:
    """The box of the mask with as much around it as the patches of its edge cover."""
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    down, across = (int(np.ceil(2 * PATCH * factor)) for factor in grid)
    return slice(max(0, top - down), top + height + down), slice(max(0, left - across), left + width + across)


def _wanted(hole: Mask) -> Places:
    """The patches, on a grid of `STEP` pixels, that contain a pixel of the hole."""
    rows, columns = (_starts(side) for side in hole.shape)
    sums = cv2.integral(hole.astype(np.uint8))
    found = [(r, c) for r in rows for c in columns if _inside(sums, r, c)]
    return np.array(found, np.intp).reshape(-1, 2)


def _starts(side: int) -> list[int]:
    last = side - PATCH
    return [] if last < 0 else sorted({*range(0, last + 1, STEP), last})


def _inside(sums: npt.NDArray[np.int32], row: int, column: int) -> int:
    """How many pixels of a patch are in the hole, from the hole's integral image."""
    low, right = row + PATCH, column + PATCH
    return int(sums[low, right] - sums[row, right] - sums[low, column] + sums[row, column])


def _known(hole: Mask) -> Places:
    """The patches without a pixel of the hole, at most `MOST_EXAMPLES` of them."""
    if min(hole.shape) < PATCH:
        return np.zeros((0, 2), np.intp)
    sums = cv2.integral(hole.astype(np.uint8))
    counts = sums[PATCH:, PATCH:] - sums[:-PATCH, PATCH:] - sums[PATCH:, :-PATCH] + sums[:-PATCH, :-PATCH]
    found = np.argwhere(counts == 0)
    return found[:: -(-len(found) // MOST_EXAMPLES) or 1]


def _most_similar(small: Image, wanted: Places, known: Places) -> Places:
    """The known patch that is most similar to each wanted one (least squared difference).

    The pixels are whole numbers, and all sums of their products stay below 2 ** 24. So float32 holds them exactly, and
    the choice is the same on every machine.
    """
    examples = _patches(small, known)
    squares = (examples**2).sum(1)
    chosen = np.empty_like(wanted)
    for first in range(0, len(wanted), CHUNK):
        asked = _patches(small, wanted[first : first + CHUNK])
        chosen[first : first + CHUNK] = known[np.argmin(squares - 2 * asked @ examples.T, axis=1)]
    return chosen


def _patches(small: Image, places: Places) -> Levels:
    """[N, 48]: the patches at a quarter of their pixels, which is enough to compare them."""
    halved = cv2.blur(small, (2, 2), anchor=(0, 0)).astype(np.float32)  # rounded to whole grey levels
    steps = np.arange(0, PATCH, 2)
    rows = places[:, 0, None, None] + steps[None, :, None]
    columns = places[:, 1, None, None] + steps[None, None, :]
    return halved[rows, columns].reshape(len(places), -1)


def _with_detail(
    photo: Image, base: Image, mask: Mask, wanted: Places, chosen: Places, near: tuple[slice, slice], grid: Grid
) -> Image:
    """The enlarged fill with the detail of the chosen patches; overlapping patches fade into each other.

    Only the part `near` is computed. It contains all wanted patches.
    """
    size = round(PATCH * grid.down), round(PATCH * grid.across)
    weight = np.outer(_fading(size[0]), _fading(size[1]))[..., None]
    total = np.zeros(base[near].shape, np.float32)
    weights = np.full((*total.shape[:2], 1), 1e-6, np.float32)
    top, left = near[0].start, near[1].start
    for here, there in zip(wanted, chosen, strict=True):
        row, column = _corner(here, grid, size, base.shape)
        above, beside = _aligned(base, (row, column), _corner(there, grid, size, base.shape), grid, size)
        source = slice(above, above + size[0]), slice(beside, beside + size[1])
        lost = np.where(mask[source][..., None], np.float32(0), photo[source].astype(np.float32) - base[source])
        target = slice(row - top, row - top + size[0]), slice(column - left, column - left + size[1])
        total[target] += lost * weight
        weights[target] += weight
    # In place: the part may be all of a large photo.
    total /= weights
    total += base[near]
    np.rint(total, out=total)
    return np.clip(total, 0, 255, out=total).astype(np.uint8)


def _fading(side: int) -> Levels:
    """A window that is 1 in the middle and falls to nearly 0 over the overlap at both ends."""
    overlap = max(1, round(side * (PATCH - STEP) / PATCH))
    ramp = (np.arange(side, dtype=np.float32) + 0.5) / overlap
    return np.minimum(1, np.minimum(ramp, ramp[::-1])).astype(np.float32)


def _corner(place: npt.NDArray[np.intp], grid: Grid, size: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int]:
    """The corner of a patch in the photo, such that all of the patch lies inside."""
    row, column = round(float(place[0]) * grid.down), round(float(place[1]) * grid.across)
    return min(row, shape[0] - size[0]), min(column, shape[1] - size[1])


def _aligned(
    base: Image, here: tuple[int, int], there: tuple[int, int], grid: Grid, size: tuple[int, int]
) -> tuple[int, int]:
    """Move the example by up to one pixel of the small photo, to where it fits best.

    Otherwise its edges lie beside those of the fill. The enlarged photo is smooth, so that a few of its pixels are
    enough. The differences are whole numbers, hence equal on every machine.
    """
    rows, columns = (
        _shifts(start, factor, side, whole)
        for start, factor, side, whole in zip(there, grid, size, base.shape, strict=False)
    )
    sampled = [np.arange(0, side, max(1, int(factor / 2))) for side, factor in zip(size, grid, strict=True)]
    patch = base[here[0] + sampled[0][:, None], here[1] + sampled[1][None, :]].astype(np.int32)
    found = base[
        rows[:, None, None, None] + sampled[0][None, None, :, None],
        columns[None, :, None, None] + sampled[1][None, None, None, :],
    ]
    differences = ((found - patch) ** 2).sum(axis=(2, 3, 4))
    row, column = divmod(int(differences.argmin()), len(columns))
    return int(rows[row]), int(columns[column])


def _shifts(start: int, factor: float, side: int, whole: int) -> npt.NDArray[np.intp]:
    """The places to try along one axis: `start` first, then those around it that lie inside the photo."""
    reach, step = int(np.ceil(factor)), max(1, int(factor / 3))
    around = sorted(range(-reach, reach + 1, step), key=abs)
    places = dict.fromkeys([start, *(start + move for move in around if 0 <= start + move <= whole - side)])
    return np.array(list(places), np.intp)
