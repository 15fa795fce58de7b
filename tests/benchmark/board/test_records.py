"""Records, summaries and run files that a stranger wrote: every damage ends in an error of ours that names the file."""

from __future__ import annotations

import json
import tempfile
import xml.etree.ElementTree as ET
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from damaged_json import damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_records import board_of, record, run_of

from benchmark.board.compare import compare
from benchmark.board.leaderboard import leaderboard
from benchmark.board.records import add_record, read_record
from benchmark.cli.screen import comparison, next_steps, result
from benchmark.runner.results import Run
from benchmark.runner.summary import RunIdentity
from olrd.errors import IntegrityError, OlrdError

IDENTITY = {
    "method": {"name": "m", "revision": "1", "device": "cpu", "options": {"a": "b"}},
    "dataset": {"name": "d", "fingerprint": "f", "n": 1, "total": 1},
    "protocol": "p",
    "seed": 0,
    "metrics": {"psnr": "1"},
    "saved": False,
}


@settings(max_examples=60)
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


@settings(max_examples=60)
@given(damaged(record("a")))
def test_a_damaged_summary_gives_a_result_or_an_error_of_ours(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        honest = run_of(record("a"), Path(folder) / "a")
        other = run_of(record("b"), Path(folder) / "b")
        (other.folder / "summary.json").write_bytes(data)
        with suppress(OlrdError):
            run = Run(other.folder)
            assert result(run) and result(run, every=True) and next_steps(run, [])
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
