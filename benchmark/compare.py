"""Paired comparison of two runs: the same samples, the same protocol, differences per sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from benchmark.results import Run
from benchmark.statistics import difference, holm
from olrd.errors import UsageError


def compare(a: Run, b: Run, columns: list[str] | None = None) -> pd.DataFrame:
    """Per score column: the mean of a - b with its 95 % interval, the p-value of a sign-flip test over
    source photos, and that value after Holm's correction over all columns shown.

    Raises `UsageError` if protocol or data differ: their differences would mean nothing.
    """
    for what, left, right in (
        ("protocol", a.summary["protocol"]["id"], b.summary["protocol"]["id"]),
        ("data set", a.summary["dataset"]["fingerprint"], b.summary["dataset"]["fingerprint"]),
        ("revision of the metrics", *(_revisions(run) for run in (a, b))),
    ):
        if left != right:
            raise UsageError(
                f"{a.folder} and {b.folder} cannot be compared: another {what} ({left} and {right})"
            )
    one, other = a.samples().set_index("id"), b.samples().set_index("id")
    shared = one.index[one.index.isin(other.index)]
    one, other = one.loc[shared], other.loc[shared]
    both = (one.status == "ok") & (other.status == "ok")
    one, other = one[both], other[both]
    known = [name for name in one.columns if "/" in name and name in other.columns]
    protocol = a.summary["protocol"]
    rows: list[dict[str, Any]] = []
    for column in columns or known:
        if column not in known:
            raise UsageError(f"no score is called '{column}'; known: {', '.join(known)}")
        left, right = (
            frame[column].to_numpy(dtype=np.float64, na_value=np.nan) for frame in (one, other)
        )
        found = difference(left, right, list(one.cluster), protocol["bootstrap"], protocol["seed"])
        rows.append({"score": column} | found._asdict())
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    return pd.DataFrame(rows)


def _revisions(run: Run) -> str:
    return ", ".join(f"{k} {v['revision']}" for k, v in sorted(run.summary["metrics"].items()))


def headline(run: Run) -> list[str]:
    """The columns that a table shows first: each metric in the mask, then the change outside."""
    names = [name for name in run.summary["scores"] if name.endswith("/mask/raw")]
    return [*names, "change/outside/raw"]


def table_of(summary: dict[str, Any]) -> str:
    """A run's scores as text for the terminal, with intervals."""
    lines = [
        f"{summary['method']['name']} {summary['method']['revision']} on {summary['dataset']['name']} "
        f"({summary['n']} samples, {summary['n_failed']} failed), protocol {summary['protocol']['id']}",
        *(f"warning: {text}" for text in summary["dataset"]["warnings"]),
        "",
        f"{'score':<30}{'mean':>10}   {'95 % interval':<22}{'n':>6}{'photos':>8}",
    ]
    for column, found in summary["scores"].items():
        if found["mean"] is None:
            why = ", ".join(f"{count} {reason}" for reason, count in found["without"].items())
            lines.append(f"{column:<30}{'-':>10}   {why}")
            continue
        interval = "" if found["low"] is None else f"{found['low']:.4f} to {found['high']:.4f}"
        lines.append(
            f"{column:<30}{found['mean']:>10.4f}   {interval:<22}{found['n']:>6}{found['clusters']:>8}"
        )
    for column, found in summary["sets"].items():
        value = "-" if found["value"] is None else f"{found['value']:.4f}"
        lines.append(f"{column:<30}{value:>10}   {found['reason']:<22}{found['n']:>6}")
    times = summary["times"]
    lines += ["", f"median {times['median_seconds']} s an image, peak {times['peak_mb']} MB"]
    return "\n".join(lines)
