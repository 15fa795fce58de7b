"""How many source photos it takes to find a difference, given the scatter of the measured differences.

A paired t test over n photos, two-sided, finds a mean difference `size` with the wanted power if

    size >= (t(1 - alpha / 2) + t(power)) * s / sqrt(n),

with quantiles of Student's t with n - 1 degrees of freedom (Chow et al., Sample Size Calculations in Clinical Research,
chapter 3). s is the scatter of one photo, standard error * sqrt(photos), as measured. The formula assumes that further
photos are like the measured ones, with as many masks. alpha is not corrected for several tests.
"""

from __future__ import annotations

import math

from scipy import stats

ALPHA, POWER = 0.05, 0.8
MOST = 1_000_000
"""Largest number of photos that is given."""


def photos_needed(size: float, error: float, photos: int) -> int | None:
    """The number of source photos that finds a mean difference with power 80 % at alpha 5 %.

    Args:
        size: the mean difference; its sign has no effect.
        error: the measured standard error of the mean difference.
        photos: number of photos that it was measured on, at least 2.

    Returns:
        At least 2. None if no number up to `MOST` is enough, e.g. for a difference of 0.
    """
    scatter = error * math.sqrt(photos)
    if size == 0 or _reach(MOST) * scatter > abs(size):
        return None
    low, high = 2, MOST  # the reach falls with n
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _reach(middle) * scatter <= abs(size) else (middle + 1, high)
    return low


def detectable(error: float, photos: int) -> float:
    """The smallest mean difference that `photos` source photos find with power 80 % at alpha 5 %.

    Args:
        error: the measured standard error of the mean difference.
        photos: number of photos that it was measured on, at least 2.
    """
    return _reach(photos) * error * math.sqrt(photos)


def _reach(photos: int) -> float:
    """The smallest difference that n photos find, in units of the scatter of one photo."""
    quantiles = stats.t.ppf([1 - ALPHA / 2, POWER], photos - 1)
    return float(quantiles.sum()) / math.sqrt(photos)
