"""The results of a track as tables: Markdown, CSV in full precision, and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmark.board.ranking import Column
from benchmark.board.tables import csv_cell, decimals_for, heading, score_text
from benchmark.robustness.track import Change, Point, Track
from benchmark.statistics import FEWEST
from olrd.trust import counted, escape_markdown, printable

NOTES = (
    "The eraser gets the disturbed mask or map. Scores use the true mask, with its regions and its composite.",
    "change: disturbed - undisturbed, on the samples that have a value in both runs, with the 95 % interval over source "
    "photos. The score beside it is over all samples of that run.",
    "likeness: how much the given mask resembles the true one (intersection over union, mean), or the share of the pixels "
    "with the same id in both panoptic maps.",
    "emptied: samples whose mask lost its last pixel. They are left out of that level only, so the scores of two levels "
    "may be of different samples. Each change is on the samples that both of its runs scored.",
    "Directions and merges are drawn from the seed and the sample's id.",
)


class Line(NamedTuple):
    """A row of the table: the texts of its cells."""

    name: str
    n: str
    emptied: str
    failed: str
    likeness: str
    scores: tuple[str, ...]


def head_of(track: Track) -> list[str]:
    """The headings of the table."""
    scores = [text for column in track.columns for text in (heading(column), "change")]
    return ["given", "n", "emptied", "failed", "likeness", *scores]


def lines_of(track: Track) -> list[Line]:
    """The rows of the table as texts."""
    decimals = [_decimals(track, column) for column in track.columns]
    return [
        Line(
            point.disturbance.text if point.disturbance else "exact mask and map",
            str(point.n),
            str(point.emptied),
            str(point.failed),
            "" if point.likeness is None else f"{point.likeness:.3f}",
            tuple(
                text
                for column, digits in zip(track.columns, decimals, strict=True)
                for text in (_score(point, column, digits), change_text(point.changes[column.name], digits))
            ),
        )
        for point in track.points
    ]


def _decimals(track: Track, column: Column) -> int:
    found = [point.changes[column.name] for point in track.points]
    means = [abs(change.score.value) for change in found if change.score.value is not None]
    return decimals_for(max(means, default=0.0))


def _score(point: Point, column: Column, digits: int) -> str:
    text = score_text(point.changes[column.name].score, digits, point.n, column.counted)
    return f"{text.main} {text.small}".rstrip()


def change_text(change: Change, digits: int) -> str:
    """A change with its interval, e.g. "-1.20 (-1.52 to -0.90)"."""
    if change.mean is None:
        return ""
    interval = f" ({change.low:+.{digits}f} to {change.high:+.{digits}f})" if change.low is not None else ""
    return f"{change.mean:+.{digits}f}{interval}"


SCORES = 2
"""Scores on the screen."""


def screen(track: Track) -> str:
    """The changes of the first scores as text for a terminal."""
    columns = track.changed[:SCORES]
    name = max(len(line.name) for line in lines_of(track))
    lines = [printable(f"{track.plain.label} on {about(track)}"), ""]
    lines.append(
        f"{'given':<{name}} {'n':>5} {'emptied':>7}" + "".join(f"   {heading(c):<32}" for c in columns).rstrip()
    )
    for point, line in zip(track.points, lines_of(track), strict=True):
        texts = []
        for column in columns:
            change, digits = point.changes[column.name], _decimals(track, column)
            score = "-" if change.score.value is None else f"{change.score.value:.{digits}f}"
            texts.append(f"   {f'{score} {change_text(change, digits)}':<32}")
        lines.append(f"{line.name:<{name}} {line.n:>5} {line.emptied:>7}{''.join(texts)}".rstrip())
    return "\n".join([*lines, *(["", *track.left_out] if track.left_out else [])])


def markdown(track: Track) -> str:
    """The track as a Markdown page."""
    plain = track.plain
    lines = [f"# {escape_markdown(plain.label)}: robustness", ""]
    lines += [escape_markdown(about(track)), ""]
    lines += [line for text in warnings_of(track) for line in (f"> **Warning:** {escape_markdown(text)}", "")]
    head = head_of(track)
    lines += [_row(head), _row(["---", *["---:"] * (len(head) - 1)])]
    lines += [_row([*line[:-1], *line.scores]) for line in lines_of(track)]
    lines += ["", *(f"- {escape_markdown(text)}" for text in (*track.left_out, *NOTES))]
    return "\n".join(lines) + "\n"


def about(track: Track) -> str:
    """The data of a track in a line."""
    plain = track.plain
    part = counted(plain.dataset.total, "sample")
    if plain.dataset.n < plain.dataset.total:
        part = f"{plain.dataset.n:,} of {part}"
    return (
        f"{plain.dataset.name}, data {plain.dataset.fingerprint}, protocol {plain.protocol_id}, {part}, seed "
        f"{plain.seed}"
    )


def what_is_shown(track: Track) -> str:
    """The sentence over the curves."""
    changes = (change for point in track.points for change in point.changes.values())
    some = any(change.low is not None for change in changes)
    intervals = ", with the 95 % interval." if some else f". An interval takes at least {FEWEST} source photos."
    return f"Change of each score against the undisturbed run on the same samples{intervals}"


def warnings_of(track: Track) -> tuple[str, ...]:
    """What a reader of the numbers must know."""
    return track.plain.every_warning


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(escape_markdown(cell) for cell in cells)} |"


def csv_of(track: Track) -> str:
    """The points as CSV in full precision: a row per disturbance and score."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rows = rows_of(track)
    writer.writerow(rows[0])
    for row in rows:
        writer.writerow([csv_cell(value) for value in row.values()])
    return text.getvalue()


def rows_of(track: Track) -> list[dict[str, Any]]:
    """A row per disturbance and score, as plain JSON values."""
    plain = track.plain
    found = []
    for point in track.points:
        for column in track.columns:
            change = point.changes[column.name]
            found.append(
                {
                    "method": plain.method.name,
                    "revision": plain.method.revision,
                    "dataset": plain.dataset.name,
                    "fingerprint": plain.dataset.fingerprint,
                    "protocol": plain.protocol_id,
                    "seed": plain.seed,
                    "disturbance": point.name,
                    "kind": point.disturbance.name if point.disturbance else "",
                    "level": point.disturbance.level if point.disturbance and point.disturbance.kind.unit else None,
                    "n": point.n,
                    "emptied": point.emptied,
                    "failed": point.failed,
                    "likeness": point.likeness,
                    "score": column.name,
                    "value": change.score.value,
                    "low": change.score.low,
                    "high": change.score.high,
                    "identical": change.score.same,
                    "note": change.score.note,
                    "change": change.mean,
                    "change_low": change.low,
                    "change_high": change.high,
                    "change_n": change.n,
                    "change_photos": change.photos,
                }
            )
    return found
