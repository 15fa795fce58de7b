"""Each verdict from a hand-made case; the two measures against plain loops."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from property_examples import examples

from olrd.config import CandidateRules
from olrd.errors import OBJECT_REASONS
from olrd.masks import disc, grown, largest_piece, mask_box
from olrd.models.coco_categories import coco_categories
from olrd.panoptic import Box, Category, Segment
from olrd.triplets.candidates import (
    MOST_NEIGHBOURS,
    MOST_UNLABELLED,
    asked_for,
    contact_share,
    doubtful,
    frame_sides,
    listed_verdict,
    seen_verdict,
)

Bits = npt.NDArray[np.bool_]
KINDS = {category.id: category for category in coco_categories().values()}
USUAL = CandidateRules()
RULES = CandidateRules(min_area=0.01, max_area=0.25)
DOG = Segment(5, coco_categories()["dog"].id, 400, Box(30, 30, 25, 20))
SIZE = 100, 80


def verdict(segment: Segment, rules: CandidateRules = RULES) -> str | None:
    code = listed_verdict(segment, *SIZE, KINDS, rules)
    assert code is None or code in OBJECT_REASONS
    return code


def test_a_whole_dog_of_useful_size_is_a_candidate() -> None:
    assert verdict(DOG) is None


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("stuff", {"category_id": coco_categories()["grass-merged"].id}),
        ("stuff", {"category_id": 12_345}),
        ("crowd", {"iscrowd": True}),
        ("too_small", {"area": 79}),
        ("too_large", {"area": 2001}),
        ("truncated", {"bbox": Box(30, 0, 25, 20)}),
        ("truncated", {"bbox": Box(0, 30, 100, 20)}),
        ("truncated", {"bbox": Box(0, 30, 25, 20), "category_id": coco_categories()["train"].id}),
        ("truncated", {"bbox": Box(0, 30, 25, 20), "category_id": coco_categories()["cup"].id}),
        ("truncated", {"bbox": Box(30, 60, 25, 20), "category_id": coco_categories()["chair"].id}),
    ],
)
def test_each_verdict_of_the_annotation(code: str, change: dict[str, object]) -> None:
    assert verdict(replace(DOG, **change)) == code  # type: ignore[arg-type]


def test_the_limits_themselves_are_allowed() -> None:
    assert verdict(replace(DOG, area=80)) is None
    assert verdict(replace(DOG, area=2000)) is None
    assert verdict(replace(DOG, bbox=Box(2, 1, 96, 77))) is None


def test_category_list_excludes_the_others() -> None:
    assert verdict(DOG, replace(RULES, categories=("cat",))) == "category_excluded"
    assert verdict(DOG, replace(RULES, categories=("cat", "dog"))) is None
    assert verdict(DOG, replace(RULES, categories=("vehicle", "animal"))) is None
    assert verdict(DOG, replace(RULES, categories=("vehicle", "cat"))) == "category_excluded"


def test_a_name_of_a_class_means_that_class_alone() -> None:
    """As before supercategories were taken, so that a build that an earlier version began is finished with the same objects."""
    ball, cup = Category(1, "object", "object", True), Category(2, "cup", "object", True)
    both = {1: ball, 2: cup}
    assert asked_for(ball, ("object",), both) and not asked_for(cup, ("object",), both)
    assert asked_for(cup, ("object", "cup"), both) and asked_for(cup, ("object",), {2: cup})
    assert asked_for(cup, ("object",), {1: ball._replace(isthing=False), 2: cup})
    assert not asked_for(Category(3, "fork", "", True), ("cup",), both)


@pytest.mark.parametrize("name", ["bicycle", "wine glass", "tennis racket"])
def test_what_one_sees_through_is_left_out_unless_it_is_wanted(name: str) -> None:
    thing = replace(DOG, category_id=coco_categories()[name].id)
    assert verdict(thing) == "see_through"
    assert verdict(thing, replace(RULES, see_through=True)) is None


def test_objects_that_the_frame_cuts() -> None:
    """At the left, right or lower side, or where the outline ends a pixel before it; all of them where asked for."""
    for box in (Box(0, 30, 25, 20), Box(75, 30, 25, 20), Box(30, 60, 25, 20), Box(75, 60, 25, 20), Box(1, 30, 25, 20)):
        assert verdict(replace(DOG, bbox=box)) is None
        assert verdict(replace(DOG, bbox=box), replace(RULES, cut_objects=False)) == "truncated"
    above = replace(DOG, bbox=Box(30, 0, 25, 20))
    assert verdict(above, replace(RULES, allow_truncated=True)) is None
    cup = replace(DOG, bbox=Box(30, 60, 25, 20), category_id=coco_categories()["cup"].id)
    assert verdict(cup) is None


def test_unknown_sizes_give_no_verdict_yet() -> None:
    assert listed_verdict(DOG, 0, 0, KINDS, RULES) is None
    assert listed_verdict(replace(DOG, iscrowd=True), 0, 0, KINDS, RULES) == "crowd"


def seen(index: npt.NDArray[np.int64], rules: CandidateRules = USUAL) -> str | None:
    """The verdict on object 1 of a map in which 2 is another thing."""
    own = index == 1
    box = mask_box(own)
    segment = replace(DOG, bbox=box, area=int(own.sum()))
    return seen_verdict(np.ascontiguousarray(own[box.crop()]), segment, index > 0, rules)


def test_each_verdict_of_the_pixels() -> None:
    index = np.zeros((40, 60), int)
    index[10:20, 10:20] = 1
    assert seen(index) is None
    pieces = index.copy()
    pieces[30:34, 30:34] = 1
    assert seen(pieces) == "fragmented"
    behind = index.copy()
    behind[8:22, 20:30] = 2
    behind[20:24, 8:30] = 2
    assert seen(behind) == "occluded"
    assert seen(behind, CandidateRules(max_contact=0.9)) is None


def naive_doubt(box: Box, mask: Bits, index: np.ndarray, own: set[int]) -> tuple[set[int], float]:
    """The segments within three pixels of the object, and the share of its outline within two of unlabelled ones."""
    whole = np.zeros(index.shape, np.bool_)
    whole[box.crop()] = mask
    around, lonely, outline = set(), 0, 0
    for y, x in np.argwhere(whole):
        near = slice(max(y - 3, 0), y + 4), slice(max(x - 3, 0), x + 4)
        around |= set(index[near][~whole[near]].tolist())
        if not whole[y - 1 : y + 2, x - 1 : x + 2].all():
            outline += 1
            lonely += any(
                not whole[v, u] and index[v, u] == 0 and (v - y) ** 2 + (u - x) ** 2 <= 6
                for v in range(max(y - 2, 0), min(y + 3, len(index)))
                for u in range(max(x - 2, 0), min(x + 3, index.shape[1]))
            )
    return around - own - {0}, lonely / outline


@examples(60)
@given(hnp.arrays(np.uint8, (16, 16), elements=st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7])), st.integers(0, 9))
def test_doubt_equals_the_plain_loop(index: np.ndarray, last: int) -> None:
    """Many neighbours, or an outline along unlabelled pixels."""
    index[:, last:] = np.minimum(index[:, last:], 1)
    index[5:11, 5:11] = 9
    index[7, 7] = 8
    box, own = Box(5, 5, 6, 6), {9}
    mask = index[box.crop()] == 9
    neighbours, unlabelled = naive_doubt(box, mask, index, own)
    expected = len(neighbours) > MOST_NEIGHBOURS or unlabelled > MOST_UNLABELLED
    assert doubtful(box, mask, index, own) == expected


def test_an_object_in_calm_surroundings_is_not_doubtful() -> None:
    index = np.full((40, 40), 1, np.uint16)
    index[10:20, 10:20] = 2
    box = Box(10, 10, 10, 10)
    assert not doubtful(box, np.ones((10, 10), np.bool_), index, (2,))
    index[8:10, 8:22] = index[20:22, 8:22] = index[8:22, 8:10] = 0
    assert doubtful(box, np.ones((10, 10), np.bool_), index, (2,))
    assert not doubtful(box, np.ones((10, 10), np.bool_), index, (2,), labelled=False)


def test_pieces_that_touch_at_a_corner_are_one() -> None:
    assert largest_piece(np.eye(6, dtype=np.bool_)) == 1.0
    assert largest_piece(np.array([[1, 0, 1, 1]], np.bool_)) == pytest.approx(2 / 3)


def naive_largest_piece(mask: Bits) -> float:
    """Flood fill over eight neighbours."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    total, best = len(left), 0
    while left:
        wave = [left.pop()]
        size = 0
        while wave:
            y, x = wave.pop()
            size += 1
            for near in [(y + v, x + u) for v in (-1, 0, 1) for u in (-1, 0, 1)]:
                if near in left:
                    left.remove(near)
                    wave.append(near)
        best = max(best, size)
    return best / total


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))).filter(lambda a: a.any()))
def test_largest_piece_equals_a_flood_fill(mask: Bits) -> None:
    assert largest_piece(mask) == pytest.approx(naive_largest_piece(mask))


