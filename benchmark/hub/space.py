"""A board as a static Space of the Hub: a folder of files, which any other web server shows too.

SPACE/README.md     the Space's settings, and what the board is
SPACE/index.html    links to the pages
SPACE/<dataset>.*   the pages
SPACE/results/      records and rows: the Space is a board, `benchmark compare RUN SPACE#METHOD`
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path

from benchmark.board.leaderboard import leaderboard, page_name
from benchmark.board.ranking import Section, sections
from benchmark.board.record_rows import rows_beside
from benchmark.board.records import read_records
from benchmark.hub.yaml_text import to_yaml
from olrd.errors import SourceError
from olrd.storage.files import read_regular, write_atomic
from olrd.trust import counted, escape_markdown, one_line

LONGEST = 60
"""Longest short description of a Space."""
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 48rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 0.4rem 0.8rem 0.4rem 0; border-bottom: 1px solid #8886; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #ddd; } a { color: #8bf; } }
""".strip()


def write_space(board: Path, space: Path, title: str) -> list[Path]:
    """Write the Space of a board; returns the paths of its pages.

    Args:
        board: the folder of the board.
        space: the folder to write to.
        title: of the Space.

    Raises:
        SourceError: the board has no records.
        IntegrityError: a record is damaged.
    """
    found = sections(read_records(board))
    if not found:
        raise SourceError(f"{board} holds no records; `benchmark leaderboard RUN --board {board}` adds a run")
    for path in _parts(board):
        target = space / path.relative_to(board)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, read_regular(path, board), durable=False)
    pages = leaderboard(space)
    write_atomic(space / "index.html", index(found, title))
    write_atomic(space / "README.md", readme(found, title))
    return [space / "README.md", space / "index.html", *pages]


def _parts(board: Path) -> Iterator[Path]:
    """The files that a board's pages are made from: records, rows, and the thumbnails that they show."""
    for path in sorted((board / "results").glob("*/*/*/*.json")):
        yield path
        if rows_beside(path).is_file():
            yield rows_beside(path)
    yield from sorted((board / "pictures").glob("*/*/*.webp"))


def readme(found: list[Section], title: str) -> str:
    """README.md: the settings of a static Space as YAML, and a text."""
    datasets = sorted({section.dataset for section in found})
    settings = {
        "title": one_line(title),
        "emoji": "\N{BAR CHART}",
        "colorFrom": "gray",
        "colorTo": "blue",
        "sdk": "static",
        "app_file": "index.html",
        "pinned": False,
        "short_description": f"Object removal: {counted(len(datasets), 'dataset')} with a known truth"[:LONGEST],
    }
    listed = "\n".join(f"- {escape_markdown(name)}" for name in datasets)
    return (
        f"---\n{to_yaml(settings)}---\n\n# {escape_markdown(title)}\n\nErasers of objects, scored on datasets with a known "
        f"truth:\n\n{listed}\n\n`results/` holds the records, and where there are any, the scores of every sample as "
        "Parquet. With a copy of this folder, `benchmark compare RUN FOLDER#METHOD` tests a run against a row.\n"
    )


def index(found: list[Section], title: str) -> str:
    """The page index.html."""
    rows = "\n".join(
        f'<tr><td><a href="{html.escape(page_name(section.dataset))}.html">{html.escape(section.dataset)}</a></td>'
        f"<td>{html.escape(section.title)}</td><td>{sum(not row.control for row in section.ranked)}</td></tr>"
        for section in found
    )
    name = html.escape(one_line(title))
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{name}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>\n{STYLE}\n</style>\n</head>\n'
        f"<body>\n<h1>{name}</h1>\n<table>\n<thead><tr><th>dataset</th><th>protocol</th><th>methods</th></tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table>\n</body>\n</html>\n"
    )
