"""Comparing two runs, and breaking one down: by hand, on runs written by the test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_records import record

from benchmark.board.compare import compare, names_of, usual_scores
from benchmark.cli import main
from benchmark.groups import AREAS, GROUPINGS
from benchmark.protocol import Protocol
from benchmark.runner.aggregate import breakdown, scores
from benchmark.runner.results import Run, write_rows
from benchmark.statistics import detectable, difference, holm, photos_needed
from olrd.errors import UsageError

PROTOCOL = Protocol("test", 1, metrics=("psnr",), bootstrap=200)
COLUMNS = ["psnr/mask/raw", "psnr/full/raw", "change/outside/raw"]


def write_run(
    folder: Path,
    values: dict[str, float | None],
    protocol: Protocol = PROTOCOL,
    data: str = "abc",
    higher: float = 0.0,
    revision: str = "1",
) -> Run:
    """A finished run whose first score is `values` by sample id; None is a failed sample. Samples
    are named <photo><letter>; psnr/full is always one more, change always nothing."""
    folder.mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for k, (name, value) in enumerate(values.items()):
        row: dict[str, Any] = {"id": name, "cluster": name[:-1], "status": "ok", "reason": ""}
        row |= {"reasons": "{}", "facts": "{}", "mask_share": (k + 1) / 100, "category": "dog"}
        if value is None:
            row |= {"status": "failed", "reason": "ValueError: no"}
        else:
            row |= {"psnr/mask/raw": value + higher, "psnr/full/raw": value + higher + 1, "change/outside/raw": 0.0}
        rows.append(row)
    write_rows(folder / "samples.parquet", rows, COLUMNS)
    frame = pd.read_parquet(folder / "samples.parquet")
    summary = record(folder.name, dataset__name="drawn", dataset__fingerprint=data, dataset__warnings=["careful"]) | {
        "protocol": protocol.to_dict(),
        "metrics": {"psnr": {"revision": revision, "higher_is_better": True, "unit": "dB", "definition": "d"}},
        "n": int((frame.status == "ok").sum()),
        "n_failed": int((frame.status == "failed").sum()),
        "failures": {"ValueError: no": 1} if None in values.values() else {},
        "facts": {"drift": 1.5},
        "scores": {name: vars(score) for name, score in scores(frame).items()},
        "sets": {"fid/raw": {"value": None, "n": 3, "reason": "no_truth"}},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return Run(folder)


# --- paired differences --------------------------------------------------------------------------


def test_differences_are_taken_sample_by_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1a: 2, 1b: 3, 2a: -1, 3a: 4; the mean is 2. In another order, and with other samples beside."""
    a = write_run(tmp_path / "a", {"1a": 22, "1b": 25, "2a": 19, "3a": 30, "4a": 99, "5a": None})
    b = write_run(tmp_path / "b", {"5a": 1, "3a": 26, "1b": 22, "2a": 20, "1a": 20, "9z": 3, "4a": None})
    table = compare(a, b).set_index("score")
    said = capsys.readouterr().err.splitlines()  # which failed there, or are not there
    assert [line.partition(": ")[2] for line in said] == [
        "1 of its 5 samples is not in the other run, left out",
        "2 of its 6 samples are not in the other run, left out",
    ]
    assert list(table.index) == COLUMNS
    found = table.loc["psnr/mask/raw"]
    assert (found["mean"], found["n"], found["clusters"]) == (2.0, 4, 3)
    # Photos sum to 5, -1, 4: of 8 sign patterns, those with |sum| >= 8 are +-+ -> 10, its mirror
    # image, +++ and ---.
    assert found["p"] == 4 / 8
    assert pd.isna(found["low"]) and found["no_interval"] == "too_few_photos"
    expected = difference(np.array([2.0, 3, -1, 4]), np.zeros(4), ["1", "1", "2", "3"], 200, 0)
    assert (found["error"], found["p"]) == (expected.error, expected.p)


