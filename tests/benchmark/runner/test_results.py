"""samples.parquet of a stranger: another table, a damaged one, or no file at all is an error that names it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from synthetic_records import record, run_of

from benchmark.board.records import add_record
from olrd.errors import IntegrityError


def without_seconds(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["seconds"]), path)


def texts_for_seconds(path: Path) -> None:
    table = pq.read_table(path).drop_columns(["seconds"])
    pq.write_table(table.append_column("seconds", pa.array(["x"] * len(table))), path)


def a_row_without_id(path: Path) -> None:
    table = pq.read_table(path).drop_columns(["id"])
    pq.write_table(table.append_column("id", pa.array([None] * len(table), pa.string())), path)


def twice(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(pa.concat_tables([table, table]), path)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("damage", [without_seconds, texts_for_seconds, a_row_without_id, twice, a_pipe])
def test_rows_of_another_shape_are_refused(damage: Callable[[Path], None], tmp_path: Path) -> None:
    run = run_of(record("a"), tmp_path / "run")
    damage(run.folder / "samples.parquet")
    with pytest.raises(IntegrityError, match=r"samples\.parquet.*make the run again"):
        add_record(run, tmp_path / "board")
    assert not (tmp_path / "board").exists()


def test_cut_and_changed_bytes_are_refused_or_read(tmp_path: Path) -> None:
    run = run_of(record("a"), tmp_path / "run")
    path = run.folder / "samples.parquet"
    honest = path.read_bytes()
    for at in range(0, len(honest), max(1, len(honest) // 60)):
        for data in (honest[:at], honest[:at] + bytes([honest[at] ^ 0xFF]) + honest[at + 1 :]):
            path.write_bytes(data)
            try:
                run.samples()
            except IntegrityError as error:
                assert "samples.parquet" in str(error)
