"""Computes the numbers of summary.json from the rows of samples.parquet: means, intervals, counts."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmark.datasets.pair_doubts import data_warnings, is_count
from benchmark.groups import groups_of
from benchmark.metrics import PairedSetMetric, Score
from benchmark.regions import MODES
from benchmark.runner.erasing import DOUBTS
from benchmark.runner.revision import git_revision
from benchmark.runner.summary import (
    DatasetSummary,
    MethodSummary,
    MetricSummary,
    RequestSummary,
    ScoreSummary,
    SetSummary,
    Summary,
    Times,
)
from benchmark.statistics import INTERVALS, Estimate, estimate, jackknife
from olrd.errors import did_you_mean

if TYPE_CHECKING:
    from benchmark.metrics import SetMetric
    from benchmark.runner.inputs import Inputs
    from benchmark.runner.request import Request
    from benchmark.runner.threads import Crew
    from benchmark.scoring import Metrics

PACKAGES = ("olrd", "numpy", "opencv-python-headless", "pillow", "torch", "torchmetrics", "diffusers")


def summarise(
    frame: pd.DataFrame,
    inputs: Inputs,
    request: Request,
    features: dict[str, list[np.ndarray]],
    started: float,
    crew: Crew,
) -> Summary:
    """The summary of a run.

    Args:
        frame: the rows of samples.parquet.
        inputs, request: what was run.
        features: per set metric and picture the features of all samples that have them, in order.
        started: `time.perf_counter()` at the start of the run.
        crew: what the run worked with.
    """
    good, failed = frame[frame.status == "ok"], frame[frame.status == "failed"]
    protocol, info, identity = inputs.protocol, inputs.eraser.info, inputs.identity
    return Summary(
        method=MethodSummary(**vars(identity.method), license=info.license, control=info.control),
        dataset=DatasetSummary(**vars(identity.dataset), warnings=(*inputs.data.warnings, *doubts(frame))),
        protocol=protocol,
        protocol_id=protocol.id,
        metrics={
            m.name: MetricSummary(m.revision, m.higher_is_better, m.unit, m.definition) for m in inputs.metrics.infos()
        },
        seed=identity.seed,
        n=len(good),
        n_failed=len(failed),
        failures=dict(sorted(Counter(failed.reason).items())),
        scores=scores(frame),
        sets=set_scores(inputs.metrics, features, good, protocol.seed),
        facts=facts(good),
        warnings=warnings(good),
        disturbance=identity.disturbance,
        versions=versions(),
        intervals=INTERVALS,
        git=git_revision(),
        request=RequestSummary(request.limit, request.batch, request.dataset, request.protocol, request.options),
        times=Times(
            median_seconds=_rounded(good.seconds.median()),
            mean_seconds=_rounded(good.seconds.mean()),
            peak_mb=_rounded(good.peak_mb.max()),
            wall_seconds=round(time.perf_counter() - started, 3),
            workers=crew.workers,
            threads=crew.threads,
        ),
    )


def scores(
    frame: pd.DataFrame, estimator: Callable[[np.ndarray, Sequence[str]], Estimate] = estimate
) -> dict[str, ScoreSummary]:
    """The mean of every score column over the samples that did not fail, with its interval.

    Args:
        frame: the rows of samples.parquet.
        estimator: computes mean and interval from the values and their source photos.
    """
    good = frame[frame.status == "ok"]
    reasons = [json.loads(text) for text in good.reasons]
    result = {}
    for column in [name for name in frame.columns if "/" in name]:
        values = good[column].to_numpy(dtype=np.float64, na_value=np.nan)
        found = estimator(values, list(good.cluster))
        without = Counter(r[column] for r in reasons if column in r)
        result[column] = ScoreSummary(**found._asdict(), without=dict(sorted(without.items())))
    return result


def set_scores(
    metrics: Metrics, features: dict[str, list[np.ndarray]], good: pd.DataFrame, seed: int
) -> dict[str, SetSummary]:
    """Per set metric and mode the value with its interval.

    The reason says why there is no value, what limits it, and how many samples have no features and why.
    good: the rows that did not fail.
    """
    result: dict[str, SetSummary] = {}
    reasons = [json.loads(text) for text in good.reasons]
    for metric in metrics.sets:
        name = metric.info.name
        without = Counter(r[name] for r in reasons if name in r)
        clusters = [c for c, r in zip(good.cluster, reasons, strict=True) if name not in r]
        lost = [f"{count} {why}" for why, count in sorted(without.items())]
        truths = features.get(f"{name}/truth", [])
        for mode in MODES:
            rows = features.get(f"{name}/{mode}", [])
            value, why = None, ["no_truth"] if rows else [] if lost else ["too_few"]
            low, high, no_interval = None, None, ""
            if rows and len(rows) == len(truths):
                value, reason = _compared(metric, np.stack(rows), np.stack(truths), np.array(clusters))
                why = [reason] if reason else []
            if value is not None:
                low, high, no_interval = _interval(metric, np.stack(rows), np.stack(truths), value, clusters, seed)
            reason = "; ".join([*why, *lost])
            photos = len(set(clusters))
            result[f"{name}/{mode}"] = SetSummary(value, len(rows), reason, low, high, photos, no_interval)
    return result


def _interval(
    metric: SetMetric, rows: np.ndarray, truths: np.ndarray, value: float, clusters: list[str], seed: int
) -> tuple[float | None, float | None, str]:
    photos = np.array(clusters)

    def score_of(kept: np.ndarray) -> float | None:
        return _compared(metric, rows[kept], truths[kept], photos[kept]).value

    return jackknife(score_of, value, clusters, seed)


def _compared(metric: SetMetric, rows: np.ndarray, truths: np.ndarray, photos: np.ndarray) -> Score:
    if isinstance(metric, PairedSetMetric):
        return metric.compare_paired(rows, truths, list(photos))
    return metric.compare(rows, truths)


def facts(good: pd.DataFrame) -> dict[str, float]:
    """The mean of every fact of the samples."""
    gathered: dict[str, list[float]] = {}
    for text in good.facts:
        for name, value in json.loads(text).items():
            gathered.setdefault(name, []).append(value)
    numbers = {name: values for name, values in gathered.items() if name not in DOUBTS and not is_count(name)}
    return {name: float(np.mean(values)) for name, values in sorted(numbers.items())}


def doubts(frame: pd.DataFrame) -> tuple[str, ...]:
    """What the samples say about the dataset, e.g. how many masks are empty. frame: all rows of samples.parquet."""
    read = frame[frame.mask_share.notna()]  # a row of a sample that could not be read has no facts
    return data_warnings([json.loads(text) for text in read.facts])


def warnings(good: pd.DataFrame) -> tuple[str, ...]:
    """What the outputs say about the eraser: how many are unchanged or flat. good: the rows that did not fail."""
    counts = Counter(name for text in good.facts for name in json.loads(text) if name in DOUBTS)
    outputs = "output" if len(good) == 1 else "outputs"
    return tuple(f"{counts[name]} of {len(good)} {outputs} {text}" for name, text in DOUBTS.items() if counts[name])


def versions() -> dict[str, str]:
    """The versions of Python and of the installed packages that the numbers depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def breakdown(frame: pd.DataFrame, column: str, by: str) -> pd.DataFrame:
    """A score per group of samples: mean, interval, n, clusters, and why there is no interval.

    Args:
        frame: the rows of samples.parquet.
        column: the score.
        by: how samples are grouped (see `benchmark.groups`).

    Raises:
        UsageError: there is no such score.
    """
    if column not in frame.columns or "/" not in column:
        raise did_you_mean("score", column, (name for name in frame.columns if "/" in name))
    good = frame[frame.status == "ok"]
    rows = []
    for group, kept in groups_of(good, by):
        part = good[kept]
        values = part[column].to_numpy(dtype=np.float64, na_value=np.nan)
        rows.append({by: group} | estimate(values, list(part.cluster))._asdict())
    return pd.DataFrame(rows)


def _rounded(seconds: float) -> float | None:
    return None if np.isnan(seconds) else round(float(seconds), 6)
