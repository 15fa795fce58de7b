"""Candidates: which objects can be cut out. They are complete things of a useful size, in one piece, not occluded.

Every object gets a verdict: None, or the reason code (`ALL_REASONS`) why it is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Mask
from olrd.config import CandidateRules
from olrd.masks import disc, largest_piece, with_margin
from olrd.panoptic import Box, Category, Segment

SEE_THROUGH = frozenset(
    {"bicycle", "wine glass", "bicycle wheel", "drinking glass", "glasses", "tennis racket", "birdcage", "ladder"}
)
"""Things through which the background shows, by name in lower case: a cut-out of them shows the old one."""
MAIN_PIECE = 0.95
"""Smallest share of an object's area that its largest connected piece must have."""


def listed_verdict(
    segment: Segment,
    width: int,
    height: int,
    categories: Mapping[int, Category],
    rules: CandidateRules,
    largest: float | None = None,
) -> str | None:
    """The verdict from the annotation alone, without opening the photo.

    Args:
        segment: the object.
        width: of the photo, 0 if unknown.
        height: of the photo, 0 if unknown.
        categories: by id.
        rules: the limits.
        largest: the area limit, as a share, if it is not that of the rules: objects may be pasted smaller.
    """
    largest = rules.max_area if largest is None else largest
    category = categories.get(segment.category_id)
    if category is None or not category.isthing:
        return "stuff"
    if segment.iscrowd:
        return "crowd"
    if rules.categories and not asked_for(category, rules.categories, categories):
        return "category_excluded"
    if category.name.lower() in SEE_THROUGH and not rules.see_through:
        return "see_through"
    if not segment.area or not width or not height:
        return None  # not measured yet; see `seen_verdict`
    share = segment.area / (width * height)
    if share < rules.min_area:
        return "too_small"
    if share > largest:
        return "too_large"
    return cut_verdict(segment.bbox, category, width, height, rules)


def asked_for(category: Category, names: Collection[str], categories: Mapping[int, Category]) -> bool:
    """Whether names mean this class of things. The name of a class means that class alone, also where it is the name of a
    supercategory too; the name of a supercategory means all its classes.

    categories: of the source.
    """
    above = category.supercategory
    return category.name in names or (
        above in names and not any(kind.isthing and kind.name == above for kind in categories.values())
    )


def seen_verdict(mask: Mask, segment: Segment, things: Mask, rules: CandidateRules) -> str | None:
    """The verdict from the pixels.

    mask: bool [h, w], the object inside its box. things: bool [H, W], every pixel of a thing or crowd.
    """
    if largest_piece(mask) < MAIN_PIECE:
        return "fragmented"
    if contact_share(segment.bbox, mask, things) > rules.max_contact:
        return "occluded"
    return None


CUT_AT_SIDES = frozenset({"person", "animal", "vehicle"})
"""Supercategories of things that stay what they are where the left or right side of the frame cuts them."""
CUT_BELOW = CUT_AT_SIDES | {"kitchen", "food", "accessory"}
"""The same for the lower edge."""
LONG = frozenset({"train", "airplane", "boat"})
"""Things of which a part does not tell what they are, by name."""


def cut_verdict(box: Box, kind: Category, width: int, height: int, rules: CandidateRules) -> str | None:
    """`truncated` if the frame cuts the object so that the rules leave it out."""
    sides = cut_sides(box, width, height)
    good = rules.allow_truncated or not sides or (rules.cut_objects and may_be_cut(kind, sides))
    return None if good else "truncated"


def may_be_cut(kind: Category, sides: frozenset[str]) -> bool:
    """Whether a thing of this class stays recognisable where these sides of the frame cut it. It can move along one side,
    or be mirrored from left to right."""
    if kind.name.lower() in LONG or "top" in sides or {"left", "right"} <= sides:
        return False
    return kind.supercategory in (CUT_BELOW if sides == {"bottom"} else CUT_AT_SIDES)


NEAR_SIDE = 0.006
NEAR_BOTTOM = 0.018
"""Distance from the frame, as a share of the photo's width or height, up to which an object counts as cut by it: outlines
drawn by hand often end a few pixels before the frame."""


def cut_sides(box: Box, width: int, height: int, flip: bool = False) -> frozenset[str]:
    """The sides of the frame that cut an object, or nearly touch it."""
    return frame_sides(box, width, height, flip, round(NEAR_SIDE * width), round(NEAR_BOTTOM * height))


def frame_sides(
    box: Box, width: int, height: int, flip: bool = False, across: int = 0, down: int = 0
) -> frozenset[str]:
    """The sides of the frame that a box touches: left, top, right, bottom.

    flip: mirror left and right. across, down: distances from the frame, in pixels, that count as touching.
    """
    left, right = ("right", "left") if flip else ("left", "right")
    touched = {
        left: box.x <= across,
        "top": box.y <= 0,
        right: box.x + box.w >= width - across,
        "bottom": box.y + box.h >= height - down,
    }
    return frozenset(side for side, value in touched.items() if value)


MOST_NEIGHBOURS = 4
"""An object whose outline touches more segments than these is doubtful. Measured: docs/audit.md."""
MOST_UNLABELLED = 0.6
"""An object of whose outline more than this share touches unlabelled pixels is doubtful."""


def doubtful(box: Box, mask: Mask, index: npt.NDArray[np.integer], own: Collection[int], labelled: bool = True) -> bool:
    """Whether the surroundings of an object suggest that it is seen in part, or that it is annotated roughly.

    Args:
        box: of the object.
        mask: bool [h, w], the object inside its box.
        index: [H, W], the number of the segment of every pixel, 0 where there is none.
        own: the numbers of the object.
        labelled: whether the background is labelled. If not, unlabelled pixels tell nothing.
    """
    window, solid = with_margin(box, mask, 3, index.shape)
    around = index[window.crop()][cv2.dilate(solid, np.ones((7, 7), np.uint8)) != solid]
    crowded = len(np.setdiff1d(around, [0, *own])) > MOST_NEIGHBOURS
    return crowded or (labelled and contact_share(box, mask, index == 0, reach=2) > MOST_UNLABELLED)


def contact_share(box: Box, mask: Mask, things: Mask, reach: int = 3) -> float:
    """The share of an object's outline that lies within `reach` pixels of another thing.

    The reach is needed because annotated neighbours are often separated by a pixel or two of void.
    """
    window, own = with_margin(box, mask, reach + 1, things.shape)
    others = (things[window.crop()] & (own == 0)).view(np.uint8)
    if not np.count_nonzero(others):
        return 0.0
    outline = own & ~cv2.erode(own, np.ones((3, 3), np.uint8), borderValue=0)
    near = cv2.dilate(others, disc(reach))
    total = np.count_nonzero(outline)
    return float(np.count_nonzero(outline & near) / total) if total else 0.0
