"""Panoptic maps: every check, and RLE against pycocotools."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from olrd.errors import Rejected
from olrd.masks import mask_box
from olrd.models.coco_categories import coco_categories
from olrd.panoptic import Box, Category, PanopticMap, Segment, SegmentMap, check_panoptic, decode_rle, encode_rle

Bits = npt.NDArray[np.bool_]
CATEGORIES = {1: Category(1, "dog", "animal", True), 2: Category(2, "sky-other-merged", "sky", False)}
SKY, DOG = 70_001, 300
IDS = np.zeros((8, 10), np.uint32)
IDS[1:, :] = SKY
IDS[3:6, 2:6] = DOG
SEGMENTS = (Segment(SKY, 2, 58, Box(0, 1, 10, 7)), Segment(DOG, 1, 12, Box(2, 3, 4, 3)))
bits = hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def check(
    segments: tuple[Segment, ...] = SEGMENTS, ids: npt.NDArray[np.uint32] = IDS, size: tuple[int, int] = (10, 8)
) -> SegmentMap:
    return check_panoptic("a.png", PanopticMap(ids, segments), size, CATEGORIES)


def code(*args: object) -> str:
    with pytest.raises(Rejected, match=r"a\.png") as caught:
        check(*args)  # type: ignore[arg-type]
    return caught.value.code


def test_a_right_map_is_accepted() -> None:
    checked = check()
    assert checked.segments == SEGMENTS
    assert checked.index.dtype == np.uint8
    assert np.array_equal(checked.index == 0, IDS == 0)
    assert np.array_equal(checked.index == 1, IDS == SKY)
    assert np.array_equal(checked.index == 2, IDS == DOG)


def test_a_map_of_void_alone_is_accepted() -> None:
    assert not check((), np.zeros((8, 10), np.uint32)).index.any()


@given(hnp.arrays(np.uint32, (6, 7), elements=st.integers(0, 9)))
def test_every_map_with_its_own_numbers_is_accepted(ids: npt.NDArray[np.uint32]) -> None:
    numbers = sorted(set(ids.ravel().tolist()) - {0}, reverse=True)
    segments = tuple(Segment(n, 1, int(np.count_nonzero(ids == n)), mask_box(ids == n)) for n in numbers)
    checked = check(segments, ids, (7, 6))
    for k, n in enumerate(numbers, start=1):
        assert np.array_equal(checked.index == k, ids == n)


def test_many_segments_need_a_wider_index() -> None:
    ids = np.arange(1, 301, dtype=np.uint32).reshape(15, 20)
    segments = tuple(Segment(n, 1, 1, Box((n - 1) % 20, (n - 1) // 20, 1, 1)) for n in range(1, 301))
    assert np.array_equal(check(segments, ids, (20, 15)).index, ids)


def test_another_size_is_rejected() -> None:
    assert code(SEGMENTS, IDS, (8, 10)) == "panoptic_size"
    assert code(SEGMENTS, IDS[:-1]) == "panoptic_size"


def test_an_id_that_is_not_listed_is_rejected() -> None:
    assert code(SEGMENTS[:1]) == "panoptic_unknown_id"
    stray = IDS.copy()
    stray[0, 0] = 5
    assert code(SEGMENTS, stray) == "panoptic_unknown_id"


def test_a_listed_id_that_is_not_there_is_counted_and_does_no_harm() -> None:
    found = check((*SEGMENTS, Segment(9, 1, 4, Box(0, 0, 2, 2))), IDS)
    assert found.segments[:-1] == SEGMENTS and found.segments[-1] == Segment(9, 1, 0, Box(0, 0, 0, 0))
    assert (found.hidden, found.measured) == (1, 0)


def test_a_map_without_most_of_the_listed_ids_is_rejected() -> None:
    other = tuple(replace(segment, id=segment.id + 70) for segment in SEGMENTS)
    assert code(other) == "panoptic_unknown_id"
    swapped = tuple(
        replace(segment, id=(segment.id & 0xFF) << 16 | segment.id & 0xFF00 | segment.id >> 16) for segment in SEGMENTS
    )
    with pytest.raises(Rejected, match="red and blue are exchanged"):
        check(swapped, IDS)


@pytest.mark.parametrize("area", [0, 11, 13])
def test_the_map_decides_the_area(area: int) -> None:
    found = check((SEGMENTS[0], replace(SEGMENTS[1], area=area)), IDS)
    assert found.segments == SEGMENTS
    assert found.measured == (area > 0) and found.hidden == 0


@pytest.mark.parametrize(
    "box",
    [
        Box(1, 3, 5, 3),
        Box(2, 2, 4, 4),
        Box(2, 3, 5, 3),
        Box(2, 3, 4, 4),
        Box(2, 3, 3, 3),
        Box(-2, 3, 4, 3),
        Box(2, -5, 4, 3),
        Box(2, 3, 40, 3),
        Box(90, 3, 4, 3),
        Box(2, 3, 0, 0),
        Box(2, 3, -4, 3),
    ],
)
def test_the_map_decides_the_box(box: Box) -> None:
    found = check((SEGMENTS[0], replace(SEGMENTS[1], bbox=box)), IDS)
    assert found.segments == SEGMENTS and np.array_equal(found.index, check(SEGMENTS, IDS).index)
    assert found.measured == 1


def test_an_unknown_category_is_rejected() -> None:
    assert code((SEGMENTS[0], replace(SEGMENTS[1], category_id=77))) == "category_unknown"


@pytest.mark.parametrize("number", [-1, 1 << 32, 1 << 40])
def test_an_impossible_id_is_rejected(number: int) -> None:
    """Such an id is in no PNG; bad annotations must cost one photo, not the build."""
    assert code((SEGMENTS[0], replace(SEGMENTS[1], id=number))) in ("panoptic_area", "panoptic_unknown_id")


def test_an_id_listed_twice_is_rejected() -> None:
    """Else the first of the two would be a segment without a pixel."""
    assert code((*SEGMENTS, SEGMENTS[1])) in ("panoptic_area", "panoptic_unknown_id")


@given(bits)
def test_rle_is_pycocotools_rle(mask: Bits) -> None:
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert encode_rle(mask) == expected["counts"].decode()
    found = decode_rle(encode_rle(mask), *mask.shape)
    assert found.dtype == np.bool_
    assert found.flags.c_contiguous
    assert np.array_equal(found, mask)
    assert set(np.unique(found.view(np.uint8))) <= {0, 1}


@given(bits)
def test_rle_takes_any_memory_layout(mask: Bits) -> None:
    assert encode_rle(mask.T) == encode_rle(np.ascontiguousarray(mask.T))
    assert encode_rle(mask[::-1, ::-1]) == encode_rle(mask[::-1, ::-1].copy())


@pytest.mark.parametrize("counts", ["", "!!! hello", "é", encode_rle(np.eye(30, dtype=np.bool_))])
def test_counts_that_do_not_fit_are_rejected(counts: str) -> None:
    """The docstring: "Raises `Rejected` if they do not fit"."""
    with pytest.raises(Rejected):
        decode_rle(counts, 4, 4)


def test_counts_that_are_too_short_are_rejected() -> None:
    with pytest.raises(Rejected):
        decode_rle(encode_rle(np.eye(4, dtype=np.bool_)), 30, 30)


@given(bits.filter(np.any))
def test_a_mask_box_is_the_exact_extent(mask: Bits) -> None:
    box = mask_box(mask)
    assert int(mask[box.crop()].sum()) == int(mask.sum())
    inside = mask[box.crop()]
    assert inside.shape == (box.h, box.w)
    assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("sky-other-merged", "sky"),
        ("floor-wood", "floor"),
        ("water-other", "water"),
        ("door-stuff", "door"),
        ("traffic light", "traffic light"),
        ("potted_plant", "potted plant"),
    ],
)
def test_labels_lose_their_suffix(name: str, label: str) -> None:
    assert Category(1, name, "", False).label == label


def test_no_official_label_keeps_a_suffix() -> None:
    assert len(coco_categories()) == 133
    for category in coco_categories().values():
        assert not {"other", "merged", "stuff"} & set(category.label.split())


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=20))
def test_any_text_is_counts_or_is_refused(counts: str) -> None:
    """pycocotools itself writes beyond the mask, which ends the process."""
    try:
        mask = decode_rle(counts, 4, 5)
    except Rejected:
        return
    assert mask.shape == (4, 5) and encode_rle(mask) == counts


@pytest.mark.parametrize("size", [(100_000, 100_000), (1 << 31, 1), (0, 5), (-4, -4), (1 << 70, 1)])
def test_a_mask_larger_than_any_photo_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(Rejected, match="expected 1 to") as caught:
        decode_rle("0" * 40, *size)
    assert caught.value.code == "panoptic_too_large"


def test_counts_beyond_the_mask_are_refused() -> None:
    huge = encode_rle(np.ones((3000, 3000), np.bool_))
    for counts in (huge, "é", "", "P" * 100, "PPPPPPPPPPPPPO1"):
        with pytest.raises(Rejected, match="do not describe"):
            decode_rle(counts, 5, 5)


@pytest.mark.slow
def test_more_segments_than_an_index_holds_are_refused() -> None:
    segments = tuple(Segment(number, 1, 0, Box(0, 0, 0, 0)) for number in range(1, 65_537))
    assert code(segments, np.zeros((8, 10), np.uint32)) == "panoptic_unknown_id"
    assert check(segments[:-1], np.zeros((8, 10), np.uint32)).index.dtype == np.uint16


@pytest.mark.parametrize("count", [3, 40])
def test_few_and_many_segments_without_areas_are_measured_alike(count: int) -> None:
    rng = np.random.default_rng(count)
    numbers = rng.choice(1 << 24, count, replace=False).astype(np.uint32) + 1
    ids = np.zeros((60, 70), np.uint32)
    for number in numbers[:-1]:
        top, left = rng.integers(0, (50, 60))
        ids[top : top + 9, left : left + 9] = number
    there = [int(number) for number in numbers if (ids == number).any()]
    listed = (*there, int(numbers[-1]))
    given = tuple(Segment(number, 1, 0, Box(0, 0, 0, 0)) for number in listed)
    found = check(given, ids, (70, 60))
    for segment in found.segments[:-1]:
        rows, columns = np.nonzero(ids == segment.id)
        assert segment.area == len(rows)
        size = int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1
        assert segment.bbox == Box(int(columns.min()), int(rows.min()), *size)
    assert found.segments[-1].area == 0 and found.hidden == found.measured == 0


def test_id_0_is_void_unless_it_is_listed() -> None:
    ids = np.zeros((8, 10), np.uint32)
    ids[3:6, 2:6] = DOG
    given = (Segment(0, 2, 0, Box(0, 0, 0, 0)), Segment(DOG, 1, 12, Box(2, 3, 4, 3)))
    found = check(given, ids)
    assert found.segments[0] == Segment(0, 2, 68, Box(0, 0, 10, 8))
    assert np.array_equal(found.index, np.where(ids == DOG, 2, 1))
