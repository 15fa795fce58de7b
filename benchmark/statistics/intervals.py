"""95 % intervals of means, of set scores and of the median time.

A mean over samples is a ratio of two sums over photos. Its interval is Student's t with

    SE^2 = sum over photos of (mean without the photo - mean)^2,

the jackknife around the mean, known as CR3 (Bell & McCaffrey, Survey Methodology 28, 2002). The degrees of freedom are
Satterthwaite's, because photos with many samples weigh more. `perf/coverage.py` compares it with others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

Floats = npt.NDArray[np.float64]

FEWEST = 10
"""Number of source photos below which no interval is given. With fewer, intervals of skewed scores hold the mean too
rarely, whatever their formula (`perf/coverage.py`)."""
GROUPS = 20
"""Largest number of groups of photos that `jackknife` forms."""
TOO_FEW_PHOTOS = "too_few_photos"
NO_INTERVAL = {TOO_FEW_PHOTOS: "too few photos", "not_defined_without": "not defined without some of the photos"}
"""Why a score has no interval, in words."""
INTERVALS, EARLIER = "jackknife", "bootstrap"
"""The kind of the intervals of a summary: as computed here, and of versions that took percentile bootstraps."""
KINDS = (INTERVALS, EARLIER)


class Estimate(NamedTuple):
    """A mean with its 95 % interval.

    Attributes:
        mean: None without a value.
        low, high: the interval; None if there is none.
        n: number of samples with a value.
        clusters: number of source photos of them.
        no_interval: why a mean has no interval, a key of `NO_INTERVAL`; else empty.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    no_interval: str = ""


def why_no_interval(reason: str, clusters: int | None) -> str:
    """Why a score has no interval, in words, e.g. "too few photos (6)".

    Args:
        reason: as stored. Summaries of earlier versions have none; then the number of photos may say it.
        clusters: number of source photos; None if not known.

    Returns:
        The text. Empty if the reason is not known.
    """
    if not reason and clusters is not None and clusters < FEWEST:
        reason = TOO_FEW_PHOTOS
    text = NO_INTERVAL.get(reason, reason)
    return f"{text} ({clusters})" if reason == TOO_FEW_PHOTOS and clusters is not None else text


def by_cluster(values: Floats, clusters: Sequence[str]) -> tuple[Floats, Floats]:
    """The sum and the count of the values of each cluster. NaN is no value; clusters without values are left out."""
    _, numbers = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    there = ~np.isnan(values)
    size = int(numbers.max()) + 1 if len(numbers) else 0
    sums = np.bincount(numbers[there], weights=values[there], minlength=size).astype(np.float64)
    counts = np.bincount(numbers[there], minlength=size).astype(np.float64)
    return sums[counts > 0], counts[counts > 0]


def estimate(values: Floats, clusters: Sequence[str]) -> Estimate:
    """The mean of values with its interval. NaN is no value."""
    sums, counts = by_cluster(values, clusters)
    if not len(sums):
        return Estimate(None, None, None, 0, 0)
    mean, n = float(sums.sum() / counts.sum()), int(counts.sum())
    if len(sums) < FEWEST:
        return Estimate(mean, None, None, n, len(sums), TOO_FEW_PHOTOS)
    return Estimate(mean, *around(mean, standard_error(sums, counts), counts), n, len(sums))


def standard_error(sums: Floats, counts: Floats) -> float:
    """The standard error of sum(sums) / sum(counts), from the sums and counts of at least two clusters."""
    moves = (sums - counts * sums.sum() / counts.sum()) / (counts.sum() - counts)
    return float(np.sqrt(np.square(moves).sum()))


def around(value: float, error: float, sizes: Floats) -> tuple[float, float]:
    """The interval around a value with this standard error. sizes: number of samples of each cluster left out."""
    reach = float(stats.t.ppf(0.975, freedom(sizes))) * error
    return value - reach, value + reach


