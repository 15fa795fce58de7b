"""Intervals and tests against naive loops, brute force, and textbook values."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from benchmark.statistics import (
    bootstrap_estimate,
    detectable,
    difference,
    estimate,
    holm,
    jackknife,
    median_interval,
    photos_needed,
    sign_flip,
    why_no_interval,
)
from benchmark.statistics.intervals import freedom, resampled_means

NAN = math.nan


def data(clusters: int, each: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """Values that share most of their spread within a cluster."""
    rng = np.random.default_rng(seed)
    values = (rng.normal(0, 1, (clusters, 1)) + rng.normal(0, 0.1, (clusters, each))).ravel()
    return values, [f"photo {k // each}" for k in range(clusters * each)]


def naive_interval(values: np.ndarray, clusters: list[str], resamples: int, seed: int) -> tuple[float, float]:
    """The percentile bootstrap, one drawn photo and one value at a time."""
    there = [(v, c) for v, c in zip(values, clusters, strict=True) if not math.isnan(v)]
    photos = sorted({c for _, c in there})
    generator = np.random.Generator(np.random.Philox(seed))
    means = []
    for drawn in generator.integers(0, len(photos), (resamples, len(photos))):
        picked = [v for k in drawn for v, c in there if c == photos[k]]
        means.append(sum(picked) / len(picked))
    means.sort()

    def quantile(q: float) -> float:
        at = q * (resamples - 1)
        low = math.floor(at)
        return means[low] + (at - low) * (means[min(low + 1, resamples - 1)] - means[low])

    return quantile(0.025), quantile(0.975)


def naive_error(values: np.ndarray, clusters: list[str]) -> float:
    """How far the mean moves when a photo is left out, one photo at a time."""
    there = [(v, c) for v, c in zip(values, clusters, strict=True) if not math.isnan(v)]
    mean = sum(v for v, _ in there) / len(there)
    moves = []
    for photo in {c for _, c in there}:
        rest = [v for v, c in there if c != photo]
        moves.append(sum(rest) / len(rest) - mean)
    return math.sqrt(sum(move**2 for move in moves))


def naive_freedom(sizes: list[int]) -> float:
    """Satterthwaite's formula with whole matrices. Samples of a photo are equal: their sum has the variance size^2."""
    p = np.array(sizes) / sum(sizes)
    residual = np.eye(len(p)) - p[:, None]  # s_i - p_i * total
    form = np.diag((1 - p) ** -2.0) @ residual @ np.diag(p**2) @ residual.T
    return float(np.trace(form) ** 2 / np.trace(form @ form))


def test_the_interval_is_that_of_the_naive_loop() -> None:
    rng = np.random.default_rng(1)
    clusters = [str(c) for c in [*range(12), *rng.integers(0, 12, 28)]]
    values = rng.normal(20, 3, 40)
    values[[3, 4, 11]] = NAN
    found = estimate(values, clusters)
    kept = [c for v, c in zip(values, clusters, strict=True) if not math.isnan(v)]
    assert found.mean == pytest.approx(np.nanmean(values))
    assert (found.n, found.clusters) == (37, len(set(kept)))
    sizes = [kept.count(c) for c in set(kept)]
    reach = scipy.stats.t.ppf(0.975, naive_freedom(sizes)) * naive_error(values, clusters)
    assert (found.low, found.high) == pytest.approx((found.mean - reach, found.mean + reach))


@given(st.lists(st.integers(1, 60), min_size=2, max_size=15))
def test_degrees_of_freedom_are_those_of_whole_matrices(sizes: list[int]) -> None:
    found = freedom(np.array(sizes, float))
    assert found == pytest.approx(naive_freedom(sizes), rel=1e-6)
    assert 1 - 1e-6 <= found <= len(sizes) - 1 + 1e-6


def test_with_one_sample_a_photo_it_is_students_interval() -> None:
    """The jackknife around the mean is s / sqrt(n - 1) there."""
    values = np.random.default_rng(0).normal(10, 2, 12)
    found = estimate(values, [str(k) for k in range(12)])
    half = 2.2010 * values.std(ddof=1) / math.sqrt(11)  # Student's t, 11 degrees of freedom
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), rel=1e-4)


