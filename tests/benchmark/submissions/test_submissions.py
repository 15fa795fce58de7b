"""A submission holds what others need to check a run, and every forgery is refused with its reason."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from damaged_json import damaged
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from property_examples import examples
from seven_pairs import request
from submitted import edit_record, edit_rows, sealed

from benchmark.board.record_rows import check_size
from benchmark.board.records import add_record
from benchmark.cli import main
from benchmark.datasets import open_dataset
from benchmark.runner.results import Run
from benchmark.runner.run import run
from benchmark.submissions.collect import add_all
from benchmark.submissions.folder import MANIFEST, RECORD, ROWS
from benchmark.submissions.submit import submit
from benchmark.submissions.verify import verify
from olrd.errors import IntegrityError, OlrdError, OutputError, SourceError, UsageError

PSNR = "psnr/mask/raw"


def test_a_submission_holds_rows_record_hashes_and_environment(plain: Path, submitted: Path) -> None:
    assert sorted(path.name for path in submitted.iterdir()) == [RECORD, ROWS, MANIFEST]
    manifest = json.loads((submitted / MANIFEST).read_text())
    for name, entry in manifest["files"].items():
        assert entry["sha256"] == hashlib.sha256((submitted / name).read_bytes()).hexdigest()
    summary = Run(plain).summary
    assert manifest["environment"]["git"] == summary.git
    assert manifest["environment"]["versions"] == dict(summary.versions)
    assert manifest["environment"]["device"] == "cpu"
    pd.testing.assert_frame_equal(pd.read_parquet(submitted / ROWS), Run(plain).samples(), check_exact=True)


def test_an_honest_submission_follows(submitted: Path, pictured: Path) -> None:
    without, with_pictures = verify(submitted), verify(pictured)
    assert without.problems == with_pictures.problems == []
    assert "hashes of the outputs" in without.notes[0] and "hashes" not in str(with_pictures.notes)


def test_the_same_run_gives_the_same_bytes(plain: Path, submitted: Path, tmp_path: Path) -> None:
    again = submit(Run(plain), tmp_path)
    assert again.name == submitted.name
    for path in submitted.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()
    with pytest.raises(OutputError, match="never changed"):
        submit(Run(plain), tmp_path)


def edited_mean(record: dict[str, Any]) -> None:
    record["scores"][PSNR]["mean"] = 99.0


def nan_mean(record: dict[str, Any]) -> None:
    record["scores"][PSNR]["mean"] = float("nan")


def narrower(record: dict[str, Any]) -> None:
    score = record["scores"][PSNR]
    score["low"] = score["high"] = score["mean"]


def complete(record: dict[str, Any]) -> None:
    record["n_failed"], record["n"] = 1, record["n"] - 1


def another_direction(record: dict[str, Any]) -> None:
    record["metrics"]["psnr"]["higher_is_better"] = False


def other_settings(record: dict[str, Any]) -> None:
    record["protocol"]["ring"] = 3


def other_data(record: dict[str, Any]) -> None:
    record["dataset"]["fingerprint"] = "0123456789abcdef"


def other_code(record: dict[str, Any]) -> None:
    record["git"] = "0" * 40


def folder_of_a_machine(record: dict[str, Any]) -> None:
    record["method"]["options"] = {"model": "/home/somebody/model"}


def faster(record: dict[str, Any]) -> None:
    record["times"]["interval"] = [1e-6, 2e-6]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (edited_mean, f"scores.{PSNR}.mean is 99.0, the rows give"),
        (nan_mean, "nan is not a number that can be used"),
        (narrower, f"scores.{PSNR}.low is"),
        (complete, "n is 6, the rows give 7"),
        (another_direction, "metrics.psnr.higher_is_better is False"),
        (other_settings, "protocol.id is 'small-1-"),
        (other_data, "holds rows of the fingerprint"),
        (other_code, "environment.git in submission.json is"),
        (folder_of_a_machine, "names a folder of a machine"),
        (faster, "times.interval is"),
    ],
)
def test_an_edited_record_is_refused(edit: Callable[[dict[str, Any]], None], reason: str, forged: Path) -> None:
    found = verify(edit_record(forged, edit)).problems
    assert any(reason in text for text in found), found
    assert main(["verify", str(forged)]) == 1


def test_a_definition_in_other_words_is_no_problem(forged: Path) -> None:
    """The revision says whether a metric is another one; its text may be reworded between versions."""

    def reworded(record: dict[str, Any]) -> None:
        record["metrics"]["psnr"]["definition"] = "as an earlier version put it"

    assert verify(edit_record(forged, reworded)).problems == []


def better(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{PSNR: frame[PSNR] + 1})


def nan_without_reason(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{PSNR: np.nan})


def without_the_hardest(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame[PSNR] != frame[PSNR].min()]


def without_hashes(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(output_sha256=None)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (better, f"scores.{PSNR}.mean is"),
        (nan_without_reason, "neither a value of 'psnr/mask/raw' nor a reason"),
        (without_the_hardest, "dataset.n is 7, the rows give 6"),
        (without_hashes, "has no sha256 of its output"),
    ],
)
def test_edited_rows_are_refused(edit: Callable[[pd.DataFrame], pd.DataFrame], reason: str, forged: Path) -> None:
    found = verify(edit_rows(forged, edit)).problems
    assert any(reason in text for text in found), found


@pytest.mark.parametrize("field", ["fingerprint", "dataset", "method", "revision", "protocol"])
def test_rows_of_another_record_are_refused(field: str, forged: Path) -> None:
    (problem,) = verify(edit_rows(forged, lambda frame: frame, **{field: "another"})).problems
    assert f"holds rows of the {field} 'another', the record is of" in problem


def test_a_file_that_is_not_the_listed_one_is_named(forged: Path) -> None:
    (forged / ROWS).write_bytes((forged / ROWS).read_bytes() + b" ")
    (forged / "notes.txt").write_text("hello")
    changed, extra = verify(forged).problems
    assert changed.startswith("samples.parquet is not the file that submission.json lists")
    assert extra == "'notes.txt' is not listed in submission.json"


def test_a_link_out_of_the_submission_is_refused(forged: Path, tmp_path: Path) -> None:
    shutil.move(forged / ROWS, tmp_path / "elsewhere.parquet")
    (forged / ROWS).symlink_to(tmp_path / "elsewhere.parquet")
    assert "link that leaves its folder" in verify(forged).problems[0]


@pytest.mark.parametrize("name", ["../record.json", "outputs/../../x", "notes.txt", "/etc/passwd"])
def test_a_manifest_names_only_files_of_a_submission(name: str, forged: Path) -> None:
    values = json.loads((forged / MANIFEST).read_text())
    values["files"][name] = {"sha256": "0", "bytes": 1}
    (forged / MANIFEST).write_text(json.dumps(values))
    (problem,) = verify(forged).problems
    assert MANIFEST in problem and repr(name.removeprefix("outputs/")) in problem


def test_a_folder_without_a_submission_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no submission"):
        verify(tmp_path)


@pytest.mark.slow
@examples(30)
@given(data=st.data())
def test_a_damaged_manifest_or_record_is_a_problem_or_an_error_of_ours(
    data: st.DataObject, submitted: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = Path(shutil.copytree(submitted, tmp_path_factory.mktemp("x") / "s"))
    name = data.draw(st.sampled_from([MANIFEST, RECORD]))
    (folder / name).write_bytes(data.draw(damaged(json.loads((folder / name).read_text()))))
    with suppress(ValueError, KeyError, TypeError, OSError, AttributeError):
        sealed(folder)
    with suppress(OlrdError):
        assert isinstance(verify(folder).problems, list)


def test_pictures_that_are_not_the_scored_ones_are_named(pictured: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pictured, tmp_path / "s"))
    first, second, *_ = sorted((folder / "outputs").iterdir())
    Pillow.new("RGB", (30, 24)).save(first, "WEBP", lossless=True)
    second.write_bytes(b"no picture")
    problems = verify(sealed(folder)).problems
    assert len(problems) == 2
    assert "is not the picture that was scored" in problems[0] and "cannot be read" in problems[1]


def test_a_missing_picture_is_named(pictured: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pictured, tmp_path / "s"))
    values = json.loads((folder / MANIFEST).read_text())
    lost = sorted(name for name in values["files"] if "/" in name)[0]
    del values["files"][lost]
    (folder / MANIFEST).write_text(json.dumps(values))
    (folder / lost).unlink()
    assert verify(folder).problems == [f"'{lost}' is missing: either all pictures are in a submission, or none"]


@pytest.mark.slow
def test_scores_of_other_pictures_are_found_by_scoring_again(pictured: Path, root: Path, tmp_path: Path) -> None:
    data = open_dataset("pairs", str(root), {"cluster": "prefix"})
    found = verify(pictured, data=data)
    assert found.problems == [] and found.notes == ([] if Run(pictured.parent / "run").summary.git else found.notes)
    forged = Path(shutil.copytree(pictured, tmp_path / "s"))
    gain = 5.0

    def more(record: dict[str, Any]) -> None:
        record["scores"][PSNR]["mean"] += gain

    edit_record(edit_rows(forged, lambda frame: frame.assign(**{PSNR: frame[PSNR] + gain})), more)
    assert verify(forged).problems == []  # rows, record and pictures agree with each other
    again = verify(forged, data=data).problems
    assert len(again) == 6 and all(text.startswith(f"{PSNR} of 'scene") for text in again)


def test_scoring_again_needs_the_pictures_and_the_same_data(submitted: Path, pictured: Path, root: Path) -> None:
    with pytest.raises(UsageError, match="has no pictures to score again"):
        verify(submitted, data=open_dataset("pairs", str(root), {"cluster": "prefix"}))
    with pytest.raises(UsageError, match="has the fingerprint"):
        verify(pictured, data=open_dataset("pairs", str(root), {"cluster": "stem"}))


def test_a_run_that_does_not_follow_from_its_rows_is_not_submitted(plain: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(plain, tmp_path / "run"))
    values = json.loads((folder / "summary.json").read_text())
    edited_mean(values)
    (folder / "summary.json").write_text(json.dumps(values))
    with pytest.raises(IntegrityError, match=r"mean is 99\.0, the rows give"):
        submit(Run(folder), tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_outputs_that_were_not_saved_are_asked_for(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"benchmark run --save"):
        submit(Run(plain), tmp_path, outputs=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_board_is_built_from_submissions_by_one_command(
    submitted: Path, plain: Path, root: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "submissions", tmp_path / "board"
    shutil.copytree(submitted, here / "one")
    submit(run(request(root, "identity"), tmp_path / "run"), here)
    assert main(["leaderboard", str(here), "--board", str(there)]) == 0
    files = {path.relative_to(there): path.read_bytes() for path in there.rglob("*.*")}
    by_runs = tmp_path / "by-runs"
    for folder in (plain, tmp_path / "run"):
        add_record(Run(folder), by_runs)
    for path in by_runs.rglob("*.*"):
        assert files[path.relative_to(by_runs)] == path.read_bytes(), "a submission gives the record of its run"
    assert main(["verify", str(here), "--board", str(there)]) == 0


def test_a_board_takes_all_submissions_or_none(submitted: Path, forged: Path, tmp_path: Path) -> None:
    edit_record(forged, edited_mean)
    with pytest.raises(IntegrityError, match=r"forged is refused: scores\.psnr/mask/raw\.mean is 99\.0"):
        add_all([submitted, forged], tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_a_board_refuses_another_fingerprint_and_other_samples(submitted: Path, forged: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    add_all([submitted], board)
    edit_rows(edit_record(forged, other_data), lambda frame: frame, fingerprint="0123456789abcdef")
    with pytest.raises(IntegrityError, match="has the fingerprint '0123456789abcdef', this board has"):
        add_all([forged], board)
    shutil.rmtree(forged)
    shutil.copytree(submitted, forged)
    edit_rows(forged, lambda frame: frame.assign(mask_share=frame.mask_share * 2))
    (problem,) = verify(forged, board).problems
    assert problem.startswith("mask_share of the sample 'scene0_0' is")


def test_small_files_that_would_fill_the_memory_are_refused(forged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.read_parquet(forged / ROWS)
    many = pd.concat([frame.assign(background="x" * 1000)] * 300)
    pq.write_table(
        pq.read_table(forged / ROWS).schema.empty_table().from_pandas(many, preserve_index=False), forged / ROWS
    )
    check_size(forged / ROWS)
    monkeypatch.setattr("benchmark.board.record_rows.MAX_BYTES", 1_500_000)
    with pytest.raises(IntegrityError, match="bytes of texts, expected at most"):
        check_size(forged / ROWS)
    monkeypatch.setattr("benchmark.board.record_rows.MAX_ROWS", 2_000)
    with pytest.raises(IntegrityError, match="2,100 rows, expected at most 2,000"):
        check_size(forged / ROWS)
