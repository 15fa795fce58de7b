"""Intervals, paired tests and the size of a study.

Samples from one source photo are not independent. All methods here therefore leave out, flip or resample whole clusters
(source photos), never single samples. There is no interval below `FEWEST` clusters.
"""

from benchmark.statistics.intervals import (
    EARLIER,
    FEWEST,
    INTERVALS,
    KINDS,
    TOO_FEW_PHOTOS,
    Estimate,
    bootstrap_estimate,
    estimate,
    jackknife,
    median_interval,
    why_no_interval,
)
from benchmark.statistics.paired import NO_TEST, Difference, difference, holm, sign_flip
from benchmark.statistics.power import detectable, photos_needed

__all__ = [
    "EARLIER",
    "FEWEST",
    "INTERVALS",
    "KINDS",
    "NO_TEST",
    "TOO_FEW_PHOTOS",
    "Difference",
    "Estimate",
    "bootstrap_estimate",
    "detectable",
    "difference",
    "estimate",
    "holm",
    "jackknife",
    "median_interval",
    "photos_needed",
    "sign_flip",
    "why_no_interval",
]