def test_a_minus_b_is_b_minus_a_turned_round(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"{k}a" for k in range(20)]
    a = write_run(tmp_path / "a", dict(zip(names, rng.normal(20, 2, 20), strict=True)))
    b = write_run(tmp_path / "b", dict(zip(names, rng.normal(21, 2, 20), strict=True)))
    one, other = (compare(*pair).iloc[0] for pair in ((a, b), (b, a)))
    assert one["mean"] == pytest.approx(-other["mean"])
    assert (one["low"], one["high"]) == pytest.approx((-other["high"], -other["low"]))
    assert one["p"] == other["p"]


def test_p_values_are_corrected_over_the_columns_shown(tmp_path: Path) -> None:
    names = [f"{k}a" for k in range(8)]
    b = write_run(tmp_path / "b", {n: float(k) for k, n in enumerate(names)})
    a = write_run(tmp_path / "a", {n: float(k) for k, n in enumerate(names)}, higher=0.5)
    p = 2 / 256
    every = compare(a, b).set_index("score")
    # The change outside is nothing in both runs: a test of it could find nothing, so it is none.
    assert list(every["p"][:2]) == [p, p] and pd.isna(every["p"].iloc[2])
    assert list(every["p_holm"][:2]) == [2 * p, 2 * p] and pd.isna(every["p_holm"].iloc[2])
    assert list(every["no_test"]) == ["", "", "all_equal"]
    assert list(every["verdict"]) == ["A is better", "A is better", "equal in every sample"]
    alone = compare(a, b, ["psnr/mask/raw"])
    assert (alone["p"][0], alone["p_holm"][0]) == (p, p)


def test_a_run_equals_itself(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", {"1a": 22, "2a": 19, "3a": None})
    table = compare(a, a)
    assert (table["mean"] == 0).all() and (table["verdict"] == "equal in every sample").all()
    assert table[["p", "p_holm", "photos_needed"]].isna().all(axis=None)


def test_runs_without_a_shared_sample_have_no_difference(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", {"1a": 2}), write_run(tmp_path / "b", {"2a": 2})
    table = compare(a, b)
    assert (table["n"] == 0).all()
    assert table[["mean", "low", "high", "p", "p_holm"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"protocol": Protocol("test", 1, metrics=("psnr",), bootstrap=201)}, "another protocol"),
        ({"protocol": Protocol("test", 2, metrics=("psnr",), bootstrap=200)}, "another protocol"),
        ({"data": "abd"}, "another dataset"),
        ({"revision": "2"}, "another revision of the metrics"),
    ],
)
def test_numbers_of_another_protocol_or_data_set_are_not_compared(
    other: dict[str, Any], said: str, tmp_path: Path
) -> None:
    a = write_run(tmp_path / "a", {"1a": 22, "2a": 19})
    b = write_run(tmp_path / "b", {"1a": 22, "2a": 19}, **other)
    with pytest.raises(UsageError, match=f"cannot be compared: {said}"):
        compare(a, b)


