"""Growing and pasting, against naive loops."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from property_examples import examples

from baselines.photos.rim import default_growth, fading, grown_by, paste
from olrd.arrays import Mask


def drawn(seed: int, height: int = 24, width: int = 31) -> Mask:
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    top, left = int(rng.integers(height)), int(rng.integers(width))
    mask[top : top + 1 + int(rng.integers(9)), left : left + 1 + int(rng.integers(9))] = True
    return mask


@examples(40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_growth_reaches_every_pixel_within_the_radius(seed: int, radius: int) -> None:
    mask = drawn(seed)
    rows, columns = np.nonzero(mask)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    squared = ((y[..., None] - rows) ** 2 + (x[..., None] - columns) ** 2).min(axis=-1)
    assert (grown_by(mask, radius) == (squared <= radius * radius + (radius if radius else 0))).all()


@examples(40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6))
def test_pasting_is_exact_outside_the_hole_and_the_fill_inside_the_mask(seed: int, radius: int) -> None:
    rng = np.random.default_rng(seed)
    mask = drawn(seed)
    hole = grown_by(mask, radius)
    photo, fill = (rng.integers(0, 256, (*mask.shape, 3), dtype=np.uint8) for _ in range(2))
    result = paste(photo, fill, mask, hole)
    assert (result[~hole] == photo[~hole]).all()
    assert (result[mask] == fill[mask]).all()
    low, high = np.minimum(photo, fill), np.maximum(photo, fill)
    assert ((result >= low) & (result <= high)).all()


@examples(40)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12))
def test_pasting_near_the_hole_is_pasting_into_the_whole_photo(seed: int, radius: int) -> None:
    rng = np.random.default_rng(seed)
    mask = drawn(seed) | (drawn(seed + 1) if seed % 2 else False)
    hole = grown_by(mask, radius)
    photo, fill = (rng.integers(0, 256, (*mask.shape, 3), dtype=np.uint8) for _ in range(2))
    share = fading(mask, hole)[..., None]
    blended = np.rint(photo * (1 - share) + fill * share).astype(np.uint8)
    assert (paste(photo, fill, mask, hole) == np.where(hole[..., None], blended, photo)).all()


@pytest.mark.slow
def test_a_small_hole_in_a_large_photo_takes_little_memory() -> None:
    photo, mask = np.zeros((4000, 5000, 3), np.uint8), np.zeros((4000, 5000), bool)
    mask[1000:1050, 1000:1050] = True
    hole = grown_by(mask, 4)
    tracemalloc.start()
    paste(photo, photo, mask, hole)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2 * photo.nbytes, "the result and little more"


def test_the_share_falls_over_the_outer_half_of_the_rim() -> None:
    mask = np.zeros((1, 41), bool)
    mask[0, 20] = True
    hole = np.zeros_like(mask)
    hole[0, 10:31] = True
    share = fading(mask, hole)[0]
    assert (share[[14, 15, 16, 24, 25, 26]] == 1).sum() >= 4
    assert (np.diff(share[9:21]) >= 0).all() and 0 < share[10] < 0.3 and share[9] == 0


def test_a_hole_that_covers_the_photo_and_one_without_rim() -> None:
    mask = drawn(3)
    assert (fading(mask, mask) == mask).all()
    assert (fading(mask, np.ones_like(mask)) == 1).all()


@pytest.mark.parametrize(("side", "expected"), [(1, 2), (100, 4), (250, 10), (5000, 64)])
def test_the_default_growth_is_four_percent_within_limits(side: int, expected: int) -> None:
    assert default_growth(np.ones((side, side), bool)) == expected
