"""Records of a leaderboard: the summaries of finished runs, one JSON file each. A record is never changed.

    BOARD/results/<dataset>/<protocol id>/<method>/<revision>-<key>.json      the record
    BOARD/results/<dataset>/<protocol id>/<method>/<revision>-<key>.parquet   its rows (`benchmark.board.record_rows`)

`key` is a hash of what identifies a result (see `key_of`). Other options, another seed, other data or other metric
weights make another record. Records from before rows were kept have none.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.board.record_rows import portable_rows, rows_beside, write_rows_of
from benchmark.protocol import json_in
from benchmark.runner.follows import contradictions
from benchmark.runner.results import Run
from benchmark.runner.summary import Summary
from benchmark.statistics import EARLIER, FEWEST, median_interval
from olrd.errors import IntegrityError, OutputError
from olrd.storage.files import file_name_of, sha256, to_json, write_atomic
from olrd.trust import without_folders

if TYPE_CHECKING:
    import pandas as pd

PROVENANCE = ("times", "git", "versions", "request")
"""Fields in which two runs of the same request may differ: how long they took and where they ran. The record that was
added first stays, so a table shows its times."""
ROUNDING = 1e-5
"""Relative difference that is accepted between two results: float32 networks sum in another order on another processor
or with another number of threads."""
LONGEST = 60
"""Characters of a name in a path."""
MOST = 3
"""Contradictions that an error lists."""


def add_record(run: Run, board: Path) -> Path:
    """Copy the summary and the rows of a finished run to the board; returns the path of the record.

    A record that is there already is never changed. Paths on this machine are cut to their last name.

    Raises:
        OutputError: the board holds other results of the same method, dataset and protocol. Times and
            provenance may differ.
    """
    return put_record(record_of(run), portable_rows(run.folder / "samples.parquet"), board)


def record_of(run: Run) -> Summary:
    """The record of a finished run: its summary without folders of this machine, with the interval of the median time."""
    interval = interval_of_time(run.summary, run.samples())
    record = portable(rankable(run.summary, run.folder / "summary.json"))
    return replace(record, times=replace(record.times, interval=tuple(interval) if interval else None))


def interval_of_time(summary: Summary, frame: pd.DataFrame) -> list[float] | None:
    """The interval of the median time. frame: the rows of samples.parquet."""
    protocol, fewest = summary.protocol, 2 if summary.intervals == EARLIER else FEWEST
    resamples = min(protocol.bootstrap, 1000)
    return median_interval(frame.seconds, list(frame.cluster), resamples, protocol.seed, fewest)


def put_record(record: Summary, rows: list[dict[str, Any]], board: Path) -> Path:
    """Write a record and its rows to the board; returns the path of the record.

    A record that is there already stays. If it has no rows yet, it gets these, because they gave the same results.

    Raises:
        OutputError: the board holds other results of the same method, dataset and protocol.
    """
    path = record_path(record, board)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        if differing := differences(read_record(path), record):
            raise OutputError(
                f"{path} holds other results of the same method, revision, options, data and "
                f"protocol ({', '.join(differing[:4])}); records are never changed. If the method "
                "has changed, give it another revision"
            )
        if not rows_beside(path).exists():
            write_rows_of(record, rows, rows_beside(path))
        return path
    write_rows_of(record, rows, rows_beside(path))
    write_atomic(path, to_json(record_json(record)))
    return path


def check_follows(run: Run) -> None:
    """Raise `IntegrityError` unless every number of summary.json that follows from samples.parquet is the one that
    follows."""
    if wrong := contradictions(run.summary, run.samples()):
        more = f"; and {len(wrong) - MOST} more" if len(wrong) > MOST else ""
        raise IntegrityError(
            f"{run.folder / 'summary.json'} does not follow from samples.parquet: {'; '.join(wrong[:MOST])}{more}. One of "
            "them was edited, or another version computed them: make the run again with another --out"
        )


def record_json(record: Summary) -> dict[str, Any]:
    """A record as JSON values: those of summary.json, and the interval of the median time."""
    values = record.to_json()
    values["times"]["interval"] = list(record.times.interval) if record.times.interval else None
    return values


def portable(summary: Summary) -> Summary:
    """A copy without the folders of this machine, wherever a path may stand."""
    values = summary.to_json()
    for part, names in (
        (values, ("request", "failures", "scores", "sets")),
        (values["method"], ("name", "revision", "options", "license")),
        (values["dataset"], ("warnings",)),
    ):
        part |= {name: without_folders(part[name]) for name in names}
    return Summary.from_json(values, "the summary")


def record_path(record: Summary, board: Path) -> Path:
    """The path of a record on a board."""
    folders = (record.dataset.name, record.protocol_id, record.method.name)
    folder = board.joinpath("results", *map(safe_name, folders))
    return folder / f"{safe_name(record.method.revision)}-{key_of(record)}.json"


def key_of(record: Summary) -> str:
    """Eight hex digits that identify a result.

    They are a hash of method, revision, options, device, dataset, fingerprint, the numbers of samples (asked for, in
    the set, scored, failed), protocol, seed, metric revisions, the kind of the intervals, and a disturbance if there is
    one.
    """
    method, data = record.method, record.dataset
    identity = [
        *(method.name, method.revision, method.device, method.options),
        *(data.name, data.fingerprint, data.n, data.total),
        *(record.n, record.n_failed, record.seed),
        record.protocol_id,
        record.metric_revisions,
        *([] if record.intervals == EARLIER else [record.intervals]),  # keys of earlier records stay
    ]
    identity += [record.disturbance] if record.disturbance else []  # other keys stay as they are
    return sha256(json.dumps(identity, sort_keys=True).encode())[:8]


def safe_name(text: str) -> str:
    """A short, safe name of a file or folder: not empty, not hidden, and without a path separator."""
    name = file_name_of(text)[:LONGEST]
    shown = name.lstrip(".")
    return "_" * (len(name) - len(shown)) + shown or "_"


def differences(old: Summary, new: Summary) -> list[str]:
    """The fields in which two records differ, as `score: old, now new`. Provenance and definitions are ignored."""
    found, before, after = [], record_json(old), record_json(new)
    for values in (before, after):
        for metric in values["metrics"].values():
            del metric["definition"]  # a text; the revision says whether the metric is another one
    for name in sorted(before.keys() | after.keys()):
        left, right = before.get(name), after.get(name)
        if name in PROVENANCE or _alike(left, right):
            continue
        if isinstance(left, dict) and isinstance(right, dict):
            inner = sorted(k for k in left.keys() | right.keys() if not _alike(left.get(k), right.get(k)))
            found += [f"{k}: {_brief(left.get(k))}, now {_brief(right.get(k))}" for k in inner]
        else:
            found.append(f"{name}: {_brief(left)}, now {_brief(right)}")
    return found


def _alike(left: Any, right: Any) -> bool:
    """Whether two values are equal, or floats that differ by `ROUNDING` at most."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_alike(left[k], right[k]) for k in left)
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=ROUNDING, abs_tol=ROUNDING / 100)
    return bool(left == right)


def _brief(value: Any) -> str:
    if isinstance(value, dict) and "mean" in value:
        return str(value["mean"])
    return str(value)[:80]


def read_record(path: Path) -> Summary:
    """A record. Raises `IntegrityError` if it is damaged or of another format."""
    return rankable(Summary.from_json(json_in(path), path), path)


def rankable(record: Summary, file: Path) -> Summary:
    """The record, if it describes every metric of its protocol. Raises `IntegrityError` otherwise."""
    if missing := [f"metrics.{name}" for name in record.protocol.metrics if name not in record.metrics]:
        raise IntegrityError(f"{file} lacks {', '.join(missing)}: it is damaged or was edited")
    return record


def records_by_path(board: Path) -> dict[Path, Summary]:
    """All records of a board by their paths, in order. Raises `IntegrityError` if one is damaged."""
    return {path: read_record(path) for path in sorted((board / "results").glob("*/*/*/*.json"))}


def read_records(board: Path) -> list[Summary]:
    """All records of a board, in the order of their paths. Raises `IntegrityError` if one is damaged."""
    return list(records_by_path(board).values())
