"""Quality against time as SVG.

It is written without a plotting library: the same records give the same bytes (docs/decisions.md). The axes show the
range of the methods; controls outside it are named below the plot.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from benchmark.board.axes import log_ticks_of, shown_range, tick_decimals, ticks_of
from benchmark.board.ranking import TRUTH, Row, Section
from benchmark.board.svg import FONT, INK, LINE, METHOD, MUTED, interval, line, text
from benchmark.board.tables import heading
from olrd.trust import counted

WIDTH, HEIGHT = 760, 390
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 46, 84
"""Margins of the plotting area in pixels. Names of methods may use the right one."""
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


def names_of(rows: Sequence[Row]) -> list[str]:
    """A short name per row that distinguishes it: the method, and where needed the revision or the settings."""
    names = [row.method for row in rows]
    found = []
    for row in rows:
        name = row.method
        if names.count(name) > 1:
            same = [other for other in rows if other.method == name and other.revision == row.revision]
            name = f"{name} {row.settings if len(same) > 1 else row.revision}"
        found.append(name)
    return found


def points_of(section: Section) -> tuple[list[Point], list[str]]:
    """The ranked rows that can be drawn, and a note for each of the others."""
    points, left_out = [], []
    for row, name in zip(section.ranked, names_of(section.ranked), strict=True):
        cell, time = row.cells[section.first.name], row.seconds.value
        if cell.value is None:
            left_out.append(f"{TRUTH}: {name}")
        elif time is None or time < SHORTEST:
            left_out.append(f"no time: {name}")
        else:
            low, high = (cell.value if v is None else v for v in (cell.low, cell.high))
            points.append(Point(name, row.control, time, cell.value, low, high))
    return points, left_out


def pareto(points: Sequence[Point], higher_is_better: bool) -> list[Point]:
    """The methods that no other method beats in both time and score, fastest first. Controls are left out."""
    sign = 1 if higher_is_better else -1
    front: list[Point] = []
    for point in sorted((p for p in points if not p.control), key=lambda p: (p.x, -sign * p.y)):
        if not front or sign * point.y > sign * front[-1].y:
            front.append(point)
    return front


def _panel(section: Section) -> str:
    points, left_out = points_of(section)
    parts = [
        text(LEFT, 20, f"{section.dataset}, {section.title}, data {section.fingerprint}", weight=600),
        text(LEFT, 36, f"{heading(section.first)}, 95 % interval; dashed: not beaten in both time and score", MUTED),
    ]
    measured = [p for p in points if not p.control] or points
    if measured:
        times = shown_range([math.log10(p.x) for p in measured])
        scores = shown_range([value for p in measured for value in (p.low, p.high)])
        outside = [p for p in points if not (times.holds(math.log10(p.x)) and scores.holds(p.y))]
        if outside:
            left_out.append("outside the plot: " + ", ".join(f"{p.name} ({p.y:.3g})" for p in outside))
        points = [p for p in points if p not in outside]
    if section.partial:
        left_out.append(f"{counted(len(section.partial), 'partial run')} not shown")
    for k, note in enumerate(_wrapped(left_out)):
        parts.append(text(LEFT, HEIGHT - 26 + 14 * k, note, MUTED))
    if not measured:
        return "".join([*parts, text(LEFT, HEIGHT / 2, "no ranked run with a finite score", MUTED)])

    def at_x(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(value) - times.low) / (times.high - times.low)

    def at_y(value: float) -> float:
        at = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - scores.low) / (scores.high - scores.low)
        return min(max(at, TOP), HEIGHT - BOTTOM)

    ticks = ticks_of(scores)
    decimals = tick_decimals(ticks)
    for tick in ticks:
        parts.append(line(LEFT, at_y(tick), WIDTH - RIGHT, at_y(tick), LINE))
        parts.append(text(LEFT - 8, at_y(tick) + 4, f"{tick:.{decimals}f}", MUTED, "end"))
    for tick in log_ticks_of(times):
        parts.append(line(at_x(tick), TOP, at_x(tick), HEIGHT - BOTTOM, LINE))
        parts.append(text(at_x(tick), HEIGHT - BOTTOM + 18, f"{tick:.10f}".rstrip("0").rstrip("."), MUTED, "middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(text(middle, HEIGHT - BOTTOM + 36, "seconds per image (median)", MUTED, "middle"))
    front = [(at_x(p.x), at_y(p.y)) for p in pareto(points, section.first.higher_is_better)]
    steps = [f"{x:.1f},{y:.1f}" for (x, y), before in zip(front[1:], front, strict=False) for y in (before[1], y)]
    if front:
        way = " ".join([f"{front[0][0]:.1f},{front[0][1]:.1f}", *steps, f"{WIDTH - RIGHT},{front[-1][1]:.1f}"])
        parts.append(f'<polyline points="{way}" fill="none" stroke="{METHOD}" stroke-dasharray="3 4" opacity=".6"/>')
    placed = _boxes([(at_x(p.x), at_y(p.high), at_y(p.low), at_y(p.y)) for p in points])
    for point in points:
        x, y = at_x(point.x), at_y(point.y)
        name = _cut(point.name, 34)
        left, y_name = _room_for(name, x, y, placed)
        end, start = (x - 14, x - 6) if left else (x + 14, x + 6)
        anchor, shift = ("end", -3) if left else ("start", 3)
        if y_name != y:
            parts.append(line(start, y, end, y_name, MUTED, 0.75))
        colour = MUTED if point.control else INK
        parts.append(text(end + shift, y_name + 4, name, colour, anchor))
        parts.append(_mark(point, x, at_y(point.low), y, at_y(point.high)))
    return "\n".join(parts)


def _wrapped(notes: Sequence[str]) -> list[str]:
    """The notes in two lines at most."""
    lines = textwrap.wrap("; ".join(notes), 108)
    return [*lines[:1], _cut(" ".join(lines[1:]), 108)] if len(lines) > 1 else lines


def _mark(point: Point, x: float, low: float, y: float, high: float) -> str:
    """A dot with its interval. Controls are hollow and grey."""
    colour, fill = (MUTED, "#fff") if point.control else (METHOD, METHOD)
    dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>'
    return interval(x, low, high, colour) + dot


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


def _cut(words: str, length: int) -> str:
    return words if len(words) <= length else words[: length - 1] + "…"
