"""Distances between two sets of features: the mathematics of FID, KID and CMMD, without their networks.

Features are float64 [n, d], one row per picture. The sets may differ in n, and the order of rows has no effect. All
distances are deterministic and use every row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import scipy.linalg

from benchmark.metrics import Features, Score
from olrd.errors import UsageError

BLOCK = 1024
"""Number of rows of a kernel matrix that are in memory at a time."""


def compared(metric: str, a: Features, b: Features, distance: Callable[[Features, Features], float]) -> Score:
    """The distance of two sets as a score; None (`too_few`) below two rows.

    Raises:
        UsageError: features are not finite, or differ in d.
    """
    for features in (a, b):
        if features.ndim != 2 or not np.isfinite(features).all():
            raise UsageError(f"{metric}: features must be finite, [n, d], got {features.shape}")
    if a.shape[1] != b.shape[1]:
        raise UsageError(
            f"{metric}: the sets have features of {a.shape[1]} and {b.shape[1]} numbers; are they from two networks?"
        )
    if min(len(a), len(b)) < 2:
        return Score(None, "too_few")
    return Score(distance(a.astype(np.float64), b.astype(np.float64)))


def frechet(a: Features, b: Features) -> float:
    """The squared Frechet distance of two normal distributions (Heusel et al., NeurIPS 2017):

        |mean_a - mean_b|^2 + tr(S_a) + tr(S_b) - 2 tr((S_a S_b)^(1/2))

    The covariances S = F^T F are unbiased; F are the centred features over sqrt(n - 1). The last trace is the sum of
    the singular values of M = F_a F_b^T. They are computed as the roots of the eigenvalues of the symmetric M M^T.
    These are real, while a general matrix root leaves an imaginary part, and M M^T has only n x n numbers where n < d.
    """
    step = a.mean(0) - b.mean(0)
    root_a, root_b = sorted((_root(a), _root(b)), key=len)
    product = root_a @ root_b.T
    eigenvalues = scipy.linalg.eigvalsh(product @ product.T)
    cross = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    squared = step @ step + (root_a**2).sum() + (root_b**2).sum() - 2 * cross
    return max(0.0, float(squared))  # rounding may bring it below 0


def _root(features: Features) -> Features:
    """A matrix F of at most d rows with F^T F = covariance."""
    root = (features - features.mean(0)) / np.sqrt(len(features) - 1)
    if len(root) <= root.shape[1]:
        return root
    return scipy.linalg.qr(root, mode="r")[0][: root.shape[1]]


def kernel_distance(a: Features, b: Features) -> float:
    """KID: the unbiased squared MMD (Gretton et al., JMLR 2012) with the kernel (x.y / d + 1)^3 (Binkowski et al.,
    ICLR 2018).

    It may be negative. All rows are used. The mean over random subsets, which is common for large sets, has the same
    expectation and a larger variance.
    """

    def total(x: Features, y: Features) -> float:
        return sum(float(((rows @ y.T / x.shape[1] + 1) ** 3).sum()) for rows in _blocks(x))

    def without_diagonal(x: Features) -> float:
        diagonal = ((np.einsum("nd,nd->n", x, x) / x.shape[1] + 1) ** 3).sum()
        return (total(x, x) - float(diagonal)) / (len(x) * (len(x) - 1))

    return without_diagonal(a) + without_diagonal(b) - 2 * total(a, b) / (len(a) * len(b))


def gaussian_distance(a: Features, b: Features, sigma: float) -> float:
    """The biased squared MMD with the kernel exp(-|x - y|^2 / (2 sigma^2)), as the authors of CMMD compute it.

    Diagonals are included, so it is never negative.
    """

    def mean(x: Features, y: Features) -> float:
        # 1 - kernel: with a wide sigma all kernels are near 1, and the digits of their differences would cancel.
        squares = np.einsum("nd,nd->n", y, y)
        distances = (np.einsum("nd,nd->n", rows, rows)[:, None] + squares - 2 * rows @ y.T for rows in _blocks(x))
        return sum(float(-np.expm1(-np.maximum(d, 0) / (2 * sigma**2)).sum()) for d in distances) / (len(x) * len(y))

    return 2 * mean(a, b) - mean(a, a) - mean(b, b)


def _blocks(features: Features) -> Iterator[Features]:
    return (features[start : start + BLOCK] for start in range(0, len(features), BLOCK))