def test_one_photo_with_most_of_the_samples_leaves_one_degree_of_freedom() -> None:
    assert freedom(np.array([1000.0] + [1] * 11)) == pytest.approx(1, abs=0.05)
    assert freedom(np.full(12, 7.0)) == pytest.approx(11)


def test_samples_of_one_photo_are_not_independent() -> None:
    """Ten samples a photo that hardly differ: the honest interval is about sqrt(10) times wider."""
    values, clusters = data(30, 10)
    honest = estimate(values, clusters)
    naive = estimate(values, [str(k) for k in range(300)])
    assert honest.mean == pytest.approx(naive.mean)
    widths = [float(e.high) - float(e.low) for e in (honest, naive) if e.high and e.low]
    assert 2.4 < widths[0] / widths[1] < 4.2


def test_the_mean_is_over_samples_not_over_photos() -> None:
    assert estimate(np.array([1.0, 1.0, 1.0, 5.0]), ["a", "a", "a", "b"]).mean == 2.0


@pytest.mark.parametrize(
    ("values", "clusters", "expected"),
    [
        ([], [], (None, None, None, 0, 0, "")),
        ([NAN, NAN], ["a", "b"], (None, None, None, 0, 0, "")),
        ([3.0], ["a"], (3.0, None, None, 1, 1, "too_few_photos")),
        ([3.0, 5.0, NAN], ["a", "a", "b"], (4.0, None, None, 2, 1, "too_few_photos")),
        ([3.0] * 9 + [NAN], list("abcdefghij"), (3.0, None, None, 9, 9, "too_few_photos")),
        ([3.0] * 10, list("abcdefghij"), (3.0, 3.0, 3.0, 10, 10, "")),
    ],
)
def test_too_few_photos_give_a_reason_and_no_interval(
    values: list[float], clusters: list[str], expected: tuple[float | None, ...]
) -> None:
    assert tuple(estimate(np.array(values), clusters)) == expected


def test_the_reason_has_words_for_summaries_of_any_version() -> None:
    assert why_no_interval("too_few_photos", 6) == why_no_interval("", 6) == "too few photos (6)"
    assert why_no_interval("", 12) == why_no_interval("", None) == ""
    assert why_no_interval("not_defined_without", 12) == "not defined without some of the photos"


def test_intervals_of_skewed_scores_hold_the_mean() -> None:
    """Log-normal scores with one to eight masks a photo, where the percentile bootstrap of earlier versions fails."""
    rng = np.random.default_rng(0)
    held = {"now": 0, "earlier": 0}
    for seed in range(400):
        sizes = rng.choice([1, 2, 3, 6, 8], 12)
        photo = np.repeat(np.arange(12), sizes)
        values = np.exp(0.8 * rng.normal(size=12)[photo] + 0.5 * rng.normal(size=len(photo)))
        names = [str(k) for k in photo]
        for name, found in (
            ("now", estimate(values, names)),
            ("earlier", bootstrap_estimate(values, names, 200, seed)),
        ):
            assert found.low is not None and found.high is not None
            held[name] += found.low <= math.exp((0.8**2 + 0.5**2) / 2) <= found.high
    assert held["now"] >= 0.9 * 400 > 0.88 * 400 > held["earlier"]


# --- the intervals of earlier versions ---------------------------------------------------------------


def test_the_interval_of_earlier_versions_is_that_of_the_naive_loop() -> None:
    rng = np.random.default_rng(1)
    clusters = [str(c) for c in rng.integers(0, 7, 30)]
    values = rng.normal(20, 3, 30)
    values[[3, 4, 11]] = NAN
    found = bootstrap_estimate(values, clusters, 200, seed=5)
    assert (found.low, found.high) == pytest.approx(naive_interval(values, clusters, 200, 5))
    assert bootstrap_estimate(np.array([1.0, 2.0]), ["a", "b"], 0, 0) == (1.5, None, None, 2, 2, "")


