"""Paired comparison of two runs of one protocol: differences on the same samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark.board.ranking import headline, settings_of
from benchmark.groups import GROUPINGS, groups_of
from benchmark.runner.results import Run
from benchmark.runner.summary import Summary
from benchmark.statistics import NO_TEST, Difference, detectable, difference, holm, photos_needed
from olrd.errors import UsageError, did_you_mean
from olrd.progress import say
from olrd.trust import counted, shown

ALPHA = 0.05
A_BETTER, B_BETTER, OPEN, NO_VALUE = "A is better", "B is better", "not told apart", "no value in both"
"""What a row says in words."""


def compare(
    a: Run,
    b: Run,
    columns: Sequence[str] | None = None,
    by: str | None = None,
    sizes: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Compare two runs.

    Args:
        a, b: finished runs.
        columns: the scores to compare; by default all.
        by: compare within groups of samples (see `benchmark.groups`).
        sizes: by score or metric, the difference that `photos_needed` is about; by default the mean difference.

    Returns:
        One row per score, and per group if there is `by`. Its columns are those of `benchmark.statistics.Difference`
        for a - b, and

        - `p_holm`: p after Holm's correction over all rows that have a test,
        - `verdict`: which is better, in words. One is better if p_holm is at most 5 %,
        - `higher_is_better`: the direction of the score,
        - `photos_needed`: the number of source photos that finds a difference of `size` (power 80 %, alpha 5 %),
        - `detectable`: the smallest difference that the photos of these runs find with the same power and alpha,
        - `a`, `b`: the names of both sides.

    Raises:
        UsageError: protocol, data, metric revisions, photos or groups differ, or there is no such score.
    """
    one, other = shared_samples(a, b)
    known = [name for name in one.columns if "/" in name and name in other.columns]
    if not known:
        raise UsageError(f"{a.folder} and {b.folder} have no score in common")
    for column in columns or ():
        if column not in known:
            raise did_you_mean("score", column, known)
    chosen, wanted = list(columns or known), _sizes(sizes or {}, known)
    name_a, name_b = names_of(a, b)
    protocol = a.summary.protocol
    rows: list[dict[str, Any]] = []
    for group, kept in _groups(one, other, by, a, b):
        left, right = one.loc[kept], other.loc[kept]
        for column in chosen:
            x, y = (frame[column].to_numpy(dtype=np.float64, na_value=np.nan) for frame in (left, right))
            found = difference(x, y, list(left.cluster), protocol.bootstrap, protocol.seed)
            higher = _higher_is_better(a.summary, column)
            rows.append(
                {"score": column}
                | ({by: group} if by else {})
                | found._asdict()
                | {"p_holm": None, "verdict": "", "higher_is_better": higher}
                | _power(found, wanted.get(column))
                | {"a": name_a, "b": name_b}
            )
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
        row["verdict"] = _verdict(row)
    return pd.DataFrame(rows)


