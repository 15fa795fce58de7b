"""Exact placement against a double loop."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from olrd.triplets.legal import Field, legal_positions, mask_runs

Bits = npt.NDArray[np.bool_]


def naive_legal(blocked: Bits, mask: Bits) -> Bits:
    """Every corner, every pixel of the mask, one by one."""
    height = max(blocked.shape[0] - mask.shape[0] + 1, 0)
    width = max(blocked.shape[1] - mask.shape[1] + 1, 0)
    legal = np.zeros((height, width), np.bool_)
    for y in range(height):
        for x in range(width):
            window = blocked[y : y + mask.shape[0], x : x + mask.shape[1]]
            legal[y, x] = not any(
                window[v, u] and mask[v, u] for v in range(mask.shape[0]) for u in range(mask.shape[1])
            )
    return legal


def bits(longest_rows: int, longest_columns: int) -> st.SearchStrategy[Bits]:
    """Boolean arrays, sparse ones as well as dense ones."""
    shapes = st.tuples(st.integers(1, longest_rows), st.integers(1, longest_columns))
    dense = shapes.flatmap(lambda shape: hnp.arrays(np.bool_, shape))
    sparse = shapes.flatmap(lambda shape: hnp.arrays(np.bool_, shape, fill=st.just(False), elements=st.just(True)))
    return dense | sparse | sparse.map(np.logical_not)


def assert_legal(blocked: Bits, mask: Bits) -> None:
    legal, expected = legal_positions(blocked, mask), naive_legal(blocked, mask)
    assert legal.dtype == np.bool_
    assert legal.size == expected.size
    assert legal.size == 0 or np.array_equal(legal, expected)


@given(bits(12, 20), bits(7, 9))
@example(np.zeros((1, 1), bool), np.ones((1, 1), bool))
@example(np.ones((1, 1), bool), np.ones((1, 1), bool))
@example(np.zeros((9, 13), bool), np.ones((9, 13), bool))
@example(np.eye(9, 13, dtype=bool), np.zeros((3, 4), bool))
def test_equals_the_double_loop(blocked: Bits, mask: Bits) -> None:
    assert_legal(blocked, mask)


@given(st.integers(1, 70), st.data())
def test_long_runs_equal_the_double_loop(width: int, data: st.DataObject) -> None:
    """Runs of every length up to the photo's width: two look-ups must cover each."""
    length = data.draw(st.integers(1, width))
    blocked = data.draw(hnp.arrays(np.bool_, (3, width), fill=st.just(False), elements=st.just(True)))
    assert_legal(blocked, np.ones((2, length), np.bool_))


@pytest.mark.parametrize("width", [199, 200, 263])
def test_at_the_size_of_a_photo(width: int) -> None:
    """Many words a row, and rows that start at any bit of a byte."""
    rng = np.random.default_rng(width)
    blocked = np.zeros((140, width), np.bool_)
    blocked[rng.integers(0, 140, 40), rng.integers(0, width, 40)] = True
    mask = np.hypot(*np.mgrid[-20:21, -33:34] / [[[20]], [[33]]]) < rng.uniform(0.6, 1.0, (41, 67))
    windows = np.lib.stride_tricks.sliding_window_view(blocked, mask.shape)
    expected = ~(windows & mask).any(axis=(2, 3))
    assert 0 < expected.sum() < expected.size
    assert np.array_equal(legal_positions(blocked, mask), expected)


def test_mask_with_empty_rows_and_columns() -> None:
    mask = np.zeros((5, 6), np.bool_)
    mask[2, 3] = True
    blocked = np.random.default_rng(0).random((11, 13)) < 0.3
    assert_legal(blocked, mask)


def test_empty_mask_fits_everywhere_inside() -> None:
    legal = legal_positions(np.ones((6, 7), np.bool_), np.zeros((2, 3), np.bool_))
    assert legal.shape == (5, 5)
    assert legal.all()


def test_mask_taller_than_the_photo_has_no_position() -> None:
    assert legal_positions(np.zeros((4, 9), np.bool_), np.ones((5, 3), np.bool_)).size == 0


def test_mask_wider_than_the_photo_has_no_position() -> None:
    """The docstring: "Empty if the mask is larger than the photo"."""
    for width in range(5, 40):
        assert legal_positions(np.zeros((9, 4), np.bool_), np.ones((2, width), np.bool_)).size == 0


def test_nothing_wraps_at_the_right_edge() -> None:
    """A blocked pixel in column 0 of the next row must not disturb the last column."""
    blocked = np.zeros((6, 9), np.bool_)
    blocked[:, 0] = True
    legal = legal_positions(blocked, np.ones((2, 3), np.bool_))
    assert legal.shape == (5, 7)
    assert not legal[:, 0].any()
    assert legal[:, 1:].all()


@given(bits(12, 16), bits(5, 6), st.floats(-4, 16), st.floats(-4, 16))
def test_window_of_rows_is_a_slice_of_the_whole(blocked: Bits, mask: Bits, first: float, last: float) -> None:
    field = Field(blocked)
    lowest = blocked.shape[0] - mask.shape[0]
    rows = field.rows(mask.shape[0], first, last)
    assert list(rows) == [y for y in range(lowest + 1) if first <= y <= last]
    if mask.shape[1] <= blocked.shape[1] and len(rows):
        window = field.legal(mask, rows)
        assert np.array_equal(window, naive_legal(blocked, mask)[rows.start : rows.stop])


@given(bits(8, 10), bits(4, 5))
def test_a_field_serves_many_masks(blocked: Bits, mask: Bits) -> None:
    """The table is not changed by a question asked of it."""
    field = Field(blocked)
    if mask.shape[0] > blocked.shape[0] or mask.shape[1] > blocked.shape[1]:
        return
    rows = field.rows(mask.shape[0])
    first = field.legal(mask, rows)
    field.legal(np.ones((1, 1), np.bool_), field.rows(1))
    assert np.array_equal(field.legal(mask, rows), first)


@given(bits(14, 16), bits(6, 6), st.integers(0, 2**32 - 1))
def test_asking_for_some_positions_gives_the_legal_ones_among_them(blocked: Bits, mask: Bits, seed: int) -> None:
    whole = legal_positions(blocked, mask)
    among = np.random.default_rng(seed).random(whole.shape) < 0.3
    field = Field(blocked)
    if whole.size:
        assert np.array_equal(field.legal(mask, field.rows(mask.shape[0]), among), whole & among)


def test_a_strip_below_the_photo_collides_with_nothing() -> None:
    """The contact strip is one row taller than the object; below the photo nothing is blocked."""
    blocked = np.zeros((6, 5), np.bool_)
    blocked[0, 2] = True
    field = Field(blocked)
    strip = np.zeros((3, 2), np.bool_)
    strip[2] = True
    rows = field.rows(2)
    assert field.legal(strip, rows).all()


@given(bits(6, 12))
def test_runs_rebuild_the_mask(mask: Bits) -> None:
    """Runs are maximal, disjoint, and together the mask."""
    rebuilt = np.zeros(mask.shape, np.int64)
    for y, x, length in mask_runs(mask):
        assert length > 0
        assert x == 0 or not mask[y, x - 1]
        assert x + length == mask.shape[1] or not mask[y, x + length]
        rebuilt[y, x : x + length] += 1
    assert np.array_equal(rebuilt, mask)
