"""Which records are ranked together, and in which order.

Records are ranked together only if dataset, fingerprint, protocol id, metric revisions, disturbance and the kind of the
intervals are equal. Rows are ranked by the score that agrees best with people (`BY_EYE`; docs/decisions.md gives the
studies). Controls are listed where their score puts them and have no rank. Incomplete runs are listed but not ranked.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from benchmark.board.records import key_of
from benchmark.disturbances import in_words
from benchmark.runner.seeds import Spread, draws, same_but_for_seed, spread
from benchmark.runner.summary import MetricSummary, ScoreSummary, SetSummary, Summary
from benchmark.statistics import INTERVALS, why_no_interval
from olrd.errors import IntegrityError
from olrd.storage.typed_json import DAMAGED
from olrd.trust import counted, shown

CHANGE = "change/outside/raw"
TRUTH = "= truth"
PIXELS = "psnr"
"""The metric whose ranks have a separate column, which shows where it disagrees with the ranking score."""
BY_EYE = (
    "lpips-alex",
    "lpips-vgg",
    "rc-s",
    "dreamsim",
    "dists",
    "kid-box",
    "kid-alex-box",
    "fid-box",
    "cmmd",
    "remove",
)
"""Metrics that see what people see, best first: the first one that a protocol has ranks the rows. All other metrics
follow them in the order of the protocol."""


class Cell(NamedTuple):
    """A score of one row.

    Attributes:
        value, low, high: the mean and its 95 % interval.
        n: number of samples with a value.
        same: number of samples that equal the truth, for which the metric has no finite value.
        note: why there is no value.
        no_interval: why a value has no interval, in words.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    same: int = 0
    note: str = ""
    no_interval: str = ""

    @property
    def is_truth(self) -> bool:
        """Whether there is no value because every output equals the truth, which is the best result."""
        return self.value is None and self.same > 0


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: e.g. `psnr/mask/raw`, `change/outside/raw`, `fid/raw`.
        first: whether rows are ranked by it.
        counted: whether n is shown with each value. Set metrics depend on it.
    """

    name: str
    higher_is_better: bool
    unit: str = ""
    first: bool = False
    counted: bool = False


class Span(NamedTuple):
    """The best and the worst rank that a row may have by the 95 % intervals."""

    best: int
    worst: int


@dataclass(frozen=True)
class Row:
    """A run.

    Attributes:
        key: identifies the record (`benchmark.board.records.key_of`).
        why: why it is not ranked; empty for a complete run.
        rank: 1 is best, and equal values share a rank; None if it is a control or not ranked.
        span: the ranks that the intervals leave open; None if it has no rank.
        by_pixels: its rank by PSNR among the same rows; None without a rank or a PSNR.
        over_seeds: the ranking score over all rows that differ in the seed only; None for one row, or a method that
            does not draw.
    """

    method: str
    revision: str
    settings: str
    control: bool
    device: str
    cells: dict[str, Cell]
    n: int
    n_failed: int
    total: int
    seconds: Cell
    key: str = ""
    why: str = ""
    rank: int | None = None
    span: Span | None = None
    by_pixels: int | None = None
    over_seeds: Spread | None = None


@dataclass(frozen=True)
class Section:
    """Rows that may be compared.

    Attributes:
        definitions: (revision, definition) by metric.
        intervals: the kind of the intervals, one of `benchmark.statistics.KINDS`.
        main: columns of the first table; the first one ranks.
        further: columns of the second table.
        ranked: complete runs, best first. Controls are listed where their score puts them and have no rank.
        partial: incomplete runs.
        disturbance: what the methods got instead of the exact mask or map; empty for nothing.
    """

    dataset: str
    fingerprint: str
    protocol: str
    definitions: dict[str, tuple[str, str]]
    warnings: tuple[str, ...]
    main: tuple[Column, ...]
    further: tuple[Column, ...]
    ranked: tuple[Row, ...]
    partial: tuple[Row, ...]
    intervals: str = INTERVALS
    disturbance: str = ""

    @property
    def title(self) -> str:
        """The protocol, and the disturbance in words if there is one."""
        return self.protocol + (f", {in_words(self.disturbance)}" if self.disturbance else "")

    @property
    def first(self) -> Column:
        """The column that rows are ranked by."""
        return self.main[0]

    @property
    def pixels(self) -> Column | None:
        """The column of PSNR, unless rows are ranked by it or the protocol does not have it."""
        return pixels_of(self.main)


def group_key(record: Summary) -> tuple[str, str, str, str, str]:
    """The values that must be equal for two records to be ranked together."""
    revisions = json.dumps(record.metric_revisions, sort_keys=True)
    return record.dataset.name, record.protocol_id, record.dataset.fingerprint, record.disturbance, revisions


def sections(records: Iterable[Summary]) -> list[Section]:
    """One section per group of records that may be compared, with intervals of one kind.

    Sections of one dataset and protocol follow each other, the latest revisions first. The order of `records` has no
    effect.
    """
    groups: dict[tuple[str, ...], list[Summary]] = {}
    for record in records:
        groups.setdefault((*group_key(record), record.intervals), []).append(record)
    latest_first = sorted(groups, key=lambda key: [_as_numbers(text) for text in key[4:]], reverse=True)
    return [_section(groups[key]) for key in sorted(latest_first, key=lambda key: key[:4])]


def _as_numbers(text: str) -> str:
    """A text that sorts revision 10 after revision 9."""
    return re.sub(r"[0-9]+", lambda found: found[0].zfill(20), text)


def _section(records: list[Summary]) -> Section:
    sample = records[0]
    main, further = columns_of(sample)
    seeds = _over_seeds(records, main[0].name)
    rows = [replace(_row(one, main, further), over_seeds=seeds.get(same_but_for_seed(one))) for one in records]
    ranked = _ranked([row for row in rows if not row.why], main[0], pixels_of(main))
    partial = sorted((row for row in rows if row.why), key=_name)
    warnings = sorted({text for record in records for text in record.every_warning})
    return Section(
        sample.dataset.name,
        sample.dataset.fingerprint,
        sample.protocol_id,
        {name: (metric.revision, metric.definition) for name, metric in sorted(sample.metrics.items())},
        tuple(warnings),
        main,
        further,
        tuple(ranked),
        tuple(partial),
        sample.intervals,
        sample.disturbance,
    )


def _over_seeds(records: Sequence[Summary], name: str) -> dict[tuple[object, ...], Spread | None]:
    """The spread of a score over the seeds of each method, by `same_but_for_seed`."""
    groups: dict[tuple[object, ...], dict[int, float | None]] = {}
    for record in records:
        if draws(record.method.options):
            groups.setdefault(same_but_for_seed(record), {})[record.seed] = cell_of(record, name).value
    return {key: spread(list(values.values())) for key, values in groups.items()}


def columns_of(record: Summary) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    """The columns of the two tables.

    The first table has each metric in the mask, raw (or the only form that the metric has), and the change outside. The
    second one has the ring, raw, and the whole picture, composited. Metrics of `BY_EYE` come first. On a dataset
    without truth, metrics that need none come before all others, and one of them ranks the rows.
    """
    main: list[Column] = []
    further: list[Column] = []

    def put(columns: list[Column], name: str, info: MetricSummary) -> None:
        whole = name in record.sets
        if whole or name in record.scores:
            columns.append(Column(name, info.higher_is_better, info.unit, counted=whole))

    for metric in sorted(record.protocol.metrics, key=by_eye):
        info = record.metrics.get(metric)
        if info is None:
            raise IntegrityError(f"{record.label}: the results lack metrics.{shown(metric)}: {DAMAGED}")
        if f"{metric}/mask/raw" in record.scores:
            put(main, f"{metric}/mask/raw", info)
            put(further, f"{metric}/ring/raw", info)
        else:  # scores the whole picture (full/raw) or the whole set (raw)
            put(main, f"{metric}/full/raw", info)
            put(main, f"{metric}/raw", info)
            put(further, f"{metric}/composited", info)
        put(further, f"{metric}/full/composited", info)
    main.sort(key=lambda column: _lacks_truth(cell_of(record, column.name)))
    if not main or CHANGE in record.scores:
        main.append(Column(CHANGE, higher_is_better=False, unit="grey levels"))
    return (replace(main[0], first=True), *main[1:]), tuple(further)


def headline(record: Summary) -> list[str]:
    """The names of the headline scores: those of the first table of a leaderboard, in its order."""
    return [column.name for column in columns_of(record)[0]]


def by_eye(metric: str) -> int:
    """The place of a metric in `BY_EYE`; metrics that are not there come last."""
    return BY_EYE.index(metric) if metric in BY_EYE else len(BY_EYE)


def pixels_of(main: Sequence[Column]) -> Column | None:
    """The column of PSNR among the columns after the first."""
    return next((column for column in main[1:] if column.name.partition("/")[0] == PIXELS), None)


def _lacks_truth(cell: Cell) -> bool:
    return cell.value is None and "no_truth" in cell.note


def _row(record: Summary, main: Sequence[Column], further: Sequence[Column]) -> Row:
    method, times = record.method, record.times
    low, high = times.interval or (None, None)
    cells = {column.name: cell_of(record, column.name) for column in (*main, *further)}
    return Row(
        method.name,
        method.revision,
        settings_of(record),
        method.control,
        method.device,
        cells,
        record.n,
        record.n_failed,
        record.dataset.total,
        Cell(times.median_seconds, low, high, record.n),
        key_of(record),
        _why_not(record, main[0].name, cells[main[0].name]),
    )


def settings_of(record: Summary) -> str:
    """The resolved options of the method, the seed if it differs from the protocol's, and the disturbance."""
    options = dict(record.method.options)
    if options.get("name") == record.method.name:
        del options["name"]
    if record.seed != record.protocol.seed:
        options["seed"] = str(record.seed)
    if record.disturbance:
        options["disturbance"] = record.disturbance
    return ", ".join(f"{name}={value}" for name, value in sorted(options.items()) if value != "")


