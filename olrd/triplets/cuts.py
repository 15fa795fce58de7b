"""Cuts: the objects of a photo that may be cut out, each with what it carries and what it stands on."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np

from olrd.arrays import Mask
from olrd.config import CandidateRules
from olrd.draws import draw_share
from olrd.masks import largest_piece, mask_box
from olrd.panoptic import Box, Category
from olrd.triplets.candidates import MAIN_PIECE, cut_sides, cut_verdict, doubtful, seen_verdict
from olrd.triplets.groups import Group, grouped, joined, singles
from olrd.triplets.perspective import Standing, lies_flat
from olrd.triplets.scene import Scene
from olrd.triplets.several import Cut
from olrd.triplets.surfaces import is_table, surface_under

BEHIND = 0.01
"""A thing is behind an object if its lower edge is higher by more than this share of the photo's height."""
UPRIGHT = 1.6
"""Smallest ratio of height to width of a person who stands."""


def find_cuts(
    scene: Scene,
    rules: CandidateRules,
    verdicts: list[str | None],
    largest: float,
    labelled: bool,
    reasons: Counter[str],
    *key: object,
) -> list[Cut]:
    """The objects of a photo that may be cut out, in a keyed order that prefers large ones. The doubtful ones are last.

    Args:
        scene: the photo.
        rules: the limits.
        verdicts: what the annotation alone says of each segment (see `listed_verdict`).
        largest: the area limit, as a share of the photo.
        labelled: whether the background is labelled.
        reasons: the reasons why the other segments are left out are added here.
        key: of the draw.
    """
    cuts: list[Cut] = []
    grouped_ones: set[int] = set()
    for numbers in grouped(scene, verdicts) if rules.groups else singles(scene):
        grouped_ones.update(numbers)
        reason = verdicts[numbers[0] - 1]
        if reason is None:
            group = joined(scene, numbers)
            reason = _verdict(scene, group, rules, largest)
        if reason is None:
            segment = group.segment
            cut = "bottom" in cut_sides(segment.bbox, scene.shape[1], scene.shape[0])
            surface = None if cut else surface_under(scene, segment, numbers, group.mask)
            unsure = rules.doubtful != "all" and doubtful(
                segment.bbox, group.mask, scene.panoptic.index, numbers, labelled
            )
            cuts.append(Cut(segment, numbers[0], group.mask, surface, unsure))
        else:
            reasons[reason] += 1
        reasons.update(verdicts[number - 1] or "carried" for number in numbers[1:])
    for number, verdict in enumerate(verdicts, start=1):
        if number not in grouped_ones:  # it has no pixel: it vanished by resizing, or is hidden behind other objects
            reasons[verdict or "too_small"] += 1
    return sorted(cuts, key=lambda cut: (cut.doubtful, draw_share(*key, cut.segment.id) / cut.segment.area))


def _verdict(scene: Scene, group: Group, rules: CandidateRules, largest: float) -> str | None:
    height, width = scene.shape
    kind = scene.categories[group.segment.category_id]
    if len(group.numbers) > 1:
        if group.segment.area > largest * width * height:
            return "too_large"
        if reason := cut_verdict(group.segment.bbox, kind, width, height, rules):
            return reason
    return seen_verdict(group.mask, group.segment, _in_front(scene, group), rules)


def _in_front(scene: Scene, group: Group) -> Mask:
    """bool [H, W]: the things that may hide a part of a group. Those that stand farther away cannot, nor can the table
    on which it stands."""
    kind = scene.categories[group.segment.category_id]
    lowest = group.segment.bbox.y + group.segment.bbox.h - BEHIND * scene.shape[0]
    hiding = scene.objects.copy()
    for number, segment in enumerate(scene.panoptic.segments, start=1):
        hiding[number] &= segment.bbox.y + segment.bbox.h >= lowest and not is_table(
            scene.categories[segment.category_id], kind
        )
    hiding[list(group.numbers)] = False
    return scene.pixels_where(hiding)


FOOT_LIFT = 0.05
"""Largest share of an object's height by which the foot of a part may be higher than that of the whole."""
LEAST_INSIDE = 0.4
"""Smallest share of an object's width that is inside the frame."""
LEAST_HEIGHT = 0.7
LEAST_PERSON = 0.93
"""Smallest height of a part, as a share of the whole's; a person keeps the head."""


def inside_frame(cut: Cut, kind: Category, scale: float, flip: bool, x: int, width: int) -> Cut | None:
    """The part of an object that lies inside the frame; None if it has no foot, or is in pieces.

    Args:
        cut: the object.
        kind: its class.
        scale: at which it is pasted.
        flip: whether it is pasted mirrored.
        x: of the corner of its box in the photo.
        width: of the photo.
    """
    box = cut.segment.bbox
    out = (-x if x < 0 else x + round(box.w * scale) - width) / scale
    kept = box.w - math.ceil(out)
    first = box.w - kept if (x < 0) != flip else 0
    mask = cut.mask[:, first : first + kept]
    if kept < 1 or not mask.any():
        return None
    inner = mask_box(np.ascontiguousarray(mask))
    least = LEAST_PERSON if kind.supercategory == "person" else LEAST_HEIGHT
    if inner.w < kept or inner.h < least * box.h or inner.y + inner.h < (1 - FOOT_LIFT) * box.h:
        return None
    mask = np.ascontiguousarray(mask[inner.crop()])
    if largest_piece(mask) < MAIN_PIECE:
        return None
    place = Box(box.x + first, box.y + inner.y, inner.w, inner.h)
    return cut._replace(segment=replace(cut.segment, bbox=place, area=int(np.count_nonzero(mask))), mask=mask)


def standers(scene: Scene, cuts: list[Cut]) -> list[Standing]:
    """The complete things that stand on the ground, for the horizon."""
    found = []
    for cut in cuts:
        kind, box = scene.categories[cut.segment.category_id], cut.segment.bbox
        if cut.surface is None or not lies_flat(scene.categories[cut.surface]):
            continue
        if kind.name == "person" and box.h < UPRIGHT * box.w:
            continue
        found.append(Standing(kind, box.y + box.h, box.h))
    return found
