"""Several robustness tracks in one plot and one table.

    for method in opencv-telea patchmatch; do
      benchmark robustness --method $method --disturb erode --disturb dilate --out robustness/$method
    done
    python -m perf.robustness robustness/* [--score lpips-alex/mask/raw] [--svg FILE]

The plot has a panel per kind of disturbance: the score of each method by level, from the exact mask on the left. The table
has the same numbers. Tracks of other data, another protocol or another seed are refused.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from benchmark.board.axes import Range, shown_range, tick_decimals, ticks_of
from benchmark.board.svg import FONT, INK, LINE, MUTED, escape, line, text
from benchmark.disturbances import KINDS
from olrd.errors import UsageError

SCORE = "lpips-alex/mask/raw"
COLOURS = ("#d6006c", "#0369a1", "#b45309", "#15803d", "#6d28d9")
PANEL, HEIGHT, LEFT, TOP, BOTTOM, GAP = 210, 280, 56, 46, 56, 22
"""Width of a panel, height of the plot and its margins, in pixels."""
LETTER = 7
"""Width of a letter of the legend in pixels, about."""


def read_tracks(folders: list[Path], score: str) -> pd.DataFrame:
    """The rows of a score: method, kind (empty: exact mask), level, value. Methods stay in the order of the folders."""
    rows = pd.concat([pd.read_csv(folder / "robustness.csv", keep_default_na=False) for folder in folders])
    for name in ("fingerprint", "protocol", "seed"):
        if rows[name].nunique() > 1:
            raise UsageError(f"the tracks differ in {name}: {', '.join(map(str, rows[name].unique()))}")
    chosen = rows[rows.score == score]
    if chosen.empty:
        raise UsageError(f"the tracks have no score {score}; they have {', '.join(rows.score.unique())}")
    numbers = {name: pd.to_numeric(chosen[name]) for name in ("level", "value")}
    return chosen[["method", "disturbance", "kind"]].assign(**numbers)


def levels_of(rows: pd.DataFrame, kind: str) -> list[float]:
    """The levels of a kind that some method has, weakest first."""
    return sorted(rows[rows.kind == kind].level.unique(), reverse=KINDS[kind].falling)


def table(rows: pd.DataFrame) -> str:
    """The scores as Markdown: a row per disturbance, a column per method."""
    wide = rows.pivot(index="disturbance", columns="method", values="value")[rows.method.unique()]
    order = sorted(wide.index, key=lambda name: list(rows.disturbance).index(name))
    lines = [f"| given | {' | '.join(f'`{name}`' for name in wide)} |", "| --- |" + " ---: |" * len(wide.columns)]
    for name in order:
        cells = ("-" if pd.isna(value) else f"{value:.3f}" for value in wide.loc[name])
        lines.append(f"| {'exact mask' if name == 'none' else name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(rows: pd.DataFrame, score: str) -> str:
    """The scores as SVG."""
    kinds = [name for name in KINDS if name in set(rows.kind)]
    methods = list(rows.method.unique())
    shown = shown_range(list(rows.value.dropna()))
    width = LEFT + len(kinds) * (PANEL + GAP)
    parts = [f'<rect width="{width}" height="{HEIGHT}" fill="#fff"/>', text(8, 18, score, MUTED)]
    at = width - sum(LETTER * len(name) + 30 for name in methods)
    for number, name in enumerate(methods):
        parts += [_mark(at, 14, number), text(at + 10, 18, name)]
        at += LETTER * len(name) + 30
    for number, kind in enumerate(kinds):
        parts += _panel(rows, kind, LEFT + number * (PANEL + GAP), shown, methods, number == 0)
    label = escape(f"{score} of {', '.join(methods)} under disturbed masks")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{label}" '
        f'font-family="{FONT}" font-size="12">{"".join(parts)}</svg>\n'
    )


def _panel(rows: pd.DataFrame, kind: str, left: float, shown: Range, methods: list[str], first: bool) -> list[str]:
    levels = levels_of(rows, kind)
    step = (PANEL - 16) / len(levels)
    places = {None: left + 8.0} | {level: left + 8 + step * (k + 1) for k, level in enumerate(levels)}

    def height(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (shown.high - value) / (shown.high - shown.low)

    ticks = ticks_of(shown)
    parts = [line(left, height(tick), left + PANEL, height(tick), LINE) for tick in ticks]
    if first:
        parts += [text(left - 8, height(t) + 4, f"{t:.{tick_decimals(ticks)}f}", INK, "end") for t in ticks]
    for level, x in places.items():
        parts.append(text(x, HEIGHT - BOTTOM + 18, "exact" if level is None else f"{level:g}", INK, "middle"))
    title = f"{kind}, {KINDS[kind].unit}"
    parts.append(text(left + PANEL / 2, HEIGHT - BOTTOM + 38, title, INK, "middle", 600))
    for number, method in enumerate(methods):
        of_method = rows[rows.method == method]
        some = of_method[(of_method.kind == kind) | (of_method.kind == "")].dropna(subset="value")
        points = sorted(
            (places[None if pd.isna(level) else level], height(value))
            for level, value in some[["level", "value"]].to_numpy()
        )
        if len(points) < 2:
            continue
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{way}" fill="none" stroke="{COLOURS[number % 5]}" stroke-width="1.8"/>')
        parts += [_mark(x, y, number) for x, y in points]
    return parts


def _mark(x: float, y: float, number: int) -> str:
    """The mark of a method: a disc, square, triangle, diamond or ring."""
    colour = COLOURS[number % 5]
    shapes = {
        1: f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="{colour}"/>',
        2: f'<path d="M{x:.1f} {y - 5:.1f}l5 9h-10z" fill="{colour}"/>',
        3: f'<path d="M{x:.1f} {y - 5.5:.1f}l5.5 5.5l-5.5 5.5l-5.5 -5.5z" fill="{colour}"/>',
        4: f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#fff" stroke="{colour}" stroke-width="2"/>',
    }
    return shapes.get(number % 5, f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>')


def main() -> None:
    """Print the table, and write the plot if a file is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tracks", nargs="+", type=Path, help="folders of `benchmark robustness`")
    parser.add_argument("--score", default=SCORE)
    parser.add_argument("--svg", type=Path, help="file of the plot")
    args = parser.parse_args()
    rows = read_tracks(args.tracks, args.score)
    print(table(rows))
    if args.svg:
        args.svg.write_text(plot(rows, args.score), encoding="utf-8")


if __name__ == "__main__":
    main()
