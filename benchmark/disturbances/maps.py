"""Disturbed panoptic maps. Each function takes a map of the mask's size, a level, and the key of its draws.

It returns the map with the areas and boxes that its segments have now, without segments that lost all pixels, or None
for no map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from benchmark.disturbances.masks import Key, direction
from olrd.arrays import Ids
from olrd.draws import digest
from olrd.panoptic import PanopticMap, boxes_of

ChangeMap = Callable[[PanopticMap, int, Key], PanopticMap | None]


def none(panoptic: PanopticMap, level: int, key: Key) -> PanopticMap | None:
    """No map."""
    return None


def blocks(panoptic: PanopticMap, level: int, key: Key) -> PanopticMap:
    """Every square block of `level` pixels gets the id of its middle pixel, as in a map of lower resolution."""
    rows, columns = (_middles(size, level) for size in panoptic.ids.shape)
    return _measured(panoptic, panoptic.ids[rows[:, None], columns[None, :]])


def _middles(size: int, level: int) -> npt.NDArray[np.int64]:
    """For each pixel of a side the middle pixel of its block; the last block may be shorter."""
    starts = np.arange(size) // level * level
    ends = np.minimum(starts + level, size)
    return (starts + ends) // 2


def shift(panoptic: PanopticMap, level: int, key: Key) -> PanopticMap:
    """Move the whole map by `level` pixels in a drawn direction: every border is off. The frame repeats its outermost
    pixels."""
    right, down = direction(level, (*key, "map"))
    height, width = panoptic.ids.shape
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return _measured(panoptic, panoptic.ids[rows[:, None], columns[None, :]])


def merge(panoptic: PanopticMap, level: int, key: Key) -> PanopticMap:
    """Merge a drawn part of the segments, `level` per cent, each into the segment that it shares the longest border
    with, as a segmenter does that misses objects.

    Segments are merged in a drawn order, one after the other, and borders are those of the map at that time. Of equally
    long borders the segment with the lowest id wins. Void takes no part. One segment always stays.
    """
    ids = panoptic.ids.copy()
    there = [segment.id for segment in panoptic.segments if segment.id and (ids == np.uint32(segment.id)).any()]
    order = sorted(there, key=lambda number: digest(*key, "merge", number))
    borders = borders_of(ids)
    for number in order[: round(len(there) * level / 100)]:
        around = {other: length for other, length in borders.get(number, {}).items() if other}
        if not around:
            continue
        into = min(around, key=lambda other: (-around[other], other))
        ids[ids == np.uint32(number)] = into
        _join(borders, number, into)
    return _measured(panoptic, ids)


Borders = dict[int, dict[int, int]]
"""For each id the ids beside it, with the number of pairs of neighbouring pixels (4-connected)."""


def borders_of(ids: Ids) -> Borders:
    """The lengths of the borders between the segments of a map."""
    pairs = [
        np.stack([one[one != other], other[one != other]], axis=1)
        for one, other in ((ids[1:], ids[:-1]), (ids[:, 1:], ids[:, :-1]))
    ]
    kinds, counts = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0, return_counts=True)
    borders: Borders = {}
    for (a, b), count in zip(kinds.tolist(), counts.tolist(), strict=True):
        borders.setdefault(a, {})[b] = count
        borders.setdefault(b, {})[a] = count
    return borders


def _join(borders: Borders, gone: int, into: int) -> None:
    """Give the borders of one segment to another."""
    for other, length in borders.pop(gone).items():
        del borders[other][gone]
        if other != into:
            borders[into][other] = borders[into].get(other, 0) + length
            borders[other][into] = borders[other].get(into, 0) + length


def _measured(panoptic: PanopticMap, ids: Ids) -> PanopticMap:
    """A map of these ids, with areas and boxes as they are in it."""
    ids = np.ascontiguousarray(ids)
    boxes = boxes_of(ids, [segment.id for segment in panoptic.segments])
    kept = (
        replace(segment, bbox=boxes[segment.id], area=int(np.count_nonzero(ids == np.uint32(segment.id))))
        for segment in panoptic.segments
        if segment.id in boxes
    )
    return PanopticMap(ids, tuple(kept))
