"""PatchMatch (Barnes et al., SIGGRAPH 2009) with the library PyPatchMatch: fills a hole with patches of the same photo.

It needs no weights. The result is made of the photo's own texture, so that it stays sharp, and it depends on the pixels
outside the mask alone.

The search takes time in proportion to the pixels that it sees, and small patches do not see the structure around a large
hole. Every hole is therefore filled in a window around it. A large window, or one with a large hole, is filled at a smaller
size, and the fill is brought to the photo's own scale (`baselines.examples`).
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from threading import Lock
from typing import NamedTuple

import cv2
import numpy as np

from baselines.eraser import Eraser, EraserInfo, EraserSpec, Hints
from baselines.examples import enlarged_by_example
from baselines.fill import Filler, mean_fill
from olrd.arrays import Image, Mask
from olrd.draws import digest
from olrd.errors import MissingExtraError
from olrd.masks import mask_box
from olrd.panoptic import Box
from olrd.registry import checked_options, number_options

DEFAULTS = {"patch": "3", "context": "1", "hole": "6000", "window": "300000"}
LIMITS = {"patch": (1, 15), "context": (0.1, 10), "hole": (100, 10_000_000), "window": (10_000, 10_000_000)}
LEAST_CONTEXT = 48
"""Pixels of context on each side of a hole, at least. A small hole needs more than its own size to find patches in."""
MOST_WINDOWS = 100
"""A mask of more pieces, such as a noisy one, is filled in one window."""
_SEED = Lock()
"""The library keeps one seed for the whole process, and every fill starts from it."""


class Search(NamedTuple):
    """How to search.

    Attributes:
        patch: Radius of the compared patches in pixels.
        context: Context on each side of a hole, as a share of the longer side of its box.
        hole: Largest hole that is searched at its own size, in pixels.
        window: Largest window that is searched at its own size, in pixels.
        seed: Seed of the random search.
    """

    patch: int
    context: float
    hole: int
    window: int
    seed: int


def open_patchmatch(spec: EraserSpec) -> Eraser:
    """Open PatchMatch.

    Options:
        patch: Radius of the compared patches in pixels, from 1 to 15 (default 3: patches of 7 x 7 pixels).
        context: Context on each side of a hole, as a share of the longer side of its box, from 0.1 to 10 (default 1).
        hole: Largest hole that is searched at its own size, in pixels, from 100 (default 6,000).
        window: Largest window that is searched at its own size, in pixels, from 10,000 (default 300,000).
    """
    try:
        revision = f"pypatchmatch-{version('pypatchmatch')}"
    except PackageNotFoundError as error:
        raise MissingExtraError("the eraser patchmatch", "benchmark") from error
    options = checked_options(spec, DEFAULTS)
    numbers = number_options(spec, options, LIMITS, whole=("patch", "hole", "window"))

    def fill(image: Image, mask: Mask, hint: Hints) -> Image:
        seed = digest(spec.seed, hint.key, "patchmatch") % (1 << 32)
        patch, hole, window = (int(numbers[name]) for name in ("patch", "hole", "window"))
        search = Search(patch, numbers["context"], hole, window, seed)
        return fill_by_patches(image, mask, search)

    info = EraserInfo(spec.name, revision, "MIT", options=options | {"seed": str(spec.seed)})
    return Filler(info, fill)


def fill_by_patches(image: Image, mask: Mask, search: Search) -> Image:
    """Fill the mask window by window.

    Args:
        image: uint8 [H, W, 3]; the pixels under the mask are not used.
        mask: bool [H, W], True = fill. If it covers the photo, the photo becomes grey: there is nothing to copy.
        search: How to search.
    """
    filled = mean_fill(image, mask, Hints())
    if mask.all():
        return filled
    hole = np.ascontiguousarray(mask)
    for window in windows(hole, search.context):
        rows, columns = window.crop()
        filled[rows, columns] = _window(filled[rows, columns], hole[rows, columns], search)
    return filled


def windows(mask: Mask, context: float) -> list[Box]:
    """The windows in which the pieces of a mask are filled. Pieces whose windows overlap are filled together.

    Args:
        mask: bool [H, W], not empty.
        context: See `Search`.
    """
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    boxes = [_with_context(Box(*map(int, row[:4])), context, mask.shape) for row in stats[1:]]
    if len(boxes) > MOST_WINDOWS:
        return [_with_context(mask_box(mask), context, mask.shape)]
    found: list[Box] = []
    for box in boxes:
        overlapping = [other for other in found if _overlap(box, other)]
        while overlapping:
            found = [other for other in found if other not in overlapping]
            box = _around([box, *overlapping])
            overlapping = [other for other in found if _overlap(box, other)]
        found.append(box)
    return found


def _with_context(box: Box, context: float, shape: tuple[int, ...]) -> Box:
    room = max(LEAST_CONTEXT, round(context * max(box.w, box.h)))
    left, top = max(0, box.x - room), max(0, box.y - room)
    right, low = min(shape[1], box.x + box.w + room), min(shape[0], box.y + box.h + room)
    return Box(left, top, right - left, low - top)


def _overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.w and other.x < one.x + one.w and one.y < other.y + other.h and other.y < one.y + one.h
    )


def _around(boxes: list[Box]) -> Box:
    left, top = min(b.x for b in boxes), min(b.y for b in boxes)
    right, low = max(b.x + b.w for b in boxes), max(b.y + b.h for b in boxes)
    return Box(left, top, right - left, low - top)


def _window(photo: Image, hole: Mask, search: Search) -> Image:
    """Fill the hole of one window, at a smaller size if `search` says so."""
    height, width = hole.shape
    shrink = min(search.window / hole.size, search.hole / np.count_nonzero(hole)) ** 0.5
    if shrink >= 1:
        return _filled(photo, hole, search)
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    # The small hole contains every pixel that a masked pixel contributes to.
    covered = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    if covered.all():
        return photo
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    return enlarged_by_example(photo, hole, _filled(small, covered, search), covered)


def _filled(photo: Image, hole: Mask, search: Search) -> Image:
    import patchmatch  # loads a shared library, which `--help` does without

    with _SEED:
        patchmatch.set_random_seed(search.seed)
        found: Image = patchmatch.inpaint(photo, hole, patch_size=search.patch)
    return found
