"""A summary follows from its rows; whatever is edited in either is named."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark.runner.aggregate import scores
from benchmark.runner.follows import contradictions
from benchmark.runner.results import Run
from benchmark.runner.summary import SetSummary, Summary
from benchmark.statistics import bootstrap_estimate

PSNR = "psnr/mask/raw"


def edited(summary: Summary, **score: Any) -> Summary:
    """The summary with other values of the score PSNR in the mask."""
    return replace(summary, scores={**summary.scores, PSNR: replace(summary.scores[PSNR], **score)})


def test_a_run_follows_from_its_rows(plain: Path) -> None:
    run = Run(plain)
    assert contradictions(run.summary, run.samples()) == []


def test_a_run_of_an_earlier_version_follows_from_its_rows(plain: Path) -> None:
    """Its intervals are percentile bootstraps, of any number of photos."""
    run = Run(plain)
    protocol = run.summary.protocol
    earlier = partial(bootstrap_estimate, resamples=protocol.bootstrap, seed=protocol.seed)
    old = replace(run.summary, intervals="bootstrap", scores=scores(run.samples(), earlier))
    assert old.scores[PSNR].low is not None and "intervals" not in old.to_json()
    assert contradictions(old, run.samples()) == []
    (found,) = contradictions(edited(old, high=99.0), run.samples())
    assert found.startswith(f"scores.{PSNR}.high is 99.0")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": 99.0}, f"scores.{PSNR}.mean is 99.0, the rows give"),
        ({"mean": None}, f"scores.{PSNR}.mean is None, the rows give"),
        ({"low": 0.0}, f"scores.{PSNR}.low is 0.0"),
        ({"n": 7}, f"scores.{PSNR}.n is 7, the rows give 6"),
        ({"without": {}}, f"scores.{PSNR}.without"),
    ],
)
def test_an_edited_score_is_named(change: dict[str, Any], message: str, plain: Path) -> None:
    run = Run(plain)
    found = contradictions(edited(run.summary, **change), run.samples())
    assert len(found) == 1 and found[0].startswith(message)


@pytest.mark.parametrize("field", ["n", "n_failed"])
def test_an_edited_count_is_named(field: str, plain: Path) -> None:
    run = Run(plain)
    assert contradictions(replace(run.summary, **{field: 5}), run.samples())[0].startswith(f"{field} is 5")


@pytest.mark.parametrize(("value", "problems"), [(-0.5, 0), (0.5, 1), (None, 1)])
def test_a_set_score_lies_in_its_interval(value: float | None, problems: int, plain: Path) -> None:
    """An interval may end at 0, where a test for "no number" by its truth value goes wrong."""
    run = Run(plain)
    clusters = run.samples().cluster.nunique()
    sets = {"kid/raw": SetSummary(value, 7, "", low=-1.0, high=0.0, clusters=clusters)}
    assert len(contradictions(replace(run.summary, sets=sets), run.samples())) == problems


def test_an_edited_time_is_named(plain: Path) -> None:
    run = Run(plain)
    faster = replace(run.summary, times=replace(run.summary.times, median_seconds=1e-5))
    assert "times.median_seconds is 1e-05" in contradictions(faster, run.samples())[0]


def test_scores_without_rows_and_rows_without_scores_are_named(plain: Path) -> None:
    run = Run(plain)
    summary, frame = run.summary, run.samples()
    assert contradictions(summary, frame.drop(columns=[PSNR])) == [f"scores.{PSNR} has no column in the rows"]
    without = replace(summary, scores={name: one for name, one in summary.scores.items() if name != PSNR})
    assert contradictions(without, frame) == [f"scores lacks {PSNR}, which the rows have"]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (PSNR, np.nan, "neither a value of 'psnr/mask/raw' nor a reason"),
        (PSNR, np.inf, "'psnr/mask/raw' = inf"),
        ("status", "fine", "status 'fine'"),
        ("reasons", "[", "reasons that are no JSON object"),
        ("facts", None, "facts that are no JSON object"),
    ],
)
def test_a_row_that_no_run_writes_is_named(column: str, value: Any, message: str, plain: Path) -> None:
    run = Run(plain)
    frame: pd.DataFrame = run.samples()
    frame.loc[0, column] = value
    found = contradictions(run.summary, frame)
    assert found and found[0].startswith(f"the row '{frame.id[0]}'") and message in found[0]