def cell_of(record: Summary, name: str) -> Cell:
    """A score of a record, per sample or of the whole set."""
    if name in record.sets:
        whole = record.sets[name]
        why = _why_no_interval(whole.value, whole)
        return Cell(whole.value, whole.low, whole.high, n=whole.n, note=whole.reason, no_interval=why)
    found = record.scores.get(name)
    if found is None:
        return Cell(None, note="not scored")
    without = dict(found.without)
    same = without.pop("identical", 0)
    note = ", ".join(f"{count} {reason}" for reason, count in sorted(without.items()))
    return Cell(found.mean, found.low, found.high, found.n, same, note, _why_no_interval(found.mean, found))


def _why_no_interval(value: float | None, found: ScoreSummary | SetSummary) -> str:
    return "" if value is None or found.low is not None else why_no_interval(found.no_interval, found.clusters)


def _why_not(record: Summary, first: str, cell: Cell) -> str:
    """Why a run is not ranked, or an empty text."""
    total, limit = record.dataset.total, record.request.limit
    reasons = []
    if record.n_failed:
        reasons.append(f"{record.n_failed} failed")
    if min(record.n, record.dataset.n) < total:
        reasons.append(f"{record.n:,} of {counted(total, 'sample')}")
    elif limit is not None:
        reasons.append(f"run with limit {limit}")
    if cell.value is not None and not math.isfinite(cell.value):
        reasons.append(f"{first} is {cell.value}")
    elif cell.value is None and not cell.is_truth:
        reasons.append(f"no {first}" + (f": {cell.note}" if cell.note else ""))
    return "; ".join(reasons)


