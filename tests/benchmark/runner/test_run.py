"""Runs end to end: what they leave, and what a user gets who asks for something else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from seven_pairs import STEMS, request, same, samples

import benchmark.runner.run as runner
from baselines import open_eraser
from benchmark.cli import main
from benchmark.datasets import open_dataset
from benchmark.protocol import load_protocol
from benchmark.runner.evaluator import ChunkEvaluator
from benchmark.runner.inputs import open_inputs
from benchmark.runner.results import Run
from benchmark.runner.run import plan, run
from benchmark.scoring import open_metrics, prepared, score, score_columns
from olrd.engines import EngineError, EngineSpec
from olrd.errors import OutputError, SourceError, UsageError

HEAVY = ("ray", "torch", "pandas", "cv2", "sklearn", "datasets", "pyarrow", "transformers", "scipy", "numpy")


# --- what a run leaves ---------------------------------------------------------------------------


def test_rows_are_what_scoring_each_sample_by_itself_gives(root: Path, plain: Path) -> None:
    rows = samples(plain).set_index("id")
    protocol = load_protocol(str(root / "small.json"))
    metrics, eraser = open_metrics(protocol, "cpu"), open_eraser("opencv-telea", {}, "cpu")
    data = open_dataset("pairs", str(root))
    assert list(rows.index) == data.ids() == list(STEMS)
    for index, name in enumerate(STEMS):
        one = prepared(data.sample(index), protocol)
        (output,) = eraser.erase([one.image], [one.mask])
        expected, row = score(one, output, metrics, protocol), rows.loc[name]
        assert row.output_sha256 == expected.output_sha256
        assert json.loads(row.reasons) == expected.reasons
        for column in score_columns(metrics):
            value = expected.values[column]
            assert row[column] == value if value is not None else np.isnan(row[column])
        assert (row.status, row.reason, row.cluster) == ("ok", "", name.split("_")[0])
        assert (row.width, row.height, row.mask_share) == (30, 24, one.mask.mean())


def test_the_summary_counts_and_explains(plain: Path) -> None:
    found = Run(plain)
    assert found.summary.n == 7 and found.summary.n_failed == 0
    assert found.summary.label.startswith("opencv-telea (opencv-")
    inside = found.summary.scores["psnr/mask/raw"]
    assert (inside.n, inside.clusters, inside.without) == (6, 4, {"empty_region": 1})
    assert inside.mean == pytest.approx(found.samples()["psnr/mask/raw"].mean())
    assert (inside.low, inside.high, inside.no_interval) == (None, None, "too_few_photos")
    assert found.summary.intervals == "jackknife"
    assert found.summary.metrics["psnr"].unit == "dB"
    assert found.summary.times.wall_seconds > 0
    assert sorted(p.name for p in plain.iterdir()) == ["run.json", "samples.parquet", "summary.json"]


def test_a_finished_run_is_not_run_again(root: Path, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "Evaluator", None)
    before = (plain / "samples.parquet").stat().st_mtime_ns
    assert run(request(root), plain).summary == Run(plain).summary
    assert (plain / "samples.parquet").stat().st_mtime_ns == before


def test_a_folder_without_a_finished_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no finished run"):
        Run(tmp_path)


@pytest.mark.parametrize("name", ["summary.json", "samples.parquet"])
def test_a_damaged_run_is_named_with_what_to_do(
    name: str, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = shutil.copytree(plain, tmp_path / "broken")
    (broken / name).write_bytes(b"{ half")
    assert main(["compare", str(broken), str(plain)]) == 1
    said = capsys.readouterr().err
    assert f"{broken / name} is" in said and "damaged" in said and "another --out" in said
    if name == "samples.parquet":
        (broken / name).unlink()
        assert main(["compare", str(broken), str(plain)]) == 1
        assert "is missing or damaged" in capsys.readouterr().err


@pytest.mark.parametrize("batch", [2, 3, 50])
def test_the_batch_changes_nothing_but_times(
    batch: int, root: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.runner.evaluator.PART", 2)
    run(request(root, batch=batch), tmp_path / "out")
    same(tmp_path / "out", plain)


@pytest.mark.slow
def test_two_workers_give_the_same_rows(
    root: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "PART", 2)
    summary = run(request(root, batch=2, save=True), tmp_path / "out", EngineSpec(workers=2)).summary
    assert (summary.n, len(list((tmp_path / "out" / "outputs").iterdir()))) == (7, 7)
    same(tmp_path / "out", plain)


def test_a_worker_that_would_make_another_run_is_refused(root: Path, tmp_path: Path) -> None:
    """Another device or version on one machine of several would mix two runs."""
    identity = open_inputs(request(root)).identity
    with pytest.raises(OutputError, match=r"does not exist on .*under the same path"):
        ChunkEvaluator(request(root), str(tmp_path / "out"), identity).start()
    (tmp_path / "out" / "parts").mkdir(parents=True)
    ChunkEvaluator(request(root), str(tmp_path / "out"), identity).start()
    other = replace(identity, method=replace(identity.method, device="cuda"))
    with pytest.raises(EngineError, match=r"would make another run .*'cpu'.* instead of .*'cuda'"):
        ChunkEvaluator(request(root), str(tmp_path / "out"), other).start()


def test_a_limit_takes_the_first_and_no_others(root: Path, plain: Path, tmp_path: Path) -> None:
    summary = run(request(root, limit=3), tmp_path / "out").summary
    assert summary.dataset.n == 3 and summary.dataset.total == 7
    pd.testing.assert_frame_equal(samples(tmp_path / "out"), samples(plain)[:3], check_exact=True)


def test_saved_pictures_score_the_same_when_read_back(root: Path, plain: Path, tmp_path: Path) -> None:
    run(request(root, save=True), tmp_path / "out")
    assert {p.stem for p in (tmp_path / "out" / "outputs").iterdir()} == set(STEMS)
    options = {"path": str(tmp_path / "out" / "outputs"), "name": "again"}
    summary = run(request(root, "folder", options=options), tmp_path / "again").summary
    assert summary.method.name == "again"
    same(tmp_path / "again", plain)


# --- folders and errors --------------------------------------------------------------------------


def test_pictures_that_would_share_a_file_are_not_saved_over_each_other(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_dataset("pairs", str(root))
    monkeypatch.setattr(data, "ids", lambda: ["a/1", "a_1"])
    monkeypatch.setattr("benchmark.runner.inputs.open_dataset", lambda *_: data)
    with pytest.raises(UsageError, match="several samples would share the file name a_1"):
        run(request(root, save=True), tmp_path / "out")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"method": "opencv-ns"}, "method.name is 'opencv-telea' there and 'opencv-ns' here"),
        ({"options": {"radius": "3"}}, "method.options.radius is '5' there and '3' here"),
        ({"limit": 2}, "dataset.n is 7 there and 2 here"),
        ({"seed": 5}, "seed is 0 there and 5 here"),
        ({"save": True}, "saved is False there and True here"),
    ],
    ids=["method", "option", "limit", "seed", "save"],
)
def test_another_run_in_the_same_folder_is_refused(other: dict[str, Any], said: str, root: Path, plain: Path) -> None:
    """The message says what differs, and what to type."""
    before = {p.name: p.read_bytes() for p in plain.iterdir()}
    with pytest.raises(OutputError, match="holds another run") as caught:
        run(request(root, **other), plain)
    assert said in str(caught.value) and f"Add --out {plain}-2" in str(caught.value)
    assert {p.name: p.read_bytes() for p in plain.iterdir()} == before


def test_a_device_that_is_not_there_is_refused_before_a_folder_is_made(root: Path, tmp_path: Path) -> None:
    """Also where only a metric would use it: the run would end at its first sample and leave a folder."""
    pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    with pytest.raises(UsageError, match="'cuda:99' is asked for"):
        run(replace(request(root), device="cuda:99"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_else_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(OutputError, match=r"holds no run: \['thesis\.tex'\]"):
        run(request(root), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["thesis.tex"]


def test_a_plan_says_what_would_run_and_touches_nothing(root: Path, plain: Path) -> None:
    planned = plan(request(root))
    assert {k: planned[k] for k in ("method", "dataset", "protocol", "seed")} == {
        k: v
        for k, v in json.loads((plain / "run.json").read_text()).items()
        if k in ("method", "dataset", "protocol", "seed")
    }
    assert set(planned["columns"]) == {c for c in samples(plain).columns if "/" in c}


def test_missing_weights_end_the_command_with_1_and_the_way_to_get_them(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    monkeypatch.setenv("OLRD_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.delenv("LAMA_MODEL", raising=False)
    words = ["run", "--method", "lama", "--dataset", "pairs", "--root", str(root)]
    assert main([*words, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    for part in ("benchmark fetch lama", "https://", str(tmp_path / "weights" / "big-lama.pt"), "LAMA_MODEL"):
        assert part in said
    assert not (tmp_path / "out").exists()


def test_unknown_weights_end_the_command_unless_their_sha256_is_trusted(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    monkeypatch.setenv("OLRD_TRUST_WEIGHTS", "")  # also takes back what the command sets
    monkeypatch.setenv("LAMA_MODEL", str(tmp_path / "mine.pt"))
    (tmp_path / "mine.pt").write_bytes(b"mine")
    sha256 = hashlib.sha256(b"mine").hexdigest()
    words = ["run", "--method", "lama", "--dataset", "pairs", "--root", str(root), "--dry-run"]
    assert main([*words, "--trust-weights", "0" * 64]) == 1
    assert f"--trust-weights {sha256}" in capsys.readouterr().err
    assert main([*words, "--trust-weights", "all"]) == 2
    assert main([*words, "--trust-weights", sha256]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "opencv-tela"], "Did you mean 'opencv-telea'?"),
        (["--method", "identity", "--protocol", "nativ"], "Did you mean 'native'?"),
        (["--method", "identity", "--dataset", "pair"], "Did you mean 'pairs'?"),
        (["--method", "identity", "--batch", "0"], "--batch must be at least 1, got 0"),
        (["--method", "blur-fill", "--option", "sigm=3"], "Did you mean 'sigma'?"),
    ],
)
def test_a_wrong_word_ends_the_command_with_2_and_the_right_one(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *words, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_control_that_needs_a_truth_stops_where_there_is_none(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_dataset("pairs", str(root))
    sample = data.sample
    monkeypatch.setattr(data, "sample", lambda k: replace(sample(k), truth=None))
    monkeypatch.setattr("benchmark.runner.inputs.open_dataset", lambda *_: data)
    with pytest.raises(UsageError, match="needs a dataset with a truth"):
        run(request(root, "ground-truth"), tmp_path / "out")


# --- light ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["compare", "--help"]])
def test_help_imports_nothing_heavy_and_takes_under_half_a_second_of_cpu(words: list[str]) -> None:
    code = (
        f"import sys, benchmark.cli as m\ntry: m.main({words!r})\n"
        "except SystemExit as done: assert done.code == 0\n"
        f"print('\\nHEAVY', *(n for n in {HEAVY!r} if n in sys.modules))"
    )
    for _ in range(3):  # a busy machine may count more than the command takes
        argv = [sys.executable, "-c", code]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            printed = child.stdout.read()
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        assert printed.startswith("usage: benchmark")
        assert printed.splitlines()[-1].strip() == "HEAVY"
        if (took := usage.ru_utime + usage.ru_stime) < 0.5:
            break
    assert took < 0.5
