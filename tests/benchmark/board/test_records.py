"""Records, summaries and run files that a stranger wrote: every damage ends in an error of ours that names the file."""

from __future__ import annotations

import json
import tempfile
import xml.etree.ElementTree as ET
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from damaged_json import damaged
from hypothesis import given
from hypothesis import strategies as st
from property_examples import examples
from seven_pairs import request
from synthetic_records import board_of, record, run_of

import benchmark
from benchmark.board.compare import compare
from benchmark.board.leaderboard import leaderboard
from benchmark.board.published import PublishedRun, open_scored
from benchmark.board.record_rows import rows_beside
from benchmark.board.records import add_record, read_record
from benchmark.cli import main
from benchmark.cli.screen import comparison, next_steps, result
from benchmark.runner.request import Request
from benchmark.runner.results import Run
from benchmark.runner.run import run
from benchmark.runner.summary import RunIdentity
from olrd.errors import IntegrityError, OlrdError, SourceError, UsageError

IDENTITY = {
    "method": {"name": "m", "revision": "1", "device": "cpu", "options": {"a": "b"}},
    "dataset": {"name": "d", "fingerprint": "f", "n": 1, "total": 1},
    "protocol": "p",
    "seed": 0,
    "metrics": {"psnr": "1"},
    "saved": False,
}


