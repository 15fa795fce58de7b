"""Tables as Markdown and LaTeX. Every text is escaped, because names of methods and data may hold anything."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from benchmark.board.ranking import Section
from benchmark.board.tables import Table, Text, disagreement, tables_of
from benchmark.statistics import EARLIER
from olrd.trust import escape_markdown, one_line, printable

EARLIER_INTERVALS = ", intervals of an earlier version (percentile bootstrap, too short)"
NOTES = (
    "Ranking: rows are ranked by the score that agrees best with people, which is LPIPS in the mask if it was measured. "
    "Ranks in brackets are those that the 95 % intervals leave open.",
    "by PSNR: the rank by PSNR in the mask. An arrow shows how many places PSNR moves the row up or down. PSNR rewards "
    "smooth fills.",
    "control: a trivial method for comparison, such as doing nothing. It has no rank and is listed where its score puts it.",
    "Scores: each is the mean over all samples, with a 95 % interval over source photos. Time is the median.",
    "Regions: mask is the erased area, ring the pixels around it. Modes: raw is the unchanged output, composited the "
    "output inside the mask and the input outside. change/outside/raw is the difference between output and input outside "
    "the mask.",
    "= truth: every output equals the ground truth, so the score has no finite value.",
    "Bold: the best method that is not a control. If intervals overlap, the methods may not differ; `benchmark compare` "
    "tests pairs.",
)
CONTROL = "control"
"""Head of the column that says whether a row is a control. Pages mark the row instead."""
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}


def escape_latex(text: str) -> str:
    """Escape text for LaTeX."""
    return "".join(_LATEX.get(c, c) for c in printable(one_line(text)))


def escape_html(text: str) -> str:
    """Escape text for HTML, also in attributes."""
    return html.escape(printable(text), quote=True)


def head_of(section: Section) -> str:
    """The protocol and data of a section, as plain text."""
    return f"protocol {section.title}, {data_of(section)}"


def data_of(section: Section) -> str:
    """The data of a section, and the kind of its intervals if it is that of an earlier version."""
    return f"data {section.fingerprint}{EARLIER_INTERVALS if section.intervals == EARLIER else ''}"


class Line(NamedTuple):
    """A row of a compact table."""

    cells: tuple[Text, ...]
    control: bool


class Compact(NamedTuple):
    """A table without the column `control`, and without settings that nothing needs to tell rows apart.

    Attributes:
        settings: the settings that were left out, as (method, settings).
    """

    head: tuple[str, ...]
    lines: tuple[Line, ...]
    words: int
    settings: tuple[tuple[str, str], ...]


def compact(table: Table) -> Compact:
    """A table as pages of fixed width show it. A control has the word after its name."""
    at, method, revision = (table.head.index(name) for name in (CONTROL, "method", "revision"))
    names = Counter((row[method].main, row[revision].main) for row in table.rows)
    lines, settings = [], []
    for row in table.rows:
        control, name = row[at].main == "yes", row[method]
        if name.small and names[name.main, row[revision].main] == 1:
            settings.append((name.main, name.small))
            name = name._replace(small="")
        if control:
            name = name._replace(small=f"{CONTROL}, {name.small}" if name.small else CONTROL)
        cells = (*row[:method], name, *row[method + 1 :])
        lines.append(Line(cells[:at] + cells[at + 1 :], control))
    return Compact(table.head[:at] + table.head[at + 1 :], tuple(lines), table.words - 1, tuple(settings))


def markdown(sections: Sequence[Section], picture: str) -> str:
    """The sections as one Markdown page. picture: file name of the plot."""
    lines = [f"# {escape_markdown(sections[0].dataset)}", "", f"![quality against time]({picture})"]
    for section in sections:
        lines += ["", f"## {escape_markdown(section.dataset)}: {escape_markdown(head_of(section))}"]
        lines += ["", escape_markdown(text)] if (text := disagreement(section)) else []
        for text in section.warnings:
            lines += ["", f"> **Warning:** {escape_markdown(text)}"]
        settings: dict[tuple[str, str], None] = {}
        for table in tables_of(section):
            short = compact(table)
            settings |= dict.fromkeys(short.settings)
            lines += ["", f"### {escape_markdown(table.title)}", "", *_markdown_table(short)]
        if settings:
            lines += ["", "### Settings", ""]
            lines += [f"- **{escape_markdown(name)}**: {escape_markdown(text)}" for name, text in settings]
        lines += ["", "### Metrics", ""]
        lines += [
            f"- **{escape_markdown(name)}**, revision {escape_markdown(revision)}: {escape_markdown(definition)}"
            for name, (revision, definition) in section.definitions.items()
        ]
    lines += ["", "## How to read this", "", *(f"- {escape_markdown(note)}" for note in NOTES)]
    return "\n".join(lines) + "\n"


def _markdown_table(table: Compact) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    def cell(text: Text, slanted: bool) -> str:
        main, small = escape_markdown(text.main), escape_markdown(text.small)
        main = f"**{main}**" if text.best else f"*{main}*" if slanted else main
        return f"{main} {small}" if small else main

    at = table.head.index("method")

    rule = ["---" if k < table.words else "---:" for k in range(len(table.head))]
    return [
        line([escape_markdown(text) for text in table.head]),
        line(rule),
        *(line([cell(text, row.control and k == at) for k, text in enumerate(row.cells)]) for row in table.lines),
    ]


def latex(sections: Sequence[Section]) -> str:
    """The tables as LaTeX, to \\input into a document."""
    lines = [r"% Needs \usepackage{booktabs} and \usepackage{graphicx}."]
    for section in sections:
        for table in tables_of(section):
            caption = f"{section.dataset}, {head_of(section)}. {table.title}."
            lines += ["", r"\begin{table*}", r"\centering", rf"\caption{{{escape_latex(caption)}"]
            lines += [escape_latex(f"Warning: {text}.") for text in section.warnings]
            lines[-1] += "}"
            lines += _latex_table(compact(table))
            lines += [r"\end{table*}"]
    return "\n".join(lines) + "\n"


def _latex_table(table: Compact) -> list[str]:
    def cell(text: Text, slanted: bool) -> str:
        main = escape_latex(text.main)
        main = rf"\textbf{{{main}}}" if text.best else rf"\textit{{{main}}}" if slanted else main
        return main + (rf" {{\scriptsize {escape_latex(text.small)}}}" if text.small else "")

    at = table.head.index("method")
    align = "l" * table.words + "r" * (len(table.head) - table.words)
    return [
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        " & ".join(escape_latex(text) for text in table.head) + r" \\",
        r"\midrule",
        *(
            " & ".join(cell(text, row.control and k == at) for k, text in enumerate(row.cells)) + r" \\"
            for row in table.lines
        ),
        r"\bottomrule",
        r"\end{tabular}}",
    ]
