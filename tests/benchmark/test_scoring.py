"""Scores of one sample: against plain recomputation, and what a broken metric or sample costs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn_samples import MAPS, PROTOCOL, Corner, Near, Whole, drawn, exact, hole, info, sample
from hypothesis import given
from hypothesis import strategies as st

from benchmark import scoring
from benchmark.metrics import Erasure, Score
from benchmark.metrics.pixels import Psnr, Ssim
from benchmark.regions import MODES, REGIONS, regions_of
from benchmark.scoring import Metrics, Scored, changes, open_metrics, prepared, score, score_columns
from olrd.arrays import Image, Mask
from olrd.errors import IntegrityError, SourceError, UsageError
from olrd.panoptic import Box


def test_every_region_and_mode_is_the_plain_mean_of_its_pixels() -> None:
    one, output = sample(), drawn(2)
    assert one.truth is not None
    found = score(one, output, Metrics(MAPS, [], []), PROTOCOL)
    pasted = output.copy()
    pasted[~one.mask] = one.image[~one.mask]
    for region, where in regions_of(one.mask, PROTOCOL).items():
        for mode, picture in (("raw", output), ("composited", pasted)):
            errors, alike = [], []
            for y, x in zip(*np.nonzero(where), strict=True):
                got, truth = picture[y, x].astype(float), one.truth[y, x].astype(float)
                errors.append((got[1] - truth[1]) ** 2)
                alike.append(1 - np.abs(got - truth).mean() / 255)
            expected = 10 * math.log10(np.mean(errors))
            assert found.values[f"power/{region}/{mode}"] == pytest.approx(expected, abs=1e-5)
            assert found.values[f"near/{region}/{mode}"] == pytest.approx(np.mean(alike), abs=1e-6)
    assert found.reasons == {}


def test_an_output_that_keeps_the_input_outside_scores_alike_in_both_modes() -> None:
    """Then one map serves both modes; what it costs must not change what it says."""
    one = sample()
    output = np.where(one.mask[..., None], drawn(2), one.image)
    metrics = Metrics(MAPS, [Whole(True)], [Corner()])
    found = score(one, output, metrics, PROTOCOL)
    nearly = output.copy()
    nearly[0, 0, 0] ^= 1  # one pixel outside: now the two modes are two pictures
    other = score(one, nearly, metrics, PROTOCOL)
    for column in score_columns(metrics):
        if column.endswith("/raw") and not column.startswith("change"):
            twin = column.replace("/raw", "/composited")
            assert found.values[column] == found.values[twin]
            assert other.values[twin] == found.values[twin]
    assert other.values["near/full/raw"] != found.values["near/full/raw"]
    np.testing.assert_array_equal(found.features["corner/raw"], found.features["corner/composited"])


def test_columns_and_values_agree_in_name_and_number() -> None:
    metrics = Metrics(MAPS, [Whole(False)], [Corner()])
    columns = score_columns(metrics)
    assert len(columns) == len(set(columns)) == 2 * 2 * 5 + 2 + 2
    for one in (sample(), sample(truth=False), sample(np.zeros((3, 4), bool))):
        found = score(one, drawn(2, *one.mask.shape), metrics, PROTOCOL)
        assert set(found.values) == set(columns)
        assert set(found.reasons) == {c for c, value in found.values.items() if value is None}
    assert [m.name for m in metrics.infos()] == ["power", "near", "whole", "corner"]


def columns_of(found: Scored, region: str) -> dict[str, tuple[float | None, str]]:
    return {
        column: (value, found.reasons.get(column, ""))
        for column, value in found.values.items()
        if column.split("/")[1] == region
    }


@pytest.mark.parametrize(
    ("mask", "empty"),
    [(np.zeros((9, 8), bool), {"mask", "ring", "box"}), (np.ones((9, 8), bool), {"ring", "outside"})],
    ids=["empty", "full"],
)
def test_regions_without_pixels_have_no_score_and_say_so(mask: Mask, empty: set[str]) -> None:
    found = score(sample(mask), drawn(2, 9, 8), Metrics(MAPS, [], []), PROTOCOL)
    for region in REGIONS:
        for column, (value, reason) in columns_of(found, region).items():
            assert (value is None) == (region in empty), column
            assert reason == ("empty_region" if region in empty else ""), column


def test_without_a_truth_only_what_needs_none_is_scored() -> None:
    output = drawn(2)
    metrics = Metrics(MAPS, [Whole(False)], [Corner()])
    found = score(sample(truth=False), output, metrics, PROTOCOL)
    assert {c.split("/")[0] for c, v in found.values.items() if v is not None} == {"whole", "change", "change-max"}
    assert set(found.reasons.values()) == {"no_truth"}
    assert found.values["whole/full/raw"] == output[hole()][:, 0].sum() + 1
    assert set(found.features) == {"corner/raw", "corner/composited"}
    refused = score(sample(truth=False), output, Metrics([], [Whole(True)], []), PROTOCOL)
    assert refused.reasons == {"whole/full/raw": "no_truth", "whole/full/composited": "no_truth"}


def test_the_effect_has_columns_where_the_set_has_masks_of_it() -> None:
    effect = np.roll(hole(), 5, 0)
    one, output = replace(exact(hole()), effect=effect), drawn(2)
    metrics = Metrics([Near()], [Whole(False)], [])
    found = score(one, output, metrics, PROTOCOL)
    assert list(found.values) == score_columns(metrics, effects=True)
    assert one.truth is not None
    region = effect & ~one.mask
    alike = 1 - np.abs(output[region].astype(float) - one.truth[region]).mean() / 255
    assert found.values["near/effect/raw"] == pytest.approx(alike, abs=1e-6)
    assert found.values["near/effect/composited"] == 1  # the input is kept there
    none = score(replace(one, effect=effect & False), output, metrics, PROTOCOL)
    assert none.reasons["near/effect/raw"] == "empty_region"


def test_an_erasure_metric_sees_the_photo_the_regions_and_the_twin() -> None:
    seen = []

    class Judge:
        info = replace(info("judge", "erasure", needs_truth=False), region="mask")

        def judge(self, outputs: Sequence[Image], erasure: Erasure) -> list[Score]:
            seen.append(erasure)
            return [Score(float(output[erasure.regions["mask"]].mean())) for output in outputs]

    one, output = replace(sample(truth=False), twin=Box(1, 2, 3, 4)), drawn(2)
    found = score(one, output, Metrics([], [Judge()], []), PROTOCOL)
    assert found.values["judge/mask/raw"] == pytest.approx(output[one.mask].mean())
    assert [*found.values][:2] == score_columns(Metrics([], [Judge()], []))[:2]
    (given,) = seen
    assert given.image is one.image and given.truth is None and given.twin == one.twin
    assert set(given.regions) == set(REGIONS)


def test_features_are_those_of_output_composite_and_truth() -> None:
    one, output = sample(), drawn(2)
    assert one.truth is not None
    found = score(one, output, Metrics([], [], [Corner()]), PROTOCOL).features
    assert found["corner/raw"].tolist() == output[0, 0].tolist()
    assert found["corner/composited"].tolist() == one.image[0, 0].tolist()
    assert found["corner/truth"].tolist() == one.truth[0, 0].tolist()


def test_a_set_metric_of_the_box_sees_the_box_alone() -> None:
    class Mean(Corner):
        info = replace(info("mean", "set"), region="box")

        def features(self, images: Sequence[Image]) -> Any:
            return np.array([image.mean((0, 1)) for image in images])

    one, output = sample(), drawn(2)
    found = score(one, output, Metrics([], [], [Mean()]), PROTOCOL)
    box = regions_of(one.mask, PROTOCOL)["box"]
    assert box.any() and not box.all()
    np.testing.assert_allclose(found.features["mean/raw"], output[box].mean(0))
    assert one.truth is not None
    np.testing.assert_allclose(found.features["mean/truth"], one.truth[box].mean(0))
    empty = replace(one, mask=np.zeros_like(one.mask))
    found = score(empty, output, Metrics([], [], [Mean(), Corner()]), PROTOCOL)
    assert found.reasons["mean"] == "empty_region" and "corner/raw" in found.features


def test_the_hash_is_that_of_the_pixels_whatever_their_layout_in_memory() -> None:
    output = drawn(2)
    turned = np.asfortranarray(output)
    one = sample()
    hashes = {score(one, o, Metrics([], [], []), PROTOCOL).output_sha256 for o in (output, turned)}
    assert hashes == {hashlib.sha256(output.tobytes()).hexdigest()}


# --- metrics that misbehave -----------------------------------------------------------------------


@pytest.mark.parametrize("margin", [0, 3])
def test_with_an_exact_truth_nothing_is_wrong_outside_once_composited(margin: int) -> None:
    """Not small: nothing. Whatever the output."""
    protocol = replace(PROTOCOL, outside_margin=margin)
    found = score(exact(hole()), drawn(2), Metrics([Psnr(), Near()], [], []), protocol)
    assert found.values["psnr/outside/composited"] is None
    assert found.reasons["psnr/outside/composited"] == "identical"
    assert found.values["near/outside/composited"] == 1.0
    raw = found.values["psnr/outside/raw"]
    assert raw is not None and raw < 20


@given(st.integers(0, 500), st.integers(1, 20), st.integers(1, 20), st.floats(0.01, 1))
def test_the_full_psnr_is_that_of_the_mask_plus_the_bonus_of_its_area(
    seed: int, height: int, width: int, share: float
) -> None:
    """Composited with an exact truth: PSNR_full = PSNR_mask + 10 log10(1 / a)."""
    mask = np.random.default_rng(seed).random((height, width)) < share
    mask[0, 0] = True
    one = exact(mask)
    found = score(one, drawn(seed + 1, height, width), Metrics([Psnr()], [], []), PROTOCOL).values
    full, inside = found["psnr/full/composited"], found["psnr/mask/composited"]
    assert inside == found["psnr/mask/raw"]
    if inside is None:
        assert full is None
    else:
        assert full == pytest.approx(inside + 10 * math.log10(1 / mask.mean()), abs=1e-4)


def test_the_truth_is_perfect_and_the_input_changes_nothing() -> None:
    one = exact(hole())
    assert one.truth is not None
    metrics = Metrics([Psnr(), Ssim(), Near()], [], [])
    best = score(one, one.truth, metrics, PROTOCOL)
    assert {best.reasons[f"psnr/{r}/{m}"] for r in REGIONS for m in MODES} == {"identical"}
    assert {best.values[f"{n}/{r}/{m}"] for n in ("ssim", "near") for r in REGIONS for m in MODES} == {1.0}
    nothing = score(one, one.image, metrics, PROTOCOL)
    assert nothing.values["change/outside/raw"] == nothing.values["change-max/outside/raw"] == 0
    for column in ("psnr/mask/raw", "psnr/full/raw"):
        assert nothing.values[column] == nothing.values[column.replace("raw", "composited")]


def test_each_map_metric_is_asked_once_and_inputs_are_left_alone() -> None:
    asked = []

    class Counting(Near):
        def maps(self, outputs: Sequence[Image], truth: Image) -> list[Any]:
            asked.append(len(outputs))
            return super().maps(outputs, truth)

    one, output = sample(), drawn(2)
    assert one.truth is not None
    copies = [a.copy() for a in (one.image, one.mask, one.truth, output)]
    score(one, output, Metrics([Counting()], [], []), PROTOCOL)
    assert asked == [2]
    for array, copy in zip((one.image, one.mask, one.truth, output), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


# --- changes outside ------------------------------------------------------------------------------


@given(st.integers(0, 999), st.integers(1, 15), st.integers(1, 15), st.floats(0, 1))
def test_changes_are_the_mean_and_the_largest_difference(seed: int, height: int, width: int, share: float) -> None:
    image, output = drawn(seed, height, width), drawn(seed + 1, height, width)
    where = np.random.default_rng(seed).random((height, width)) < share
    mean, largest = changes(image, output, where)
    differences = [
        abs(int(image[y, x, c]) - int(output[y, x, c]))
        for y, x in zip(*np.nonzero(where), strict=True)
        for c in range(3)
    ]
    if not differences:
        assert mean == largest == Score(None, "empty_region")
    else:
        assert mean.value == pytest.approx(sum(differences) / len(differences))
        assert largest.value == max(differences)


# --- opening --------------------------------------------------------------------------------------


def test_metrics_are_sorted_by_kind_and_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, Any] = {"corner": Corner(), "near": Near(), "whole": Whole(True)}
    monkeypatch.setattr(scoring, "open_metric", lambda name, device: known[name])
    protocol = replace(PROTOCOL, metrics=("corner", "near", "whole"))
    opened = open_metrics(protocol, "cpu")
    assert (opened.maps, opened.samples, opened.sets) == ([known["near"]], [known["whole"]], [known["corner"]])
    known["whole"].info = info("whole", "word")
    with pytest.raises(UsageError, match=r"whole has the unknown kind 'word'; known kinds: map, sample, erasure, set"):
        open_metrics(protocol, "cpu")


# --- failures: a broken metric costs its own scores, with the reason, and no others ---------------


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


@pytest.mark.parametrize("shape", [(3, 3), (40, 50, 3)])
def test_a_map_of_another_shape_is_no_score(shape: tuple[int, ...]) -> None:
    """OpenCV's message for it names no shape."""
    broken: Any = Broken("map", lambda outputs: [np.zeros(shape, np.float32) for _ in outputs])
    found = score(sample(), drawn(2), Metrics([broken], [], []), PROTOCOL)
    height, width = sample().mask.shape
    why = f"failed: ValueError: expected maps [{height}, {width}], got {list(shape)}"
    assert set(found.reasons.values()) == {why}


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
