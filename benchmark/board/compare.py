"""Paired comparison of two runs: the same samples, the same protocol, differences per sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from benchmark.board.ranking import columns_of
from benchmark.runner.results import Run
from benchmark.runner.summary import ScoreSummary, SetSummary, Summary
from benchmark.statistics import difference, holm
from olrd.errors import UsageError, did_you_mean
from olrd.progress import say


def compare(a: Run, b: Run, columns: list[str] | None = None) -> pd.DataFrame:
    """Per score column: the mean of a - b with its 95 % interval, the p-value of a sign-flip test over
    source photos, and that value after Holm's correction over all columns shown.

    Raises `UsageError` if protocol or data differ: their differences would mean nothing.
    """
    for what, left, right in (
        ("protocol", a.summary.protocol_id, b.summary.protocol_id),
        ("data set", a.summary.dataset.fingerprint, b.summary.dataset.fingerprint),
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


def headline(run: Run) -> list[str]:
    """The per-sample scores that a leaderboard shows first: each metric in the mask, or of the whole
    picture if that is all it has, then the change outside."""
    main, _ = columns_of(run.summary)
    return [column.name for column in main if column.name in run.summary.scores]


def table_of(summary: Summary) -> str:
    """A run's scores as text for the terminal, with intervals."""
    lines = [
        f"{summary.method.name} {summary.method.revision} on {summary.dataset.name} "
        f"({summary.n} samples, {summary.n_failed} failed), protocol {summary.protocol_id}",
        *(f"warning: {text}" for text in summary.dataset.warnings),
        *(f"{name}: {value:.4f} on average" for name, value in summary.facts.items()),
        *(f"failed: {count} x {reason}" for reason, count in summary.failures.items()),
        "",
        f"{'score':<30}{'mean':>10}   {'95 % interval':<22}{'n':>6}{'photos':>8}",
    ]
    for column, found in summary.scores.items():
        why = ", ".join(f"{count} {reason}" for reason, count in found.without.items())
        if found.mean is None:
            lines.append(f"{column:<30}{'-':>10}   {why}".rstrip())
            continue
        lines.append(f"{column:<30}{found.mean:>10.4f}{_interval_text(found)}   {why}".rstrip())
    for column, whole in summary.sets.items():
        if whole.value is None:
            lines.append(f"{column:<30}{'-':>10}   {whole.reason}")
            continue
        text = f"{column:<30}{whole.value:>10.4f}{_interval_text(whole)}   {whole.reason}"
        lines.append(text.rstrip())
    times = summary.times
    lines += ["", f"median {times.median_seconds} s an image, peak {times.peak_mb} MiB"]
    return "\n".join(lines)


def _interval_text(found: ScoreSummary | SetSummary) -> str:
    """The interval, n and source photos, in columns."""
    interval = "" if found.low is None else f"{found.low:.4f} to {found.high:.4f}"
    return f"   {interval:<22}{found.n:>6}{found.clusters:>8}"
