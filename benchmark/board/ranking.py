"""Which records may stand in one table, and in which order. A pure function of the records.

Records are ranked together only if data set, fingerprint, protocol id and metric revisions are all
equal. A run that is not complete is listed and not ranked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmark.board.records import Record, metric_revisions

CHANGE = "change/outside/raw"
TRUTH = "= truth"


class Cell(NamedTuple):
    """A score of one row. value, low, high: mean and 95 % interval. n: samples with a value. same: how
    many samples equal the truth, so that the metric has no finite value. note: why there is no value."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    same: int = 0
    note: str = ""

    @property
    def is_truth(self) -> bool:
        """No value, because every output equals the truth: the best there can be."""
        return self.value is None and self.same > 0


@dataclass(frozen=True)
class Column:
    """name: `psnr/mask/raw`, `change/outside/raw`, `fid/raw`. first: whether rows are ranked by it.
    counted: whether the number of samples belongs beside each value (set metrics are biased by it)."""

    name: str
    higher_is_better: bool
    unit: str = ""
    first: bool = False
    counted: bool = False


@dataclass(frozen=True)
class Row:
    """One run. rank: 1 is best, equal values share one; None if not ranked, and `why` says why."""

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
    why: str = ""
    rank: int | None = None


@dataclass(frozen=True)
class Section:
    """Rows that may be compared. main: columns of the first table, the first of which ranks. further:
    of the second. definitions: metric -> (revision, definition)."""

    dataset: str
    fingerprint: str
    protocol: str
    definitions: dict[str, tuple[str, str]]
    warnings: tuple[str, ...]
    main: tuple[Column, ...]
    further: tuple[Column, ...]
    ranked: tuple[Row, ...]
    partial: tuple[Row, ...]

    @property
    def first(self) -> Column:
        """The column that ranks."""
        return self.main[0]


def group_key(record: Record) -> tuple[str, str, str, str]:
    """What must be equal for two records to be ranked together."""
    data = record["dataset"]
    revisions = json.dumps(metric_revisions(record), sort_keys=True)
    return data["name"], record["protocol"]["id"], data["fingerprint"], revisions


def sections(records: Iterable[Record]) -> list[Section]:
    """One section per group, in the order of their keys. The order of `records` has no effect."""
    groups: dict[tuple[str, str, str, str], list[Record]] = {}
    for record in records:
        groups.setdefault(group_key(record), []).append(record)
    return [_section(groups[key]) for key in sorted(groups)]


def _section(records: list[Record]) -> Section:
    sample = records[0]
    main, further = columns_of(sample)
    rows = [_row(record, main, further) for record in records]
    ranked = _ranked([row for row in rows if not row.why], main[0])
    partial = sorted((row for row in rows if row.why), key=_name)
    warnings = sorted({text for record in records for text in record["dataset"]["warnings"]})
    return Section(
        sample["dataset"]["name"],
        sample["dataset"]["fingerprint"],
        sample["protocol"]["id"],
        {n: (m["revision"], m["definition"]) for n, m in sorted(sample["metrics"].items())},
        tuple(warnings),
        main,
        further,
        tuple(ranked),
        tuple(partial),
    )


def columns_of(record: Record) -> tuple[tuple[Column, ...], tuple[Column, ...]]:
    """The columns of the two tables. First: each metric in the mask as the output came (or its only
    form), and the change outside. Second: the ring, and the whole picture after pasting back."""
    main: list[Column] = []
    further: list[Column] = []

    def put(columns: list[Column], name: str, info: dict[str, Any]) -> None:
        whole = name in record["sets"]
        if whole or name in record["scores"]:
            columns.append(Column(name, info["higher_is_better"], info["unit"], counted=whole))

    for metric in record["protocol"]["metrics"]:
        info = record["metrics"][metric]
        if f"{metric}/mask/raw" in record["scores"]:
            put(main, f"{metric}/mask/raw", info)
            put(further, f"{metric}/ring/raw", info)
        else:  # scores the whole picture (full/raw) or the whole set (raw)
            put(main, f"{metric}/full/raw", info)
            put(main, f"{metric}/raw", info)
            put(further, f"{metric}/composited", info)
        put(further, f"{metric}/full/composited", info)
    put(main, CHANGE, {"higher_is_better": False, "unit": "grey levels"})
    if not main:
        main.append(Column(CHANGE, False, "grey levels"))
    first = Column(**{**vars(main[0]), "first": True})
    return (first, *main[1:]), tuple(further)


def _row(record: Record, main: Sequence[Column], further: Sequence[Column]) -> Row:
    method, data, times = record["method"], record["dataset"], record["times"]
    low, high = times.get("interval") or (None, None)
    cells = {column.name: cell_of(record, column.name) for column in (*main, *further)}
    return Row(
        method["name"],
        method["revision"],
        settings_of(record),
        bool(method["control"]),
        method["device"],
        cells,
        record["n"],
        record["n_failed"],
        data["total"],
        Cell(times["median_seconds"], low, high, record["n"]),
        _why_not(record, main[0].name, cells[main[0].name]),
    )


def settings_of(record: Record) -> str:
    """The method's options as resolved, and the seed if it is not the protocol's."""
    options = dict(record["method"].get("options") or {})
    if options.get("name") == record["method"]["name"]:
        del options["name"]
    seed = record["seed"]
    if seed != record["protocol"].get("seed") and options.get("seed") != str(seed):
        options["seed"] = seed
    return ", ".join(f"{name}={value}" for name, value in sorted(options.items()) if value != "")


def cell_of(record: Record, name: str) -> Cell:
    """A score, or a set metric's value, of a record."""
    if name in record["sets"]:
        found = record["sets"][name]
        low, high = found.get("low"), found.get("high")  # runs before they had intervals lack them
        return Cell(found["value"], low, high, n=found["n"], note=found["reason"])
    found = record["scores"].get(name)
    if found is None:
        return Cell(None, note="not scored")
    without = dict(found["without"])
    same = without.pop("identical", 0)
    note = ", ".join(f"{count} {reason}" for reason, count in sorted(without.items()))
    return Cell(found["mean"], found["low"], found["high"], found["n"], same, note)


def _why_not(record: Record, first: str, cell: Cell) -> str:
    """Why a run is not ranked; empty if it is."""
    asked, total = record["dataset"]["n"], record["dataset"]["total"]
    limit = record.get("request", {}).get("limit")
    reasons = []
    if record["n_failed"]:
        reasons.append(f"{record['n_failed']} failed")
    if min(record["n"], asked) < total:
        reasons.append(f"{record['n']} of {total} samples")
    elif limit is not None:
        reasons.append(f"run with limit {limit}")
    if cell.value is None and not cell.is_truth:
        reasons.append(f"no {first}" + (f": {cell.note}" if cell.note else ""))
    return "; ".join(reasons)


def _name(row: Row) -> tuple[str, ...]:
    return row.method, row.revision, row.settings, row.device, row.why, repr(row.cells)


def _ranked(rows: list[Row], first: Column) -> list[Row]:
    """Best first; what equals the truth everywhere stands above every number."""

    def merit(row: Row) -> tuple[bool, float]:
        cell = row.cells[first.name]
        if cell.value is None:
            return False, 0.0
        return True, -cell.value if first.higher_is_better else cell.value

    ordered = sorted(rows, key=lambda row: (merit(row), _name(row)))
    merits = [merit(row) for row in ordered]
    return [Row(**{**vars(row), "rank": 1 + merits.index(mark)}) for row, mark in zip(ordered, merits, strict=True)]