def test_an_unknown_score_is_named_with_those_there_are(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", {"1a": 22, "2a": 19})
    with pytest.raises(UsageError, match=r"no score is called 'psnr/masc/raw'\. Did you mean 'psnr/mask/raw'\?"):
        compare(a, a, ["psnr/masc/raw"])
    for column in ("psnr/masc/raw", "mask_share"):
        with pytest.raises(UsageError, match=f"no score is called '{column}'"):
            breakdown(a.samples(), column, "area")


# --- which is better, and how many photos it takes -----------------------------------------------


def test_the_better_side_follows_the_direction_of_the_score(tmp_path: Path) -> None:
    names = [f"{k}a" for k in range(8)]
    b = write_run(tmp_path / "b", {n: float(k) for k, n in enumerate(names)})
    a = write_run(tmp_path / "a", {n: float(k) for k, n in enumerate(names)}, higher=0.5)
    assert (a.summary.metrics["psnr"].higher_is_better, compare(a, b)["higher_is_better"][0]) == (True, True)
    assert (compare(a, b)["verdict"][0], compare(b, a)["verdict"][0]) == ("A is better", "B is better")
    worse = {"psnr": replace(a.summary.metrics["psnr"], higher_is_better=False)}
    a.summary = replace(a.summary, metrics=worse)
    b.summary = replace(b.summary, metrics=worse)
    assert (compare(a, b)["verdict"][0], compare(b, a)["verdict"][0]) == ("B is better", "A is better")
    for run in (a, b):
        edit_rows(run, category=names)
    few = compare(a, b, ["psnr/mask/raw"], by="category")  # one photo a group
    assert set(few["verdict"]) == {"one photo"}


def test_the_number_of_photos_is_for_the_measured_difference_or_for_a_given_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"{k}a" for k in range(20)]
    a = write_run(tmp_path / "a", dict(zip(names, rng.normal(20, 2, 20), strict=True)))
    b = write_run(tmp_path / "b", dict(zip(names, rng.normal(21, 2, 20), strict=True)))
    row = compare(a, b).iloc[0]
    assert row["size"] == abs(row["mean"])
    assert row["photos_needed"] == photos_needed(row["mean"], row["error"], 20)
    assert row["detectable"] == detectable(row["error"], 20)
    given = compare(a, b, sizes={"psnr": 0.25, "psnr/full/raw": row["detectable"] * 1.0001}).set_index("score")
    assert list(given["size"][:2]) == [0.25, row["detectable"] * 1.0001]
    assert given["photos_needed"].iloc[0] > 200 and given["photos_needed"].iloc[1] == 20
    with pytest.raises(UsageError, match=r"no score or metric is called 'psmr'\. Did you mean 'psnr'"):
        compare(a, b, sizes={"psmr": 1})
    with pytest.raises(UsageError, match="the size of psnr must be a number above 0, got -1"):
        compare(a, b, sizes={"psnr": -1})


def test_both_sides_have_names_that_differ(tmp_path: Path) -> None:
    a, b = (write_run(tmp_path / name, {"1a": 1.0}) for name in ("a", "b"))
    assert names_of(a, b) == ("a (1)", "b (1)")
    same = replace(b.summary, method=a.summary.method)
    b.summary = replace(same, seed=7)
    assert names_of(a, b) == ("a (1)", "a (1) seed=7")
    b.summary = same
    assert names_of(a, b) == (str(a.folder), str(b.folder))
    assert compare(a, b)[["a", "b"]].iloc[0].tolist() == [str(a.folder), str(b.folder)]


# --- breakdowns ----------------------------------------------------------------------------------


@given(st.integers(1, 45), st.integers(0, 99))
def test_groups_of_the_area_add_up_to_the_whole(count: int, seed: int) -> None:
    """Every sample is in one group, and groups go from small masks to large ones."""
    rng = np.random.default_rng(seed)
    values = rng.normal(20, 3, count)
    shares = rng.choice([0.0, 0.004, 0.01, 0.029, 0.03, 0.2, 0.3, 1.0], count)
    frame = pd.DataFrame(
        {"status": "ok", "cluster": [str(k) for k in range(count)], "psnr/mask/raw": values, "mask_share": shares}
    )
    table = breakdown(frame, "psnr/mask/raw", "area")
    names = [area.name for area in AREAS]
    assert list(table["area"]) == sorted(table["area"], key=names.index)
    assert table["n"].sum() == count
    assert (table["mean"] * table["n"]).sum() == pytest.approx(values.sum())
    for area, n in zip(table["area"], table["n"], strict=True):
        (bounds,) = (one for one in AREAS if one.name == area)
        assert n == sum(bounds.low <= share < bounds.high for share in shares)


