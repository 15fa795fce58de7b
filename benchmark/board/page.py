"""The HTML page of a leaderboard: one file that holds all it needs and loads nothing.

The tables are HTML and can be read without scripts. The script of `leaderboard.html` adds sorting, the
plot of any two scores and the filter; it finds its data in one block of JSON per section. The page's policy lets the
browser run this script only, by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import pandas as pd

from benchmark.board.markup import CONTROL, NOTES, data_of, escape_html
from benchmark.board.plot import names_of, plot
from benchmark.board.ranking import Cell, Column, Row, Section
from benchmark.board.samples import samples_of
from benchmark.board.strips import SIDE, WIDTH, captioned
from benchmark.board.tables import BY_PIXELS, RANK, SECONDS, Table, Text, decimals_of, disagreement, heading, tables_of

TIME = Column("seconds per image", higher_is_better=False)
"""The time as a column of the plot."""


def page(
    sections: Sequence[Section],
    rows: Mapping[str, pd.DataFrame] | None = None,
    strips: Sequence[Mapping[str, str]] | None = None,
) -> str:
    """The sections as one HTML page.

    Args:
        sections: what is shown.
        rows: the rows of samples.parquet by `Row.key`, for the filter. Runs without rows have no values in it.
        strips: the thumbnails of each section (`benchmark.board.strips.strips_of`).
    """
    template = resources.files("benchmark.board").joinpath("leaderboard.html").read_text(encoding="utf-8")
    script = template.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    pictures = strips or [{}] * len(sections)
    parts = [_section(section, rows or {}, found) for section, found in zip(sections, pictures, strict=True)]
    body = [f"<h1>{escape_html(sections[0].dataset)}</h1>", *parts]
    body += [
        "<h2>How to read this</h2>",
        "<ul>",
        *(f"<li>{escape_html(n.replace('`', ''))}</li>" for n in NOTES),
        "</ul>",
    ]
    head, _, tail = template.replace("__POLICY__", f"sha256-{digest}").partition("__BODY__")
    return head.replace("__TITLE__", escape_html(sections[0].dataset)) + "\n".join(body) + tail


def _section(section: Section, rows: Mapping[str, pd.DataFrame], strips: Mapping[str, str]) -> str:
    parts = [
        '<section class="board">',
        f"<h2>protocol {escape_html(section.title)} <small>{escape_html(data_of(section))}</small></h2>",
        *(f'<p class="warning">Warning: {escape_html(text)}</p>' for text in section.warnings),
        f"<p>{escape_html(text)}</p>" if (text := disagreement(section)) else "",
        '<div class="tools" hidden></div>',
    ]
    tables = tables_of(section)
    parts += [*map(html_table, tables[:1]), f'<figure class="plot">{plot([section])}</figure>']
    parts += [_gallery(section, strips), *map(_folded, tables[1:])]
    parts.append("<details><summary>Metrics</summary><dl>")
    for name, (revision, definition) in section.definitions.items():
        parts.append(f"<dt>{escape_html(name)}, revision {escape_html(revision)}</dt>")
        parts.append(f"<dd>{escape_html(definition)}</dd>")
    data = payload(section) | {"samples": samples_of(section, rows)}
    parts += ["</dl></details>", f'<script type="application/json">{_json(data)}</script>', "</section>"]
    return "\n".join(part for part in parts if part)


def _gallery(section: Section, strips: Mapping[str, str]) -> str:
    """The thumbnails: the photos, the truths, and every run that has some."""
    shown = captioned(section, strips, names_of(section.ranked))
    if not shown:
        return ""
    figures = (
        f'<figure><img src="{uri}" alt="{escape_html(caption)}: three samples" width="{WIDTH}" height="{SIDE}">'
        f"<figcaption>{escape_html(caption)}</figcaption></figure>"
        for caption, uri in shown
    )
    title = "Three samples: a small, a medium and a large mask"
    return f'<h3>{title}</h3>\n<div class="strips">{"".join(figures)}</div>'


def _folded(table: Table) -> str:
    """A table that is closed at first."""
    return f"<details><summary>{escape_html(table.title)}</summary>{html_table(table, titled=False)}</details>"


def html_table(table: Table, titled: bool = True) -> str:
    """A table as HTML. Controls are marked and have no column. A cell's `data-v` is what it is sorted by."""
    at = table.head.index(CONTROL)
    shown = [k for k in range(len(table.head)) if k != at]
    columns = _columns(table)

    def kind(k: int) -> str:
        names = ["n"] if k >= table.words else []
        names += ["minor"] if table.head[k] in ("revision", "n", "failed") else []
        return f' class="{" ".join(names)}"' if names else ""

    def cell(k: int, text: Text, run: Row) -> str:
        main = escape_html(text.main)
        main = f"<b>{main}</b>" if text.best else main
        if table.head[k] == "method" and run.control:
            main += " <i>control</i>"
        small = f"<small>{escape_html(text.small)}</small>" if text.small else ""
        value = sort_value(table.head[k], text, run, columns)
        return f'<td{kind(k)} data-v="{escape_html(value)}">{main}{small}</td>'

    def head_cell(k: int) -> str:
        name = f' data-score="{escape_html(columns[table.head[k]])}"' if table.head[k] in columns else ""
        return f'<th scope="col"{kind(k)}{name}>{escape_html(table.head[k])}</th>'

    head = "".join(map(head_cell, shown))
    body = []
    for texts, run in zip(table.rows, table.runs, strict=True):
        cells = "".join(cell(k, texts[k], run) for k in shown)
        opened = '<tr class="control">' if run.control else "<tr>"
        body.append(f"{opened}{cells}</tr>\n")
    title = f"<h3>{escape_html(table.title)}</h3>\n" if titled else ""
    return f'{title}<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{"".join(body)}</tbody></table></div>'