def naive_contact(own: Bits, things: Bits, reach: int) -> float:
    """Outline pixels (an own pixel with a neighbour that is not) near a pixel of another thing."""
    height, width = own.shape
    outline = [
        (y, x)
        for y, x in np.argwhere(own)
        if not all(
            0 <= y + v < height and 0 <= x + u < width and own[y + v, x + u] for v in (-1, 0, 1) for u in (-1, 0, 1)
        )
    ]
    others = np.argwhere(things & ~own)
    near = [any((y - v) ** 2 + (x - u) ** 2 <= reach * reach + reach for v, u in others) for y, x in outline]
    return sum(near) / len(near)


@given(
    hnp.arrays(np.int8, st.tuples(st.integers(3, 14), st.integers(3, 14)), elements=st.integers(0, 3)),
    st.integers(0, 4),
)
def test_contact_equals_the_plain_loop(index: npt.NDArray[np.int8], reach: int) -> None:
    """1 is the object, 2 another thing; whole photos, so the frame's edges are met often."""
    own = index == 1
    if not own.any():
        return
    box = mask_box(own)
    share = contact_share(box, np.ascontiguousarray(own[box.crop()]), (index == 1) | (index == 2), reach)
    assert share == pytest.approx(naive_contact(own, (index == 1) | (index == 2), reach))


