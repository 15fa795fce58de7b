"""Failures are kept as rows; a run that was cut off ends with the same rows as one that was not."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from plugin.install import install
from seven_pairs import STEMS, Scripted, drawn, raising, request, same, samples, use

from baselines.eraser import WeightsMissingError, WeightsUnusableError
from benchmark import scoring
from benchmark.board.leaderboard import leaderboard
from benchmark.board.records import add_record
from benchmark.cli.screen import result
from benchmark.datasets import Sample, open_dataset
from benchmark.metrics import MetricInfo, Score, open_metric
from benchmark.runner import evaluator
from benchmark.runner.erasing import DOUBTS, UNCHANGED, doubt_of
from benchmark.runner.results import Run, read_rows
from benchmark.runner.run import run
from olrd.arrays import Image
from olrd.errors import MissingExtraError, OlrdError, OutputError, SourceError

# --- erasers that misbehave ----------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 4])
def test_failures_are_rows_with_reasons_and_counts_add_up(
    batch: int, root: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that raises, one that leaves Python, one of another size, one of another type, one missing: the others are not
    touched, also where they shared a batch."""
    acts: dict[str, Callable[[Image], Any]] = {
        STEMS[0]: raising(ValueError("no idea")),
        STEMS[1]: raising(SystemExit(0)),
        STEMS[2]: lambda output: output[:-1],
        STEMS[4]: lambda output: output.astype(np.float32),
        STEMS[5]: lambda output: None,
    }
    use(monkeypatch, Scripted(acts))
    summary = run(request(root, batch=batch), tmp_path / "out").summary
    rows = samples(tmp_path / "out").set_index("id")
    failed = rows[rows.status == "failed"]
    assert list(failed.index) == [STEMS[k] for k in (0, 1, 2, 4, 5)]
    assert list(failed.reason) == [
        "ValueError: no idea",
        "RuntimeError: it called sys.exit(0)",
        *(
            f"WrongOutputError: the eraser opencv-telea must return {found}"
            for found in (
                "uint8 [24, 30, 3], the size of the photo; it returned uint8 [23, 30, 3]",
                "uint8 [24, 30, 3], the size of the photo; it returned float32 [24, 30, 3]",
                "a list of 1 picture; it returned 0 pictures",
            )
        ),
    ]
    assert failed["psnr/full/raw"].isna().all() and list(failed.width) == [30] * 5
    assert list(failed.cluster) == ["scene0", "scene0", "scene1", "scene2", "scene2"]
    good = rows.index[rows.status == "ok"]
    pd.testing.assert_frame_equal(rows.loc[good], samples(plain).set_index("id").loc[good])
    assert (summary.n, summary.n_failed) == (2, 5)
    assert summary.failures == dict.fromkeys(failed.reason, 1)
    assert summary.scores["psnr/full/raw"].n == 2


