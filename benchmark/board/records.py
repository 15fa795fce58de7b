"""Records of a leaderboard: summaries of finished runs, one JSON file each, never changed afterwards.

    BOARD/results/<dataset>/<protocol id>/<method>/<revision>-<key>.json

`key` is a hash of all that makes two runs the same claim (see `key_of`): other options, another seed,
other data or other metric weights are another record beside the first.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from benchmark.runner.aggregate import FORMAT
from benchmark.runner.results import Run
from benchmark.statistics import median_interval
from olrd.errors import IntegrityError, OutputError
from olrd.storage.files import file_name_of, sha256, to_json, write_atomic

Record = dict[str, Any]
"""The content of summary.json, with the interval of the median time in `times`."""

PROVENANCE = ("times", "git", "versions", "request")
"""What two runs that claim the same may differ in: how long they took and where they ran. The first
record stays, so a table's times are those of the run that was added first."""
ROUNDING = 1e-5
"""A float32 network on another processor, or with another number of threads, sums in another order."""
NEEDED = {
    "method": ("name", "revision", "control", "device"),
    "dataset": ("name", "fingerprint", "n", "total", "warnings"),
    "protocol": ("id", "metrics"),
    "times": ("median_seconds",),
}
LONGEST = 60
_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^\s/:,;'\"()]+/)+")


def add_record(run: Run, board: Path) -> Path:
    """Copy a finished run's summary to the board; returns the record's path.

    Append-only: a record that is there already stays as it is. If the run says the same (times and
    provenance apart) nothing happens; if it says something else this is an `OutputError`. Folders of
    paths on this machine are left out.
    """
    record = portable(checked(run.summary, run.folder / "summary.json"))
    frame, protocol = run.samples(), record["protocol"]
    record["times"]["interval"] = median_interval(
        frame.seconds, list(frame.cluster), min(protocol["bootstrap"], 1000), protocol["seed"]
    )
    path = record_path(record, board)
    if path.is_file():
        if differing := differences(read_record(path), record):
            raise OutputError(
                f"{path} holds other results of the same method, revision, options, data and "
                f"protocol ({', '.join(differing[:4])}); records are never changed: if the method "
                "has changed, give it another revision"
            )
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, to_json(record))
    return path


def portable(summary: Record) -> Record:
    """A copy without the folders of this machine, wherever a path may stand."""
    record: Record = json.loads(json.dumps(summary))
    for part in (record["method"], record):
        for name in ("options", "request", "failures", "scores", "sets"):
            if name in part:
                part[name] = without_folders(part[name])
    return record


def record_path(record: Record, board: Path) -> Path:
    """Where a record belongs."""
    method = record["method"]
    folders = (record["dataset"]["name"], record["protocol"]["id"], method["name"])
    folder = board.joinpath("results", *map(safe_name, folders))
    return folder / f"{safe_name(method['revision'])}-{key_of(record)}.json"


def key_of(record: Record) -> str:
    """Eight hex digits of the claim: method, revision, options and device, data set and fingerprint,
    how many samples were asked for, came and failed, protocol, seed, and metric revisions."""
    method, data = record["method"], record["dataset"]
    claim = [
        *(method[name] for name in ("name", "revision", "device")),
        method.get("options", {}),
        *(data[name] for name in ("name", "fingerprint", "n", "total")),
        *(record[name] for name in ("n", "n_failed", "seed")),
        record["protocol"]["id"],
        metric_revisions(record),
    ]
    return sha256(json.dumps(claim, sort_keys=True).encode())[:8]


def metric_revisions(record: Record) -> dict[str, str]:
    """Which definition and weights each metric had."""
    return {name: info["revision"] for name, info in sorted(record["metrics"].items())}


def safe_name(text: str) -> str:
    """A short name of a file or folder: never empty, hidden, or a way out of the folder."""
    name = file_name_of(text)[:LONGEST]
    shown = name.lstrip(".")
    return "_" * (len(name) - len(shown)) + shown or "_"


def differences(old: Record, new: Record) -> list[str]:
    """Where two records disagree, as `score: old, new`; provenance does not count."""
    found = []
    for name in sorted(old.keys() | new.keys()):
        left, right = old.get(name), new.get(name)
        if name in PROVENANCE or _alike(left, right):
            continue
        if isinstance(left, dict) and isinstance(right, dict):
            inner = sorted(k for k in left.keys() | right.keys() if not _alike(left.get(k), right.get(k)))
            found += [f"{k}: {_brief(left.get(k))}, now {_brief(right.get(k))}" for k in inner]
        else:
            found.append(f"{name}: {_brief(left)}, now {_brief(right)}")
    return found


def _alike(left: Any, right: Any) -> bool:
    """Equal, or floats that differ by no more than `ROUNDING`."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_alike(left[k], right[k]) for k in left)
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=ROUNDING, abs_tol=ROUNDING / 100)
    return bool(left == right)


def _brief(value: Any) -> str:
    if isinstance(value, dict) and "mean" in value:
        return str(value["mean"])
    return str(value)[:80]


def without_folders(value: Any) -> Any:
    """Absolute paths in strings, cut to the last name."""
    if isinstance(value, dict):
        cleaned: dict[str, Any] = {}
        for name, inner in value.items():
            short = without_folders(name)
            if short in cleaned and isinstance(inner, int):  # two failures that now read the same
                inner += cleaned[short]
            cleaned[short] = without_folders(inner)
        return cleaned
    return _FOLDERS.sub("", value) if isinstance(value, str) else value


def read_record(path: Path) -> Record:
    """A record, checked. `IntegrityError` if it is damaged or of another format."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path} is no record that can be read: {error}") from error
    return checked(record, path)


def read_records(board: Path) -> list[Record]:
    """All records of a board, in the order of their paths."""
    return [read_record(path) for path in sorted((board / "results").glob("*/*/*/*.json"))]


def checked(record: Any, where: Path) -> Record:
    """The record, if this version can read it."""
    found = record.get("format") if isinstance(record, dict) else None
    if found != FORMAT:
        raise IntegrityError(
            f"{where} has format {found}, this version reads format {FORMAT}: "
            + (
                "it was written by a newer version, update this package"
                if isinstance(found, int) and found > FORMAT
                else "run `benchmark run` again with the same request and add the new run"
            )
        )
    missing = [n for n in ("n", "n_failed", "seed", "metrics", "scores", "sets") if n not in record]
    for part, names in NEEDED.items():
        inside = record.get(part)
        missing += [f"{part}.{n}" for n in names if not isinstance(inside, dict) or n not in inside]
    if not missing:
        names = record["protocol"]["metrics"]
        missing = [f"metrics.{name}" for name in names if name not in record["metrics"]]
    if missing:
        raise IntegrityError(f"{where} lacks {', '.join(missing)}: it is damaged or was edited")
    return dict(record)
