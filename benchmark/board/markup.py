"""Tables as Markdown, LaTeX and HTML. Every text is escaped, because names of methods and data may hold anything."""

from __future__ import annotations

import html
from collections.abc import Sequence

from benchmark.board.ranking import Section
from benchmark.board.tables import Table, Text, tables_of
from olrd.trust import escape_markdown, one_line, printable

NOTES = (
    "A score is the mean over all samples with its 95 % interval (bootstrap over source photos). Time is the median.",
    "mask: what was erased. ring: the pixels around it. raw: the output, unchanged. composited: the output inside the "
    "mask and the input outside. change/outside/raw: the difference between output and input outside the mask.",
    "= truth: every output equals the ground truth, so the score has no finite value. Such a row is ranked first. "
    "Bold: the best ranked method that is not a control. If intervals overlap, the methods may not differ; "
    "`benchmark compare` tests pairs.",
    "control: not a method but a reference, such as doing nothing. It is ranked to show what a score means.",
)
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
    return f"protocol {section.protocol}, data {section.fingerprint}"


def markdown(sections: Sequence[Section], picture: str) -> str:
    """The sections as one Markdown page. picture: file name of the plot."""
    lines = [f"# {escape_markdown(sections[0].dataset)}", "", f"![quality against time]({picture})"]
    for section in sections:
        lines += ["", f"## {escape_markdown(section.dataset)}: {escape_markdown(head_of(section))}"]
        for text in section.warnings:
            lines += ["", f"> **Warning:** {escape_markdown(text)}"]
        for table in tables_of(section):
            lines += ["", f"### {escape_markdown(table.title)}", "", *_markdown_table(table)]
        lines += ["", "### Metrics", ""]
        lines += [
            f"- **{escape_markdown(name)}**, revision {escape_markdown(revision)}: {escape_markdown(definition)}"
            for name, (revision, definition) in section.definitions.items()
        ]
    lines += ["", "## How to read this", "", *(f"- {escape_markdown(note)}" for note in NOTES)]
    return "\n".join(lines) + "\n"


def _markdown_table(table: Table) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    def cell(text: Text) -> str:
        main = escape_markdown(text.main)
        main = f"**{main}**" if text.best else main
        return f"{main} {escape_markdown(text.small)}" if text.small else main

    rule = ["---" if k < table.words else "---:" for k in range(len(table.head))]
    return [
        line([escape_markdown(text) for text in table.head]),
        line(rule),
        *(line([cell(text) for text in row]) for row in table.rows),
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
            lines += _latex_table(table)
            lines += [r"\end{table*}"]
    return "\n".join(lines) + "\n"


def _latex_table(table: Table) -> list[str]:
    def cell(text: Text) -> str:
        main = escape_latex(text.main)
        main = rf"\textbf{{{main}}}" if text.best else main
        return main + (rf" {{\scriptsize {escape_latex(text.small)}}}" if text.small else "")

    align = "l" * table.words + "r" * (len(table.head) - table.words)
    return [
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        " & ".join(escape_latex(text) for text in table.head) + r" \\",
        r"\midrule",
        *(" & ".join(cell(text) for text in row) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}}",
    ]


def page_body(sections: Sequence[Section], pictures: Sequence[str]) -> str:
    """The HTML between <main> and </main>. pictures: one SVG per section; not escaped."""
    parts = [f"<h1>{escape_html(sections[0].dataset)}</h1>"]
    for section, picture in zip(sections, pictures, strict=True):
        parts.append(f"<h2>{escape_html(section.dataset)} <small>{escape_html(head_of(section))}</small></h2>")
        parts += [f'<p class="warning">Warning: {escape_html(t)}</p>' for t in section.warnings]
        parts.append(f"<figure>{picture}</figure>")
        parts += [html_table(table) for table in tables_of(section)]
        parts.append("<details><summary>Metrics</summary><dl>")
        for name, (revision, definition) in section.definitions.items():
            parts.append(f"<dt>{escape_html(name)}, revision {escape_html(revision)}</dt>")
            parts.append(f"<dd>{escape_html(definition)}</dd>")
        parts.append("</dl></details>")
    parts.append("<h2>How to read this</h2><ul>")
    parts += [f"<li>{escape_html(note.replace('`', ''))}</li>" for note in NOTES]
    return "\n".join([*parts, "</ul>"])


def html_table(table: Table) -> str:
    """A table as HTML. It scrolls sideways if it is wider than the page."""

    def tag(name: str, k: int) -> str:
        return f"<{name}>" if k < table.words else f'<{name} class="n">'

    def cell(text: Text, k: int) -> str:
        main = escape_html(text.main)
        main = f"<b>{main}</b>" if text.best else main
        small = f"<small>{escape_html(text.small)}</small>" if text.small else ""
        return f"{tag('td', k)}{main}{small}</td>"

    head = "".join(f"{tag('th', k)}{escape_html(text)}</th>" for k, text in enumerate(table.head))
    control = table.head.index("control")
    rows = []
    for row in table.rows:
        kind = ' class="control"' if row[control].main == "yes" else ""
        cells = "".join(cell(text, k) for k, text in enumerate(row))
        rows.append(f"<tr{kind}>{cells}</tr>\n")
    return (
        f'<h3>{escape_html(table.title)}</h3>\n<div class="wide"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{''.join(rows)}</tbody></table></div>"
    )