def test_large_draws_are_cut_into_blocks_without_a_trace() -> None:
    """5001 photos: 799 draws a block. One generator, so the blocks go on where the last one stopped."""
    sums, counts = np.random.default_rng(0).normal(size=5001), np.ones(5001)
    means = resampled_means(sums, counts, 900, 3)
    drawn = np.random.Generator(np.random.Philox(3)).integers(0, 5001, (900, 5001))
    np.testing.assert_allclose(means, sums[drawn].mean(axis=1))


@given(st.permutations(range(36)), st.floats(-50, 50), st.floats(0.1, 9))
def test_order_is_nothing_and_scale_carries_over(order: list[int], shift: float, factor: float) -> None:
    values, clusters = data(12, 3)
    base = estimate(values, clusters)
    moved = estimate(values[order] * factor + shift, [clusters[k] for k in order])
    for got, known in zip(moved[:3], base[:3], strict=True):
        assert got is not None and known is not None
        assert got == pytest.approx(known * factor + shift, abs=1e-9)


# --- the interval of the median time ------------------------------------------------------------------


def test_median_interval_by_hand() -> None:
    assert median_interval(pd.Series(range(9)), list("abcdefghi"), 100, 0) is None  # too few photos
    values = pd.Series([1.0, 2.0, 3.0, 4.0, None])
    assert median_interval(values, list("aabbb"), 0, 0, fewest=2) is None
    assert median_interval(values, list("aaaaa"), 100, 0, fewest=2) is None
    # Two photos: the medians can only be those of aa, ab and bb.
    assert median_interval(values, list("aabbb"), 2000, 0, fewest=2) == [1.5, 3.5]
    assert median_interval(pd.Series([None, None]), ["a", "b"], 10, 0, fewest=2) is None
    # Against the plain loop.
    generator = np.random.Generator(np.random.Philox(5))
    times, clusters = generator.exponential(1, 41), generator.integers(0, 12, 41)
    draws = np.random.Generator(np.random.Philox(3))
    names = np.unique(clusters)
    expected = [
        np.median(np.concatenate([times[clusters == names[k]] for k in draws.integers(0, len(names), len(names))]))
        for _ in range(300)
    ]
    found = median_interval(pd.Series(times), [f"{c:02}" for c in clusters], 300, 3)
    assert found == pytest.approx(np.quantile(expected, [0.025, 0.975]), abs=1e-6)


# --- paired differences --------------------------------------------------------------------------


def test_differences_are_paired_and_need_both_values() -> None:
    a = np.array([1.0, 2.0, NAN, 4.0, 9.0])
    b = np.array([0.5, 1.0, 3.0, NAN, 7.0])
    found = difference(a, b, list("vwxyz"), 100, 0)
    assert (found.mean, found.n, found.clusters) == (pytest.approx(3.5 / 3), 3, 3)
    assert found.p == pytest.approx(2 / 8)  # all positive: only ++ + and - - - are as extreme


def test_what_two_methods_share_does_not_widen_the_interval() -> None:
    """Pairing removes the difficulty of the photo."""
    hard, clusters = data(40, 1)
    noise = np.random.default_rng(5).normal(0.1, 0.02, 40)
    found = difference(hard + noise, hard, clusters, 1000, 0)
    assert found.low is not None and found.high is not None and found.p is not None
    assert found.low < noise.mean() < found.high
    assert found.high - found.low < 0.015  # the photos themselves spread by 1
    assert found.p == pytest.approx(1 / 1001)  # no random pattern comes near


def test_equal_methods_differ_by_nothing() -> None:
    values, clusters = data(20, 2)
    found = difference(values, values, clusters, 100, 0)
    assert tuple(found) == (0.0, 0.0, 0.0, None, 40, 20, 0.0, "", "all_equal")
    few = difference(values[:6], values[:6], clusters[:6], 100, 0)
    assert (few.p, few.no_interval, few.no_test) == (None, "too_few_photos", "all_equal")


