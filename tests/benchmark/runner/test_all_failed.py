"""Samples that failed: a word at the first one, no finished run without a score, and a second try on request."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seven_pairs import STEMS, Scripted, raising, request, same, samples, use
from synthetic_records import record

from baselines.finite import NotFiniteError
from benchmark import scoring
from benchmark.cli import main
from benchmark.datasets import open_dataset
from benchmark.metrics import MetricInfo, Score
from benchmark.runner.results import Run
from benchmark.runner.run import AllFailedError, run
from olrd.errors import SourceError

ALL = dict.fromkeys(STEMS, raising(MemoryError("full")))
SOME: dict[str, Callable[[Any], Any]] = {STEMS[k]: raising(MemoryError("full")) for k in (1, 4)}


def words(root: Path, out: Path, *more: str) -> list[str]:
    data = ["--dataset", "pairs", "--root", str(root), "--data-option", "cluster=prefix"]
    rest = ["--protocol", str(root / "small.json"), "--device", "cpu", "--out", str(out)]
    return ["run", "--method", "opencv-telea", *data, *rest, *more]


def test_a_run_in_which_all_fails_is_not_finished_and_the_same_call_tries_again(
    root: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        use(patch, Scripted(ALL))
        with pytest.raises(AllFailedError, match=r"failed on all 7 samples of pairs: 7 x MemoryError: full.*again"):
            run(request(root), tmp_path / "out")
    assert set(samples(tmp_path / "out").reason) == {"MemoryError: full"}
    with pytest.raises(SourceError, match="holds no finished run"):
        Run(tmp_path / "out")
    run(request(root), tmp_path / "out")
    same(tmp_path / "out", plain)


def test_a_run_of_nothing_that_an_older_version_finished_is_made_again(
    root: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        use(patch, Scripted(ALL))
        with pytest.raises(AllFailedError):
            run(request(root), tmp_path / "out")
    (tmp_path / "out" / "summary.json").write_text(json.dumps(record("a", n=0, n_failed=7)))
    run(request(root), tmp_path / "out")
    same(tmp_path / "out", plain)


def test_a_command_whose_samples_all_fail_says_so_at_once_and_ends_with_1(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    eraser = Scripted(dict.fromkeys(STEMS, raising(NotFiniteError("a: 3 values are NaN\nor infinite"))))
    use(monkeypatch, eraser)
    assert main(words(root, tmp_path / "out")) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "7 x NotFiniteError: a: 3 values are NaN or infinite" in captured.err
    first = f"{STEMS[0]} failed: NotFiniteError: a: 3 values are NaN or infinite (the run goes on"
    assert captured.err.count(f"{STEMS[0]} failed") == 1 and first in captured.err
    assert not any(f"{name} failed" in captured.err for name in STEMS[1:])


def test_the_first_failure_is_said_before_the_next_sample_is_erased(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    acts = {
        STEMS[0]: raising(MemoryError("full")),
        STEMS[1]: lambda output: said.append(capsys.readouterr().err) or output,
    }
    use(monkeypatch, Scripted(acts))
    run(request(root), tmp_path / "out")
    assert f"{STEMS[0]} failed: MemoryError: full" in said[0]


def test_only_the_failed_samples_are_tried_again(
    root: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        use(patch, Scripted(SOME))
        assert main(words(root, out)) == 0
        assert f"--retry-failed --out {out}" in capsys.readouterr().out
        calm = Scripted({})
        use(patch, calm)
        assert run(request(root), out).summary.n_failed == 2 and not calm.seen  # it is finished
        assert main(words(root, out, "--retry-failed")) == 0
        assert [hint.key for hint in calm.seen] == [STEMS[1], STEMS[4]]
    same(out, plain)
    assert Run(out).summary.n_failed == 0 and not (out / "parts").exists()
    again = (out / "samples.parquet").stat().st_mtime_ns
    run(request(root, retry_failed=True), out)
    assert (out / "samples.parquet").stat().st_mtime_ns == again, "nothing failed, nothing is made again"


class Mean:
    """A set metric whose features are the mean colour. It fails on the outputs of `without`."""

    info = MetricInfo("mean-colour", "set", False, "levels", "for tests")
    without: float | None = None

    def features(self, images: Any) -> Any:
        rows = np.stack([i.reshape(-1, 3).mean(axis=0) for i in images])
        if self.without is not None and rows[-1][0] == self.without:
            raise RuntimeError("no idea")
        return rows

    def compare(self, outputs: Any, truths: Any) -> Score:
        return Score(float(np.abs(outputs - truths).sum()))


def test_features_of_the_other_samples_are_kept_for_the_second_try(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metric = Mean()
    monkeypatch.setattr(scoring, "open_metric", lambda name, device: metric)
    whole = run(request(root), tmp_path / "whole").summary
    third = open_dataset("pairs", str(root)).sample(2).truth
    assert third is not None
    metric.without = float(third.reshape(-1, 3).mean(axis=0)[0])
    use(monkeypatch, Scripted(SOME))
    assert run(request(root), tmp_path / "out").summary.sets["mean-colour/raw"].n == 4
    metric.without, calm = None, Scripted({})
    use(monkeypatch, calm)
    again = run(request(root, retry_failed=True), tmp_path / "out").summary
    assert [hint.key for hint in calm.seen] == [STEMS[1], STEMS[2], STEMS[4]], "one failed in the metric"
    assert again.sets == whole.sets and not (tmp_path / "out" / "parts").exists()


def test_a_second_try_that_is_interrupted_goes_on(
    root: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        use(patch, Scripted(SOME))
        run(request(root), tmp_path / "out")
        use(patch, Scripted({STEMS[4]: raising(KeyboardInterrupt())}))
        with pytest.raises(KeyboardInterrupt):
            run(request(root, retry_failed=True), tmp_path / "out")
        calm = Scripted({})
        use(patch, calm)
        run(request(root), tmp_path / "out")
    assert [hint.key for hint in calm.seen] == [STEMS[1], STEMS[4]]
    same(tmp_path / "out", plain)


def test_a_run_that_goes_on_says_how_many_failed_before(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmark.runner.evaluator.PART", 2)
    use(monkeypatch, Scripted(SOME | {STEMS[5]: raising(KeyboardInterrupt())}))
    with pytest.raises(KeyboardInterrupt):
        run(request(root), tmp_path / "out")
    capsys.readouterr()
    use(monkeypatch, Scripted({}))
    done = run(request(root), tmp_path / "out")
    assert done.summary.n_failed == 1
    assert "1 sample failed before; --retry-failed erases it again" in capsys.readouterr().err


def test_a_dataset_without_a_sample_is_named(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_dataset("pairs", str(root))
    monkeypatch.setattr(data, "ids", lambda: [])
    monkeypatch.setattr("benchmark.runner.inputs.open_dataset", lambda *_: data)
    with pytest.raises(SourceError, match="the dataset pairs holds no sample"):
        run(request(root), tmp_path / "out")
