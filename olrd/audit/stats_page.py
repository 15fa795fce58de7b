"""The page of `olrd stats`: plots of HTML boxes, without scripts, pictures or a network."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from itertools import pairwise
from typing import Any

from olrd.audit.report import leak_sizes
from olrd.dataset.seen_words import places
from olrd.errors import ALL_REASONS
from olrd.progress import size_text
from olrd.trust import counted, one_line, printable

MOST = 20
"""Values that a plot of names shows."""
_MOST_CLASSES, _MOST_LABELS = 15, 10
_LEAK = (
    ("auc", "per patch"),
    ("context", "of it from the surroundings"),
    ("auc_objects", "per object"),
    ("pairs_won", "paste scores above its twin"),
)
_LONGEST = 80
_TALLEST = 128  # pixels of the tallest upright bar; 190 of the plot less the two lines of text


def stats_page(result: Mapping[str, Any]) -> str:
    """The page as HTML. Every text from the data is escaped.

    result: of `olrd.audit.stats.stats`.
    """
    plots = [
        _card(
            "Areas", "Share of the photo that the mask covers", _columns(_area_names(result), result["area"]["counts"])
        ),
        _card("Shifts", "Length of the move, in % of the photo's diagonal", _shift_plot(result)),
        _card("Positions", "Centres of the pasted objects in the frame", _grid(result["positions"])),
        _card("Triplets per photo", "Number of photos, by how many triplets each gives", _per_photo(result)),
        _card("Classes", _shown(result["categories"], "triplets by class"), _bars(result["categories"])),
        _card(
            "Backgrounds",
            _shown(result["background_labels"], "labels under the objects"),
            _bars(result["background_labels"]),
        ),
        _card(
            "Edge leak",
            "Can a classifier find the paste? 0.5: no, 1: always",
            _leak(result["edge_leak"], result["form"]),
        ),
        _card("Licences", "Triplets by licence of the photo", _bars(result["licenses"])),
        _card("Samples per cell", "Triplets by class and mask area", _cells(result), wide=True),
        _card("Classes on backgrounds", "Triplets by class and label under the object", _pairs(result), wide=True),
        _card("Left out", "Photos and objects by reason", _left_out(result["left_out"]), wide=True),
    ]
    values = {
        "NAME": _text(result["name"]),
        "SUMMARY": _summary(result),
        "COMMAND": _text(result["command"], longest=4000),
        "PLOTS": "\n".join(plots),
    }
    page = resources.files("olrd.audit").joinpath("stats.html").read_text(encoding="utf-8")
    # One pass, so that a name in the data that looks like a placeholder stays as it is.
    parts = page.split("__")
    return "".join(values.get(part, part) if number % 2 else part for number, part in enumerate(parts))


def one_name(name: str) -> str:
    """A name from the data as one printable line."""
    return printable(one_line(name)) or "(none)"


def _text(value: object, longest: int = _LONGEST) -> str:
    """A text from the data: one short line, escaped."""
    line = one_name(str(value)[: longest + 1])
    return html.escape(line if len(line) <= longest else line[: longest - 1] + "…")


def _summary(result: Mapping[str, Any]) -> str:
    splits = ", ".join(
        f"{_text(name)} {part['triplets']:,} ({places(part['photos'], result['background_kind'])})"
        for name, part in result["splits"].items()
    )
    return (
        f"{counted(result['triplets'], 'triplet')} of {places(result['photos'], result['background_kind'])}, {size_text(result['bytes'])}, form "
        f"{_text(result['form'])}. Splits: {splits}."
    )


def _card(title: str, note: str, content: str, wide: bool = False) -> str:
    shape = ' class="wide"' if wide else ""
    return f"<section{shape}><h2>{title}</h2><p>{note}</p>{content}</section>"


def _shown(counts: Mapping[str, int], what: str) -> str:
    """The note of a plot of names."""
    return f"{len(counts):,} in all; {what}" + (f", the {MOST} most frequent" if len(counts) > MOST else "")


def _bars(counts: Mapping[str, int], most: int = MOST) -> str:
    """Horizontal bars, one a name."""
    if not counts:
        return '<p class="none">none</p>'
    largest = max(counts.values())
    lines = [
        f'<tr><th scope="row" title="{_text(name)}">{_text(name)}</th><td class="bar"><i style="width:'
        f'{100 * count / largest:.1f}%"></i></td><td class="number">{count:,}</td></tr>'
        for name, count in list(counts.items())[:most]
    ]
    return f'<table class="bars">{"".join(lines)}</table>'


def _columns(names: Sequence[str], counts: Sequence[int]) -> str:
    """Upright bars, one a bin."""
    largest = max(*counts, 1)
    cells = [
        f'<div><b>{count:,}</b><i style="height:{_TALLEST * count / largest:.1f}px"></i><span>{name}</span></div>'
        for name, count in zip(names, counts, strict=True)
    ]
    return f'<div class="columns">{"".join(cells)}</div>'


def _area_names(result: Mapping[str, Any]) -> list[str]:
    edges = result["area"]["edges"]
    return [f"{100 * low:g}-{100 * high:g} %" for low, high in pairwise(edges)]


def _shift_plot(result: Mapping[str, Any]) -> str:
    edges = result["shift"]["edges"]
    names = [f"{100 * low:.0f}-{100 * high:.0f}" for low, high in pairwise(edges)]
    return _columns(names, result["shift"]["counts"])


def _per_photo(result: Mapping[str, Any]) -> str:
    counts = result["triplets_per_photo"]
    return _columns([_text(name) for name in counts], list(counts.values()))


def _shade(count: int, largest: int) -> str:
    """The colour of a cell: the square root, so that small counts differ from none."""
    return f"--share:{(count / largest) ** 0.5 if largest else 0:.3f}"


def _grid(counts: Sequence[Sequence[int]]) -> str:
    """The frame of the photos as cells."""
    largest = max(max(line) for line in counts)
    lines = ("".join(f'<td style="{_shade(n, largest)}">{n or ""}</td>' for n in line) for line in counts)
    return f'<table class="heat frame">{"".join(f"<tr>{line}</tr>" for line in lines)}</table>'


def _heat(columns: Sequence[str], rows: Iterable[tuple[str, Sequence[int]]]) -> str:
    """A table of counts in which the background shows the count."""
    listed = list(rows)
    largest = max((n for _, line in listed for n in line), default=0)
    head = "".join(f'<th scope="col" title="{name}">{name}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{_text(name)}</th>'
        + "".join(f'<td style="{_shade(n, largest)}">{f"{n:,}" if n else "·"}</td>' for n in line)
        + "</tr>"
        for name, line in listed
    )
    return f'<div class="scroll"><table class="heat"><tr><td></td>{head}</tr>{body}</table></div>'


def _cells(result: Mapping[str, Any]) -> str:
    cells = list(result["cells"].items())
    empty = sum(not n for _, line in cells for n in line)
    total = sum(len(line) for _, line in cells)
    note = f"<p>{empty:,} of {counted(total, 'cell')} {'is' if empty == 1 else 'are'} empty"
    note += (
        f"; the {_MOST_CLASSES} most frequent of {len(cells):,} classes</p>" if len(cells) > _MOST_CLASSES else "</p>"
    )
    return note + _heat(_area_names(result), cells[:_MOST_CLASSES])


def _pairs(result: Mapping[str, Any]) -> str:
    labels = list(result["background_labels"])[:_MOST_LABELS]
    rows = list(result["category_backgrounds"].items())[:_MOST_CLASSES]
    if not labels:
        return '<p class="none">the backgrounds have no labels</p>'
    return _heat(
        [_text(label) for label in labels], ((name, [found.get(one, 0) for one in labels]) for name, found in rows)
    )


def _leak(leak: Mapping[str, Any] | None, form: str) -> str:
    """Intervals on a line from 0.5 to 1."""
    if leak is None:
        why = "recipes hold no pixels" if form == "recipes" else "not measured"
        return f'<p class="none">{why}</p>'
    if leak["note"]:
        return f'<p class="none">{_text(leak["note"], longest=400)}</p>'
    lines = "".join(_interval(text, leak[name]) for name, text in _LEAK)
    sizes = f"{leak_sizes(leak)}; 95 % intervals"
    return f'<table class="bars leak">{lines}</table><p>{sizes}</p>'


def _interval(text: str, found: Mapping[str, float]) -> str:
    low, value, high = (min(100.0, max(0.0, 200 * (found[name] - 0.5))) for name in ("low", "value", "high"))
    return (
        f'<tr><th scope="row">{text}</th><td class="bar"><u style="left:{low:.1f}%;width:{high - low:.1f}%"></u>'
        f'<s style="left:{value:.1f}%"></s></td><td class="number">{found["value"]:.3f}</td></tr>'
    )


def _left_out(counts: Mapping[str, Mapping[str, int]]) -> str:
    rows = "".join(_reasons(kind, found) for kind, found in counts.items())
    return f'<div class="scroll"><table class="list">{rows}</table></div>' if rows else '<p class="none">nothing</p>'


def _reasons(kind: str, counts: Mapping[str, int]) -> str:
    return "".join(_reason(kind, code, count) for code, count in counts.items())


def _reason(kind: str, code: str, count: int) -> str:
    meaning = html.escape(ALL_REASONS.get(code, ""))
    return (
        f'<tr><td class="number">{count:,}</td><td>{kind}</td><th scope="row">{_text(code)}</th><td>{meaning}</td></tr>'
    )
