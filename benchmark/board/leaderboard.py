"""The pages of a leaderboard. They depend on its files only: the same records give the same bytes.

BOARD/results/...                      the records (`benchmark.board.records`) and their rows
BOARD/pictures/...                     thumbnails, if some were asked for (`benchmark.board.strips`)
BOARD/<dataset>.md, .csv, .tex, .html  tables: one section per group of runs that may be ranked together
                                       (`benchmark.board.ranking`)
BOARD/<dataset>.svg                    quality against seconds per image
BOARD/reported.md                      numbers from the paper, not measured here
"""

from __future__ import annotations

from pathlib import Path

from benchmark.board.markup import latex, markdown
from benchmark.board.page import page
from benchmark.board.plot import plot
from benchmark.board.ranking import Section, sections
from benchmark.board.records import records_by_path, safe_name
from benchmark.board.reported import reported
from benchmark.board.samples import rows_of
from benchmark.board.strips import strips_of
from benchmark.board.tables import csv_of
from olrd.errors import SourceError
from olrd.storage.files import write_atomic


def leaderboard(board: Path) -> list[Path]:
    """Write all pages of a board from its records; returns their paths.

    Raises:
        SourceError: the board has no records.
        IntegrityError: a record, its rows or its thumbnails cannot be read. Nothing is written.
    """
    records = records_by_path(board)
    if not records:
        raise SourceError(f"{board} holds no records; `benchmark leaderboard RUN --board {board}` adds a run")
    rows = rows_of(records)
    by_page: dict[str, list[Section]] = {}
    for section in sections(records.values()):
        by_page.setdefault(page_name(section.dataset), []).append(section)
    written = []
    for name, found in sorted(by_page.items()):
        texts = {
            "md": markdown(found, f"{name}.svg"),
            "csv": csv_of(found),
            "tex": latex(found),
            "html": page(found, rows, [strips_of(section, board) for section in found]),
            "svg": plot(found),
        }
        for suffix, text in texts.items():
            written.append(board / f"{name}.{suffix}")
            write_atomic(written[-1], text)
    written.append(board / "reported.md")
    write_atomic(written[-1], reported())
    return written


def page_name(dataset: str) -> str:
    """The stem of the pages of a dataset. Names of other files, such as `reported`, get a trailing underscore."""
    name = safe_name(dataset)
    return f"{name}_" if name.lower() in ("index", "reported", "readme", "results") else name