def test_a_group_is_the_mean_of_its_samples(tmp_path: Path) -> None:
    """Masks of 1 to 20 %. Failed samples are in no group."""
    values: dict[str, float | None] = {f"{k}a": float(k) for k in range(20)}
    run = write_run(tmp_path / "a", values | {"99a": None})
    table = breakdown(run.samples(), "psnr/mask/raw", "area")
    assert table[["area", "mean", "n"]].to_numpy().tolist() == [
        ["1 to 3 %", 0.5, 2],
        ["3 to 10 %", 5, 7],
        ["10 to 30 %", 14, 11],
    ]


def test_samples_without_a_label_are_a_group_and_come_last(tmp_path: Path) -> None:
    frame = write_run(tmp_path / "a", {"1a": 1, "1b": 3, "2a": 7}).samples()
    assert breakdown(frame, "psnr/mask/raw", "placement")["placement"].tolist() == ["unknown"]
    frame = frame.assign(placement=["uniform", None, "zoom"])
    table = breakdown(frame, "psnr/mask/raw", "placement")
    assert table[["placement", "n"]].to_numpy().tolist() == [["uniform", 1], ["zoom", 1], ["unknown", 1]]
    older = frame.drop(columns="placement")
    assert breakdown(older, "psnr/mask/raw", "placement")["n"].tolist() == [3]
    with pytest.raises(UsageError, match="Did you mean 'placement'"):
        breakdown(frame, "psnr/mask/raw", "placements")


def test_categories_and_backgrounds_are_groups(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {"1a": 1, "1b": 3, "2a": 7})
    frame = run.samples().assign(background=["sky", "sea", "sea"])
    table = breakdown(frame, "psnr/mask/raw", "background")
    assert table[["background", "mean", "n", "clusters"]].to_numpy().tolist() == [
        ["sea", 5.0, 2, 2],
        ["sky", 1.0, 1, 1],
    ]
    assert breakdown(frame, "psnr/mask/raw", "category")["n"].tolist() == [3]


def edit_rows(run: Run, **columns: list[Any]) -> None:
    """Write other values into the rows of a run."""
    records = run.samples().assign(**columns).to_dict("records")
    rows = [{name: value for name, value in row.items() if not pd.isna(value)} for row in records]
    write_rows(run.folder / "samples.parquet", rows, COLUMNS)


def test_differences_within_groups_are_those_of_the_parts(tmp_path: Path) -> None:
    """Groups of both runs, as if only their samples were there. Holm's correction is over all of them."""
    rng = np.random.default_rng(0)
    values = {f"{k}a": float(v) for k, v in enumerate(rng.normal(20, 2, 24))}
    b = write_run(tmp_path / "b", values)
    a = write_run(tmp_path / "a", {name: value + rng.normal(0.5, 0.3) for name, value in values.items()})
    for run in (a, b):
        edit_rows(run, category=["cat", "dog"] * 12)
    table = compare(a, b, ["psnr/mask/raw", "psnr/full/raw"], by="category")
    assert table[["category", "score", "n"]].to_numpy().tolist() == [
        [group, score, 12] for group in ("cat", "dog") for score in ("psnr/mask/raw", "psnr/full/raw")
    ]
    kept = list(values)[::2]
    small = [
        write_run(
            tmp_path / f"{r.folder.name}-cat", {n: r.samples().set_index("id").loc[n, "psnr/mask/raw"] for n in kept}
        )
        for r in (a, b)
    ]
    alone = compare(*small, ["psnr/mask/raw"])
    assert table[["mean", "low", "high", "p"]].iloc[0].tolist() == alone[["mean", "low", "high", "p"]].iloc[0].tolist()
    assert table["p_holm"].tolist() == holm(table["p"].tolist())
    assert list(compare(a, b, ["psnr/mask/raw"], by="area")["area"]) == ["1 to 3 %", "3 to 10 %", "10 to 30 %"]
    with pytest.raises(UsageError, match="no grouping is called 'place'"):
        compare(a, b, by="place")


