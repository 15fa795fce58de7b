"""The samples of a section's runs, for the filter of its page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from benchmark.board.ranking import Column, Section
from benchmark.board.record_rows import read_rows_of, rows_beside
from benchmark.board.records import key_of
from benchmark.groups import GROUPINGS, labels_of, ordered
from benchmark.runner.summary import Summary
from benchmark.statistics import FEWEST

TEXTS = tuple(by for by in GROUPINGS if by != "area")
STEPS = 64
"""Number of intervals between the quantiles of Student's t."""
MOST = 400_000
"""Largest number of values on a page: about 3 MB. Larger sets have no filter."""


def rows_of(records: Mapping[Path, Summary]) -> dict[str, pd.DataFrame]:
    """The rows of all records that have some, by `Row.key`. Raises `IntegrityError` if a file is damaged.

    Args:
        records: the records of a board by path.
    """
    found = ((record, rows_beside(path)) for path, record in records.items())
    return {key_of(record): read_rows_of(record, rows) for record, rows in found if rows.exists()}


def samples_of(section: Section, rows: Mapping[str, pd.DataFrame]) -> dict[str, Any] | None:
    """The values of the ranked runs, sample by sample.

    Args:
        section: the runs.
        rows: the rows of samples.parquet by `Row.key`. Runs without rows have no values.

    Returns:
        JSON values, or None if no run has rows or there are too many values:

        - `fewest`: number of photos that an interval takes,
        - `t`: what `quantiles` returns,
        - `photo`: a number per sample,
        - `groups`: per grouping its name `by`, the names of its groups, and `of`, the number of each sample's group,
        - `values`: a list per run (None without rows) with a list per column of the first table (None for scores of
          whole sets).
    """
    frames = [_indexed(rows[run.key]) if run.key in rows else None for run in section.ranked]
    known = [frame for frame in frames if frame is not None]
    names = sorted({str(name) for frame in known for name in frame.index})
    if not names or len(names) * len(known) * len(section.main) > MOST:
        return None
    about = pd.concat([frame[["cluster", "mask_share", *(name for name in TEXTS if name in frame)]] for frame in known])
    about = about[~about.index.duplicated()].reindex(names)
    photos = {name: k for k, name in enumerate(dict.fromkeys(about.cluster))}
    return {
        "fewest": FEWEST,
        "t": quantiles(),
        "photo": [photos[name] for name in about.cluster],
        "groups": [_grouping(about, by) for by in GROUPINGS],
        "values": [None if frame is None else _values(frame, names, section.main) for frame in frames],
    }


def _grouping(about: pd.DataFrame, by: str) -> dict[str, Any]:
    labels = labels_of(about, by)
    names = ordered(set(labels), by)
    places = {name: k for k, name in enumerate(names)}
    return {"by": by, "names": names, "of": [places[label] for label in labels]}


def quantiles() -> list[float]:
    """The 97.5 % quantiles of Student's t at STEPS / 0, STEPS / 1, ... STEPS / STEPS degrees of freedom.

    The page interpolates between them.
    """
    degrees = [math.inf, *(STEPS / k for k in range(1, STEPS + 1))]
    return [round(float(stats.t.ppf(0.975, df)), 5) for df in degrees]


def _indexed(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows by sample id. A sample that failed has no values."""
    found = frame.drop_duplicates("id").set_index("id")
    scores = [name for name in found.columns if "/" in name]
    return found.assign(**{name: found[name].where(found.status == "ok") for name in scores})


def _values(frame: pd.DataFrame, names: Sequence[str], columns: Sequence[Column]) -> list[list[float | None] | None]:
    found = frame.reindex(names)
    return [
        [_short(value) for value in found[column.name].to_numpy(dtype=np.float64, na_value=np.nan)]
        if column.name in found.columns
        else None
        for column in columns
    ]


def _short(value: float) -> float | None:
    """Five digits are more than a table shows."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