def test_rounding_is_no_difference() -> None:
    """The same outputs, scored by a network on two machines."""
    scores = np.linspace(0.1, 0.9, 40)
    found = difference(scores + 3e-7, scores, [str(k) for k in range(40)], 2000, 0)
    assert (found.mean, found.p, found.no_test) == (0, None, "all_equal")
    assert difference(scores + 3e-4, scores, [str(k) for k in range(40)], 2000, 0).p is not None


def test_one_photo_gives_neither_interval_nor_test() -> None:
    found = difference(np.array([1.0, 2.0]), np.zeros(2), ["a", "a"], 100, 0)
    assert tuple(found) == (1.5, None, None, None, 2, 1, None, "too_few_photos", "one_photo")
    assert tuple(difference(np.array([NAN]), np.zeros(1), ["a"], 9, 0))[:6] == (None,) * 4 + (0, 0)


def test_few_photos_have_a_test_and_no_interval() -> None:
    found = difference(np.arange(1.0, 8.0), np.zeros(7), list("abcdefg"), 100, 0)
    assert (found.p, found.low, found.high, found.no_interval) == (2 / 128, None, None, "too_few_photos")
    values, clusters = data(15, 2)
    of_mean = estimate(values, clusters)
    paired = difference(values, np.zeros(30), clusters, 100, 0)
    assert (paired.low, paired.high) == (of_mean.low, of_mean.high)


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=9))
def test_few_photos_are_tested_by_every_pattern_of_signs(sums: list[int]) -> None:
    """Ties count: sums are whole numbers, so brute force is exact."""
    patterns = list(itertools.product((1, -1), repeat=len(sums)))
    extreme = sum(abs(sum(s * v for s, v in zip(signs, sums, strict=True))) >= abs(sum(sums)) for signs in patterns)
    assert sign_flip(np.array(sums, float), 10, 0) == extreme / len(patterns)


def test_ties_count_also_where_rounding_would_part_them() -> None:
    """0.1 + 0.2 - 0.3 is not 0 in binary; its mirror image is as extreme all the same."""
    assert sign_flip(np.array([0.1, 0.2, -0.3]), 10, 0) == 1.0


def test_many_photos_are_tested_by_drawn_patterns() -> None:
    """13 clusters: drawn; the exact value comes from all 8192 patterns."""
    sums = np.random.default_rng(2).normal(0.4, 1, 13)
    signs = np.array(list(itertools.product((1, -1), repeat=13)))
    exact = float(np.mean(np.abs(signs @ sums) >= abs(sums.sum()) - 1e-12))
    assert 0.02 < exact < 0.9
    found = sign_flip(sums, 4000, 0)
    assert found == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 4000))
    assert found == sign_flip(sums, 4000, 0) != sign_flip(sums, 4000, 1)


def test_a_drawn_p_value_is_never_zero() -> None:
    assert sign_flip(np.ones(60), 50, 0) == 1 / 51


# --- several tests at once -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.04, 0.01], [0.04, 0.02]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.01, None, 0.04], [0.02, None, 0.04]),
        ([None, None], [None, None]),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm_by_hand(given_: list[float | None], expected: list[float | None]) -> None:
    """Smallest p times m, the next times m - 1, ..., never less than the one before, at most 1."""
    found = holm(given_)
    assert [None if p is None else round(p, 12) for p in found] == expected


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p_values: list[float]) -> None:
    found = holm(list(p_values))
    for p, corrected in zip(p_values, found, strict=True):
        assert corrected is not None
        assert p <= corrected <= min(1.0, p * len(p_values)) + 1e-12
    for (p, a), (q, b) in itertools.combinations(zip(p_values, found, strict=True), 2):
        assert a is not None and b is not None
        assert a <= b if p <= q else a >= b


