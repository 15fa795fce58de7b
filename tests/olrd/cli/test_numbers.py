"""Numbers and nouns agree in what commands print and write: `1 triplet`, `2 triplets`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from olrd.cli.build import main as olrd_build
from olrd.cli.main import main as olrd_main
from olrd.dataset.card import CARD_FILE

ONE = re.compile(r"(?<![\d.,:/-])1 (?!is\b|has\b|was\b)[a-z]+s\b|\b1 PROBLEMS")
SYNTHETIC = ("--source", "synthetic", "--workers", "1", "--max-per-photo", "1", "--source-option")
COMMANDS: dict[str, tuple[list[str], str]] = {
    "verify": (["verify", "{}", "--workers", "1"], "1 triplet of 1 photo in 1 shard: every invariant"),
    "stats": (["stats", "{}", "--out", "{}-stats.html"], "1 triplet of 1 photo (validation 1), "),
    "audit": (["audit", "{}"], "1 triplet of 1 photo (validation 1)"),
    "diff": (["diff", "{}", "{}"], "the same 1 triplet\n"),
    "export": (
        ["export", "{}", "--to", "coco", "--out", "{}-coco", "--workers", "1"],
        "1 triplet (validation 1) in 2 files",
    ),
    "publish": (["publish", "{}", "--repo", "me/one", "--dry-run"], "1 triplet as recipes, 3 files, "),
}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One triplet whose mask is grown by one pixel. Shared: do not write into it."""
    out = tmp_path_factory.mktemp("one") / "out"
    assert olrd_build([*SYNTHETIC, "count=1", "--mask-grow", "1", "--out", str(out)]) == 0
    return out


def test_a_build_of_one_triplet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*SYNTHETIC, "count=1", "--out", str(tmp_path / "out")]
    for more, expected in (
        (["--dry-run"], "1 photo in 1 unit; from a sample of 1: about 1 triplet, "),
        (["--shards", "0/1"], "share 0/1: 1 of 1 unit is built in "),
        ([], "1 triplet in 1 shard, "),
    ):
        assert olrd_build([*words, *more]) == 0
        said = capsys.readouterr()
        assert expected in said.out
        assert not ONE.findall(said.out + said.err)


def test_a_build_of_several_triplets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert olrd_build([*SYNTHETIC, "count=2", "--out", str(tmp_path / "out")]) == 0
    assert "2 triplets in 2 shards, " in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_on_one_triplet(name: str, one: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words, expected = COMMANDS[name]
    assert olrd_main([word.replace("{}", str(one)) for word in words]) == 0
    said = capsys.readouterr()
    assert expected in said.out
    assert not ONE.findall(said.out + said.err)


def test_the_card_of_one_triplet(one: Path) -> None:
    card = (one / CARD_FILE).read_text()
    assert "1 triplet (" in card and "1 row of 1 photo" in card
    assert "grown by 1 pixel" in card
    assert not ONE.findall(card)


def test_a_merge_of_one_triplet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    share = tmp_path / "share"
    assert olrd_build([*SYNTHETIC, "count=1", "--shards", "0/1", "--out", str(share)]) == 0
    assert olrd_main(["merge", str(share), "--out", str(tmp_path / "out")]) == 0
    assert "1 triplet in 1 shard, " in capsys.readouterr().out
