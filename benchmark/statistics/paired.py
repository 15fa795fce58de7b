"""Differences of two methods on the same samples: the interval, a test, and its correction for several tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmark.statistics.intervals import FEWEST, TOO_FEW_PHOTOS, Floats, around, by_cluster, standard_error

NO_TEST = {"all_equal": "equal in every sample", "one_photo": "one photo"}
"""Why there is no test, in words."""
ROUNDING = 1e-6
"""Differences up to this share of the larger score, or of 1, are rounding: scores of networks on two machines differ by
less, always in the same direction for a picture, and a test would find that."""


class Difference(NamedTuple):
    """The mean of paired differences a - b with its 95 % interval.

    Attributes:
        mean: None if no sample has both values.
        low, high: the interval; None if there is none.
        p: two-sided p-value of a sign-flip test over clusters; its null hypothesis is that the methods are
            exchangeable. None if there is no test.
        n, clusters: number of samples with both values, and of their source photos.
        error: the standard error of the mean; None with one source photo.
        no_interval: why there is no interval, a key of `NO_INTERVAL`; else empty.
        no_test: why there is no test, a key of `NO_TEST`; else empty. Where all differences are zero but for `ROUNDING`,
            none is made.
    """

    mean: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    clusters: int
    error: float | None = None
    no_interval: str = ""
    no_test: str = ""


def difference(a: Floats, b: Floats, clusters: Sequence[str], resamples: int, seed: int) -> Difference:
    """The mean of the paired differences a - b over the samples where both have a value.

    Args:
        a: scores of some samples. NaN is no value.
        b: scores of the same samples by another method.
        clusters: the source photo of each sample.
        resamples: number of drawn patterns of the sign-flip test.
        seed: their seed.
    """
    apart = a - b
    apart[np.abs(apart) <= ROUNDING * np.maximum(1, np.maximum(np.abs(a), np.abs(b)))] = 0
    sums, counts = by_cluster(apart, clusters)
    if not len(sums):
        return Difference(None, None, None, None, 0, 0)
    mean, n, photos = float(sums.sum() / counts.sum()), int(counts.sum()), len(sums)
    equal = not apart[~np.isnan(apart)].any()
    if photos < 2:
        return Difference(
            mean, None, None, None, n, photos, None, TOO_FEW_PHOTOS, "all_equal" if equal else "one_photo"
        )
    error = standard_error(sums, counts)
    few = photos < FEWEST
    low, high = (None, None) if few else around(mean, error, counts)
    p = None if equal or not resamples else sign_flip(sums, resamples, seed)
    return Difference(mean, low, high, p, n, photos, error, TOO_FEW_PHOTOS if few else "", "all_equal" if equal else "")


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