@given(st.integers(-1, 4), st.integers(-1, 4), st.integers(1, 6), st.integers(1, 6))
def test_frame_sides_are_the_touched_ones(x: int, y: int, w: int, h: int) -> None:
    box = Box(max(x, 0), max(y, 0), w, h)
    covered = {(u, v) for u in range(box.x, box.x + w) for v in range(box.y, box.y + h)}
    if any(u > 5 or v > 6 for u, v in covered):
        return
    sides = {
        "left": any(u == 0 for u, _ in covered),
        "right": any(u == 5 for u, _ in covered),
        "top": any(v == 0 for _, v in covered),
        "bottom": any(v == 6 for _, v in covered),
    }
    assert frame_sides(box, 6, 7) == {side for side, touched in sides.items() if touched}


@pytest.mark.parametrize("radius", [0, 1, 2, 5])
def test_disc_is_round(radius: int) -> None:
    element = disc(radius)
    assert element.shape == (2 * radius + 1, 2 * radius + 1)
    assert np.array_equal(element, element.T)
    assert np.array_equal(element, element[::-1])
    assert element[radius].all()
    assert radius < 2 or not element[0, 0]


@given(hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=30)), st.integers(0, 9))
def test_growing_by_rectangles_is_growing_by_the_disc(mask: Bits, radius: int) -> None:
    expected = cv2.dilate(mask.view(np.uint8), disc(radius)).view(np.bool_)
    assert np.array_equal(grown(mask, radius), expected)
