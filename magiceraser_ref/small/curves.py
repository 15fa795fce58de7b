"""Draws the losses of the small model's training, one SVG chart per stage."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import fmean

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 240, 56, 34, 26
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")
LABEL = 13
"""Least distance of two labels in pixels."""
POINTS = 40
"""Number of points of a curve. Each is the mean of an equal part of the log."""
Rows = Sequence[Mapping[str, float]]
STAGES = {
    "vae": ("vae/log.jsonl", "autoencoder", ("l1", "lpips")),
    "base": ("base/log.jsonl", "inpainter: error of the noise", ("eps",)),
    "fill": (
        "fill/log.jsonl",
        "start from the fill: L1 and LPIPS in the hole",
        ("l1", "lpips", "fill_l1", "fill_lpips"),
    ),
    "ffc": ("ffc/log.jsonl", "ffc-small", ("l1", "lpips")),
    "lora": ("trained/losses.csv", "LoRA and R*", ("loss",)),
}
"""The charts by their name: the log, a title, the columns."""


def write_curves(work: Path, out: Path) -> list[Path]:
    """Write OUT/small-NAME.svg for every stage that has a log in `work`."""
    written = []
    for name, (log, title, names) in STAGES.items():
        if (work / log).is_file():
            target = out / f"small-{name}.svg"
            target.write_text(chart(read_log(work / log), title, names), "utf-8")
            written.append(target)
    return written


def read_log(path: Path) -> Rows:
    """Read the rows of a log.jsonl or a losses.csv, without empty cells."""
    text = path.read_text("utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(text.splitlines())]


def chart(rows: Rows, title: str, names: Sequence[str], over: str = "step") -> str:
    """Draw some columns over the column `over` on a logarithmic scale, as SVG.

    Raises `ValueError` for fewer than two rows.
    """
    if len(rows) < 2:
        raise ValueError(f"{title}: expected at least two rows of a log, got {len(rows)}")
    lines = {name: smoothed([(row[over], row[name]) for row in rows]) for name in names}
    values = [value for line in lines.values() for _, value in line]
    low, high = math.log(min(values)), math.log(max(values))
    first, last = rows[0][over], rows[-1][over]

    def at(step: float, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - 12) * (step - first) / ((last - first) or 1)
        share = (math.log(value) - low) / max(1e-9, high - low)
        return x, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share

    parts = [_text(LEFT, 16, title, "start", "#222")]
    for share in (0.0, 0.5, 1.0):
        value = math.exp(low + (high - low) * share)
        y = at(first, value)[1]
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - 12}" stroke="#ddd"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{value:.3g}", "end"))
        step = first + (last - first) * share
        parts.append(
            _text(
                at(step, value)[0],
                HEIGHT - 16,
                f"{step:.6g}" if abs(step) < 10 else f"{step:.0f}",
                "end" if share == 1 else "middle",
            )
        )
    parts.append(_text((LEFT + WIDTH) / 2, HEIGHT - 3, over, "middle"))
    labels: list[tuple[float, str, str]] = []
    for colour, (name, line) in zip(COLOURS, lines.items(), strict=False):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in line))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        labels.append((at(*line[-1])[1] - 6, name, colour))
    lowest = 0.0
    for y, name, colour in sorted(labels):  # from top to bottom, without overlap
        lowest = max(y, lowest + LABEL)
        parts.append(_text(WIDTH - 16, lowest, name, "end", colour))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Reduce a curve to at most `POINTS` points, each the mean of an equal part."""
    size = math.ceil(len(points) / POINTS)
    parts = [points[k : k + size] for k in range(0, len(points), size)]
    return [(fmean(x for x, _ in part), fmean(y for _, y in part)) for part in parts]


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#555") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