def test_a_damaged_file_fails_its_own_sample(root: Path, plain: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(root, tmp_path / "pairs")
    (broken / "gt" / f"{STEMS[1]}.png").write_bytes(b"no picture")
    summary = run(request(broken), tmp_path / "out").summary
    rows = samples(tmp_path / "out")
    assert (summary.n, summary.n_failed) == (6, 1)
    assert "not a readable image" in rows.reason[1] and rows.id[1] == STEMS[1]
    pd.testing.assert_frame_equal(rows.drop(index=1), samples(plain).drop(index=1), check_dtype=False, check_exact=True)


def test_only_controls_are_shown_the_truth(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = Scripted({})
    use(monkeypatch, method)
    run(request(root), tmp_path / "method")
    assert [hint.truth for hint in method.seen] == [None] * 7
    monkeypatch.undo()
    summary = run(request(root, "ground-truth"), tmp_path / "truth").summary
    assert summary.scores["psnr/mask/raw"].without == {"identical": 6, "empty_region": 1}
    assert summary.scores["ssim/mask/raw"].mean == 1.0


@pytest.mark.parametrize(
    "error",
    [
        WeightsUnusableError("big.pt is damaged"),
        WeightsMissingError("big.pt is damaged"),
        MissingExtraError("big.pt is damaged", "models"),
        SourceError("the segmenter in big.pt is damaged"),
    ],
)
def test_unusable_weights_end_the_run_at_once(
    error: OlrdError, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every sample would fail for the same reason: nothing is finished, and the run can go on later."""
    method = Scripted(dict.fromkeys(STEMS, raising(error)))
    use(monkeypatch, method)
    with pytest.raises(type(error), match=r"big\.pt is damaged"):
        run(request(root), tmp_path / "out")
    assert len(method.seen) == 1 and not (tmp_path / "out" / "samples.parquet").exists()


# --- metrics that misbehave ----------------------------------------------------------------------


class Fails:
    """A metric without a value for the samples whose mask starts at column 6 or 7."""

    def __init__(self, name: str, kind: str) -> None:
        self.info = MetricInfo(name, kind, True, "", "for tests")
        self.mean = Mean()

    def scores(self, outputs: Sequence[Image], mask: Any, truth: Any) -> list[Score]:
        if mask.any() and np.flatnonzero(mask.any(axis=0))[0] in (6, 7):
            raise RuntimeError("no idea of /srv/data/x.png")
        return [Score(1.0) for _ in outputs]

    def features(self, images: Sequence[Image]) -> Any:
        if (images[-1] == drawn(51)).all():
            raise RuntimeError("no idea")
        return self.mean.features(images)

    def compare(self, outputs: Any, truths: Any) -> Score:
        return self.mean.compare(outputs, truths)


def test_a_metric_that_fails_on_a_sample_is_counted_and_the_run_goes_on(
    root: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"psnr": open_metric("psnr"), "whole": Fails("whole", "sample"), "set": Fails("set", "set")}
    monkeypatch.setattr(scoring, "open_metric", lambda name, device: known[name])
    (tmp_path / "p.json").write_text(json.dumps({"name": "p", "version": 1, "metrics": [*known], "bootstrap": 30}))
    summary = run(replace(request(root), protocol=str(tmp_path / "p.json")), tmp_path / "out").summary
    rows = samples(tmp_path / "out")
    assert (summary.n, summary.n_failed) == (7, 0) and set(rows.status) == {"ok"}
    pd.testing.assert_series_equal(rows["psnr/mask/raw"], samples(plain)["psnr/mask/raw"])
    found = summary.scores["whole/full/raw"]
    assert found.n == 5
    assert found.without == {"failed: RuntimeError: no idea of /srv/data/x.png": 2}
    assert list(np.flatnonzero(rows["whole/full/raw"].isna())) == [1, 2]
    for mode in ("raw", "composited"):
        of_set = summary.sets[f"set/{mode}"]
        assert (of_set.n, of_set.reason) == (6, "1 failed: RuntimeError: no idea")
        assert of_set.value is not None
    assert "no value for 2 samples: failed: RuntimeError: no idea" in result(Run(tmp_path / "out"), every=True)
    record = add_record(Run(tmp_path / "out"), tmp_path / "board").read_text()
    assert "/srv/" not in record and "failed: RuntimeError: no idea of x.png" in record


def test_weights_of_a_metric_that_cannot_be_read_end_the_run_and_it_can_go_on(
    root: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {name: open_metric(name) for name in ("psnr", "ssim")}
    damaged = raising(SourceError("vgg.pth is damaged"))
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "open_metric", lambda name, device: known[name])
        patch.setattr(known["ssim"], "maps", lambda outputs, truth: damaged(truth))
        with pytest.raises(SourceError, match=r"vgg\.pth is damaged"):
            run(request(root), tmp_path / "out")
    assert not (tmp_path / "out" / "summary.json").exists()
    run(request(root), tmp_path / "out")
    same(tmp_path / "out", plain)


# --- interruptions -------------------------------------------------------------------------------


class Mean:
    """A set metric whose features are the mean colour."""

    info = MetricInfo("mean-colour", "set", False, "levels", "for tests")

    def features(self, images: Sequence[Image]) -> Any:
        return np.stack([i.reshape(-1, 3).mean(axis=0) for i in images])

    def compare(self, outputs: Any, truths: Any) -> Score:
        return Score(float(np.abs(outputs - truths).sum()))  # of pairs: in the order of the samples


def test_a_run_does_not_go_on_elsewhere(root: Path, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of it on another device would be neither's result."""
    eraser = Scripted({})
    eraser.info = replace(eraser.info, device="mps")
    use(monkeypatch, eraser)
    with pytest.raises(OutputError, match="holds another run"):
        run(request(root), plain)


def test_an_interrupted_run_goes_on_where_it_stopped(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Features of set metrics included; samples whose rows were written are not erased again."""
    monkeypatch.setattr(evaluator, "PART", 2)
    monkeypatch.setattr(scoring, "open_metric", lambda name, device: Mean())
    whole = run(request(root), tmp_path / "whole").summary
    assert whole.sets["mean-colour/raw"].n == 7
    use(monkeypatch, Scripted({STEMS[5]: raising(KeyboardInterrupt())}))
    with pytest.raises(KeyboardInterrupt):
        run(request(root), tmp_path / "out")
    written = len(list((tmp_path / "out" / "parts").glob("*.parquet")))
    assert written > 0 and not (tmp_path / "out" / "summary.json").exists()
    (tmp_path / "out" / "parts" / ".00009.parquet.1.tmp").write_bytes(b"half a file")
    calm = Scripted({})
    use(monkeypatch, calm)
    summary = run(request(root), tmp_path / "out").summary
    assert [hint.key for hint in calm.seen] == list(STEMS[2 * written :])
    same(tmp_path / "out", tmp_path / "whole")
    for what in ("sets", "scores", "n", "protocol", "dataset"):
        assert getattr(summary, what) == getattr(whole, what)


def test_samples_of_similar_names_keep_features_of_their_own(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "open_metric", lambda name, device: Mean())
    data = open_dataset("pairs", str(root))
    expected = run(request(root, limit=2), tmp_path / "plain").summary.sets
    names, sample = ["a/1", "a_1"], data.sample
    monkeypatch.setattr(data, "ids", lambda: names)
    monkeypatch.setattr(data, "sample", lambda k: replace(sample(k), id=names[k]))
    monkeypatch.setattr("benchmark.runner.inputs.open_dataset", lambda *_: data)
    found = run(request(root), tmp_path / "out").summary.sets
    assert {k: v.value for k, v in found.items()} == {k: v.value for k, v in expected.items()}


def test_a_kill_before_the_first_file_was_whole_blocks_nothing(root: Path, plain: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for name in (".lock", ".run.json.123.tmp"):
        (tmp_path / "out" / name).write_bytes(b"")
    run(request(root), tmp_path / "out")
    same(tmp_path / "out", plain)


def test_files_that_a_power_cut_left_empty_or_damaged_are_made_again(
    root: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluator, "PART", 2)
    monkeypatch.setattr(scoring, "open_metric", lambda name, device: Mean())
    run(request(root, save=True), tmp_path / "whole")
    use(monkeypatch, Scripted({STEMS[6]: raising(KeyboardInterrupt())}))
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(request(root, save=True), out)
    (first, second, *_) = sorted((out / "parts").glob("*.parquet"))
    first.write_bytes(b"PAR1")
    pq.write_table(pa.table({"id": ["x"]}), second)
    next((out / "parts").glob("*.npz")).write_bytes(b"")
    next((out / "outputs").glob("*.webp")).unlink()
    (out / "summary.json").write_bytes(b"")
    use(monkeypatch, Scripted({}))
    done = run(request(root, save=True), out)
    same(out, tmp_path / "whole")
    assert done.summary.sets == Run(tmp_path / "whole").summary.sets
    assert len(list((out / "outputs").glob("*.webp"))) == 7
    assert "its samples are erased again" in capsys.readouterr().err


def test_an_empty_run_json_is_written_again_unless_the_folder_holds_something(root: Path, tmp_path: Path) -> None:
    for name in ("out", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_bytes(b"")
    assert run(request(root, limit=1), tmp_path / "out").summary.n == 1
    (tmp_path / "theirs" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"is not empty and holds no run: \['notes.txt'\]"):
        run(request(root, limit=1), tmp_path / "theirs")
    assert sorted(p.name for p in (tmp_path / "theirs").iterdir() if p.name[0] != ".") == ["notes.txt", "run.json"]


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_rows(root: Path, tmp_path: Path) -> None:
    """SIGKILL, so nothing can be tidied up; what was on the disk stays, the rest is done again."""
    environment = install(tmp_path / "site")
    words = [
        "run",
        "--method",
        "toy-stamp",
        "--dataset",
        "toy-noise",
        "--data-option",
        "count=40",
        "--protocol",
        str(root / "small.json"),
        "--device",
        "cpu",
        "--out",
    ]
    argv = [sys.executable, "-m", "benchmark.cli", *words]
    out, log = tmp_path / "out", tmp_path / "log"
    slow = environment | {"TOY_SECONDS": "0.04", "TOY_LOG": str(log)}
    with subprocess.Popen([*argv, str(out)], env=slow, stdout=subprocess.DEVNULL) as child:
        until = time.monotonic() + 60
        while not list(out.glob("parts/*.parquet")) and time.monotonic() < until:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert not (out / "summary.json").exists()
    assert (out / ".lock").exists()
    kept = [row["id"] for path in out.glob("parts/*.parquet") for row in read_rows(path)]
    assert 16 <= len(kept) < 40
    log.unlink()
    for folder in (out, tmp_path / "whole"):
        argv_, env = [*argv, str(folder)], environment | {"TOY_LOG": str(log)}
        subprocess.run(argv_, env=env, check=True, capture_output=True, timeout=60)
    again = log.read_text().split()
    every = [f"noise-{k}" for k in range(40)]
    assert again == [name for name in every if name not in kept] + every
    same(out, tmp_path / "whole")
    assert Run(out).summary.scores == Run(tmp_path / "whole").summary.scores


# --- outputs that look like a broken eraser ------------------------------------------------------


def test_flat_and_unchanged_outputs_are_said_wherever_the_scores_are_shown(
    root: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    acts: dict[str, Callable[[Image], Any]] = {
        STEMS[0]: lambda output: np.zeros_like(output),
        STEMS[1]: lambda output: drawn(1),
        STEMS[2]: lambda output: drawn(2),
        STEMS[3]: lambda output: np.zeros_like(output),  # its mask is empty
    }
    use(monkeypatch, Scripted(acts))
    done = run(request(root), tmp_path / "out")
    flat = "1 of 7 outputs are one flat colour inside the mask, while the photo around it is not"
    same_as_input = "2 of 7 outputs equal the input inside the mask: nothing was erased there"
    assert done.summary.warnings == (same_as_input, flat) and DOUBTS.keys().isdisjoint(done.summary.facts)
    assert f"warning: {flat}" in result(done)
    add_record(done, tmp_path / "board")
    leaderboard(tmp_path / "board")
    for suffix in ("md", "html"):
        assert f"{same_as_input}" in (tmp_path / "board" / f"pairs.{suffix}").read_text()
    assert "warnings" not in json.loads((plain / "summary.json").read_text())


def test_a_control_that_does_nothing_and_a_flat_photo_give_no_warning(root: Path, tmp_path: Path) -> None:
    assert run(request(root, "identity"), tmp_path / "identity").summary.warnings == ()
    sky, mask = np.full((24, 30, 3), 9, np.uint8), np.zeros((24, 30), bool)
    mask[8:16, 8:16] = True
    photo = np.where(mask[..., None], np.uint8(200), sky)
    assert doubt_of(Sample("a", "a", photo, mask, None), sky) == ""
    assert doubt_of(Sample("a", "a", photo, mask, None), photo) == UNCHANGED
    photo[:, 29] = 7
    assert doubt_of(Sample("a", "a", photo, mask, None), sky) == "", "only the surroundings count"
