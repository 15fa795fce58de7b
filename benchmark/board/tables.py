"""A section as tables of texts, which the Markdown, LaTeX and HTML pages use, and as CSV in full precision."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

from benchmark.board.ranking import TRUTH, Cell, Column, Row, Section, merit
from olrd.trust import escape_csv


class Text(NamedTuple):
    """A cell. main: its text. small: an addition, e.g. the interval. best: whether it is the best ranked method."""

    main: str
    small: str = ""
    best: bool = False


class Table(NamedTuple):
    """A table.

    Attributes:
        head: one text per column.
        rows: the texts of each row.
        words: number of columns, from the left, that hold words.
        runs: the run of each row.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Text, ...], ...]
    words: int
    runs: tuple[Row, ...]


UNRANKED = "-"
RANK, SECONDS = "#", "seconds per image"
OVER_SEEDS = "over seeds"
"""Head of the column with the standard deviation of the ranking score over seeds."""
BY_PIXELS = "by PSNR"
"""Head of the column with the rank by PSNR, and how many places PSNR moves a row up or down."""


def tables_of(section: Section) -> list[Table]:
    """Two tables of the ranked rows, and two of the partial ones."""
    first = section.first
    better = "higher" if first.higher_is_better else "lower"
    found = []
    for rows, title, which in (
        (section.ranked, f"Ranked by {first.name} ({better} is better)", "Ranked"),
        (section.partial, "Partial, not ranked", "Partial"),
    ):
        if rows:
            found.append(_table(title, rows, section, section.main, whole=True))
        if rows and section.further:
            title = f"{which} rows: ring around the mask, and whole picture after pasting back"
            found.append(_table(title, rows, section, section.further, whole=False))
    return found


def _table(title: str, rows: Sequence[Row], section: Section, columns: Sequence[Column], whole: bool) -> Table:
    """A table of rows. whole: also with the reason for not ranking, the rank by PSNR, the counts and the seconds."""
    ranked, pixels = section.ranked, section.pixels if whole else None
    partial = rows is not ranked
    head = [RANK, "method", "revision", "control"]
    head += ["not ranked because"] if partial and whole else []
    for column in columns:
        head += [heading(column)] + ([BY_PIXELS] if column == pixels and not partial else [])
    seeded = whole and any(row.over_seeds for row in rows)
    head += [OVER_SEEDS] if seeded else []
    head += ["n", "failed", SECONDS] if whole else []
    decimals = {c.name: decimals_of([*ranked, *rows], c.name) for c in columns}
    best = {c.name: _best(ranked, c, decimals[c.name]) for c in columns}
    body = []
    for row in rows:
        line = [
            rank_text(row),
            Text(row.method, row.settings),
            Text(row.revision),
            Text("yes" if row.control else "no"),
        ]
        line += [Text(row.why)] if partial and whole else []
        for column in columns:
            cell = row.cells[column.name]
            text = score_text(cell, decimals[column.name], row.n, column.counted)
            winner = not partial and not row.control and text.main == best[column.name]
            line.append(text._replace(best=winner))
            line += [pixels_text(row)] if column == pixels and not partial else []
        line += [seeds_text(row, decimals[columns[0].name])] if seeded else []
        if whole:
            line += [Text(str(row.n)), Text(str(row.n_failed)), seconds_text(row)]
        body.append(tuple(line))
    return Table(title, tuple(head), tuple(body), 4 + (partial and whole), tuple(rows))


def rank_text(row: Row) -> Text:
    """The rank, and the ranks that the intervals leave open."""
    if row.rank is None or row.span is None:
        return Text(UNRANKED)
    best, worst = row.span
    return Text(str(row.rank), f"({best}-{worst})" if best < worst else "")


def seeds_text(row: Row, decimals: int) -> Text:
    """The standard deviation of the ranking score over seeds; a dash for one seed, or a method that does not draw."""
    found = row.over_seeds
    return Text("-") if found is None else Text(f"{found.deviation:.{decimals + 1}f}", f"{found.seeds} seeds")


def pixels_text(row: Row) -> Text:
    """The rank by PSNR, and how many places above or below the row's rank it is."""
    if row.rank is None or row.by_pixels is None:
        return Text(UNRANKED)
    up = row.rank - row.by_pixels
    return Text(str(row.by_pixels), f"{'↑' if up > 0 else '↓'} {abs(up)}" if up else "")


def disagreement(section: Section) -> str:
    """Where PSNR and the ranking score disagree, in one sentence; empty if they cannot be compared."""
    pairs = [(row, row.rank, row.by_pixels) for row in section.ranked if row.rank and row.by_pixels]
    if len(pairs) < 2:
        return ""
    moved = sorted((abs(rank - other), -rank, row.method, other) for row, rank, other in pairs if rank != other)
    if not moved:
        return f"PSNR ranks the methods in the same order as {section.first.name}."
    places = [f"{method} is {-rank} here and {other} by PSNR" for _, rank, method, other in moved[:-3:-1]]
    return f"PSNR disagrees with {section.first.name}: {', '.join(places)}."


