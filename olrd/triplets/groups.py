"""Groups: an object with what it carries, wears, holds or rides.

A person without the bag that covers half of the coat has a hole, and the bag alone floats. They are cut out as one object,
under the name of the largest part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from olrd.arrays import Mask
from olrd.masks import disc
from olrd.panoptic import Box, Category, Segment
from olrd.triplets.scene import Scene

HOLDS: Mapping[str, frozenset[str]] = {
    "person": frozenset(
        {"accessory", "sports", "electronic", "kitchen", "food", "book", "scissors", "teddy bear", "toothbrush"}
    ),
    "animal": frozenset({"accessory", "sports"}),
    "vehicle": frozenset({"person"}),
    "kitchen": frozenset({"food", "kitchen"}),
    "food": frozenset({"food", "kitchen"}),
    "electronic": frozenset({"electronic"}),
    "vase": frozenset({"potted plant"}),
    "potted plant": frozenset({"vase"}),
}
"""What carries what, by name or supercategory. Furniture is left out: what is seen before a chair is not on it."""
RIDDEN = frozenset(
    {
        "bicycle",
        "motorcycle",
        "horse",
        "elephant",
        "skateboard",
        "snowboard",
        "skis",
        "surfboard",
        "bench",
        "chair",
        "boat",
    }
)
"""Things that a person rides or sits on. Names in lower case."""
CARRIED_RIM = 0.3
"""Smallest share of a thing's rim that its carrier must be."""
CARRIED_AREA = 0.6
"""Largest area of a carried thing, as a share of its carrier's."""
RIDER_RIM = 0.1
"""Smallest share of the rim of a rider, or of what is ridden, that the other must be."""
REACH = 3
"""Width of a rim in pixels. Annotated neighbours are often separated by a pixel or two of void."""


class Group(NamedTuple):
    """Things that are cut out as one.

    Attributes:
        numbers: their values in the index map, the largest thing first.
        segment: of the largest thing, with the area and box of all together.
        mask: bool [h, w], all of them inside that box.
    """

    numbers: tuple[int, ...]
    segment: Segment
    mask: Mask


def grouped(scene: Scene, verdicts: Sequence[str | None]) -> list[tuple[int, ...]]:
    """All segments that have pixels, in groups, as values of the index map; the largest one of a group comes first.

    verdicts: of each segment; only to those with None can others belong.
    """
    segments = scene.panoptic.segments
    things = sorted((k for k, s in enumerate(segments, start=1) if s.area), key=lambda k: (segments[k - 1].area, k))
    owner = {number: number for number in things}
    for place, number in enumerate(things):
        if not scene.objects[number] or segments[number - 1].iscrowd:
            continue
        needed = {
            other: share
            for other in things[place + 1 :]
            if verdicts[other - 1] is None
            and (share := _needed(segments[number - 1], segments[other - 1], scene.categories))
            and _near(segments[number - 1].bbox, segments[other - 1].bbox)
        }
        if needed:
            rim = _rim(scene, number)
            bonded = {other: float(rim[other]) for other, share in needed.items() if rim[other] >= share}
            owner[number] = max(bonded, key=lambda other: (bonded[other], other), default=number)
    groups: dict[int, list[int]] = {}
    for number in reversed(things):  # the owner is larger, so its own owner is known
        owner[number] = owner[owner[number]]
        groups.setdefault(owner[number], []).append(number)
    return [tuple(group) for group in groups.values()]


def singles(scene: Scene) -> list[tuple[int, ...]]:
    """Every segment that has pixels as a separate group."""
    return [(number,) for number, segment in enumerate(scene.panoptic.segments, start=1) if segment.area]


def _near(one: Box, two: Box) -> bool:
    across = max(one.x - two.x - two.w, two.x - one.x - one.w)
    return max(across, one.y - two.y - two.h, two.y - one.y - one.h) < REACH


def _rim(scene: Scene, number: int) -> np.ndarray:
    """float64 [len(segments) + 1]: the share of each index value in the rim around a thing."""
    box, index = scene.panoptic.segments[number - 1].bbox, scene.panoptic.index
    y, x = max(box.y - REACH, 0), max(box.x - REACH, 0)
    around = index[y : box.y + box.h + REACH, x : box.x + box.w + REACH]
    own = (around == number).view(np.uint8)
    rim = cv2.dilate(own, disc(REACH)) != own
    counts = np.bincount(around[rim], minlength=len(scene.kinds))
    return counts / max(int(counts.sum()), 1)


def _needed(one: Segment, two: Segment, kinds: Mapping[int, Category]) -> float:
    """The share of the rim of a thing that a larger one must be to be its carrier; 0 if it cannot be."""
    names = kinds[one.category_id].name.lower(), kinds[two.category_id].name.lower()
    if one.category_id == two.category_id:
        return 0.0
    if "person" in names and not RIDDEN.isdisjoint(names):
        return RIDER_RIM
    if one.area > CARRIED_AREA * two.area:
        return 0.0
    held = {names[0], kinds[one.category_id].supercategory}
    holder = names[1], kinds[two.category_id].supercategory
    return CARRIED_RIM if any(held & HOLDS.get(name, frozenset()) for name in holder) else 0.0


def joined(scene: Scene, numbers: tuple[int, ...]) -> Group:
    """The group of these index values."""
    parts = [scene.panoptic.segments[number - 1] for number in numbers]
    left, top = min(part.bbox.x for part in parts), min(part.bbox.y for part in parts)
    right = max(part.bbox.x + part.bbox.w for part in parts)
    bottom = max(part.bbox.y + part.bbox.h for part in parts)
    box = Box(left, top, right - left, bottom - top)
    around = scene.panoptic.index[box.crop()]
    mask = around == numbers[0]
    for number in numbers[1:]:
        mask |= around == number
    whole = replace(parts[0], bbox=box, area=sum(part.area for part in parts)) if len(parts) > 1 else parts[0]
    return Group(numbers, whole, np.ascontiguousarray(mask))
