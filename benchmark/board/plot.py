"""Quality against time as SVG.

It is written without a plotting library, so that the same records give the same bytes.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

from benchmark.board.ranking import TRUTH, Section
from benchmark.board.tables import heading, seconds
from olrd.trust import printable

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 46, 74
"""Margins of the plotting area in pixels. Names of methods may use the right one."""
INK, MUTED, LINE, METHOD, CONTROL = "#18181b", "#71717a", "#e4e4e7", "#d6006c", "#71717a"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
SHORTEST = 1e-9
"""Seconds per image below which a time was not measured."""
STEP = 15
"""Height of a name in pixels."""


class Point(NamedTuple):
    """A ranked row. x: seconds per image. y, low, high: the score and its interval."""

    name: str
    control: bool
    x: float
    y: float
    low: float
    high: float


def plot(sections: Sequence[Section]) -> str:
    """An SVG file with one panel per section, one below the other."""
    height = HEIGHT * len(sections)
    panels = [f'<g transform="translate(0 {k * HEIGHT})">{_panel(section)}</g>' for k, section in enumerate(sections)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="{FONT}" font-size="12" role="img">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n' + "\n".join(panels) + "\n</svg>\n"
    )


def points_of(section: Section) -> tuple[list[Point], list[str]]:
    """The ranked rows that can be drawn, and a note for each of the others."""
    points, left_out = [], []
    names = [row.method for row in section.ranked]
    for row in section.ranked:
        cell, time = row.cells[section.first.name], row.seconds.value
        name = row.method
        if names.count(name) > 1:  # the revision distinguishes them, or the settings
            same = [r for r in section.ranked if r.method == name and r.revision == row.revision]
            name = f"{name} {row.settings if len(same) > 1 else row.revision}"
        if cell.value is None:
            left_out.append(f"{TRUTH}: {name}")
        elif time is None or time < SHORTEST:
            left_out.append(f"no time: {name}")
        else:
            low, high = (cell.value if v is None else v for v in (cell.low, cell.high))
            points.append(Point(name, row.control, time, cell.value, low, high))
    return points, left_out


def _panel(section: Section) -> str:
    points, left_out = points_of(section)
    parts = [
        _text(LEFT, 20, f"{section.dataset}, {section.protocol}, data {section.fingerprint}", weight=600),
        _text(LEFT, 36, f"{heading(section.first)}, 95 % interval", MUTED),
    ]
    if section.partial:
        left_out.append(f"{len(section.partial)} partial run(s) not shown")
    if left_out:
        parts.append(_text(LEFT, HEIGHT - 12, _cut("; ".join(left_out), 110), MUTED))
    if not points:
        return "".join([*parts, _text(LEFT, HEIGHT / 2, "no ranked run with a finite score", MUTED)])
    x0, x1 = _decades([p.x for p in points])
    ticks = nice_ticks(min(p.low for p in points), max(p.high for p in points))
    y0, y1 = ticks[0], ticks[-1]

    def at_x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(value) - x0) / (x1 - x0)

    def at_y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - y0) / (y1 - y0)

    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    for tick in ticks:
        parts.append(_line(LEFT, at_y(tick), WIDTH - RIGHT, at_y(tick), LINE))
        parts.append(_text(LEFT - 8, at_y(tick) + 4, f"{tick:.{decimals}f}", MUTED, "end"))
    for power in range(x0, x1 + 1):
        x = at_x(10.0**power)
        parts.append(_line(x, TOP, x, HEIGHT - BOTTOM, LINE))
        label = seconds(10.0**power) if power >= -4 else f"1e{power}"
        label = label.rstrip("0").rstrip(".") if power < 0 else f"{10**power}"
        parts.append(_text(x, HEIGHT - BOTTOM + 18, label, MUTED, "middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - BOTTOM + 36, "seconds per image (median)", MUTED, "middle"))
    placed = _boxes([(at_x(p.x), at_y(p.high), at_y(p.low), at_y(p.y)) for p in points])
    for point in points:
        x, y = at_x(point.x), at_y(point.y)
        name = _cut(point.name, 34)
        left, y_name = _room_for(name, x, y, placed)
        end, start = (x - 14, x - 6) if left else (x + 14, x + 6)
        anchor, shift = ("end", -3) if left else ("start", 3)
        if y_name != y:
            parts.append(_line(start, y, end, y_name, MUTED, 0.75))
        colour = MUTED if point.control else INK
        parts.append(_text(end + shift, y_name + 4, name, colour, anchor))
        parts.append(_mark(point, x, at_y(point.low), y, at_y(point.high)))
    return "\n".join(parts)


def _mark(point: Point, x: float, low: float, y: float, high: float) -> str:
    """A dot with its interval. Controls are hollow and grey."""
    colour, fill = (CONTROL, "#fff") if point.control else (METHOD, METHOD)
    caps = "".join(_line(x - 3, at, x + 3, at, colour, 1.5) for at in (low, high))
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>'
    return _line(x, low, x, high, colour, 1.5) + caps + dot


class Box(NamedTuple):
    """A rectangle that is in use, in pixels."""

    left: float
    top: float
    right: float
    bottom: float


def _boxes(bars: Sequence[tuple[float, float, float, float]]) -> list[Box]:
    """The rectangles that intervals and dots cover."""
    return [
        box for x, top, bottom, y in bars for box in (Box(x - 4, top, x + 4, bottom), Box(x - 7, y - 7, x + 7, y + 7))
    ]


def _room_for(name: str, x: float, y: float, taken: list[Box]) -> tuple[bool, float]:
    """Find the nearest free position for a name and mark it as used.

    Returns:
        Whether the name is left of its dot, and its height in pixels.
    """
    width = 6.8 * len(name) + 10  # about the width in 12 px sans-serif
    away = sorted((abs(k), k) for k in range(-8, 9))
    for _, k in away:
        for left in (False, True):
            middle = y + k * STEP
            start = x - 12 - width if left else x + 12
            box = Box(start, middle - STEP / 2, start + width, middle + STEP / 2)
            inside = box.left >= LEFT and box.right <= WIDTH and TOP <= middle <= HEIGHT - BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                return left, middle
    return False, y


def _overlap(a: Box, b: Box) -> bool:
    return a.left < b.right and b.left < a.right and a.top < b.bottom and b.top < a.bottom


def nice_ticks(low: float, high: float) -> list[float]:
    """4 to 9 round numbers, evenly spaced, around low..high with a small margin."""
    size = max(abs(low), abs(high))
    span = high - low if high - low > 1e-6 * size + 1e-12 else size * 0.1 + 1e-9
    low, high = low - 0.04 * span, high + 0.04 * span
    raw = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, last + 1)]


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around the values; they differ by at least one."""
    low = math.floor(math.log10(min(values)) + 1e-9)
    high = math.ceil(math.log10(max(values)) - 1e-9)
    return low, max(high, low + 1)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, colour: str = INK, anchor: str = "start", weight: int = 400) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{html.escape(printable(text))}</text>'
    )
