"""Perspective: how large an object is where it moves.

On flat ground, under a level camera, the height of a thing in pixels grows linearly with the distance of its foot below the
horizon: h = a (y - horizon). So an object whose foot moves from row y to row z changes its size by (z - horizon) / (y -
horizon). The horizon is estimated from what the photo shows:

1. `things`: the heights and feet of complete things that stand on the ground, of one class or of classes whose heights are
   known (Hoiem, Efros and Hebert, "Putting objects in perspective", 2008);
2. `ground`: outdoors, the far edge of the ground. The horizon lies at it or a little above;
3. neither: `unknown`. Then an object stays near its row, and becomes smaller only to fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from olrd.panoptic import Category
from olrd.triplets.scene import Scene

HEIGHTS: Mapping[str, float] = {
    "person": 1.65,
    "car": 1.5,
    "bus": 3.1,
    "truck": 2.7,
    "horse": 1.7,
    "cow": 1.4,
    "sheep": 0.9,
    "elephant": 2.8,
    "zebra": 1.4,
    "giraffe": 4.5,
    "fire hydrant": 0.8,
    "parking meter": 1.4,
}
"""Usual heights in metres of things that stand upright, by name in lower case."""
GROUND = frozenset({"ground", "floor", "water"})
"""Supercategories of stuff that lies flat, in COCO's names."""
FLAT = frozenset({"grass-merged", "sand", "snow", "railroad", "platform"})
"""Stuff that lies flat, by name."""


LEAST_STEP = 0.06
"""Smallest vertical distance of two feet, as a share of the photo's height, from which a horizon is computed."""
AGREEMENT = 0.15
"""Largest spread of the horizons from several pairs of things, as a share of the photo's height."""
CONTRADICTION = 0.34
"""Largest share of pairs in which the farther thing is not the smaller one."""


FAR = 0.15, 0.6
"""Rows between which the edge of the ground may be the horizon, as shares of the photo's height. A lower edge is hidden
by what stands on it."""
SMALLEST = 0.5
"""The smallest of all sizes."""
STEPS = (1.0, 0.8, 0.65, 0.5, 1.2)
"""The sizes that are tried where the horizon is known. Larger ones would blur the object."""
LARGEST_ELSEWHERE = 1.25
"""The largest size in another photo."""
FITTING = (1.0, 0.8, 0.6)
"""The sizes that are tried where it is not."""
FLYING = (1.0, 0.75, 0.5)
"""The sizes of things in the sky."""
NEAR_HORIZON = 0.04
"""A foot that is no farther below the horizon than this share of the photo's height tells nothing about sizes."""
FREE_MOVE = 0.3
"""The largest move of an object that keeps its size where the horizon is not known, as a share of its distance from where
the horizon may be."""
SIZE_ERROR = 0.08
"""Largest error of a size, as a share of it, that the distance from the right row may cause."""


class Horizon(NamedTuple):
    """The row of the horizon, which may lie outside the photo, and what it is estimated from: `things`, `ground` or
    `unknown`."""

    row: float
    source: str


UNKNOWN = Horizon(0.0, "unknown")


class Standing(NamedTuple):
    """A complete thing on the ground: its class, the row of its foot, and its height, both in pixels."""

    category: Category
    foot: float
    height: float


class View(NamedTuple):
    """How a photo sees the ground.

    Attributes:
        horizon: of the photo.
        shape: (height, width) of the photo in pixels.
        camera: the height of the camera above the ground in metres, None where no thing of a known height shows it. If the
            horizon is unknown, it belongs to the row where the horizon may be.
    """

    horizon: Horizon
    shape: tuple[int, int]
    camera: float | None


class Size(NamedTuple):
    """A size that an object may have, and where its foot then is.

    Attributes:
        scale: of the cut-out.
        bottom: the row below its lowest edge, as a share of the photo's height.
        reach: the largest distance from that row, as a share of the photo's height.
        spread: the distance at which a row has half the probability of distance 0.
    """

    scale: float
    bottom: float
    reach: float
    spread: float


def find_horizon(scene: Scene, standing: Sequence[Standing]) -> Horizon:
    """The horizon of a scene, from its complete things that stand on the ground, else from the ground itself."""
    height = scene.shape[0]
    edge = ground_edge(scene)
    row = _horizon_of(standing, height)
    if row is not None and (edge is None or row <= edge + 0.05 * height):
        return Horizon(row, "things")
    if edge is not None and row is None and FAR[0] * height <= edge <= FAR[1] * height:
        return Horizon(edge - 0.02 * height, "ground")
    return Horizon(0.35 * height, "unknown")


def _horizon_of(standing: Sequence[Standing], height: int) -> float | None:
    """The median of the horizons of all pairs of comparable things, or None if there is no pair, or they disagree."""
    rows, against = [], 0
    for number, one in enumerate(standing):
        for two in standing[number + 1 :]:
            near, far = (one, two) if one.foot > two.foot else (two, one)
            if near.foot - far.foot < LEAST_STEP * height:
                continue
            sizes = _comparable(near, far)
            if sizes is None:
                continue
            if sizes[0] <= 1.1 * sizes[1]:
                against += 1
            else:
                rows.append((sizes[0] * far.foot - sizes[1] * near.foot) / (sizes[0] - sizes[1]))
    if not rows or against > CONTRADICTION * (against + len(rows)):
        return None
    low, middle, high = np.quantile(rows, (0.25, 0.5, 0.75)).tolist()
    lowest = min(one.foot for one in standing)
    if high - low > AGREEMENT * height or not -0.5 * height <= middle <= lowest:
        return None
    return float(middle)


