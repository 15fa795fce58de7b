"""The numbers of a summary, computed from rows made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.board.ranking import group_key
from benchmark.board.records import read_record
from benchmark.metrics import open_metric
from benchmark.runner.aggregate import set_scores
from benchmark.runner.summary import SetSummary
from benchmark.scoring import Metrics

BOARD = Path(__file__).parents[3] / "leaderboards" / "results"


def drawn(photos: int, each: int) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Rows of a run, several samples a photo, and a row of features for each."""
    frame = pd.DataFrame({"cluster": [f"p{k // each}" for k in range(photos * each)]}).assign(reasons="{}")
    return frame, list(np.random.default_rng(0).normal(size=(len(frame), 6)))


def test_ground_truth_has_a_kid_of_exactly_zero() -> None:
    pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    frame, truth = drawn(12, 3)
    noise = np.random.default_rng(1).normal(size=(len(frame), 6))
    given = {"kid-alex-box/truth": truth, "kid-alex-box/raw": truth, "kid-alex-box/composited": list(truth + noise)}
    found = set_scores(Metrics([], [], [open_metric("kid-alex-box", "cpu")]), given, frame, seed=0)
    assert found["kid-alex-box/raw"] == SetSummary(0.0, 36, "", 0.0, 0.0, 12)
    other = found["kid-alex-box/composited"]
    assert other.value is not None and other.low is not None and other.low < other.value


def test_records_of_the_earlier_kid_are_read_and_not_ranked_with_the_new_one() -> None:
    pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    record = read_record(next(BOARD.glob("olrd-coco-heldout/*/ground-truth/*.json")))
    now = open_metric("kid-alex-box", "cpu").info
    assert record.metrics["kid-alex-box"].revision == now.revision == "2+784d9a1d6b71"
    assert record.sets["kid-alex-box/raw"].value == 0
    values = record.to_json()
    values["metrics"]["kid-alex-box"]["revision"] = "1+784d9a1d6b71"
    assert group_key(record) != group_key(type(record).from_json(values, "the earlier record"))
