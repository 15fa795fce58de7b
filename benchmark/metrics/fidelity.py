"""Distances between two sets of features: the mathematics of FID, KID, CMMD and MIND, without their networks.

Features are float64 [n, d], one row per picture. All distances are deterministic and use every row. The sets may differ
in n, and the order of rows has no effect, except in `paired_kernel_distance`, where row k of both sets is one sample.

What equal sets have, e.g. the outputs of `ground-truth`: `frechet` and `gaussian_distance` 0, up to rounding;
`sliced_distance` and `paired_kernel_distance` exactly 0; `kernel_distance` a negative number (see there).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import scipy.linalg

from benchmark.metrics import Features, Score
from olrd.errors import UsageError

BLOCK = 1024
"""Number of rows of a kernel matrix that are in memory at a time."""


def compared(metric: str, a: Features, b: Features, distance: Callable[[Features, Features], float | None]) -> Score:
    """The distance of two sets as a score; None below two rows (`too_few`), or if `distance` has none (`one_photo`).

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
    value = distance(a.astype(np.float64), b.astype(np.float64))
    return Score(None, "one_photo") if value is None else Score(value)


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
    """KID as published: the squared MMD (Gretton et al., JMLR 2012) with the kernel k(x, y) = (x.y / d + 1)^3
    (Binkowski et al., ICLR 2018), without the pairs i = j within a set and with all pairs across.

    This is unbiased for two independent sets. Outputs and truths of the same samples are not independent: the pairs
    i = j across are more alike than others. If the sets are equal, the result is 2 (W - D) / n, where W is the mean of
    k(x_i, x_j) over i != j and D that of k(x_i, x_i). It is below 0 and rises to 0 with n.

    All rows are used. The mean over random subsets, which is common for large sets, has the same expectation for
    independent sets and a larger variance.
    """

    def total(x: Features, y: Features) -> float:
        return sum(float(_cubic(rows, y).sum()) for rows in _blocks(x))

    def without_diagonal(x: Features) -> float:
        diagonal = ((np.einsum("nd,nd->n", x, x) / x.shape[1] + 1) ** 3).sum()
        return (total(x, x) - float(diagonal)) / (len(x) * (len(x) - 1))

    return without_diagonal(a) + without_diagonal(b) - 2 * total(a, b) / (len(a) * len(b))


def paired_kernel_distance(a: Features, b: Features, photos: Sequence[str]) -> float | None:
    """KID of paired sets: the mean of k(a_i, a_j) + k(b_i, b_j) - k(a_i, b_j) - k(b_i, a_j) over all pairs of samples i, j
    that are of different source photos. The kernel is that of `kernel_distance`.

    Row k of both sets is one sample. Photos are independent, so each of the four terms has the expectation that it has
    for independent sets, at any n. It is exactly 0 for equal sets, and may be negative for others.

    Args:
        a, b: features, float64 [n, d].
        photos: the source photo of each sample.

    Returns:
        The distance, or None if all samples are of one photo.
    """
    _, photo = np.unique(np.asarray(photos, dtype=str), return_inverse=True)
    total, pairs = 0.0, 0
    for start in range(0, len(a), BLOCK):
        part = slice(start, start + BLOCK)
        # Summed pair by pair: equal sets give 0, and not the rounding error of three large sums.
        terms = _cubic(a[part], a) + _cubic(b[part], b) - _cubic(a[part], b) - _cubic(b[part], a)
        apart = photo[part, None] != photo
        total += float(terms[apart].sum())
        pairs += int(np.count_nonzero(apart))
    return total / pairs if pairs else None


def _cubic(x: Features, y: Features) -> Features:
    """The kernel (x.y / d + 1)^3 of each row of x with each of y."""
    # With a view of x itself, NumPy would call another routine of BLAS, which rounds differently.
    turned = np.ascontiguousarray(y.T)
    return np.asarray((x @ turned / x.shape[1] + 1) ** 3)


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


def sliced_distance(a: Features, b: Features, directions: Features) -> float:
    """MIND (Berthet et al., arXiv 2605.06797): 3 d times the mean squared distance of sorted projections.

    Per direction this is the squared 2-Wasserstein distance of the projected sets, the area between their quantile
    functions. Quantile functions are steps, so sets that differ in n need no rows left out.

    Args:
        a, b: features [n, d] and [m, d].
        directions: [k, d], rows of length 1.
    """
    ends = np.union1d(np.arange(1, len(a) + 1) / len(a), np.arange(1, len(b) + 1) / len(b))
    widths = np.diff(ends, prepend=0.0)
    middles = ends - widths / 2
    quantiles = (
        np.sort(rows @ directions.T, axis=0)[np.minimum((middles * len(rows)).astype(int), len(rows) - 1)]
        for rows in (a, b)
    )
    x, y = quantiles
    return float(3 * a.shape[1] * (widths @ (x - y) ** 2).mean())


def _blocks(features: Features) -> Iterator[Features]:
    return (features[start : start + BLOCK] for start in range(0, len(features), BLOCK))
