"""Rows of a leaderboard as runs: a run can be compared with a published one sample by sample.

BOARD#METHOD              the method's record of the same dataset and protocol as the other run
BOARD/DATASET#METHOD      its record on a dataset of the board, e.g. leaderboards/olrd-demo#patchmatch
...#METHOD@REVISION       its record of one revision
BOARD/results/.../x.json  one record
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from benchmark.board.ranking import group_key
from benchmark.board.record_rows import read_rows_of, rows_beside
from benchmark.board.records import read_record, safe_name
from benchmark.runner.results import Run
from benchmark.runner.summary import Summary
from benchmark.statistics import INTERVALS
from olrd.errors import SourceError, UsageError, did_you_mean


class PublishedRun(Run):
    """A record of a board with its rows. `folder` is the path of the record.

    Raises:
        IntegrityError: the record is damaged.
    """

    def __init__(self, record: Path) -> None:
        self.folder = record
        self.summary = read_record(record)

    def samples(self) -> pd.DataFrame:
        """The rows of the record.

        Raises:
            SourceError: the record has none.
            IntegrityError: their file is damaged, or of another record.
        """
        rows = rows_beside(self.folder)
        if not rows.is_file():
            raise SourceError(
                f"{self.folder} has no rows beside it: it is from before rows were kept. Add a run of "
                f"{self.summary.method.name} to the board with `benchmark leaderboard RUN`"
            )
        return read_rows_of(self.summary, rows)


class Wanted(NamedTuple):
    """What `BOARD/DATASET#METHOD@REVISION` names. dataset, revision: empty for any."""

    board: Path
    dataset: str
    method: str
    revision: str


def open_scored(name: str | Path, other: Run | None = None) -> Run:
    """Open a run's folder, or a row of a leaderboard.

    Args:
        name: a folder, or what the module's text lists.
        other: the run that it will be compared with. It decides between records of several datasets and protocols.

    Raises:
        SourceError: there is no such run or board.
        UsageError: the board has no such method, or several records fit.
    """
    path = Path(name)
    if path.is_dir() or ("#" not in path.name and path.suffix != ".json"):
        return Run(path)
    if "#" not in path.name:
        return PublishedRun(path)
    return PublishedRun(_found(_wanted(path), other))


def open_both(a: str | Path, b: str | Path | None) -> tuple[Run, Run | None]:
    """Open the two sides of a comparison. Where one is a row of a board, the other decides which record fits."""
    if b is not None and "#" in Path(a).name and "#" not in Path(b).name:
        right = open_scored(b)
        return open_scored(a, right), right
    left = open_scored(a)
    return left, None if b is None else open_scored(b, left)


def _wanted(path: Path) -> Wanted:
    where, _, text = str(path).rpartition("#")
    method, _, revision = text.partition("@")
    if not where or not method:
        raise UsageError(
            f"{path}: expected BOARD#METHOD or BOARD/DATASET#METHOD, e.g. leaderboards/olrd-demo#patchmatch"
        )
    board = Path(where)
    if (board / "results").is_dir():
        return Wanted(board, "", method, revision)
    if (board.parent / "results").is_dir():
        return Wanted(board.parent, board.name, method, revision)
    raise SourceError(f"{board} is no leaderboard and no dataset of one: there is no folder {board / 'results'}")


def _found(wanted: Wanted, other: Run | None) -> Path:
    """The path of the record. Raises `UsageError` if none or several fit."""
    results = wanted.board / "results"
    datasets = sorted(path.name for path in results.iterdir() if path.is_dir())
    if wanted.dataset and wanted.dataset not in datasets:
        raise did_you_mean("dataset of this board", wanted.dataset, datasets)
    names = [wanted.dataset] if wanted.dataset else datasets
    files = [path for name in names for path in sorted((results / name).glob("*/*/*.json"))]
    methods = {path.parent.name for path in files}
    if safe_name(wanted.method) not in methods:
        raise did_you_mean("method of this board", wanted.method, methods)
    fitting: dict[Path, Summary] = {}
    for path in files:
        if path.parent.name == safe_name(wanted.method):
            record = read_record(path)
            if record.method.name == wanted.method and wanted.revision in ("", record.method.revision):
                fitting[path] = record
    if not fitting:
        raise UsageError(f"{results} has no record of {wanted.method} with the revision {wanted.revision!r}")
    if other is not None and len(fitting) > 1:
        same = {path: record for path, record in fitting.items() if group_key(record) == group_key(other.summary)}
        fitting = same or fitting
    current = {path: record for path, record in fitting.items() if record.intervals == INTERVALS}
    fitting = current or fitting  # a record of an earlier version is of the same scores
    if len(fitting) > 1:
        listed = "\n".join(f"  {path}" for path in fitting)
        raise UsageError(f"{len(fitting)} records of {wanted.method} fit; name one of them by its path:\n{listed}")
    return next(iter(fitting))