def freedom(sizes: Floats) -> float:
    """Satterthwaite's degrees of freedom of `standard_error`, if the samples of a cluster are equal.

    With p the shares of the clusters, the residuals sum - mean * count then have the covariance S with

        S_ii = p_i^2 (1 + q - 2 p_i),  S_ij = p_i p_j (q - p_i - p_j),  q = sum p^2,

    and the degrees of freedom are tr(D S)^2 / tr(D S D S) with D = diag((1 - p)^-2). For clusters of one size they are
    one less than the number of clusters; one cluster that has most of the samples brings them near 1.

    Args:
        sizes: number of samples of each cluster, at least two clusters.
    """
    p = sizes / sizes.sum()
    weight = np.square(p / (1 - p))
    q = np.square(p).sum()
    own = 1 + q - 2 * p
    zeroth, first, second = (float((weight * p**k).sum()) for k in range(3))
    # The sum of w_i w_j (q - p_i - p_j)^2 over all i, j, with the terms i = j replaced.
    squares = q**2 * zeroth**2 + 2 * second * zeroth - 4 * q * first * zeroth + 2 * first**2
    squares += float((weight**2 * (own**2 - (q - 2 * p) ** 2)).sum())
    return float((weight * own).sum()) ** 2 / squares


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


def bootstrap_estimate(values: Floats, clusters: Sequence[str], resamples: int, seed: int) -> Estimate:
    """The mean with the percentile-bootstrap interval of earlier versions, which is too short. It checks their summaries."""
    sums, counts = by_cluster(values, clusters)
    if not len(sums):
        return Estimate(None, None, None, 0, 0)
    mean, n = float(sums.sum() / counts.sum()), int(counts.sum())
    if len(sums) < 2 or not resamples:
        return Estimate(mean, None, None, n, len(sums))
    low, high = np.quantile(resampled_means(sums, counts, resamples, seed), [0.025, 0.975])
    return Estimate(mean, float(low), float(high), n, len(sums))


def median_interval(
    seconds: pd.Series, clusters: Sequence[str], resamples: int, seed: int, fewest: int = FEWEST
) -> list[float] | None:
    """The 95 % percentile-bootstrap interval of the median of `seconds`, rounded to microseconds.

    Missing values are left out. None with fewer than `fewest` clusters.
    """
    values = seconds.to_numpy(dtype=np.float64, na_value=np.nan)
    there = ~np.isnan(values)
    values = values[there]
    names, numbers = np.unique(np.asarray(clusters, dtype=str)[there], return_inverse=True)
    if len(names) < fewest or not resamples:
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


def jackknife(
    score_of: Callable[[npt.NDArray[np.bool_]], float | None], value: float, clusters: Sequence[str], seed: int
) -> tuple[float | None, float | None, str]:
    """A 95 % interval for a score of a whole set, by the grouped jackknife.

    Each of g groups of photos is left out once, as `estimate` leaves out each photo:

        SE^2 = sum (score without group i - score)^2.

    With at most `GROUPS` photos a mean has the same interval as in `estimate`. A bootstrap draws the same photo twice,
    which shifts FID and makes KID biased.

    Args:
        score_of: returns the score of the samples where a bool [n] is True, or None if it does not exist.
        value: the score of all samples.
        clusters: the source photo of each sample.
        seed: of the grouping.

    Returns:
        The lower and the upper bound, and why there are none (a key of `NO_INTERVAL`).
    """
    names, numbers = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    if len(names) < FEWEST:
        return None, None, TOO_FEW_PHOTOS
    groups = min(GROUPS, len(names))
    shuffled = np.random.Generator(np.random.Philox([seed, 2])).permutation(len(names))
    group = (shuffled % groups)[numbers]
    left = [score_of(group != k) for k in range(groups)]
    if any(score is None for score in left):
        return None, None, "not_defined_without"
    error = float(np.sqrt(np.square(np.array(left, np.float64) - value).sum()))
    return *around(value, error, np.bincount(group).astype(np.float64)), ""
