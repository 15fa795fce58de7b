"""Lines, texts and intervals of the plots, as SVG."""

from __future__ import annotations

import html

from olrd.trust import printable

INK, MUTED, LINE, METHOD = "#18181b", "#71717a", "#e4e4e7", "#d6006c"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"


def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    """A line. Places and width are in pixels."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def interval(x: float, low: float, high: float, colour: str) -> str:
    """A vertical line from one height to another, with caps."""
    caps = "".join(line(x - 3, at, x + 3, at, colour, 1.5) for at in (low, high))
    return line(x, low, x, high, colour, 1.5) + caps


def text(x: float, y: float, words: str, colour: str = INK, anchor: str = "start", weight: int = 400) -> str:
    """A text. anchor: the part of it that is at x: start, middle or end."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(words)}</text>'
    )


def escape(words: str) -> str:
    """Escape text for SVG, also in attributes."""
    return html.escape(printable(words), quote=True)