def _comparable(one: Standing, two: Standing) -> tuple[float, float] | None:
    """The heights of two things in pixels, as if both were of one class; None if that is not known."""
    if one.category.id == two.category.id:
        return one.height, two.height
    names = one.category.name.lower(), two.category.name.lower()
    if names[0] not in HEIGHTS or names[1] not in HEIGHTS:
        return None
    return one.height / HEIGHTS[names[0]], two.height / HEIGHTS[names[1]]


def ground_edge(scene: Scene) -> float | None:
    """The row of the far edge of the ground, outdoors: there is sky, and one row in 20 or more of the photo is ground.

    The upper 2 % of the ground's pixels do not count, because annotations are not exact.
    """
    kinds = [scene.categories.get(kind) for kind in scene.kinds.tolist()]
    flat = np.array([kind is not None and lies_flat(kind) for kind in kinds])
    if not flat.any() or not any(kind is not None and kind.supercategory == "sky" for kind in kinds):
        return None
    rows = scene.pixels_where(flat).sum(axis=1, dtype=np.int64)
    total = int(rows.sum())
    if total < 0.05 * scene.panoptic.index.size:
        return None
    return float(np.searchsorted(np.cumsum(rows), 0.02 * total))


def lies_flat(kind: Category) -> bool:
    """Whether stuff of this class is ground."""
    return kind.supercategory in GROUND or kind.name in FLAT


def view_of(scene: Scene, standing: Sequence[Standing]) -> View:
    """How a scene sees the ground, from its complete things that stand there."""
    horizon = find_horizon(scene, standing)
    metres = [
        HEIGHTS[one.category.name.lower()] * (one.foot - horizon.row) / one.height
        for one in standing
        if one.category.name.lower() in HEIGHTS and one.foot - horizon.row > NEAR_HORIZON * scene.shape[0]
    ]
    return View(horizon, scene.shape, float(np.median(metres)) if metres else None)


def sizes_elsewhere(own: View, there: View, foot: float, ground: Category | None, kind: Category) -> list[Size]:
    """The sizes that an object may have in another photo.

    On flat ground, an object of height h under a camera of height c has the size h / c (y - horizon). So where both
    horizons or both cameras are known, the row of its foot decides its size. Cameras of unknown height count as equally
    high. Elsewhere an object keeps its size as a share of the photo's diagonal, and its row as a share of the photo's
    height. Things whose height everybody knows, such as people, would look like giants or dwarfs there: on flat ground and at
    the lower edge of the frame, they have no size.

    Args:
        own: of the object's own photo.
        there: of the other photo.
        foot: the row below the object's lowest edge in its own photo.
        ground: what the object stands on, or None if the lower edge of the frame cuts it.
        kind: its class.
    """
    height, flat = own.shape[0], ground is not None and lies_flat(ground)
    cameras = own.camera is not None and there.camera is not None
    known = cameras or UNKNOWN.source not in (own.horizon.source, there.horizon.source)
    if kind.name.lower() in HEIGHTS and (ground is None or (flat and not known)):
        return []
    if not flat or not known:
        unknown = own.horizon._replace(source=UNKNOWN.source)
        same = sizes(unknown, foot, height, ground, kind)
        factor = math.hypot(*there.shape) / math.hypot(*own.shape)
        return [size._replace(scale=size.scale * factor) for size in same if size.scale * factor <= LARGEST_ELSEWHERE]
    depth = foot - own.horizon.row
    if depth <= NEAR_HORIZON * height:
        return []
    if own.camera and there.camera:
        depth *= there.camera / own.camera
    found = []
    for scale in STEPS:
        bottom = (there.horizon.row + scale * depth) / there.shape[0]
        reach = SIZE_ERROR * scale * depth / there.shape[0]
        if bottom <= 1:
            found.append(Size(scale, bottom, reach, reach))
    return found


def sizes(horizon: Horizon, foot: float, height: int, ground: Category | None, kind: Category) -> list[Size]:
    """The sizes that an object may have, the first one unchanged.

    Args:
        horizon: of the scene.
        foot: the row below the object's lowest edge.
        height: of the photo.
        ground: what the object stands on, or None if the lower edge of the frame cuts it.
        kind: its class.
    """
    bottom = foot / height
    if ground is None:
        # Half a person at 0.6 looks like a child.
        fitting = FITTING if kind.supercategory in ("animal", "vehicle") else FITTING[:2]
        return [Size(scale, bottom, 1.0, 1.0) for scale in fitting]
    if ground.supercategory == "sky":
        return [Size(scale, bottom, 1.0, 0.2) for scale in FLYING]
    if not lies_flat(ground):
        return [Size(scale, bottom, 0.2, 0.05) for scale in FITTING]
    depth = (foot - horizon.row) / height
    if horizon.source == "unknown":
        shift = max(depth, 0.0)
        reach = min(max(FREE_MOVE * depth, 0.03), 0.2)
        return [Size(s, bottom - (1 - s) * shift, reach if s == 1 else 0.12, min(0.05, reach)) for s in FITTING]
    if depth <= NEAR_HORIZON:
        return [Size(1.0, bottom, 0.02, 0.01)]
    reach = SIZE_ERROR * depth
    return [Size(s, bottom + (s - 1) * depth, reach * s, reach * s) for s in STEPS if bottom + (s - 1) * depth <= 1]