def shared_samples(a: Run, b: Run) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the samples that both runs scored, by id and in one order.

    Raises `UsageError` if protocol, data or metric revisions differ, or a sample is of another photo.
    """
    for what, left, right in (
        ("protocol", a.summary.protocol_id, b.summary.protocol_id),
        ("dataset", a.summary.dataset.fingerprint, b.summary.dataset.fingerprint),
        ("revision of the metrics", *(_revisions(run) for run in (a, b))),
    ):
        if left != right:
            raise UsageError(f"{a.folder} and {b.folder} cannot be compared: another {what} ({left} and {right})")
    one, other = a.samples().set_index("id"), b.samples().set_index("id")
    shared = one.index[one.index.isin(other.index)]
    one, other = one.loc[shared], other.loc[shared]
    both = (one.status == "ok") & (other.status == "ok")
    one, other = one[both], other[both]
    for run in (a, b):
        if (n := run.summary.n) > len(one):
            lost = n - len(one)
            are = "is" if lost == 1 else "are"
            say(f"{run.folder}: {lost:,} of its {counted(n, 'sample')} {are} not in the other run, left out")
    _check_equal("cluster", one, other, a, b)
    return one, other


def names_of(a: Run, b: Run) -> tuple[str, str]:
    """What tells two runs apart: method and revision, with the settings if needed, else the folder."""
    labels = a.summary.label, b.summary.label
    if labels[0] != labels[1]:
        return labels
    left, right = (f"{run.summary.label} {settings_of(run.summary)}".strip() for run in (a, b))
    return (left, right) if left != right else (str(a.folder), str(b.folder))


def _groups(
    one: pd.DataFrame, other: pd.DataFrame, by: str | None, a: Run, b: Run
) -> list[tuple[Any, np.ndarray | slice]]:
    """The groups, and which rows are in each. Raises `UsageError` if the runs put a sample into different groups."""
    if by is None:
        return [(None, slice(None))]
    if by not in GROUPINGS:
        raise did_you_mean("grouping", by, GROUPINGS)
    _check_equal("mask_share" if by == "area" else by, one, other, a, b)
    return [(group, kept) for group, kept in groups_of(one, by)]


def _check_equal(column: str, one: pd.DataFrame, other: pd.DataFrame, a: Run, b: Run) -> None:
    for run, frame in ((a, one), (b, other)):
        if column not in frame.columns:
            raise UsageError(f"{run.folder} has no column {column}: it cannot be compared by it")
    left, right = one[column], other[column]
    if column == "mask_share":
        same = np.isclose(left.astype(float), right.astype(float), rtol=1e-9, equal_nan=True)
    else:
        same = (left.fillna("") == right.fillna("")).to_numpy()
    if not same.all():
        first = one.index[~same][0]
        raise UsageError(
            f"{a.folder} and {b.folder} cannot be compared: {column} of the sample {shown(first)} is "
            f"{shown(str(left[first]))} and {shown(str(right[first]))} ({counted(int((~same).sum()), 'such sample')})"
        )


def _sizes(sizes: Mapping[str, float], known: Sequence[str]) -> dict[str, float]:
    """The given sizes by score; a metric's name stands for all its scores. Raises `UsageError` for an unknown name."""
    metrics = {name.partition("/")[0] for name in known}
    for name, size in sizes.items():
        if name not in known and name not in metrics:
            raise did_you_mean("score or metric", name, {*known, *metrics})
        if not (np.isfinite(size) and size > 0):
            raise UsageError(f"the size of {name} must be a number above 0, got {size}")
    both = {name: sizes.get(name, sizes.get(name.partition("/")[0])) for name in known}
    return {name: size for name, size in both.items() if size is not None}


def _power(found: Difference, size: float | None) -> dict[str, float | int | None]:
    """The size in question, the number of photos that finds it, and the smallest size that these photos find."""
    if found.mean is None or found.error is None:
        return {"size": size, "photos_needed": None, "detectable": None}
    size = abs(found.mean) if size is None else size
    needed = None if found.no_test else photos_needed(size, found.error, found.clusters)
    return {"size": size, "photos_needed": needed, "detectable": detectable(found.error, found.clusters)}


def _verdict(row: Mapping[str, Any]) -> str:
    if row["mean"] is None:
        return NO_VALUE
    if row["no_test"]:
        return NO_TEST[row["no_test"]]
    if row["p_holm"] is None or row["p_holm"] > ALPHA or row["mean"] == 0:
        return OPEN
    return A_BETTER if (row["mean"] > 0) == row["higher_is_better"] else B_BETTER


def _higher_is_better(summary: Summary, column: str) -> bool:
    metric = summary.metrics.get(column.partition("/")[0])
    return metric.higher_is_better if metric else False  # a change outside the mask


def _revisions(run: Run) -> str:
    return ", ".join(f"{name} {revision}" for name, revision in run.summary.metric_revisions.items())


def usual_scores(summary: Summary) -> list[str]:
    """What is compared if no score is named: the headline scores that samples have. Scores of whole sets have none."""
    return [name for name in headline(summary) if name in summary.scores]
