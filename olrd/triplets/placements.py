"""Placements: choosing one of the legal positions. `centroid`, `uniform` or `supported`.

A placement is a function (scene, request) -> (x, y), the corner of the object's box. It raises `Rejected`
(`no_position`, `no_surface`) if there is no position.

To add a placement, write a function here and add one line to `PLACEMENTS` in olrd/config.py. In another distribution,
add one entry point in the group `olrd.placements`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from olrd.arrays import Mask
from olrd.draws import draw_integer, draw_weighted
from olrd.errors import Rejected
from olrd.triplets.legal import Field, Legal
from olrd.triplets.scene import Scene
from olrd.triplets.surfaces import foot_mask, is_furniture, lowest_standing, same_kind

Answer = TypeVar("Answer")


HEIGHT_LIMIT = 0.2
"""Largest vertical move of a supported object, as a share of the photo's height."""
HEIGHT_SCALE = 0.05
"""Vertical distance, as a share of the photo's height, at which a row has half the probability of distance 0."""


class Landings:
    """Where one object may lie in one scene: what a placement has found out, kept for the object's next triplet."""

    def __init__(self) -> None:
        self._found: dict[object, Any] = {}

    def once(self, key: object, find: Callable[[], Answer]) -> Answer:
        """Return `find()` on the first call with `key`, and the same value on later calls."""
        if key not in self._found:
            self._found[key] = find()
        answer: Answer = self._found[key]
        return answer


class Request(NamedTuple):
    """An object to place, at the scale at which it will be pasted.

    Attributes:
        mask: bool [h, w].
        bottom: the row of its lowest edge in its own photo, as a share of that photo's height.
        surface: id of the category that it stood on, or None.
        sides: the sides of the frame that cut it.
        key: the sample's key for keyed draws.
        margin: distance to everything that is not background, in pixels.
        frame: distance to the frame, in pixels.
        taken: the corners (x, y) that earlier triplets of this object use.
        landings: shared by the triplets of one object, at one scale, in one scene.
        reach: the largest distance of its foot from the row `bottom`, as a share of the photo's height.
        spread: the distance, as such a share, at which a row has half the probability of distance 0.
        beyond: if not 0, the object must lie partly beyond the left or right side of the frame, by at most this many pixels;
            the x of its corner may be negative then. `supported` alone heeds this.
        ground: ids of the categories on which it may stand if there is no room on those like its own.
    """

    mask: Mask
    bottom: float
    surface: int | None
    sides: frozenset[str]
    key: tuple[object, ...]
    margin: int
    frame: int
    taken: tuple[tuple[int, int], ...] = ()
    landings: Landings | None = None
    reach: float = HEIGHT_LIMIT
    spread: float = HEIGHT_SCALE
    beyond: int = 0
    ground: frozenset[int] = frozenset()

    def once(self, key: object, find: Callable[[], Answer]) -> Answer:
        """See `Landings.once`; without `landings` nothing is kept."""
        return find() if self.landings is None else self.landings.once(key, find)


def _landing_field(scene: Scene, request: Request) -> Field:
    surface = request.surface
    table = surface if surface is not None and scene.categories[surface].isthing else None
    frame = 0 if request.sides or request.beyond else request.frame
    return scene.landing_field(request.margin, frame, table, _beyond(scene, request))


def _beyond(scene: Scene, request: Request) -> int:
    """The columns of free space on each side of the photo. One number for a photo, so that its fields are made once."""
    return scene.shape[1] // 2 if request.beyond else 0


def _legal(scene: Scene, request: Request) -> Legal:
    """All legal positions, bool [H - h + 1, W - w + 1], without those close to earlier ones."""
    field = _landing_field(scene, request)
    rows = field.rows(request.mask.shape[0])
    legal = request.once("legal", lambda: field.legal(request.mask, rows))
    return _restrict(legal.copy(), scene, request, rows)


