"""Several objects in one photo (`--objects`): which companions an object gets, and where they lie.

Erasers tend to repeat what they see beside a hole. This makes the hard cases: of `LOOKS` drawn positions, an object takes
the one nearest to a thing of its class. Companions are of the same class or of another, and lie apart from the objects
that are there already or touch one of them. Objects never overlap; only the rims of their blends may.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from olrd.arrays import Mask
from olrd.draws import draw_integer, draw_share
from olrd.errors import Rejected
from olrd.masks import grown
from olrd.panoptic import Box, Segment
from olrd.triplets.compose import transformed
from olrd.triplets.placements import Landings, Request
from olrd.triplets.scene import Scene
from olrd.triplets.surfaces import foot_mask

LOOKS = 6
"""Number of drawn positions among which the best one is taken."""
TRIES = 3
"""Number of objects that are tried as a companion before it is given up."""
Place = Callable[[Scene, Request], tuple[int, int]]


class Cut(NamedTuple):
    """An object that may be cut out.

    Attributes:
        segment: as annotated.
        number: its value in the scene's index map.
        mask: bool [h, w], inside the segment's box.
        surface: the category id of what it stands on, or None.
        doubtful: whether its surroundings suggest that it is seen in part or annotated roughly.
    """

    segment: Segment
    number: int
    mask: Mask
    surface: int | None
    doubtful: bool = False


class Companion(NamedTuple):
    """An object that is pasted with another one: which one, where, how large, mirrored or not."""

    cut: Cut
    position: tuple[int, int]
    scale: float
    flip: bool


class Pasting(NamedTuple):
    """How companions are drawn and placed. request: (cut, scale, flip, key) -> Request."""

    place: Place
    request: Callable[[Cut, float, bool, tuple[object, ...]], Request]
    scale: tuple[float, float]
    flip: bool


def count_of(objects: tuple[int, int], *key: object) -> int:
    """The drawn number of objects."""
    return objects[0] + draw_integer(objects[1] - objects[0] + 1, *key, "objects")


def drawn_shape(scale: tuple[float, float], flip: bool, *key: object) -> tuple[float, bool]:
    """The drawn size factor of an object, and whether it is mirrored."""
    low, high = scale
    mirrored = flip and draw_integer(2, *key, "flip") == 1
    return (low + (high - low) * draw_share(*key, "scale") if high > low else low), mirrored


def beside_like(
    scene: Scene, place: Place, request: Request, category: int, more: Sequence[Box] = ()
) -> tuple[int, int]:
    """Of `LOOKS` drawn positions the one that is nearest to a thing of the category. `Rejected` if there is none.

    more: boxes of such things that the scene does not list.
    """
    listed = zip(scene.panoptic.segments, scene.objects[1:], strict=True)
    like = [segment.bbox for segment, thing in listed if thing and segment.area and segment.category_id == category]
    return _nearest(scene, place, request, [*like, *more])


def _nearest(scene: Scene, place: Place, request: Request, boxes: Sequence[Box]) -> tuple[int, int]:
    height, width = request.mask.shape
    shared = request._replace(landings=request.landings or Landings())
    found = [place(scene, shared._replace(key=(*request.key, "look", look))) for look in range(LOOKS)]

    def away(at: tuple[int, int]) -> int:
        return min((gap(Box(at[0], at[1], width, height), box) for box in boxes), default=0)

    return min(found, key=away)


def gap(one: Box, other: Box) -> int:
    """The distance of two boxes in pixels, the larger one of across and down; 0 if they touch or overlap."""
    across = max(one.x - other.x - other.w, other.x - one.x - one.w)
    down = max(one.y - other.y - other.h, other.y - one.y - one.h)
    return max(across, down, 0)


def companions(
    scene: Scene, first: Companion, cuts: Sequence[Cut], count: int, how: Pasting, *key: object
) -> list[Companion]:
    """Up to `count` companions of an object in the scene; fewer if there is no room.

    cuts: the objects that may be cut out of the donor, the first one among them.
    """
    pasted = [first]
    for number in range(1, count + 1):
        found = _companion(scene, pasted, cuts, how, (*key, "more", number))
        if found is not None:
            pasted.append(found)
    return pasted[1:]


def _companion(
    scene: Scene, pasted: Sequence[Companion], cuts: Sequence[Cut], how: Pasting, key: tuple[object, ...]
) -> Companion | None:
    kind = pasted[0].cut.segment.category_id
    alike = draw_integer(2, *key, "alike") == 1
    fitting = [cut for cut in cuts if (cut.segment.category_id == kind) == alike] or list(cuts)
    for attempt in range(TRIES):
        cut = fitting[draw_integer(len(fitting), *key, "cut", attempt)]
        scale, flip = drawn_shape(how.scale, how.flip, *key)
        if not transformed(cut.mask, scale, flip).any():
            continue
        request = how.request(cut, scale, flip, (*key, attempt))
        try:
            return Companion(cut, _position(scene, pasted, cut, request, how.place), scale, flip)
        except Rejected:
            continue
    return None


def _position(scene: Scene, pasted: Sequence[Companion], cut: Cut, request: Request, place: Place) -> tuple[int, int]:
    """Where a companion lies: apart from what is pasted, or touching it. Raises `Rejected` if there is no room."""
    boxes = [_box(one) for one in pasted]
    taken = np.zeros(scene.shape, np.bool_)
    for one, box in zip(pasted, boxes, strict=True):
        taken[box.crop()] |= transformed(one.cut.mask, one.scale, one.flip)
    if draw_integer(2, *request.key, "touching") == 1:
        view = scene.without(taken)
        return _slid(view, request, _nearest(view, place, request, boxes), boxes)
    like = [
        box for one, box in zip(pasted, boxes, strict=True) if one.cut.segment.category_id == cut.segment.category_id
    ]
    return beside_like(scene.without(grown(taken, request.margin)), place, request, cut.segment.category_id, like)


def _slid(scene: Scene, request: Request, position: tuple[int, int], boxes: Sequence[Box]) -> tuple[int, int]:
    """The position moved along its row to the nearest of the boxes, as far as every position between is legal and stands
    on the same surfaces."""
    if request.sides:
        return position
    x, y = position
    height, width = request.mask.shape
    nearest = min(boxes, key=lambda box: gap(Box(x, y, width, height), box))
    row = range(y, y + 1)
    legal = scene.landing_field(request.margin, request.frame).legal(request.mask, row)[0]
    foot = foot_mask(request.mask)
    under = scene.panoptic.index[y : y + foot.shape[0], x : x + width]
    under = under[foot[: len(under)]]  # the last row of a foot may lie below the photo
    surfaces = frozenset(scene.kinds[np.unique(under)].tolist())
    legal &= scene.surface_field(surfaces).legal(foot, row)[0]
    goal = min(max(nearest.x + (nearest.w - width) // 2, 0), len(legal) - 1)
    step = 1 if goal > x else -1
    while x != goal and legal[x + step]:
        x += step
    return x, y


def _box(one: Companion) -> Box:
    height, width = transformed(one.cut.mask, one.scale, one.flip).shape
    return Box(one.position[0], one.position[1], width, height)
