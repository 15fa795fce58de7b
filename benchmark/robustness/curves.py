"""The curves of a track as SVG: what each level of a disturbance changes, with the interval."""

from __future__ import annotations

import math

from benchmark.board.axes import Range, shown_range, tick_decimals, ticks_of
from benchmark.board.ranking import Column
from benchmark.board.svg import FONT, INK, LINE, METHOD, MUTED, escape, interval, line, text
from benchmark.disturbances import KINDS
from benchmark.robustness.table import change_text
from benchmark.robustness.track import Point, Track
from olrd.trust import counted

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

    It starts at the undisturbed run, where the change is 0. Levels are evenly spaced, weakest first. A level
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
    decimals = tick_decimals(ticks)
    for tick in ticks:
        parts.append(line(LEFT, at(tick), WIDTH - RIGHT, at(tick), MUTED if abs(tick) < 1e-12 else LINE))
        parts.append(text(LEFT - 6, at(tick) + 4, f"{tick:+.{decimals}f}" if abs(tick) > 1e-12 else "0", INK, "end"))
    unit = KINDS[kind].unit
    names = [str(point.disturbance.level) if point.disturbance and unit else "no map" for point in points]
    for x, name in zip(places, ("exact", *names), strict=True):
        parts.append(text(x, HEIGHT - BOTTOM + 16, name, INK, "middle"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 32, unit, INK, "middle"))
    drawn = [(places[0], 0.0)]
    digits = max(2, decimals + 1)
    for x, point in zip(places[1:], points, strict=True):
        change = point.changes[column.name]
        if change.mean is None or not math.isfinite(change.mean):
            continue
        drawn.append((x, change.mean))
        if change.low is not None and change.high is not None:
            parts.append(interval(x, at(change.low), at(change.high), METHOD))
        title = f"{point.name}: {change_text(change, digits)}, {counted(change.n, 'sample')} of {counted(change.photos, 'photo')}"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{at(change.mean):.1f}" r="4" fill="{METHOD}">'
            f"<title>{escape(title)}</title></circle>"
        )
    way = " ".join(f"{x:.1f},{at(value):.1f}" for x, value in drawn)
    parts.append(f'<polyline points="{way}" fill="none" stroke="{METHOD}" stroke-width="1.5"/>')
    parts.append(
        f'<circle cx="{places[0]:.1f}" cy="{at(0):.1f}" r="4" fill="#fff" stroke="{METHOD}" stroke-width="1.5"/>'
    )
    label = escape(f"{column.name}, {KINDS[kind].text.format(level='N')}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}" '
        f'font-family="{FONT}" font-size="11">{"".join(parts)}</svg>'
    )