def heading(column: Column) -> str:
    """The name of a score, its unit, and an arrow that says which direction is better."""
    unit = f", {column.unit}" if column.unit else ""
    return f"{column.name}{unit} {'↑' if column.higher_is_better else '↓'}"


def decimals_of(rows: Sequence[Row], name: str) -> int:
    """The number of decimals for all cells of a column: that of its largest value."""
    values = [abs(v) for row in rows if (v := row.cells[name].value) is not None]
    return decimals_for(max(values, default=0.0))


def decimals_for(largest: float) -> int:
    """The number of decimals that shows three or four digits of a value."""
    largest = abs(largest)
    if largest == 0:
        return 2
    return 2 if largest >= 10 else 3 if largest >= 0.2 else 4 if largest >= 0.02 else 5


def score_text(cell: Cell, decimals: int, n: int, counted: bool = False) -> Text:
    """A score with its interval, and a note on samples without a value. n: number of samples of the row."""
    if cell.is_truth:
        return Text(TRUTH, cell.note)
    if cell.value is None:
        return Text("-", cell.note)
    small = []
    if cell.low is not None and cell.high is not None:
        small.append(f"({cell.low:.{decimals}f} to {cell.high:.{decimals}f})")
    elif cell.no_interval:
        small.append(cell.no_interval)
    if counted or cell.n + cell.same < n:
        small.append(f"n={cell.n}")
    if counted and cell.note:
        small.append(cell.note)
    if cell.same:
        small.append(f"{cell.same} more {TRUTH}")
    return Text(f"{cell.value:.{decimals}f}", ", ".join(small))


def seconds_text(row: Row) -> Text:
    """The median time with its interval, and the device."""
    cell = row.seconds
    if cell.value is None:
        return Text("-", row.device)
    small = row.device
    if cell.low is not None and cell.high is not None:
        small = f"({seconds(cell.low)} to {seconds(cell.high)}), {small}"
    return Text(seconds(cell.value), small)


def seconds(value: float) -> str:
    """Seconds with about three digits, never in scientific notation."""
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 4}f}"


def _best(ranked: Sequence[Row], column: Column, decimals: int) -> str | None:
    """The printed text of the best score among ranked rows that are not controls. Rows that print the same text are
    equally good. None if there are fewer than two texts."""
    cells = [row.cells[column.name] for row in ranked if not row.control]
    known = [(found, cell) for cell in cells if (found := merit(cell, column)) is not None]
    shown = {score_text(cell, decimals, 0).main for _, cell in known}
    if len(shown) < 2:
        return None
    return score_text(max(known, key=lambda pair: pair[0])[1], decimals, 0).main


def csv_of(sections: Sequence[Section]) -> str:
    """All rows of all sections as CSV in full precision. A column that a section does not have is empty."""
    names = sorted({c.name for s in sections for c in (*s.main, *s.further)}, key=_csv_order)
    head = [
        "dataset",
        "fingerprint",
        "protocol",
        "metric_revisions",
        "rank",
        "rank_best",
        "rank_worst",
        "rank_by_psnr",
        "why_not_ranked",
        "method",
        "revision",
        "settings",
        "control",
        "device",
        "n",
        "n_failed",
        "total",
    ]
    parts = ("value", "low", "high", "n", "identical", "note", "no_interval")
    head += [f"{name} {part}" for name in names for part in parts]
    head += ["median_seconds", "median_seconds low", "median_seconds high"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([csv_cell(name) for name in head])
    for section in sections:
        revisions = " ".join(f"{n}={r}" for n, (r, _) in section.definitions.items())
        for row in (*section.ranked, *section.partial):
            line: list[object] = [
                section.dataset,
                section.fingerprint,
                section.protocol,
                revisions,
                row.rank,
                *(row.span or (None, None)),
                row.by_pixels,
                row.why,
                row.method,
                row.revision,
                row.settings,
                "yes" if row.control else "no",
                row.device,
                row.n,
                row.n_failed,
                row.total,
            ]
            for name in names:
                line += [*(row.cells[name] if name in row.cells else [None] * len(parts))]
            line += [row.seconds.value, row.seconds.low, row.seconds.high]
            writer.writerow([csv_cell(value) for value in line])
    return text.getvalue()


def csv_cell(value: object) -> object:
    """A cell of a CSV file: a number as it is, a text such that no spreadsheet takes it for a formula."""
    return escape_csv(value) if isinstance(value, str) else value


def _csv_order(name: str) -> tuple[str, str]:
    metric, _, where = name.partition("/")
    return metric, where
