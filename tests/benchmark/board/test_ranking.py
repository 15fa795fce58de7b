"""Which rows are ranked together, in which order, and what the tables say of it: by hand-made summaries."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_records import TOTAL, board_of, record, score, sections_of, summary_of

from benchmark.board.leaderboard import leaderboard
from benchmark.board.markup import markdown
from benchmark.board.ranking import ranks_of, sections, spans_of
from benchmark.board.records import key_of
from benchmark.board.tables import disagreement, rank_text, tables_of
from olrd.errors import IntegrityError


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
    assert (
        disagreement(section)
        == "PSNR disagrees with lpips-alex/mask/raw: sharp is 1 here and 3 by PSNR, smooth is 3 here and 1 by PSNR."
    )


def test_the_protocols_first_metric_ranks_if_none_sees_what_people_see() -> None:
    records = [record(name, p, protocol__metrics=["psnr", "fid"]) for name, p in (("a", 20.0), ("b", 25.0))]
    assert order(records) == [(1, "b"), (2, "a")]
    (section,) = sections_of(*records)
    assert section.pixels is None and "by PSNR" not in tables_of(section)[0].head and disagreement(section) == ""


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


def test_intervals_of_an_earlier_version_have_a_separate_table() -> None:
    earlier, now = record("a"), record("b", intervals="jackknife")
    old, new = sorted(sections_of(now, earlier), key=lambda section: section.intervals)
    assert [row.method for row in (*old.ranked, *new.ranked)] == ["a", "b"]
    page = markdown([old, new], "plot.svg")
    assert page.count("intervals of an earlier version (percentile bootstrap, too short)") == 1
    same = summary_of(record("a", intervals="jackknife"))
    assert key_of(same) != key_of(summary_of(earlier))
    with pytest.raises(IntegrityError, match="intervals is 'exact', this version knows jackknife, bootstrap"):
        summary_of(record("a", intervals="exact"))


def test_what_equals_the_truth_is_first_and_controls_are_listed_unranked() -> None:
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
    versions = [record("a", metrics__psnr__revision=revision) for revision in ("9", "1", "10")]
    other = record("a", protocol__id="a-1-cafe")
    found = [(s.protocol, s.definitions["psnr"][0]) for s in sections_of(*versions, other)]
    assert found == [("a-1-cafe", "1"), ("p-1-cafe", "10"), ("p-1-cafe", "9"), ("p-1-cafe", "1")]


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
