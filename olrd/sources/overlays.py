"""One map from the masks of single objects: smaller over larger, and what they cover measured."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from olrd.arrays import Ids, Mask
from olrd.masks import mask_box
from olrd.panoptic import Box, Segment


def paint(ids: Ids, masks: Iterable[tuple[int, Mask]]) -> None:
    """Write masks, each with its id, into a map. Where two overlap, the smaller one is on top."""
    drawn = [(int(np.count_nonzero(mask)), number, mask) for number, mask in masks]
    for _, number, mask in sorted(drawn, key=lambda one: (-one[0], one[1])):
        ids[mask] = number


def measured(segment: Segment, ids: Ids) -> Segment:
    """The segment with the area and the box that it has in the map. One that is hidden has the area 0."""
    mask = ids == np.uint32(segment.id)
    area = int(np.count_nonzero(mask))
    box = mask_box(mask) if area else Box(0, 0, 0, 0)
    return Segment(segment.id, segment.category_id, area, box, segment.iscrowd)