def _columns(table: Table) -> dict[str, str]:
    """The name of the score under each heading."""
    names = table.runs[0].cells if table.runs else {}
    return {text: name for text in table.head for name in names if text.startswith((f"{name},", f"{name} "))}


def sort_value(head: str, text: Text, run: Row, columns: Mapping[str, str]) -> str:
    """What a cell is sorted by: a number in full precision, a text, or nothing."""
    if head == SECONDS:
        return _plain(run.seconds.value)
    if head in columns:
        cell = run.cells[columns[head]]
        return _plain(cell.value) if not cell.is_truth else "truth"
    if head == RANK:
        return _plain(run.rank)
    if head == BY_PIXELS:
        return _plain(run.by_pixels)
    return text.main


def _plain(value: float | None) -> str:
    return "" if value is None else repr(value)


def payload(section: Section) -> dict[str, Any]:
    """The data of a section's script: its columns, and per run the values with their intervals."""
    columns = [*section.main, *section.further, TIME]
    names = names_of(section.ranked)
    return {
        "columns": [
            {"name": c.name, "head": heading(c), "higher": c.higher_is_better, "digits": _digits(section, c)}
            for c in columns
        ],
        "first": 0,
        "pixels": section.main.index(section.pixels) if section.pixels else None,
        "rows": [
            {
                "name": name,
                "control": run.control,
                "cells": [_values(run.seconds if c is TIME else run.cells[c.name]) for c in columns],
            }
            for name, run in zip(names, section.ranked, strict=True)
        ],
    }


def _digits(section: Section, column: Column) -> int:
    return 4 if column is TIME else decimals_of([*section.ranked, *section.partial], column.name)


def _values(cell: Cell) -> list[float | None]:
    """Value and bounds with six digits; None for what is missing or not finite."""
    return [_short(value) for value in (cell.value, cell.low, cell.high)]


def _short(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _json(values: Any) -> str:
    """JSON that cannot close the script element around it."""
    return json.dumps(values, ensure_ascii=True, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
