"""The files of a run.

    RUN/run.json                what is run (`benchmark.runner.summary.RunIdentity`)
    RUN/parts/<hash>.parquet    finished rows, a few at a time; deleted when the run is finished
    RUN/parts/<hash>.npz        features of set metrics, one file per sample; deleted too, unless a sample failed
    RUN/samples.parquet         all rows, in the order of the dataset
    RUN/summary.json            means and intervals; it is written last and marks the run as finished
    RUN/outputs/<id>.webp       the erased pictures, with --save

The column of a score is `<metric>/<region>/<mode>`, e.g. `psnr/mask/raw`. Where it is null, the column `reasons` (JSON
by column) says why.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.runner.summary import AGAIN, Summary, read_json
from olrd.errors import IntegrityError, SourceError
from olrd.storage.files import atomic_path
from olrd.trust import shown

FIXED = {
    "id": pa.string(),
    "cluster": pa.string(),
    "status": pa.string(),  # ok or failed
    "reason": pa.string(),  # why it failed; empty otherwise
    "category": pa.string(),
    "background": pa.string(),
    "placement": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "mask_share": pa.float64(),
    "output_sha256": pa.string(),
    "seconds": pa.float64(),
    "peak_mb": pa.float64(),
    "facts": pa.string(),
    "reasons": pa.string(),
}
LATER = ("placement",)
"""Columns that rows of older versions lack; they are read as empty."""
TIMES = ("seconds", "peak_mb")
"""The only columns in which two runs of the same request may differ."""


def write_rows(path: Path, rows: list[dict[str, Any]], scores: list[str]) -> None:
    """Write rows atomically. scores: names of the score columns."""
    schema = pa.schema([*FIXED.items(), *((name, pa.float64()) for name in scores)])
    table = pa.Table.from_pylist(rows, schema)
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read rows as dicts. Raises `IntegrityError` if the file is missing or damaged."""
    rows: list[dict[str, Any]] = _table(path).to_pylist()
    return rows


def _table(path: Path) -> pa.Table:
    """A table that `write_rows` wrote. Raises `IntegrityError` if it is missing, damaged, or another one."""
    if not path.is_file():  # opening a pipe would block
        raise IntegrityError(f"{path} is missing or damaged: it is not there, or it is not a file")
    try:
        table = pq.read_table(path)
        table.validate(full=True)  # also that texts are UTF-8
        for name in LATER:
            if name not in table.column_names:
                table = table.append_column(name, pa.nulls(len(table), FIXED[name]))
        names = table.column_names
    except (OSError, ValueError, pa.ArrowException) as error:
        raise IntegrityError(f"{path} is missing or damaged: {error}") from error
    for name in names:
        expected, found = FIXED.get(name, pa.float64()), table.schema.field(name).type
        if found != expected:
            raise IntegrityError(f"{path}: the column {shown(name)} holds {found}, expected {expected}")
    if missing := [name for name in FIXED if name not in names]:
        raise IntegrityError(f"{path} lacks the column {missing[0]}")
    for name in ("id", "cluster", "status"):
        if table[name].null_count:
            raise IntegrityError(f"{path}: a row has no {name}")
    if len(set(table["id"].to_pylist())) < len(table):
        raise IntegrityError(f"{path} holds two rows of one sample")
    return table


class Run:
    """A finished run: its folder, and the content of its summary.json.

    Raises:
        SourceError: the folder holds no finished run.
        IntegrityError: summary.json is damaged; the message names the field.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        path = self.folder / "summary.json"
        if not path.is_file():
            raise SourceError(
                f"{self.folder} holds no finished run (it has no summary.json). `benchmark run --out {self.folder}` "
                "makes one, or finishes one that was interrupted"
            )
        self.summary = Summary.from_json(read_json(path), path)

    def has_failures(self) -> bool:
        """Whether a sample failed, or a metric failed on one."""
        found = self.summary
        reasons = [why for score in found.scores.values() for why in score.without]
        reasons += [whole.reason for whole in found.sets.values()]
        return bool(found.n_failed) or any("failed:" in why for why in reasons)

    def samples(self) -> pd.DataFrame:
        """The rows of samples.parquet. Raises `IntegrityError` if the file is missing or damaged."""
        return read_samples(self.folder)


def read_samples(folder: Path) -> pd.DataFrame:
    """The rows of a run's samples.parquet. Raises `IntegrityError` if the file is missing or damaged."""
    path = folder / "samples.parquet"
    try:
        frame = _table(path).to_pandas()
    except IntegrityError as error:
        raise IntegrityError(f"{error}; {AGAIN}") from error
    return frame


def read_frame(path: Path) -> pd.DataFrame:
    """The rows of a file that `write_rows` wrote, under any name. Raises `IntegrityError` if it is damaged."""
    return _table(path).to_pandas()
