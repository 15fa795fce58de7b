"""What a broken metric or sample costs: its own scores, with the reason, and no others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn_samples import MAPS, PROTOCOL, Corner, Whole, drawn, info, sample

from benchmark.metrics import Score
from benchmark.regions import MODES, REGIONS
from benchmark.scoring import Metrics, prepared, score
from olrd.arrays import Image
from olrd.errors import IntegrityError, SourceError


class Broken:
    """A metric of any kind of which every call does what `act` does."""

    def __init__(self, kind: str, act: Any) -> None:
        self.info = info(f"broken-{kind}", kind, needs_truth=False)
        self.maps = self.scores = self.features = lambda outputs, *_: act(outputs)

    def finish(self, mean: float) -> Score:
        return Score(mean)

    compare: Any = None


def act_of(error: Exception) -> Any:
    def act(outputs: Any) -> Any:
        raise error

    return act


def with_broken(act: Any) -> Metrics:
    return Metrics([Broken("map", act), *MAPS], [Broken("sample", act), Whole(True)], [Broken("set", act), Corner()])


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (act_of(RuntimeError("out of\nmemory")), "failed: RuntimeError: out of memory"),
        (lambda outputs: [], "failed: ValueError: expected {} results, one per picture, got 0"),
    ],
    ids=["raises", "too few"],
)
def test_a_metric_that_fails_costs_its_own_scores_and_no_others(act: Any, why: str) -> None:
    one, output = sample(), drawn(2)
    found = score(one, output, with_broken(act), PROTOCOL)
    whole = score(one, output, Metrics(MAPS, [Whole(True)], [Corner()]), PROTOCOL)
    lost = {f"broken-map/{r}/{m}" for r in REGIONS for m in MODES}
    lost |= {f"broken-sample/full/{m}" for m in MODES}
    assert found.reasons == dict.fromkeys(lost, why.format(2)) | {"broken-set": why.format(3)}
    assert found.values == whole.values | dict.fromkeys(lost)
    assert {k: v.tolist() for k, v in found.features.items()} == {k: v.tolist() for k, v in whole.features.items()}


def test_what_no_sample_can_do_without_stops_the_run() -> None:
    for kind in ("map", "sample", "set"):
        broken: Any = Broken(kind, act_of(SourceError("damaged weights")))
        lists = [[broken] if k == kind else [] for k in ("map", "sample", "set")]
        with pytest.raises(SourceError, match="damaged weights"):
            score(sample(), drawn(2), Metrics(*lists), PROTOCOL)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_no_score(value: float) -> None:
    def act(outputs: Any) -> Any:
        return [Score(value) for _ in outputs]

    found = score(sample(), drawn(2), Metrics([], [Broken("sample", act)], []), PROTOCOL)
    assert found.values["broken-sample/full/raw"] is None
    assert found.reasons["broken-sample/full/raw"] == "not_finite"
    rows: Any = Broken("set", lambda outputs: np.full((len(outputs), 2), value))
    found = score(sample(), drawn(2), Metrics([], [], [rows]), PROTOCOL)
    assert found.features == {} and found.reasons == {"broken-set": "not_finite"}


def test_features_are_shared_by_metrics_that_name_the_same_network_and_no_others() -> None:
    """Two metrics of one class and revision may still be two networks."""
    asked = []

    class Level(Corner):
        def __init__(self, name: str, network: str, level: float) -> None:
            self.info = replace(info(name, "set"), network=network)
            self.level = level

        def features(self, images: Sequence[Image]) -> Any:
            asked.append(self.info.name)
            return np.full((len(images), 1), self.level)

    sets: list[Any] = [Level("a", "one", 1), Level("b", "one", 1), Level("c", "", 2), Level("d", "", 3)]
    found = score(sample(), drawn(2), Metrics([], [], sets), PROTOCOL).features
    assert asked == ["a", "c", "d"]
    assert [float(found[f"{name}/raw"][0]) for name in "abcd"] == [1, 1, 2, 3]


@pytest.mark.parametrize("what", ["image", "truth"])
def test_a_sample_whose_pictures_differ_in_size_is_refused(what: str) -> None:
    one = replace(sample(), **{what: drawn(3, 14, 18)})
    with pytest.raises(IntegrityError, match=r"a: the .* is \[14, 18, 3\], the mask 17 x 14"):
        prepared(one, PROTOCOL)


# --- identities that a sound benchmark keeps ------------------------------------------------------
