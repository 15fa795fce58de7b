"""Runs of one method that differ in the seed only, and how much their scores spread.

A method that draws random numbers names its seed among its options (`EraserInfo.options`). Other methods give the same
outputs for every seed: they run once and have no spread.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmark.runner.inputs import open_inputs
from benchmark.runner.request import Request
from benchmark.runner.results import Run
from benchmark.runner.run import run
from benchmark.runner.summary import Summary
from olrd.engines import EngineSpec
from olrd.errors import UsageError
from olrd.progress import say

SEED = "seed"


class Spread(NamedTuple):
    """A score over seeds.

    Attributes:
        mean: of the scores of the runs.
        deviation: their standard deviation (divisor: seeds - 1).
        low, high: the smallest and the largest score.
        seeds: number of runs with a value.
    """

    mean: float
    deviation: float
    low: float
    high: float
    seeds: int


def spread(values: Sequence[float | None]) -> Spread | None:
    """The spread of the scores of several runs; None below two finite values."""
    found = [value for value in values if value is not None and math.isfinite(value)]
    if len(found) < 2:
        return None
    return Spread(statistics.fmean(found), statistics.stdev(found), min(found), max(found), len(found))


def draws(options: Mapping[str, str] | None) -> bool:
    """Whether a method with these resolved options draws random numbers."""
    return SEED in (options or {})


def same_but_for_seed(summary: Summary) -> tuple[object, ...]:
    """What is equal for two results of one method that differ in the seed only."""
    method, data = summary.method, summary.dataset
    options = tuple(sorted((name, value) for name, value in method.options.items() if name != SEED))
    counts = data.n, data.total, summary.n, summary.n_failed
    return method.name, method.revision, method.device, options, data.name, data.fingerprint, counts


def run_seeds(
    request: Request, seeds: Sequence[int], out: Path | str | None = None, engine: EngineSpec | None = None
) -> list[Run]:
    """Make a run for each seed. A method that does not draw is run with the first seed only; a message says so.

    Args:
        request: what to run, without a seed.
        seeds: at least two different ones.
        out: the runs are OUT/seed-N; by default each has its usual folder.
        engine: where to erase.

    Raises:
        UsageError: the seeds are fewer than two, or one is named twice, or the request has one.
    """
    if request.seed is not None:
        raise UsageError("--seed and --seeds exclude each other: give one of them")
    if len(seeds) < 2 or len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds expects at least two different seeds, e.g. 0,1,2, got {','.join(map(str, seeds))}")
    info = open_inputs(replace(request, seed=seeds[0])).eraser.info
    if not draws(info.options):
        say(f"{info.name} draws no random numbers, so its results are the same for every seed: it is run once")
        seeds = seeds[:1]
    made = []
    for seed in seeds:
        say(f"seed {seed}")
        made.append(run(replace(request, seed=seed), None if out is None else Path(out) / f"seed-{seed}", engine))
    return made


def spreads(summaries: Sequence[Summary]) -> dict[str, Spread | None]:
    """The spread of every score, per sample and of whole sets, by column; None for a method that does not draw."""
    first = summaries[0]
    drawn = draws(first.method.options)
    found: dict[str, Spread | None] = {}
    for name in first.scores:
        found[name] = spread([s.scores[name].mean for s in summaries]) if drawn else None
    for name in first.sets:
        found[name] = spread([s.sets[name].value for s in summaries]) if drawn else None
    return found
