"""Intervals and paired tests.

Samples from one source photo are not independent. All methods here therefore resample, flip or leave out
whole clusters (source photos), never single samples. Results depend on the seed only. With fewer than two
clusters there is no interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

Floats = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A mean with its 95 % interval. n: number of samples with a value. clusters: number of source photos of them."""

    mean: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int


class Difference(NamedTuple):
    """The mean of paired differences a - b with its 95 % interval.

    p: two-sided p-value of a sign-flip test over clusters; its null hypothesis is that the methods are exchangeable.
    """

    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    clusters: int


def _by_cluster(values: Floats, clusters: Sequence[str]) -> tuple[Floats, Floats]:
    """The sum and the count of the values of each cluster. NaN is no value; clusters without values are left out."""
    _, numbers = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    there = ~np.isnan(values)
    size = int(numbers.max()) + 1 if len(numbers) else 0
    sums = np.bincount(numbers[there], weights=values[there], minlength=size).astype(np.float64)
    counts = np.bincount(numbers[there], minlength=size).astype(np.float64)
    return sums[counts > 0], counts[counts > 0]


def resampled_means(sums: Floats, counts: Floats, resamples: int, seed: int) -> Floats:
    """The means of `resamples` bootstrap draws: len(sums) clusters each, with replacement."""
    generator = np.random.Generator(np.random.Philox(seed))
    means = np.empty(resamples)
    step = max(1, 4_000_000 // max(1, len(sums)))  # limits the memory of one block of draws
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        drawn = generator.integers(0, len(sums), (stop - start, len(sums)))
        means[start:stop] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return means


def estimate(values: Floats, clusters: Sequence[str], resamples: int, seed: int) -> Estimate:
    """The mean of values with a percentile-bootstrap interval. NaN is no value."""
    sums, counts = _by_cluster(values, clusters)
    if not len(sums):
        return Estimate(None, None, None, 0, 0)
    mean, n = float(sums.sum() / counts.sum()), int(counts.sum())
    if len(sums) < 2 or not resamples:
        return Estimate(mean, None, None, n, len(sums))
    low, high = np.quantile(resampled_means(sums, counts, resamples, seed), [0.025, 0.975])
    return Estimate(mean, float(low), float(high), n, len(sums))


def median_interval(seconds: pd.Series, clusters: Sequence[str], resamples: int, seed: int) -> list[float] | None:
    """The 95 % percentile-bootstrap interval of the median of `seconds`, rounded to microseconds.

    Missing values are left out. None with fewer than two clusters.
    """
    values = seconds.to_numpy(dtype=np.float64, na_value=np.nan)
    there = ~np.isnan(values)
    values = values[there]
    names, numbers = np.unique(np.asarray(clusters, dtype=str)[there], return_inverse=True)
    if len(names) < 2 or not resamples:
        return None
    order = np.argsort(values, kind="stable")
    values, numbers = values[order], numbers[order]
    generator = np.random.Generator(np.random.Philox(seed))
    medians = np.empty(resamples)
    for k in range(resamples):
        drawn = np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names))
        # A photo that is drawn twice counts each of its samples twice. The values are sorted already.
        weights = np.cumsum(drawn[numbers])
        low, high = np.searchsorted(weights, [weights[-1] / 2, weights[-1] / 2 + 0.5])
        medians[k] = (values[low] + values[high]) / 2
    low_high = np.quantile(medians, [0.025, 0.975])
    return [round(float(bound), 6) for bound in low_high]


def difference(a: Floats, b: Floats, clusters: Sequence[str], resamples: int, seed: int) -> Difference:
    """The mean of the paired differences a - b over the samples where both have a value."""
    sums, counts = _by_cluster(a - b, clusters)
    if not len(sums):
        return Difference(None, None, None, None, 0, 0)
    mean, n = float(sums.sum() / counts.sum()), int(counts.sum())
    if len(sums) < 2 or not resamples:
        return Difference(mean, None, None, None, n, len(sums))
    low, high = np.quantile(resampled_means(sums, counts, resamples, seed), [0.025, 0.975])
    return Difference(mean, float(low), float(high), sign_flip(sums, resamples, seed), n, len(sums))


GROUPS = 20
"""Largest number of groups that `jackknife` forms."""


def jackknife(
    score_of: Callable[[npt.NDArray[np.bool_]], float | None], value: float, clusters: Sequence[str], seed: int
) -> tuple[float | None, float | None]:
    """A 95 % interval for a score of a whole set, by the grouped jackknife.

    Each of g groups of photos is left out once (Efron & Tibshirani, An Introduction to the Bootstrap, 1993,
    chapter 11):

        SE^2 = (g - 1) / g * sum (score without group i - their mean)^2.

    The interval is value +- t SE with g - 1 degrees of freedom. A bootstrap draws the same photo twice, which shifts
    FID and makes KID biased.

    Args:
        score_of: returns the score of the samples where a bool [n] is True, or None if it does not exist.
        value: the score of all samples.
        clusters: the source photo of each sample.
        seed: of the grouping.

    Returns:
        The lower and the upper bound. (None, None) with fewer than two photos, or if a score without one of the groups
        does not exist.
    """
    names, numbers = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    groups = min(GROUPS, len(names))
    if groups < 2:
        return None, None
    shuffled = np.random.Generator(np.random.Philox([seed, 2])).permutation(len(names))
    group = (shuffled % groups)[numbers]
    left = [score_of(group != k) for k in range(groups)]
    if any(score is None for score in left):
        return None, None
    scores = np.array(left, np.float64)
    error = np.sqrt((groups - 1) / groups * np.square(scores - scores.mean()).sum())
    reach = float(stats.t.ppf(0.975, groups - 1) * error)
    return value - reach, value + reach


def sign_flip(sums: Floats, resamples: int, seed: int) -> float:
    """The p-value of the sign-flip test: P(|sum with random signs per cluster| >= |sum|). With at most 12 clusters, all
    sign patterns are counted."""
    observed, size = abs(sums.sum()), len(sums)
    slack = 1e-12 * np.abs(sums).sum()
    if size <= 12:
        patterns = np.arange(2**size)[:, None] >> np.arange(size) & 1
        return float(np.mean(np.abs((1 - 2 * patterns) @ sums) >= observed - slack))
    generator = np.random.Generator(np.random.Philox([seed, 1]))
    extreme = 0
    for _ in range(resamples):
        signs = generator.integers(0, 2, size) * 2 - 1
        extreme += abs(signs @ sums) >= observed - slack
    return float((extreme + 1) / (resamples + 1))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction for several tests. None stays None and does not count as a test."""
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        corrected[i] = largest
    return corrected
