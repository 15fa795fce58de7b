"""Surfaces: what an object stands on.

The contact line is the lowest edge of the object. Its surface is the category of the background right below that line.
A moved object keeps its surface: a dog on grass is pasted on grass.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from olrd.arrays import Mask
from olrd.panoptic import VOID, Category, Segment
from olrd.triplets.scene import SEAM, Scene

CARRIED_BY_GROUND = frozenset({"person", "vehicle", "animal", "furniture", "kitchen", "food", "appliance"})
"""Supercategories of things that stand, lie or float on something. """
CARRIES_NOTHING = frozenset(
    {"building", "wall", "window", "ceiling", "tree-merged", "flower", "net", "fence-merged", "curtain", "cardboard"}
)
"""Stuff, by supercategory or name, that does not carry things: above it, the lower part of a thing is hidden. A car
above `building` has its wheels behind something."""
TOO_LARGE_FOR_FURNITURE = frozenset({"person", "animal", "vehicle"})
"""Supercategories of things that do not stand on counters, tables and shelves: these hide their feet."""
FRONTS = frozenset({"cabinet-merged", "door-stuff", "mirror-stuff", "light"})
"""Furniture whose annotation is mostly its front, by name."""
FLIES = frozenset({"airplane", "bird", "person", "umbrella"})
"""Things that are seen in the sky, besides what is played with; names in lower case. Others stand before it."""
FIXED = frozenset({"refrigerator", "oven", "sink", "toilet", "bed"})
"""Things that are built in, or too heavy to be moved onto a cupboard; names in lower case."""
HANGS = frozenset({"traffic light", "stop sign", "traffic sign", "street light"})
"""Things that hang on a pole or wire, whatever is behind them; names in lower case."""


TABLES: Mapping[str, frozenset[str]] = {
    "dining table": frozenset({"kitchen", "food", "electronic", "indoor"}),
    "bed": frozenset({"indoor", "animal", "electronic"}),
}
"""Things that carry things, by name in lower case, and the supercategories of what they carry."""


class Foot(NamedTuple):
    """The contact line of a mask. rows, columns: int [n], the lowest pixel of each contact column, in the mask's
    box."""

    rows: np.ndarray
    columns: np.ndarray


def find_foot(mask: Mask, share: float = 0.08) -> Foot:
    """The contact line of a mask, bool [h, w]: the lowest pixels in the lower `share` of its height."""
    height = mask.shape[0]
    columns = np.flatnonzero(mask.any(axis=0))
    rows = height - 1 - np.argmax(mask[::-1, columns], axis=0)
    low = rows >= rows.max() - max(3, int(share * height))
    return Foot(rows[low], columns[low])


def surface_under(scene: Scene, segment: Segment, own: Collection[int], mask: Mask) -> int | None:
    """The category id of the background under an object's contact line.

    Below each contact pixel, the first labelled pixel within a short reach votes. The reach bridges the narrow seam of
    void that annotators often leave between object and ground.

    Args:
        scene: the object's own photo.
        segment: the object's class and box.
        own: the values of the index map that are the object.
        mask: bool [h, w], the object inside its box.

    Returns:
        The id, or None if a thing is there that carries nothing, or stuff that cannot carry the object, or only void or
        the frame.
    """
    index = scene.panoptic.index
    height = index.shape[0]
    foot = find_foot(mask)
    if scene.categories[segment.category_id].supercategory == "person" and _cut_off(mask, foot):
        return None
    rows, columns = foot.rows + segment.bbox.y, foot.columns + segment.bbox.x
    reach = max(6, segment.bbox.h // 12)
    below = np.minimum(rows[:, None] + np.arange(1, reach + 1), height - 1)
    seen = index[below, columns[:, None]]
    labelled = seen != 0
    for number in own:
        labelled &= seen != number
    first = labelled.argmax(axis=1)  # of those that have a labelled pixel
    vote = seen[np.arange(len(seen)), first][labelled.any(axis=1)]
    counts = np.bincount(vote, minlength=len(scene.kinds))
    if not counts.any():
        return None
    by_kind: dict[int, int] = {}
    for value, count in enumerate(counts.tolist()):
        if count:
            kind = int(scene.kinds[value])
            if scene.objects[value] and not is_table(scene.categories[kind], scene.categories[segment.category_id]):
                kind = VOID
            by_kind[kind] = by_kind.get(kind, 0) + count
    winner = max(sorted(by_kind), key=lambda kind: by_kind[kind])
    if winner == VOID or not _carries(scene.categories[winner], scene.categories[segment.category_id]):
        return None
    return winner


CUT_SHARE = 0.7
"""Smallest width of the lower edge, as a share of the figure's width, at which the figure counts as cut off."""