@pytest.mark.parametrize(
    ("by", "column", "values", "said"),
    [
        ("category", "category", ["dog", "cat"], "category of the sample '2a' is 'dog' and 'cat'"),
        ("area", "mask_share", [0.01, 0.5], "mask_share of the sample '2a' is '0.02' and '0.5'"),
        (None, "cluster", ["1", "7"], "cluster of the sample '2a' is '2' and '7'"),
    ],
)
def test_runs_that_group_a_sample_differently_are_not_compared(
    by: str | None, column: str, values: list[Any], said: str, tmp_path: Path
) -> None:
    a, b = (write_run(tmp_path / name, {"1a": 22, "2a": 19}) for name in ("a", "b"))
    edit_rows(b, **{column: values})
    with pytest.raises(UsageError, match=f"cannot be compared: {said}"):
        compare(a, b, by=by)


def test_where_all_failed_there_is_nothing_to_break_down(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {"1a": None, "2a": None})
    for by in GROUPINGS:
        assert breakdown(run.samples(), "psnr/mask/raw", by).empty


# --- at the terminal -----------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_compares_and_breaks_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = write_run(tmp_path / "a", {"1a": 22, "2a": 19, "3a": 25})
    b = write_run(tmp_path / "b", {"1a": 20, "2a": 20, "3a": 22})
    for run in (a, b):
        edit_rows(run, mask_share=[0.005, 0.02, 0.2])
    words = ["compare", str(tmp_path / "a"), str(tmp_path / "b")]
    assert main([*words, "--json", "--score", "psnr/mask/raw"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["score"] == "psnr/mask/raw" and row["mean"] == pytest.approx(4 / 3)
    assert main([*words[:2], "--json", "--by", "area"]) == 0  # one run is enough, all headlines
    rows = json.loads(capsys.readouterr().out)
    assert [r["mean"] for r in rows if r["score"] == "psnr/mask/raw"] == [22, 19, 25]
    assert main(words[:2]) == 2
    assert main([*words]) == 0
    assert usual_scores(a.summary) == ["psnr/mask/raw", "change/outside/raw"]
    printed = capsys.readouterr().out
    assert all(column in printed for column in usual_scores(a.summary))
    assert "A  a (1), " in printed and "B  b (1), " in printed
    assert "not told apart (dB, higher is better)" in printed
    assert "equal in every sample (grey levels, lower is better)" in printed
    assert "With so few photos p (Holm) is at least 0.25: no difference can be shown." in printed
    assert main([*words, "--json", "--by", "area", "--size", "psnr=2", "--score", "psnr/mask/raw"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["area"], row["mean"], row["size"], row["verdict"]) for row in rows] == [
        ("under 1 %", 2, 2, "one photo"),
        ("1 to 3 %", -1, 2, "one photo"),
        ("10 to 30 %", 3, 2, "one photo"),
    ]
    assert main([*words, "--by", "area"]) == 0
    assert "too few photos (1)" in capsys.readouterr().out
    assert main([*words[:2], "--by", "area"]) == 0
    assert "psnr/mask/raw (dB, higher is better)" in capsys.readouterr().out
    assert main([*words[:2], "--by", "area", "--size", "psnr=1"]) == 2
    assert main([*words, "--score", "psnr/masc/raw"]) == 2
    assert main(["compare", str(tmp_path), str(tmp_path / "b")]) == 1
    assert "holds no finished run" in capsys.readouterr().err


def test_a_metric_that_scores_whole_pictures_is_a_headline_too(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {"1a": 22})
    summary = run.summary
    metrics = {**summary.metrics, "dists": replace(summary.metrics["psnr"], higher_is_better=False)}
    scores = {**summary.scores, "dists/full/raw": summary.scores["psnr/full/raw"]}
    protocol = replace(summary.protocol, metrics=("dists", "psnr"))
    run.summary = replace(summary, protocol=protocol, metrics=metrics, scores=scores)
    assert usual_scores(run.summary) == ["dists/full/raw", "psnr/mask/raw", "change/outside/raw"]
