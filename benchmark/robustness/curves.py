"""The curves of a track as SVG: what each level of a disturbance changes, with the interval."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence

from benchmark.board.plot import FONT, INK, LINE, METHOD, MUTED, Range, shown_range, ticks_of
from benchmark.board.ranking import Column
from benchmark.disturbances import KINDS
from benchmark.robustness.table import change_text
from benchmark.robustness.track import Point, Track
from olrd.trust import printable

WIDTH, HEIGHT = 250, 190
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 40
"""Margins of the plotting area in pixels."""


def kinds_of(track: Track) -> list[str]:
    """The kinds of disturbance of a track, in the order of `KINDS`."""
    there = {point.disturbance.name for point in track.points if point.disturbance}
    return [name for name in KINDS if name in there]


def points_of(track: Track, kind: str) -> list[Point]:
    """The points of a kind, weakest first."""
    found = [point for point in track.points if point.disturbance and point.disturbance.name == kind]
    return sorted(
        found, key=lambda point: point.disturbance.level if point.disturbance else 0, reverse=KINDS[kind].falling
    )


def shared_range(track: Track, column: Column) -> Range | None:
    """The range of a score's changes over all kinds, with 0; None if nothing can be drawn."""
    found = [point.changes[column.name] for point in track.points]
    values = [
        v for change in found for v in (change.mean, change.low, change.high) if v is not None and math.isfinite(v)
    ]
    return shown_range([0.0, *values]) if values else None


def panel(track: Track, column: Column, kind: str, shown: Range) -> str:
    """An SVG with the curve of one score under one kind of disturbance.

    It starts at the undisturbed run, where the change is 0. Levels stand at equal distances, weakest first. A level
    without a value has no dot.

    Args:
        track: the results.
        column: the score.
        kind: a kind that the track has.
        shown: the range of the vertical axis.
    """
    points = points_of(track, kind)
    step = (WIDTH - LEFT - RIGHT - 16) / len(points)
    places = [LEFT + 8 + step * k for k in range(len(points) + 1)]

    def at(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (shown.high - value) / (shown.high - shown.low)

    parts = []
    ticks = ticks_of(shown)
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    for tick in ticks:
        parts.append(_line(LEFT, at(tick), WIDTH - RIGHT, at(tick), MUTED if abs(tick) < 1e-12 else LINE))
        parts.append(_text(LEFT - 6, at(tick) + 4, f"{tick:+.{decimals}f}" if abs(tick) > 1e-12 else "0", "end"))
    unit = KINDS[kind].unit
    names = [str(point.disturbance.level) if point.disturbance and unit else "no map" for point in points]
    for x, name in zip(places, ("exact", *names), strict=True):
        parts.append(_text(x, HEIGHT - BOTTOM + 16, name, "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 32, unit, "middle"))
    drawn = [(places[0], 0.0)]
    digits = max(2, decimals + 1)
    for x, point in zip(places[1:], points, strict=True):
        change = point.changes[column.name]
        if change.mean is None or not math.isfinite(change.mean):
            continue
        drawn.append((x, change.mean))
        parts.append(_interval(x, change.low, change.high, at))
        title = f"{point.name}: {change_text(change, digits)}, {change.n} samples of {change.photos} photos"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{at(change.mean):.1f}" r="4" fill="{METHOD}"><title>{_plain(title)}</title></circle>'
        )
    way = " ".join(f"{x:.1f},{at(value):.1f}" for x, value in drawn)
    parts.append(f'<polyline points="{way}" fill="none" stroke="{METHOD}" stroke-width="1.5"/>')
    parts.append(
        f'<circle cx="{places[0]:.1f}" cy="{at(0):.1f}" r="4" fill="#fff" stroke="{METHOD}" stroke-width="1.5"/>'
    )
    label = _plain(f"{column.name}, {KINDS[kind].text.format(level='N')}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" '
        f'font-family="{FONT}" font-size="11">{"".join(parts)}</svg>'
    )


def _interval(x: float, low: float | None, high: float | None, at: Callable[[float], float]) -> str:
    if low is None or high is None:
        return ""
    top, bottom = at(high), at(low)
    caps = "".join(_line(x - 3, y, x + 3, y, METHOD, 1.5) for y in (top, bottom))
    return _line(x, top, x, bottom, METHOD, 1.5) + caps


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK}" text-anchor="{anchor}">{_plain(text)}</text>'


def _plain(text: str) -> str:
    return html.escape(printable(text), quote=True)


def drawable(track: Track) -> Sequence[Column]:
    """The scores with a curve: those with a change in some point."""
    return [column for column in track.columns if any(p.changes[column.name].mean is not None for p in track.points)]
