"""Errors of the other subcommands: what is refused, and what to type instead."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from seven_pairs import request

from benchmark.cli import main
from benchmark.runner.run import run


@pytest.mark.parametrize(
    ("part", "value"), [("mean", 99.0), ("mean", None), ("mean", float("nan")), ("n", 2), ("clusters", 99)]
)
def test_a_board_takes_no_summary_that_does_not_follow_from_its_rows(
    part: str, value: float | None, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = shutil.copytree(plain, tmp_path / "edited")
    values = json.loads((edited / "summary.json").read_text())
    values["scores"]["psnr/mask/raw"][part] = value
    (edited / "summary.json").write_text(json.dumps(values))
    board = tmp_path / "board"
    assert main(["leaderboard", str(plain), str(edited), "--board", str(board)]) == 1
    said = capsys.readouterr().err
    assert f"{edited / 'summary.json'}" in said and not board.exists()
    assert value != value or f"scores.psnr/mask/raw.{part} is {value}, the rows give" in said
    assert main(["leaderboard", str(plain), "--board", str(board)]) == 0


def test_a_report_without_root_says_that_it_is_missing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(request(root, save=True), tmp_path / "run")
    words = ["report", str(tmp_path / "run"), "--out", str(tmp_path / "page")]
    assert main(words) == 2
    assert "name the folder with --root" in capsys.readouterr().err
    embedded = SimpleNamespace(name="olrd-demo", fingerprint="beef")
    monkeypatch.setattr("benchmark.datasets.open_dataset", lambda *_: embedded)
    assert main([*words, "--dataset", "olrd"]) == 2
    said = capsys.readouterr().err
    assert "made on pairs" in said and "without --root, olrd is olrd-demo, fingerprint beef" in said
    assert "--root DIR" in said and not (tmp_path / "page").exists()


@pytest.mark.parametrize("words", [["leaderboard", "RUN", "--board", "DIR"], ["export", "--out", "DIR", "DATA"]])
def test_a_target_that_cannot_be_written_is_named_with_what_to_do(
    words: list[str], root: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder in a file is refused as a read-only one is, and also for the superuser."""
    (tmp_path / "file").write_text("mine")
    target = tmp_path / "file" / "inside"
    known = {"RUN": [str(plain)], "DIR": [str(target)], "DATA": ["--dataset", "pairs", "--root", str(root)]}
    assert main([word for name in words for word in known.get(name, [name])]) == 1
    said = capsys.readouterr().err
    flag = next(word for word in words if word.startswith("--"))
    assert f"{target} cannot be written to: Not a directory" in said and f"another folder with {flag}" in said
    assert (tmp_path / "file").read_text() == "mine"


def test_a_finished_run_is_opened_where_nothing_can_be_written(
    root: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(out: Path) -> None:
        raise AssertionError("no lock is needed to read")

    monkeypatch.setattr("benchmark.runner.run.locked", refuse)
    assert run(request(root), plain).summary.n == 7
