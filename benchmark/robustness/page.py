"""The page of a track: one file that holds curves and tables, runs no script and loads nothing."""

from __future__ import annotations

from pathlib import Path

from benchmark.board.markup import escape_html
from benchmark.board.tables import heading
from benchmark.disturbances import KINDS
from benchmark.robustness.curves import kinds_of, panel, shared_range
from benchmark.robustness.table import NOTES, about, csv_of, head_of, lines_of, markdown, warnings_of, what_is_shown
from benchmark.robustness.track import Track
from olrd.storage.files import write_atomic

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: #18181b; margin: 0 auto;
  max-width: 1100px; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.muted { color: #71717a; } .warning { color: #b45309; }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: 13px; min-height: 2.6em; } svg { width: 100%; height: auto; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; white-space: nowrap; }
th, td { border-bottom: 1px solid #e4e4e7; padding: .3rem .6rem; text-align: right; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
"""


def write(track: Track, out: Path) -> list[Path]:
    """Write robustness.html, .md and .csv into a folder; returns their paths."""
    texts = {"html": page(track), "md": markdown(track), "csv": csv_of(track)}
    written = []
    for suffix, text in texts.items():
        written.append(out / f"robustness.{suffix}")
        write_atomic(written[-1], text)
    return written


def page(track: Track) -> str:
    """The track as one HTML page."""
    title = escape_html(f"{track.plain.label}: robustness")
    parts = [f"<h1>{title}</h1>", f'<p class="muted">{escape_html(about(track))}</p>']
    parts += [f'<p class="warning">Warning: {escape_html(text)}</p>' for text in warnings_of(track)]
    parts.append(f"<p>{escape_html(what_is_shown(track))}</p>")
    for column in track.changed:
        shown = shared_range(track, column)
        if shown is None:
            continue
        figures = (
            f"<figure>{panel(track, column, kind, shown)}"
            f"<figcaption>{escape_html(KINDS[kind].text.format(level='N'))}</figcaption></figure>"
            for kind in kinds_of(track)
        )
        parts.append(f'<h2>{escape_html(heading(column))}</h2>\n<div class="curves">{"".join(figures)}</div>')
    parts += ["<h2>Table</h2>", _table(track), "<ul>"]
    parts += [f"<li>{escape_html(text)}</li>" for text in (*track.left_out, *NOTES)]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</ul>\n</body>\n</html>\n"
    )


def _table(track: Track) -> str:
    head = "".join(f'<th scope="col">{escape_html(text)}</th>' for text in head_of(track))
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape_html(text)}</td>" for text in (*line[:-1], *line.scores)) + "</tr>"
        for line in lines_of(track)
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'
