"""Cross-validated classifiers, and scores with intervals that are clustered by photo."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_FOLDS, _RESAMPLES = 5, 1000


class Interval(NamedTuple):
    """A number in [0, 1] with its 95 % interval."""

    value: float
    low: float
    high: float


def boosting(seed: int) -> Any:
    """Gradient-boosted trees, not fitted."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=100,
        learning_rate=0.08,
        max_leaf_nodes=12,
        max_bins=63,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )


def logistic() -> Any:
    """Logistic regression on standardized features, not fitted."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=500))


def cross_validated(x: Floats, y: Ints, group: Ints, model: Any) -> Floats:
    """Scores float64 [n], each from a model that saw no patch of the same photo."""
    from sklearn.base import clone
    from sklearn.model_selection import GroupKFold
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    scores = np.zeros(len(y))
    # One thread, because the spinning threads of OpenMP are tens of times slower on a busy machine.
    with threadpool_limits(1):
        for train, test in GroupKFold(_FOLDS).split(x, y, group):
            scores[test] = clone(model).fit(x[train], y[train]).predict_proba(x[test])[:, 1]
    return scores


def clustered_auc(scores: Floats, y: Ints, group: Ints, seed: int) -> Interval:
    """AUC (Mann-Whitney, ties half) with a 95 % bootstrap interval over groups.

    C[g, h] is the number of wins of group g's positives over group h's negatives. A resample that takes group g w[g]
    times has exactly the AUC w'Cw / (w'p)(w'n), where p and n count the positives and negatives of each group. So no
    resample has to be scored again.
    """
    count = int(group.max()) + 1
    wins = np.zeros((count, count))
    positive, owner = scores[y == 1], group[y == 1]
    for number in range(count):
        negative = np.sort(scores[(y == 0) & (group == number)])
        below = np.searchsorted(negative, positive, "left") + np.searchsorted(negative, positive, "right")
        wins[:, number] = np.bincount(owner, below / 2, count)
    sizes = [np.bincount(group[y == label], minlength=count) for label in (1, 0)]
    weights = _resamples(count, seed)
    values = np.einsum("rg,gh,rh->r", weights, wins, weights, optimize=True)
    values = values / ((weights @ sizes[0]) * (weights @ sizes[1]))
    return _interval(values)


def clustered_mean(values: Floats, group: Ints, seed: int) -> Interval:
    """Mean with a 95 % bootstrap interval over groups."""
    weights = _resamples(int(group.max()) + 1, seed)
    width = weights.shape[1]
    return _interval((weights @ np.bincount(group, values, width)) / (weights @ np.bincount(group, minlength=width)))


def _resamples(count: int, seed: int) -> Floats:
    """How often each group is taken: each once for the estimate, then at random."""
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), _RESAMPLES)
    return np.concatenate([np.ones((1, count)), drawn.astype(np.float64)])


def _interval(values: Floats) -> Interval:
    """The first value, with the central 95 % of the other values."""
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return Interval(*(round(float(v), 4) for v in (values[0], low, high)))
