"""Disturbed panoptic maps, compared with plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmark.datasets import Annotated, Sample
from benchmark.disturbances import KINDS, disturbed, maps, parsed
from benchmark.disturbances.masks import direction
from olrd.arrays import Ids
from olrd.draws import digest
from olrd.panoptic import Box, Category, PanopticMap, Segment, check_panoptic

KEY = 0, "a"
CATEGORIES = {7: Category(7, "thing", "thing", True)}


def map_of(ids: Ids) -> PanopticMap:
    numbers = [int(n) for n in np.unique(ids) if n]
    return PanopticMap(ids, tuple(Segment(n, 7, 0, Box(0, 0, 0, 0)) for n in numbers))


def drawn(seed: int = 0) -> PanopticMap:
    """Patches with ids of 1 to 9, and void."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 10, (5, 7)).astype(np.uint32)
    return map_of(np.repeat(np.repeat(coarse, 5, 0), 4, 1)[:23, :27])


def check(found: PanopticMap) -> None:
    """Areas and boxes are those of the map, and every id has a segment."""
    height, width = found.ids.shape
    checked = check_panoptic("map", found, (width, height), CATEGORIES)
    assert checked.segments == found.segments
    assert all(segment.area for segment in found.segments)


@pytest.mark.parametrize("level", (2, 3, 8, 64))
def test_blocks_are_those_of_a_loop(level: int) -> None:
    given = drawn()
    height, width = given.ids.shape
    expected = given.ids.copy()
    for top in range(0, height, level):
        for left in range(0, width, level):
            bottom, right = min(top + level, height), min(left + level, width)
            expected[top:bottom, left:right] = given.ids[(top + bottom) // 2, (left + right) // 2]
    found = maps.blocks(given, level, KEY)
    assert np.array_equal(found.ids, expected)
    check(found)


@pytest.mark.parametrize("level", (1, 5, 40))
def test_a_shift_is_that_of_a_loop(level: int) -> None:
    given = drawn()
    right, down = direction(level, (*KEY, "map"))
    height, width = given.ids.shape
    expected = given.ids.copy()
    for y in range(height):
        for x in range(width):
            expected[y, x] = given.ids[min(max(y - down, 0), height - 1), min(max(x - right, 0), width - 1)]
    found = maps.shift(given, level, KEY)
    assert np.array_equal(found.ids, expected)
    check(found)


def merged_by_loop(given: PanopticMap, level: int) -> Ids:
    """Borders are counted anew for every merge."""
    ids = given.ids.copy()
    order = sorted((s.id for s in given.segments), key=lambda number: digest(*KEY, "merge", number))
    for number in order[: round(len(order) * level / 100)]:
        lengths: dict[int, int] = {}
        height, width = ids.shape
        for y in range(height):
            for x in range(width):
                for v, u in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                    if ids[y, x] == number and 0 <= v < height and 0 <= u < width and ids[v, u] not in (0, number):
                        lengths[int(ids[v, u])] = lengths.get(int(ids[v, u]), 0) + 1
        if lengths:
            longest = max(lengths.values())
            ids[ids == number] = min(other for other, length in lengths.items() if length == longest)
    return ids


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("level", (25, 50, 100))
def test_merges_are_those_of_a_loop(level: int, seed: int) -> None:
    given = drawn(seed)
    found = maps.merge(given, level, KEY)
    assert np.array_equal(found.ids, merged_by_loop(given, level))
    assert np.array_equal(found.ids == 0, given.ids == 0)  # void stays
    assert len(found.segments) < len(given.segments)
    check(found)


def test_more_is_merged_on_top_of_less() -> None:
    given = drawn(3)
    counts = [len(maps.merge(given, level, KEY).segments) for level in KINDS["map-merge"].levels]
    assert counts == sorted(counts, reverse=True)


def test_a_map_of_one_segment_cannot_be_merged() -> None:
    given = map_of(np.full((4, 5), 3, np.uint32))
    assert np.array_equal(maps.merge(given, 100, KEY).ids, given.ids)


def sample_with(given: PanopticMap | None) -> Sample:
    mask = np.zeros((23, 27), bool)
    mask[3:8, 3:8] = True
    found = None if given is None else Annotated(given, CATEGORIES)
    return Sample("a", "a", np.zeros((23, 27, 3), np.uint8), mask, None, annotated=lambda: found)


def test_the_given_map_is_disturbed_at_the_masks_size() -> None:
    given = drawn()
    doubled = replace_ids(given, np.repeat(np.repeat(given.ids, 2, 0), 2, 1))
    for one in (given, doubled):
        scored, changed = disturbed(sample_with(one), parsed("map-blocks:4"), 0)
        assert changed.annotated
        found = changed.annotated()
        assert found
        assert np.array_equal(found.panoptic.ids, maps.blocks(given, 4, KEY).ids)
        assert found.categories is CATEGORIES
        assert changed.mask is scored.mask
        assert scored.facts == {"map_agreement": np.mean(found.panoptic.ids == given.ids)}


def replace_ids(given: PanopticMap, ids: Ids) -> PanopticMap:
    return given._replace(ids=ids, segments=tuple(replace(s) for s in given.segments))


def test_no_map_is_no_map() -> None:
    scored, given = disturbed(sample_with(drawn()), parsed("map-none"), 0)
    assert given.annotated is None
    assert scored.facts == {}


def test_a_sample_without_a_map_is_left_as_it_is() -> None:
    sample = sample_with(None)
    assert disturbed(sample, parsed("map-blocks:4"), 0).given is sample
