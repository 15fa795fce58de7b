"""Shapes: the sizes of an object that are tried, as it is or mirrored, inside the frame or partly beyond it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from olrd.config import CandidateRules
from olrd.draws import draw_integer
from olrd.triplets.candidates import cut_sides, may_be_cut
from olrd.triplets.perspective import Horizon, Size, sizes
from olrd.triplets.scene import Scene
from olrd.triplets.several import Cut


class Shape(NamedTuple):
    """One way to paste an object: how large, mirrored or not, inside the frame or partly beyond it."""

    size: Size
    flip: bool
    beyond: bool = False


def sizes_within(scene: Scene, cut: Cut, horizon: Horizon, rules: CandidateRules) -> list[Size]:
    """The sizes that an object may have in its own photo, within the limits of its area."""
    ground = None if cut.surface is None else scene.categories[cut.surface]
    share = cut.segment.area / (scene.shape[0] * scene.shape[1])
    foot = cut.segment.bbox.y + cut.segment.bbox.h
    return [
        size
        for size in sizes(horizon, foot, scene.shape[0], ground, scene.categories[cut.segment.category_id])
        if rules.min_area <= share * size.scale**2 <= rules.max_area
    ]


def shapes(scene: Scene, cut: Cut, sizes: list[Size], number: int, flip: bool, *key: object) -> Iterator[Shape]:
    """The shapes of an object to try for its triplet `number`, in order.

    The first triplet begins with the first size, which is the object's own if the limits allow; the others begin with one
    of the larger half. An object that the left or right side of the frame cuts is tried at both sides. What does not fit
    inside the frame is tried partly beyond it, once.
    """
    start = draw_integer((len(sizes) + 1) // 2, *key, "size") if number else 0
    inside = cut_sides(cut.segment.bbox, scene.shape[1], scene.shape[0])
    for size in [*sizes[start:], *sizes[:start]]:
        yield Shape(size, flip)
        if inside & {"left", "right"}:
            yield Shape(size, not flip)
    if number == 0 and may_be_cut(scene.categories[cut.segment.category_id], inside or frozenset({"left"})):
        for size in sizes[::2]:
            yield Shape(size, flip, beyond=True)
            if inside:
                yield Shape(size, not flip, beyond=True)
