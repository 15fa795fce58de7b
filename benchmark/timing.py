"""How long an image takes. The median, because an eraser's first call also loads its network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def median_interval(
    seconds: pd.Series, clusters: Sequence[str], resamples: int, seed: int
) -> list[float] | None:
    """The 95 % percentile interval of the median of `seconds` (null = none), source photos resampled as
    everywhere. None with fewer than two photos."""
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
        # A photo drawn twice counts each of its samples twice; values are in order already.
        weights = np.cumsum(drawn[numbers])
        low, high = np.searchsorted(weights, [weights[-1] / 2, weights[-1] / 2 + 0.5])
        medians[k] = (values[low] + values[high]) / 2
    low_high = np.quantile(medians, [0.025, 0.975])
    return [round(float(bound), 6) for bound in low_high]