def _name(row: Row) -> tuple[str, ...]:
    return row.method, row.revision, row.settings, row.device, row.why, repr(row.cells)


def merit(cell: Cell, column: Column) -> float | None:
    """A number that is larger for a better score: infinite for outputs that equal the truth, None without a value."""
    if cell.is_truth:
        return math.inf
    if cell.value is None or not math.isfinite(cell.value):
        return None
    return cell.value if column.higher_is_better else -cell.value


def _ranked(rows: list[Row], first: Column, pixels: Column | None) -> list[Row]:
    """The rows, best first, with their ranks. A row whose outputs all equal the truth is above every number. At equal
    scores a control is listed below the methods."""

    def place(row: Row) -> tuple[float, bool, tuple[str, ...]]:
        return -(merit(row.cells[first.name], first) or 0.0), row.control, _name(row)

    ordered = sorted(rows, key=place)
    methods = [row for row in ordered if not row.control]
    ranks = ranks_of([merit(row.cells[first.name], first) for row in methods])
    spans = spans_of([_interval(row.cells[first.name], first) for row in methods])
    others = ranks_of([merit(row.cells[pixels.name], pixels) if pixels else None for row in methods])
    placed = (
        replace(row, rank=rank, span=span, by_pixels=other)
        for row, rank, span, other in zip(methods, ranks, spans, others, strict=True)
    )
    return [row if row.control else next(placed) for row in ordered]


def ranks_of(merits: Sequence[float | None]) -> list[int | None]:
    """The rank of each merit: 1 + the number of larger ones. None has no rank and is not counted."""
    known = [found for found in merits if found is not None]
    return [None if found is None else 1 + sum(other > found for other in known) for found in merits]


def spans_of(intervals: Sequence[tuple[float, float]]) -> list[Span]:
    """The ranks that rows may have, from the intervals of their merits.

    A row is surely better than another if its whole interval lies above the other's. Its best rank is 1 + the number of
    rows that are surely better, its worst rank the number of rows that are not surely worse.
    """
    return [
        Span(
            1 + sum(other_low > high for other_low, _ in intervals),
            len(intervals) - sum(other_high < low for _, other_high in intervals),
        )
        for low, high in intervals
    ]


def _interval(cell: Cell, column: Column) -> tuple[float, float]:
    """The interval of a cell's merit. Without an interval every merit is possible."""
    if cell.is_truth:
        return math.inf, math.inf
    if cell.low is None or cell.high is None:
        return -math.inf, math.inf
    return (cell.low, cell.high) if column.higher_is_better else (-cell.high, -cell.low)
