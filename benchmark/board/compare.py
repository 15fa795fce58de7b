"""Paired comparison of two runs of one protocol: differences on the same samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from benchmark.board.ranking import columns_of
from benchmark.runner.results import Run
from benchmark.runner.summary import Summary
from benchmark.statistics import difference, holm
from olrd.errors import UsageError, did_you_mean
from olrd.progress import say


def compare(a: Run, b: Run, columns: list[str] | None = None) -> pd.DataFrame:
    """Compare two runs.

    Args:
        a, b: finished runs.
        columns: the scores to compare; by default all.

    Returns:
        One row per score: the mean of a - b with its 95 % interval, the p-value of a sign-flip test over source photos,
        and the p-value after Holm's correction over all rows.

    Raises:
        UsageError: protocol, data or metric revisions differ, or there is no such score.
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
            say(f"{run.folder}: {n - len(one)} of its {n} samples are not in the other run, left out")
    known = [name for name in one.columns if "/" in name and name in other.columns]
    protocol = a.summary.protocol
    if not known:
        raise UsageError(f"{a.folder} and {b.folder} have no score in common")
    rows: list[dict[str, Any]] = []
    for column in columns or known:
        if column not in known:
            raise did_you_mean("score", column, known)
        left, right = (frame[column].to_numpy(dtype=np.float64, na_value=np.nan) for frame in (one, other))
        found = difference(left, right, list(one.cluster), protocol.bootstrap, protocol.seed)
        rows.append({"score": column} | found._asdict())
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    return pd.DataFrame(rows)


def _revisions(run: Run) -> str:
    return ", ".join(f"{name} {revision}" for name, revision in run.summary.metric_revisions.items())


def headline(summary: Summary) -> list[str]:
    """The per-sample scores that a leaderboard shows first: each metric in the mask, or of the whole picture if
    the metric has no regions, and the change outside."""
    main, _ = columns_of(summary)
    return [column.name for column in main if column.name in summary.scores]