def test_the_jackknife_of_a_mean_is_the_interval_of_the_mean() -> None:
    """With one photo a group."""
    values, photos = data(15, 3)
    values, photos = values[:-2], photos[:-2]
    found = estimate(values, photos)
    low, high, _ = jackknife(lambda kept: float(values[kept].mean()), float(values.mean()), photos, seed=0)
    assert (low, high) == pytest.approx((found.low, found.high))


def test_the_jackknife_keeps_the_samples_of_a_photo_together() -> None:
    values, photos = data(60, 5)
    left_out: list[set[str]] = []

    def score(kept: np.ndarray) -> float:
        gone = {p for p, k in zip(photos, kept, strict=True) if not k}
        assert not gone & {p for p, k in zip(photos, kept, strict=True) if k}
        left_out.append(gone)
        return float(values[kept].mean())

    found = jackknife(score, float(values.mean()), photos, seed=1)
    assert sorted(p for gone in left_out for p in gone) == sorted(set(photos))
    whole = estimate(values, photos)
    assert whole.low is not None and whole.high is not None and found[0] is not None
    assert found[1] - found[0] == pytest.approx(whole.high - whole.low, rel=0.35)  # type: ignore[operator]


def test_the_jackknife_has_no_interval_where_there_is_none() -> None:
    assert jackknife(lambda kept: 1.0, 1.0, list("abcdefghi"), 0) == (None, None, "too_few_photos")
    assert jackknife(lambda kept: None, 1.0, list("abcdefghij"), 0) == (None, None, "not_defined_without")
    assert jackknife(lambda kept: 1.0, 1.0, list("abcdefghij"), 0) == (1.0, 1.0, "")


def test_the_jackknife_covers_the_truth_of_a_kernel_distance() -> None:
    """KID of two samples of one distribution is 0: nine in ten intervals or more must hold it."""
    from benchmark.metrics.fidelity import kernel_distance

    held = 0
    for seed in range(60):
        a, b = np.random.default_rng(seed).normal(size=(2, 40, 4))
        photos = [str(k) for k in range(40)]
        low, high, _ = jackknife(
            lambda kept, a=a, b=b: kernel_distance(a[kept], b[kept]), kernel_distance(a, b), photos, seed
        )
        held += low is not None and high is not None and low <= 0 <= high
    assert held >= 54


# --- how many photos a difference takes --------------------------------------------------------------


def test_the_number_of_photos_is_that_of_a_textbook() -> None:
    """A paired t test for an effect of half a standard deviation takes 34, by the exact power (noncentral t)."""

    def power(n: int) -> float:
        return float(scipy.stats.nct.sf(scipy.stats.t.ppf(0.975, n - 1), n - 1, 0.5 * math.sqrt(n)))

    assert power(33) < 0.8 < power(34)
    assert photos_needed(0.5, 1 / math.sqrt(20), 20) == 34
    assert photos_needed(-0.5, 1 / math.sqrt(20), 20) == 34
    assert photos_needed(0.01, 0.25, 16) == pytest.approx((1.959964 + 0.841621) ** 2 / 0.01**2, abs=3)
    assert photos_needed(0.0, 1.0, 20) is None and photos_needed(1e-9, 1.0, 20) is None
    assert photos_needed(0.5, 0.0, 20) == 2


@given(st.integers(3, 400), st.floats(0.01, 10))
def test_the_detectable_difference_takes_the_photos_that_it_was_measured_on(photos: int, error: float) -> None:
    size = detectable(error, photos)
    assert photos_needed(size * (1 + 1e-9), error, photos) == photos
    assert photos_needed(size * 0.99, error, photos) > photos  # type: ignore[operator]


def test_the_power_is_80_percent_in_a_simulation() -> None:
    rng = np.random.default_rng(0)
    scatter, photos = 2.0, 25
    size = detectable(scatter / math.sqrt(photos), photos)
    drawn = rng.normal(size, scatter, (4000, photos))
    t = drawn.mean(axis=1) / (drawn.std(axis=1, ddof=1) / math.sqrt(photos))
    assert np.mean(t > scipy.stats.t.ppf(0.975, photos - 1)) == pytest.approx(0.8, abs=0.02)