@examples(60)
@given(damaged(record("a")))
def test_a_damaged_record_gives_pages_or_an_error_of_ours(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        board = Path(folder)
        path = board / "results" / "d" / "p" / "m" / "r.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        with suppress(OlrdError):
            leaderboard(board)
        for page in board.glob("*.svg"):
            ET.fromstring(page.read_text())


@pytest.mark.slow
@examples(60)
@given(damaged(record("a")))
def test_a_damaged_summary_gives_a_result_or_an_error_of_ours(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        honest = run_of(record("a"), Path(folder) / "a")
        other = run_of(record("b"), Path(folder) / "b")
        (other.folder / "summary.json").write_bytes(data)
        with suppress(OlrdError):
            run = Run(other.folder)
            assert result(run) and result(run, every=True) and next_steps(run, Request(method="a"))
            with suppress(OlrdError):
                assert comparison(honest, run, compare(honest, run))
            add_record(run, Path(folder) / "board")
            assert leaderboard(Path(folder) / "board")


@given(damaged(IDENTITY))
def test_a_damaged_run_json_is_read_or_an_error_of_ours(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.json"
        path.write_bytes(data)
        with suppress(OlrdError):
            assert RunIdentity.read(path)


@pytest.mark.parametrize(
    "change",
    [
        {"scores__psnr/mask/raw__mean": float("nan")},
        {"times__median_seconds": float("inf")},
        {"times__interval": [0.1]},
        {"seed": 10**400},
        {"n": -1},
        {"git": "\ud800"},
        {"scores__psnr/mask/raw__high": None},
        {"scores__psnr/mask/raw__high": -1e15},
        {"format": True},
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_file(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(record("a", **change)))
    with pytest.raises(IntegrityError, match=r"r\.json"):
        read_record(path)


def test_a_damaged_record_leaves_the_pages_as_they_were(tmp_path: Path) -> None:
    board = board_of(tmp_path, record("a"))
    pages = {path: path.read_bytes() for path in leaderboard(board)}
    (board / "results" / "toy" / "p-1-cafe" / "a" / "z.json").mkdir()
    with pytest.raises(IntegrityError, match=r"z\.json cannot be read: it is not there, or it is not a file"):
        leaderboard(board)
    assert {path: path.read_bytes() for path in pages} == pages


@pytest.mark.slow
@given(st.sampled_from(["\0", "\x1b[2J", "‮", "a\nb"]))
def test_control_characters_reach_neither_the_terminal_nor_the_plot(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        board = board_of(
            Path(folder), record(text, failures={text: 1}, n=9, n_failed=1), record("b"), record(text, 1.0)
        )
        leaderboard(board)
        ET.fromstring((board / "toy.svg").read_text())
        shown = result(Run(Path(folder) / "runs" / "0"))
        assert not any(c in shown for c in "\0\x1b‮") and "a\nb" not in shown


def test_rows_travel_with_a_record(plain: Path, tmp_path: Path) -> None:
    path = add_record(Run(plain), tmp_path)
    pd.testing.assert_frame_equal(PublishedRun(path).samples(), Run(plain).samples(), check_exact=True)


def test_a_record_without_rows_is_read_and_gets_them_from_a_run_with_the_same_results(
    plain: Path, tmp_path: Path
) -> None:
    path = add_record(Run(plain), tmp_path)
    rows, record_bytes = rows_beside(path).read_bytes(), path.read_bytes()
    rows_beside(path).unlink()
    assert leaderboard(tmp_path)
    with pytest.raises(SourceError, match="has no rows beside it"):
        PublishedRun(path).samples()
    add_record(Run(plain), tmp_path)
    assert (rows_beside(path).read_bytes(), path.read_bytes()) == (rows, record_bytes)


def test_rows_of_another_record_are_refused(plain: Path, root: Path, tmp_path: Path) -> None:
    path = add_record(Run(plain), tmp_path / "board")
    other = add_record(run(request(root, "identity"), tmp_path / "run"), tmp_path / "board")
    rows_beside(path).write_bytes(rows_beside(other).read_bytes())
    with pytest.raises(IntegrityError, match="holds rows of the method 'identity', the record is of 'opencv-telea'"):
        PublishedRun(path).samples()


@pytest.mark.slow
def test_a_run_is_compared_with_a_row_of_a_board(plain: Path, root: Path, tmp_path: Path) -> None:
    board = tmp_path / "board"
    mine = run(request(root, "identity"), tmp_path / "run")
    path = add_record(Run(plain), board)
    expected = benchmark.compare(mine, plain)
    for name in (
        "board#opencv-telea",
        "board/pairs#opencv-telea",
        f"board#opencv-telea@{Run(plain).summary.method.revision}",
    ):
        pd.testing.assert_frame_equal(benchmark.compare(mine, tmp_path / name), expected)
    pd.testing.assert_frame_equal(benchmark.compare(mine, path), expected)
    add_record(mine, board)
    pd.testing.assert_frame_equal(benchmark.compare(board / "pairs#identity", board / "pairs#opencv-telea"), expected)
    assert main(["compare", f"{board}#identity", str(plain)]) == 0


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("board#opencv-tela", UsageError, "Did you mean 'opencv-telea'"),
        ("board/pair#opencv-telea", UsageError, "no dataset of this board is called 'pair'. Did you mean 'pairs'"),
        ("nowhere#opencv-telea", SourceError, "is no leaderboard and no dataset of one"),
        ("board#", UsageError, "expected BOARD#METHOD"),
        ("board#opencv-telea@7", UsageError, "has no record of opencv-telea with the revision '7'"),
    ],
)
def test_a_row_that_the_board_does_not_have_is_said(
    name: str, error: type[OlrdError], message: str, plain: Path, tmp_path: Path
) -> None:
    add_record(Run(plain), tmp_path / "board")
    with pytest.raises(error, match=message):
        open_scored(tmp_path / name)


def test_of_several_records_the_one_of_the_same_protocol_is_taken(tmp_path: Path) -> None:
    other = record("a", protocol__id="q-1-beef")
    board = board_of(tmp_path, record("a"), other)
    with pytest.raises(UsageError, match="2 records of a fit; name one of them by its path"):
        open_scored(board / "toy#a")
    mine = run_of(record("b", protocol__id="q-1-beef"), tmp_path / "mine")
    assert open_scored(board / "toy#a", mine).summary.protocol_id == "q-1-beef"


def test_another_wording_of_a_definition_is_no_other_result(tmp_path: Path) -> None:
    """The revision decides what a metric is; its description may be made clearer."""
    old = record("a")
    old["metrics"]["psnr"]["definition"] = "in other words"
    first = add_record(run_of(old, tmp_path / "old"), tmp_path / "board")
    assert add_record(run_of(record("a"), tmp_path / "new"), tmp_path / "board") == first
    assert read_record(first).metrics["psnr"].definition == "in other words"
