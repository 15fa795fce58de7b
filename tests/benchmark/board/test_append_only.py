"""How records get onto a board: they are never changed, and their paths and names are safe."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_records import board_of, record, run_of, sections_of, summary_of

from benchmark.board.leaderboard import leaderboard
from benchmark.board.records import add_record, key_of, read_record, safe_name
from olrd.errors import IntegrityError, OutputError
from olrd.storage.files import to_json


def test_records_are_append_only(tmp_path: Path) -> None:
    summary = record("a", 20.0)
    path = add_record(run_of(summary, tmp_path / "1"), tmp_path / "board")
    assert path.parent == tmp_path / "board" / "results" / "toy" / "p-1-cafe" / "a"
    assert path.name.startswith("1-") and path.suffix == ".json"
    before = path.read_bytes()
    slower = copy.deepcopy(summary) | {"git": "def", "times": {"median_seconds": 9.0}}
    assert add_record(run_of(slower, tmp_path / "2"), tmp_path / "board") == path
    assert path.read_bytes() == before  # the first times stay
    elsewhere = copy.deepcopy(summary)
    elsewhere["scores"]["psnr/mask/raw"]["mean"] += 1e-5  # what another processor may give
    assert add_record(run_of(elsewhere, tmp_path / "4"), tmp_path / "board") == path
    assert path.read_bytes() == before
    for changed in ({"mean": 20.001}, {"n": 11}, {"without": {"failed: E: no": 1}}):
        other = copy.deepcopy(summary)
        other["scores"]["psnr/mask/raw"] |= changed
        with pytest.raises(OutputError, match="psnr/mask/raw"):
            add_record(run_of(other, tmp_path / "5"), tmp_path / "board")
    summary["scores"]["psnr/mask/raw"]["mean"] = 21.0
    with pytest.raises(OutputError, match=r"psnr/mask/raw: 20.0, now 21.0.*another revision"):
        add_record(run_of(summary, tmp_path / "3"), tmp_path / "board")
    assert path.read_bytes() == before


def test_another_claim_is_another_record(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"method__revision": "2"},
        {"method__options": {"steps": "9"}},
        {"seed": 7},
        {"dataset__fingerprint": "b"},
        {"method__device": "cuda"},
        {"n": 9, "n_failed": 1},
        {"metrics__fid__revision": "2"},
    ]
    made = [record("a", 20.0, **change) for change in changes]
    assert len({key_of(summary_of(r)) for r in made}) == len(made)
    board = board_of(tmp_path, *made)
    assert len(list((board / "results").rglob("*.json"))) == len(made)
    (shown,) = (s for s in sections_of(*made[:1], *made[2:4]))
    assert [row.settings for row in shown.ranked] == ["", "seed=7", "steps=9"]


def test_paths_of_this_machine_stay_here(tmp_path: Path) -> None:
    summary = record(
        "a",
        method__options={"weights": "/home/me/nets/big.pt", "url": "https://a.b/c/d"},
        request__protocol="/anywhere/x/P.json",
        n_failed=2,
        n=8,
        failures={"E: /home/me/a.png is bad": 1, "E: /srv/a.png is bad": 1},
    )
    stored = read_record(add_record(run_of(summary, tmp_path / "run"), tmp_path / "board"))
    assert stored.method.options == {"weights": "big.pt", "url": "https://a.b/c/d"}
    assert stored.request.protocol == "P.json"
    assert stored.failures == {"E: a.png is bad": 2}


@pytest.mark.parametrize("name", ["..", "../../etc", "", "a/b", ".hidden", "x" * 400, "é/\0"])
def test_names_cannot_leave_the_board(name: str, tmp_path: Path) -> None:
    board = tmp_path / "board"
    path = add_record(run_of(record(name, method__revision=name, dataset__name=name), tmp_path / "run"), board)
    assert path.resolve().is_relative_to((board / "results").resolve())
    assert len(path.relative_to(board).parts) == 5
    written = leaderboard(board)
    assert all(p.parent == board for p in written) and len(written) == 6
    assert not any(p.name.startswith(".") for p in board.rglob("*"))


@pytest.mark.slow
@given(st.text(max_size=80))
def test_safe_name_is_one_visible_part(text: str) -> None:
    name = safe_name(text)
    assert name and not name.startswith(".") and not set(name) & set('/\\\0:*?"<>| ')


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"format": 0}', "format 0.*run `benchmark run` again"),
        ('{"format": 2}', "newer version"),
        ("{}", "format None"),
        ("[]", "expected an object"),
        ("{", "is not valid JSON"),
        ('{"format": 1, "method": {"name": "a"}}', "lacks protocol.id"),
        (json.dumps(record("a", method={"name": "a"})), "lacks method.revision"),
        (json.dumps(record("a", n="ten")), "n is 'ten', expected a whole number"),
        (json.dumps(record("a", method__control=1)), "method.control is '1', expected true or false"),
        (json.dumps(record("a", dataset__warnings=[1])), r"dataset.warnings\[0\] is '1', expected a text"),
        (json.dumps(record("a", protocol__ring=-1)), "protocol .*whole numbers of at least 0"),
        (json.dumps(record("a", metrics={})), "lacks metrics.psnr"),
    ],
)
def test_records_that_cannot_be_read_are_named_and_nothing_is_written(text: str, match: str, tmp_path: Path) -> None:
    board = board_of(tmp_path, record("a"))
    bad = board / "results" / "toy" / "p-1-cafe" / "a" / "z.json"
    bad.write_text(text)
    with pytest.raises(IntegrityError, match=match) as caught:
        leaderboard(board)
    assert str(bad) in str(caught.value)
    assert not (board / "toy.md").exists()


def test_a_record_is_the_summary_as_it_was(tmp_path: Path) -> None:
    summary = record("a")
    path = add_record(run_of(summary, tmp_path / "run"), tmp_path / "board")
    stored = json.loads(path.read_text())
    low, high = stored["times"].pop("interval")
    assert 0.1 <= low < high <= 1.0
    summary["times"].pop("interval")
    assert to_json(stored) == to_json(summary)


@pytest.mark.parametrize(
    "path",
    [
        "/home/a/My Docs/kept-secret/small",
        "file:///home/kept-secret/small",
        "C:\\Users\\kept-secret\\small",
        "text:/home/kept-secret/small",
    ],
)
def test_a_board_names_no_folder_of_this_machine(path: str, tmp_path: Path) -> None:
    board = board_of(
        tmp_path,
        record(
            "a",
            method__name=path,
            method__options={"model": path},
            dataset__warnings=[f"read from {path}"],
            failures={f"SourceError: {path} is missing": 1},
        ),
    )
    leaderboard(board)
    for file in board.rglob("*.*"):
        assert "kept-secret" not in str(file.relative_to(board)), file
        assert b"kept-secret" not in file.read_bytes(), file
