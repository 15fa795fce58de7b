"""Disturbances: what an eraser gets instead of the exact mask, or instead of the panoptic map.

People draw masks too small, too large or beside the object, and save them as JPEG; maps come from a segmenter. A run
with a disturbance gives the eraser such a mask or map and scores the output with the true mask.

A disturbance is written `KIND:LEVEL`, e.g. `erode:4`, or `map-none`. To add one, write a function in
`benchmark/disturbances/masks.py` or `maps.py` and add one line to `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np

from benchmark.datasets import Annotated, Sample
from benchmark.disturbances import maps, masks
from benchmark.disturbances.maps import ChangeMap
from benchmark.disturbances.masks import ChangeMask
from olrd.arrays import resize_ids
from olrd.errors import OlrdError, UsageError, did_you_mean
from olrd.panoptic import PanopticMap

OVERLAP, AGREEMENT = "mask_iou", "map_agreement"
"""Facts of a disturbed sample: intersection over union of the true and the given mask, and the share of the pixels whose
panoptic id is the same in both maps."""


class EmptiedMaskError(OlrdError):
    """A disturbance left no pixel of a mask: there is nothing to erase."""


@dataclass(frozen=True)
class Kind:
    """A way to disturb.

    Attributes:
        text: what happens, with {level}, e.g. "mask eroded by {level} px".
        unit: of the level, for the axis of a plot; empty for a kind without levels.
        levels: what the robustness track uses, weakest first.
        least, most: the range of a level.
        mask, panoptic: the function that disturbs; exactly one is given.
    """

    text: str
    unit: str
    levels: tuple[int, ...]
    least: int = 1
    most: int = 256
    mask: ChangeMask | None = None
    panoptic: ChangeMap | None = None

    @property
    def falling(self) -> bool:
        """Whether a lower level is the stronger one, as with JPEG's quality."""
        return self.levels[0] > self.levels[-1]


def _jpeg(taken: str, levels: tuple[int, ...], mask: ChangeMask) -> Kind:
    """A mask saved as JPEG. taken: which grey levels count as erased, in words."""
    return Kind(f"mask saved as JPEG of quality {{level}}, {taken}", "quality", levels, most=100, mask=mask)


KINDS: dict[str, Kind] = {
    "erode": Kind("mask eroded by {level} px", "px", (1, 2, 4, 8), mask=masks.erode),
    "dilate": Kind("mask dilated by {level} px", "px", (2, 4, 8, 16), mask=masks.dilate),
    "shift": Kind("mask shifted by {level} px", "px", (1, 2, 4, 8), mask=masks.shift),
    "blur": Kind("mask blurred with sigma {level} px, cut at one half", "px", (2, 4, 8, 16), mask=masks.blur),
    "jpeg": _jpeg("cut at one half", (50, 20, 10, 5), masks.jpeg),
    "jpeg-nonzero": _jpeg("every pixel above 0 taken", (95, 75, 50, 20), masks.jpeg_nonzero),
    "map-blocks": Kind("panoptic map in blocks of {level} px", "px", (4, 8, 16, 32), least=2, panoptic=maps.blocks),
    "map-merge": Kind(
        "{level} % of the map's segments merged into a neighbour",
        "% of the segments",
        (25, 50, 75, 100),
        most=100,
        panoptic=maps.merge,
    ),
    "map-shift": Kind("panoptic map shifted by {level} px", "px", (2, 4, 8, 16), panoptic=maps.shift),
    "map-none": Kind("no panoptic map", "", (0,), least=0, most=0, panoptic=maps.none),
}


class Disturbance(NamedTuple):
    """A kind with its level."""

    name: str
    level: int

    @property
    def kind(self) -> Kind:
        """What it does."""
        return KINDS[self.name]

    @property
    def spelled(self) -> str:
        """As `parsed` reads it: `erode:4`."""
        return f"{self.name}:{self.level}" if self.kind.unit else self.name

    @property
    def text(self) -> str:
        """In words: "mask eroded by 4 px"."""
        return self.kind.text.format(level=self.level)

    @property
    def of_map(self) -> bool:
        """Whether it disturbs the panoptic map, not the mask."""
        return self.kind.panoptic is not None


def parsed(text: str) -> Disturbance:
    """Read `KIND:LEVEL`. Raises `UsageError` for an unknown kind, or a level that it does not have."""
    name, colon, level = text.partition(":")
    if name not in KINDS:
        raise did_you_mean("disturbance", name, KINDS)
    kind = KINDS[name]
    if not kind.unit:
        if colon:
            raise UsageError(f"the disturbance {name} has no level, got '{text}': write {name}")
        return Disturbance(name, 0)
    number = int(level) if level.isascii() and level.isdecimal() and len(level) < 6 else -1
    if not kind.least <= number <= kind.most:
        raise UsageError(
            f"the disturbance {name} needs a whole level of {kind.least} to {kind.most} ({kind.unit}), got '{text}': "
            f"write e.g. {name}:{kind.levels[0]}"
        )
    return Disturbance(name, number)


def in_words(text: str) -> str:
    """A disturbance in words; a text that this version does not know stays as it is, because files may hold it."""
    try:
        return parsed(text).text if text else ""
    except UsageError:
        return text


class Both(NamedTuple):
    """A sample for scoring, with facts on the disturbance, and the same sample as the eraser gets it."""

    scored: Sample
    given: Sample


def disturbed(sample: Sample, disturbance: Disturbance | None, seed: int) -> Both:
    """Disturb a sample, as the protocol prepared it.

    Draws depend on (seed, sample id) alone. The given sample differs in its mask or in its panoptic map only.

    Args:
        sample: its mask may be empty; then it stays so.
        disturbance: None gives the sample itself.
        seed: of the draws.

    Raises:
        EmptiedMaskError: no pixel of the mask is left.
        OlrdError: the panoptic map cannot be read.
    """
    if disturbance is None:
        return Both(sample, sample)
    if (change := disturbance.kind.mask) is not None:
        mask = change(sample.mask, disturbance.level, (seed, sample.id))
        if sample.mask.any() and not mask.any():
            raise EmptiedMaskError(f"{disturbance.spelled} leaves no pixel of the mask")
        union = np.count_nonzero(mask | sample.mask)
        iou = np.count_nonzero(mask & sample.mask) / union if union else 1.0
        return Both(replace(sample, facts={**sample.facts, OVERLAP: iou}), replace(sample, mask=mask))
    return _with_map(sample, disturbance, seed)


def _with_map(sample: Sample, disturbance: Disturbance, seed: int) -> Both:
    change = disturbance.kind.panoptic
    found = sample.annotated() if sample.annotated else None
    if found is None or change is None:
        return Both(sample, sample)
    height, width = sample.mask.shape
    ids, segments = found.panoptic
    ids = ids if ids.shape == sample.mask.shape else resize_ids(ids, (width, height))
    other = change(PanopticMap(ids, segments), disturbance.level, (seed, sample.id))
    if other is None:
        return Both(sample, replace(sample, annotated=None))
    agreement = float(np.mean(other.ids == ids))
    given: Callable[[], Annotated | None] = cache(lambda: Annotated(other, found.categories))
    return Both(replace(sample, facts={**sample.facts, AGREEMENT: agreement}), replace(sample, annotated=given))