def _restrict(legal: Legal, scene: Scene, request: Request, rows: range) -> Legal:
    """Remove positions that overlap an earlier paste of the same object by half, and positions that would move a
    truncated object away from its side of the frame."""
    height, width = request.mask.shape
    beyond = _beyond(scene, request)
    for x, y in request.taken:
        top, left = y - rows.start - height // 2, x - width // 2 + beyond
        legal[max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = False
    lowest = scene.shape[0] - height
    if "top" in request.sides:
        legal[[y != 0 for y in rows]] = False
    if "bottom" in request.sides:
        legal[[y != lowest for y in rows]] = False
    if beyond:
        across = np.arange(legal.shape[1]) - beyond
        out = np.maximum(-across, across + width - scene.shape[1])
        legal[:, (out < 1) | (out > request.beyond)] = False
        if "left" in request.sides:
            legal[:, across >= 0] = False
        if "right" in request.sides:
            legal[:, across < 0] = False
        return legal
    if "left" in request.sides:
        legal[:, 1:] = False
    if "right" in request.sides:
        legal[:, :-1] = False
    return legal


def _none(request: Request) -> Rejected:
    height, width = request.mask.shape
    return Rejected("no_position", f"no legal position for an object of {width} x {height} pixels")


def uniform(scene: Scene, request: Request) -> tuple[int, int]:
    """Any legal position; all have the same probability."""
    positions = np.flatnonzero(legal := _legal(scene, request))
    if not len(positions):
        raise _none(request)
    y, x = divmod(int(positions[draw_integer(len(positions), *request.key, "uniform")]), legal.shape[1])
    return x, y


def centroid(scene: Scene, request: Request) -> tuple[int, int]:
    """The placement of the paper: the object's centroid lies on the centroid of a background region (integer means).

    The region is drawn by area. The published code pastes there without any check. Here, if that position is not legal,
    the nearest legal one is taken.
    """
    regions = [k for k, s in enumerate(scene.panoptic.segments, 1) if s.area and not scene.objects[k]]
    if not regions:
        raise _none(request)
    areas = [scene.panoptic.segments[k - 1].area for k in regions]
    region = scene.panoptic.index == regions[draw_weighted(areas, *request.key, "region")]
    centre = [int(axis.sum() // len(axis)) for axis in np.nonzero(region)]
    own = [int(axis.sum() // len(axis)) for axis in np.nonzero(request.mask)]
    rows, columns = np.nonzero(_legal(scene, request))
    if not len(rows):
        raise _none(request)
    distance = (rows - (centre[0] - own[0])) ** 2 + (columns - (centre[1] - own[1])) ** 2
    nearest = int(np.argmin(distance))
    return int(columns[nearest]), int(rows[nearest])


def supported(scene: Scene, request: Request) -> tuple[int, int]:
    """A position where the object stands on the same surface as before, near its old height, so that its size is
    plausible.

    The surface is of the same class if there is room, else of the same family (any floor for a floor), else one of
    `request.ground`.
    """
    mask, height = request.mask, scene.shape[0]
    if "bottom" in request.sides:
        return _slid_along(scene, request)
    if request.surface is None:
        raise Rejected("no_surface", "the object stands on a thing or on unlabelled pixels")
    old = request.bottom * height - mask.shape[0]
    reach = request.reach * height
    lowest = old + reach
    if is_furniture(scene.categories[request.surface]):
        top = request.once("lowest", partial(lowest_standing, scene, request.surface))
        lowest = min(lowest, max(old, top - mask.shape[0]))
    rows = _landing_field(scene, request).rows(mask.shape[0], old - reach, lowest)
    drop = np.abs(np.array(rows) - old) / height
    # 1 / (1 + d^2) in integers, because IEEE division and floor give the same result on every machine.
    weight = np.floor(1_000_000 / (1 + (drop / request.spread) ** 2)).astype(np.int64)
    families = frozenset({request.surface}), same_kind(request.surface, scene.categories), request.ground
    whole = frozenset().union(*families)
    everywhere = request.once("standing", partial(_standing, scene, request, rows, whole))
    for surface in dict.fromkeys(families) if everywhere.any() else ():
        legal = everywhere.copy()
        if surface != whole:
            legal &= request.once(surface, partial(_footing, scene, request, rows, surface))
        legal = _restrict(legal, scene, request, rows)
        chances = weight * legal.sum(axis=1, dtype=np.int32)
        if chances.any():
            row = draw_weighted(chances, *request.key, "row")
            columns = np.flatnonzero(legal[row])
            column = int(columns[draw_integer(len(columns), *request.key, "column")])
            return column - _beyond(scene, request), rows[row]
    raise _none(request)


def _slid_along(scene: Scene, request: Request) -> tuple[int, int]:
    """A position at the lower edge of the frame, for an object that this edge cuts. What it stands on is out of sight."""
    field = _landing_field(scene, request)
    rows = field.rows(request.mask.shape[0], scene.shape[0] - request.mask.shape[0])
    legal = request.once("legal", lambda: field.legal(request.mask, rows))
    columns = np.flatnonzero(_restrict(legal.copy(), scene, request, rows).any(axis=0))
    if not len(columns):
        raise _none(request)
    column = int(columns[draw_integer(len(columns), *request.key, "column")])
    return column - _beyond(scene, request), rows[0]


def _standing(scene: Scene, request: Request, rows: range, surface: frozenset[int]) -> Legal:
    """The legal positions in `rows` whose contact line lies on `surface`."""
    return _landing_field(scene, request).legal(request.mask, rows, _footing(scene, request, rows, surface))


def _footing(scene: Scene, request: Request, rows: range, surface: frozenset[int]) -> Legal:
    """The positions in `rows` whose contact line lies on `surface`."""
    strip = request.once("foot", lambda: foot_mask(request.mask))
    return scene.surface_field(surface, _beyond(scene, request)).legal(strip, rows)
