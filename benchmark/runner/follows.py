"""Which numbers of a summary do not follow from its rows.

A summary is a small JSON file that anybody can edit. Every number in it that can be computed from samples.parquet is
computed again here and compared.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from benchmark.disturbances import AGREEMENT, OVERLAP
from benchmark.runner import aggregate
from benchmark.runner.summary import Summary
from benchmark.statistics import EARLIER, bootstrap_estimate
from olrd.trust import shown

EXACT = 1e-9
"""Relative difference up to which two numbers are equal: the same rows give the same sums, but for rounding."""


def contradictions(summary: Summary, frame: pd.DataFrame) -> list[str]:
    """Where a summary and its rows differ, each as one line that names the field, both values, and the row if it is one.

    Scores of whole sets need the pictures; of them only the counts are compared.

    Args:
        summary: what the file says.
        frame: the rows of samples.parquet.
    """
    if wrong := list(row_problems(frame)):
        return wrong  # means of such rows say nothing
    return [
        *_counts(summary, frame),
        *_scores(summary, frame),
        *_sets(summary, frame),
        *_facts(summary, frame),
        *_times(summary, frame),
    ]


def row_problems(frame: pd.DataFrame) -> Iterator[str]:
    """Rows that no run writes: an unknown status, a score that is not a number, a score without value and reason."""
    columns = [name for name in frame.columns if "/" in name]
    for row in frame[~frame.status.isin(("ok", "failed"))].itertuples():
        yield f"the row {shown(row.id)} has the status {shown(row.status)}, expected ok or failed"
    good = frame[frame.status == "ok"]
    reasons = [_object(text) for text in good.reasons]
    for name, found in zip(good.id, reasons, strict=True):
        if found is None:
            yield f"the row {shown(name)} has reasons that are no JSON object of texts"
    for name, found in zip(good.id, map(_object, good.facts), strict=True):
        if found is None:
            yield f"the row {shown(name)} has facts that are no JSON object"
    for column in columns:
        values = good[column].to_numpy(dtype=np.float64, na_value=np.nan)
        for name, value, why in zip(good.id, values, reasons, strict=True):
            if math.isinf(value):
                yield f"the row {shown(name)} has {shown(column)} = {value}"
            elif math.isnan(value) and why is not None and column not in why:
                yield f"the row {shown(name)} has neither a value of {shown(column)} nor a reason why there is none"


def _object(text: object) -> dict[str, Any] | None:
    try:
        values = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _counts(summary: Summary, frame: pd.DataFrame) -> Iterator[str]:
    good, failed = frame[frame.status == "ok"], frame[frame.status == "failed"]
    reasons = dict(sorted(Counter(failed.reason).items()))
    yield from _differs("dataset.n", summary.dataset.n, len(frame))
    yield from _differs("n", summary.n, len(good))
    yield from _differs("n_failed", summary.n_failed, len(failed))
    yield from _differs("failures", dict(summary.failures), reasons)


def _scores(summary: Summary, frame: pd.DataFrame) -> Iterator[str]:
    protocol = summary.protocol
    if summary.intervals == EARLIER:
        earlier = partial(bootstrap_estimate, resamples=protocol.bootstrap, seed=protocol.seed)
        found = aggregate.scores(frame, earlier)
    else:
        found = aggregate.scores(frame)
    for name in sorted(summary.scores.keys() - found.keys()):
        yield f"scores.{name} has no column in the rows"
    for name in sorted(found.keys() - summary.scores.keys()):
        yield f"scores lacks {name}, which the rows have"
    for name in found.keys() & summary.scores.keys():
        said, computed = asdict(summary.scores[name]), asdict(found[name])
        for part in computed:
            yield from _differs(f"scores.{name}.{part}", said[part], computed[part])


def _sets(summary: Summary, frame: pd.DataFrame) -> Iterator[str]:
    good = frame[frame.status == "ok"]
    reasons = [json.loads(text) for text in good.reasons]
    for name, said in summary.sets.items():
        metric = name.partition("/")[0]
        clusters = [c for c, why in zip(good.cluster, reasons, strict=True) if metric not in why]
        yield from _differs(f"sets.{name}.n", said.n, len(clusters))
        if said.clusters is not None:
            yield from _differs(f"sets.{name}.clusters", said.clusters, len(set(clusters)))
        if said.low is None or said.high is None:
            continue
        if said.value is None:
            yield f"sets.{name} has an interval and no value"
        elif not said.low <= said.value <= said.high:
            yield f"sets.{name}.value is {said.value}, outside its interval {said.low} to {said.high}"


def _facts(summary: Summary, frame: pd.DataFrame) -> Iterator[str]:
    good = frame[frame.status == "ok"]
    yield from _differs("facts", dict(summary.facts), aggregate.facts(good))
    for name in (OVERLAP, AGREEMENT):
        if not summary.disturbance and any(name in json.loads(text) for text in good.facts):
            yield f"disturbance is empty, but the rows have the fact {name} of a disturbed run"
    yield from _differs("warnings", list(summary.warnings), list(aggregate.warnings(good)))
    for text in aggregate.doubts(frame):
        if text not in summary.dataset.warnings:
            yield f"dataset.warnings lacks {shown(text)}, which the rows give"


def _times(summary: Summary, frame: pd.DataFrame) -> Iterator[str]:
    seconds = frame[frame.status == "ok"].seconds.to_numpy(dtype=np.float64, na_value=np.nan)
    seconds = seconds[~np.isnan(seconds)]
    for name, compute in (("median_seconds", np.median), ("mean_seconds", np.mean)):
        said = getattr(summary.times, name)
        found = round(float(compute(seconds)), 6) if len(seconds) else None
        if said is not None or name == "median_seconds":
            yield from _differs(f"times.{name}", said, found, slack=2e-6)


def _differs(field: str, said: Any, computed: Any, slack: float = 1e-12) -> Iterator[str]:
    if not _equal(said, computed, slack):
        yield f"{field} is {shown(said)}, the rows give {shown(computed)}"


def _equal(left: Any, right: Any, slack: float) -> bool:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(_equal(left[name], right[name], slack) for name in left)
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (left, right))
    if numbers:
        return math.isclose(left, right, rel_tol=EXACT, abs_tol=slack)
    return bool(left == right)
