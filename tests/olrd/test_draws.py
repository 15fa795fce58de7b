"""Keyed draws: frozen values, uniformity, independence of order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from olrd.draws import digest, draw_integer, draw_noise, draw_share, draw_weighted

FROZEN_DIGEST = 160588217509364420978168972972188819342
FROZEN_INTEGERS = [83, 124, 979, 416, 530, 793]
FROZEN_SHARES = [0.7157434918395064, 0.7911340286364944, 0.8757519399752342]
FROZEN_WEIGHTED = [2, 3, 2, 2, 3, 0, 3, 3, 3, 3, 2, 3]
FROZEN_NOISE = [[-53, 319, 10, -74, 512], [271, -337, -432, 164, 180]]


def test_values_are_frozen() -> None:
    """A change of any of these changes every dataset that people have built."""
    assert digest(0, "coco-139-7-0", "row") == FROZEN_DIGEST
    assert [draw_integer(1000, 0, "a", k) for k in range(6)] == FROZEN_INTEGERS
    assert [draw_share(0, "a", k) for k in range(3)] == FROZEN_SHARES
    assert [draw_weighted([1, 0, 5, 2], 0, k) for k in range(12)] == FROZEN_WEIGHTED
    assert draw_noise((2, 5), 0, "noise").tolist() == FROZEN_NOISE


def chi_square(counts: np.ndarray, expected: np.ndarray) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


def test_integers_are_uniform() -> None:
    """Chi-square with 9 degrees of freedom: 40 is passed by chance once in 100,000 times."""
    counts = np.bincount([draw_integer(10, 3, "u", k) for k in range(20_000)], minlength=10)
    assert chi_square(counts, np.full(10, 2000.0)) < 40


def test_shares_are_uniform_and_below_one() -> None:
    shares = np.array([draw_share("s", k) for k in range(20_000)])
    assert shares.min() >= 0
    assert shares.max() < 1
    counts = np.histogram(shares, bins=10, range=(0, 1))[0]
    assert chi_square(counts, np.full(10, 2000.0)) < 40


def test_weights_are_respected() -> None:
    weights = np.array([1, 0, 2, 7, 0])
    counts = np.bincount([draw_weighted(weights, "w", k) for k in range(20_000)], minlength=5)
    assert counts[1] == counts[4] == 0
    kept = weights > 0
    assert chi_square(counts[kept], weights[kept] * 2000.0) < 30


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12).filter(any), st.integers())
def test_weight_zero_is_never_drawn(weights: list[int], key: int) -> None:
    assert weights[draw_weighted(weights, key)] > 0


@given(st.permutations(range(8)))
def test_order_of_the_draws_does_not_matter(order: list[int]) -> None:
    expected = {k: draw_share(1, "photo", k) for k in range(8)}
    assert {k: draw_share(1, "photo", k) for k in order} == expected


def test_key_parts_do_not_run_together() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a", 1) != digest("a1")
    assert digest("a", "b") != digest("b", "a")


def test_seeds_are_independent() -> None:
    """Neighbouring seeds give uncorrelated draws."""
    first, second = (np.array([draw_share(seed, k) for k in range(4000)]) for seed in (0, 1))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.06


def test_noise_is_near_normal() -> None:
    noise = draw_noise((200, 200), "n").astype(float)
    assert abs(noise.mean()) < 6
    assert noise.std() == pytest.approx(256, rel=0.02)
    assert np.mean(np.abs(noise) < 256) == pytest.approx(0.683, abs=0.015)
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 0.03


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 1), (2, 3, 5)])
def test_noise_has_the_shape(shape: tuple[int, ...]) -> None:
    noise = draw_noise(shape, "shape")
    assert noise.shape == shape
    assert noise.dtype == np.int16


def test_a_draw_from_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="n >= 1"):
        draw_integer(0, "x")
    with pytest.raises(ValueError, match="n >= 1"):
        draw_weighted([0, 0], "x")