def _cut_off(mask: Mask, foot: Foot) -> bool:
    """Whether an upright figure ends in a straight edge that is nearly as wide as the figure. Then it is annotated, or
    visible, only down to the waist; feet are narrower."""
    height, width = mask.shape
    return height >= width and len(foot.columns) >= CUT_SHARE * width


def _carries(ground: Category, thing: Category) -> bool:
    """Whether this stuff can carry this thing."""
    name = thing.name.lower()
    if name in HANGS or (name in FIXED and ground.supercategory != "floor"):
        return False
    if ground.supercategory == "sky":
        return name in FLIES or thing.supercategory == "sports"
    if thing.supercategory in TOO_LARGE_FOR_FURNITURE and ground.supercategory == "furniture-stuff":
        return ground.name == "stairs"
    if name == "potted plant" and ground.supercategory == "wall":
        return True  # `wall` names ledges too
    heavy = thing.supercategory in CARRIED_BY_GROUND and name != "bird"
    return not heavy or (CARRIES_NOTHING | FRONTS).isdisjoint({ground.supercategory, ground.name})


def walkable(surface: int, thing: Category, categories: Mapping[int, Category]) -> frozenset[int]:
    """The open ground on which whoever walks on this surface may stand as well; empty for others, and for snow and
    water."""
    open_ground = frozenset(c.id for c in categories.values() if not c.isthing and _open_ground(c))
    return open_ground if thing.supercategory in WALKS and surface in open_ground else frozenset()


WALKS = frozenset({"person", "animal"})
"""Supercategories of what walks from one ground to the next."""


def _open_ground(kind: Category) -> bool:
    return kind.name == "grass-merged" or (kind.supercategory == "ground" and kind.name not in ("snow", "railroad"))


def is_table(table: Category, thing: Category) -> bool:
    """Whether one thing carries another as a table does."""
    return thing.supercategory in TABLES.get(table.name.lower(), ())


def is_furniture(kind: Category) -> bool:
    """Whether only the upper side of what is annotated as this class carries things: tables, beds, counters, shelves."""
    return kind.isthing or (kind.supercategory == "furniture-stuff" and kind.name != "stairs")


def lowest_standing(scene: Scene, surface: int) -> int:
    """The row below the lowest thing that stands on a class of surface, or 0 if none does.

    Down to this row the annotation of a table is its top; below, it may be its front.
    """
    index, lowest = scene.panoptic.index, 0
    height = index.shape[0]
    for number, segment in enumerate(scene.panoptic.segments, start=1):
        box = segment.bbox
        foot = box.y + box.h
        if scene.objects[number] and segment.area and lowest < foot < height and segment.category_id != surface:
            below = index[foot : foot + SEAM, box.x + box.w // 2]
            labelled = below[(below != 0) & (below != number)]
            if len(labelled) and scene.kinds[labelled[0]] == surface:
                lowest = foot
    return lowest


def foot_mask(mask: Mask) -> Mask:
    """bool [h + 1, w]: the contact line and the pixels below it, which must lie on the surface."""
    foot = find_foot(mask)
    strip = np.zeros((mask.shape[0] + 1, mask.shape[1]), np.bool_)
    strip[foot.rows, foot.columns] = True
    strip[foot.rows + 1, foot.columns] = True
    return strip


def same_kind(surface: int, categories: Mapping[int, Category]) -> frozenset[int]:
    """The surface's class and the stuff classes of its supercategory (any floor for a floor). Classes without a
    supercategory form no family, nor do tables."""
    if categories[surface].isthing:
        return frozenset({surface})
    family = categories[surface].supercategory
    return frozenset(
        c.id
        for c in categories.values()
        if not c.isthing and (c.id == surface or (family and c.supercategory == family))
    )
