"""Shards: Parquet files of triplets, written under a temporary name, limited in bytes, then renamed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from olrd.dataset.arrow import arrow_array
from olrd.dataset.schema import ALL_PICTURES, MASKS, schema
from olrd.errors import OutputError
from olrd.storage.files import commit_file, disk_errors, sha256_file, staging
from olrd.storage.remote import Remote

ROW_GROUP = 100
ROW_GROUP_BYTES = 64_000_000
"""A row group ends at 100 rows, because the Hub's viewer runs out of memory with more, or at this number of bytes."""
ROW_OVERHEAD = 2048
"""Bytes assumed for the plain columns and page headers of a row when deciding whether a file is full."""
SHARED = "background.bytes"
"""The column with repeated values; see `open_writer`."""
FILE_OVERHEAD = 64_000
"""Bytes assumed for the schema, the footer and the indexes of a file."""


class Written(NamedTuple):
    """A finished file: its name, rows, bytes and sha256."""

    file: str
    rows: int
    bytes: int
    sha256: str


def numbered(stem: str) -> Callable[[int], str]:
    """File names `<stem>.<k>.parquet`, for a `ShardWriter`."""
    return lambda k: f"{stem}.{k}.parquet"


class ShardWriter:
    """Writes rows to files in `folder` that stay below `limit` bytes.

    Real bytes are counted: pictures are stored without further compression, and a background once per row group. A file
    exceeds `limit` only if a single row does.
    """

    def __init__(self, folder: Path | Remote, form: str, limit: int, optional: tuple[str, ...] = ()) -> None:
        """optional: see `olrd.dataset.schema.optional_columns`."""
        self.folder, self.limit = folder, limit
        self._temporary = staging(folder / "part.parquet")
        self.schema = schema(form, optional)
        self._rows: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None
        self._bytes, self._count = FILE_OVERHEAD, 0
        self._waiting = 0
        self._shared: set[str] = set()

    def write(self, rows: Iterable[dict[str, Any]], name: Callable[[int], str]) -> list[Written]:
        """Write all rows to the files name(0), name(1), ...; returns the finished ones in order."""
        files: list[Written] = []
        try:
            for row in rows:
                size = added_bytes(row, self._shared)
                if self._count and self._bytes + size > self.limit:
                    files.append(self._finish(name(len(files))))
                    size = added_bytes(row, self._shared)
                self._bytes += size
                self._count += 1
                self._rows.append(row)
                self._waiting += size
                if len(self._rows) == ROW_GROUP or self._waiting >= ROW_GROUP_BYTES:
                    self._flush()
            if self._count:
                files.append(self._finish(name(len(files))))
        except BaseException:
            self._abandon()
            raise
        return files

    def _flush(self) -> None:
        """Write the collected rows as one row group."""
        with disk_errors(self._temporary):
            if self._writer is None:
                self._writer = open_writer(self._temporary, self.schema)
            self._writer.write_table(to_table(self._rows, self.schema), row_group_size=ROW_GROUP)
        self._rows.clear()
        self._shared.clear()
        self._waiting = 0

    def _finish(self, name: str) -> Written:
        if self._rows or self._writer is None:
            self._flush()
        assert self._writer is not None
        path = self.folder / name
        with disk_errors(path):
            self._writer.close()
            written = _written(name, self._count, self._temporary)
            commit_file(self._temporary, path, durable=False)
        self._writer, self._bytes, self._count = None, FILE_OVERHEAD, 0
        self._shared.clear()
        return written

    def _abandon(self) -> None:
        if self._writer is not None:
            with suppress(OSError, pa.ArrowException):
                self._writer.close()
        self._temporary.unlink(missing_ok=True)


def _written(name: str, rows: int, path: Path) -> Written:
    return Written(name, rows, path.stat().st_size, sha256_file(path))


def to_table(rows: list[dict[str, Any]], table_schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table. Pictures are converted as whole columns, three times as fast as row by row."""
    columns = []
    for column in table_schema:
        values = [row[column.name] for row in rows]
        if column.name in ALL_PICTURES:
            data = arrow_array([value["bytes"] for value in values], pa.binary())
            paths = arrow_array([value["path"] for value in values], pa.string())
            columns.append(pa.StructArray.from_arrays([data, paths], fields=list(column.type)))
        else:
            columns.append(arrow_array(values, column.type))
    return pa.Table.from_arrays(columns, schema=table_schema)


def open_writer(path: Path, file_schema: pa.Schema) -> pq.ParquetWriter:
    """A Parquet writer: pictures uncompressed, the other columns with snappy.

    Composites and masks have no dictionary. Backgrounds have one per row group, because the triplets of a photo share
    their background.
    """
    homes = (*ALL_PICTURES, f"{MASKS}.list.element")
    pictures = [f"{name}.{part}" for name in homes for part in ("bytes", "path")]
    plain = [name for name in file_schema.names if name not in (*ALL_PICTURES, MASKS)]
    present = [leaf for leaf in pictures if leaf.split(".")[0] in file_schema.names]
    strings = [name for name in plain if pa.types.is_string(file_schema.field(name).type)]
    return pq.ParquetWriter(
        path,
        file_schema,
        compression=dict.fromkeys(present, "none") | dict.fromkeys(_leaves(file_schema, plain), "snappy"),
        use_dictionary=strings + [leaf for leaf in present if leaf == SHARED],
        dictionary_pagesize_limit=ROW_GROUP_BYTES,
        write_page_index=True,
        write_statistics=plain,
    )


def _leaves(file_schema: pa.Schema, names: list[str]) -> list[str]:
    """Parquet's column paths; the values of a list column are at `<name>.list.element`."""
    return [f"{name}.list.element" if pa.types.is_nested(file_schema.field(name).type) else name for name in names]


def added_bytes(row: dict[str, Any], shared: set[str]) -> int:
    """The bytes that a row adds to a row group.

    shared: the photos whose backgrounds the row group contains; the row's own photo is added. Rows with an `effect` share no
    background.
    """
    again = "effect" not in row and row["image_id"] in shared
    shared.add(row["image_id"])
    pictures = [n for n in ALL_PICTURES if n in row and not (again and SHARED.startswith(n))]
    single = sum(len(mask["bytes"]) for mask in row.get(MASKS) or ())
    return ROW_OVERHEAD + len(row["recipe"]) + single + sum(len(row[n]["bytes"]) for n in pictures)


def join_files(
    paths: Iterable[Path | Remote], target: Path | Remote, form: str, optional: tuple[str, ...] = ()
) -> Written:
    """Join several files into one, with full row groups. One row group is in memory at a time."""
    pa.default_memory_pool().release_unused()  # memory that building has freed and the pool still holds
    temporary = staging(target)
    joined = schema(form, optional)
    waiting: list[pa.RecordBatch] = []
    rows = 0
    with disk_errors(target):
        with open_writer(temporary, joined) as writer:
            for batch in _batches(paths):
                waiting.append(batch)
                full = sum(b.num_rows for b in waiting) >= ROW_GROUP
                if full or sum(b.nbytes for b in waiting) >= ROW_GROUP_BYTES:
                    table = pa.Table.from_batches(waiting, joined)
                    writer.write_table(table.slice(0, ROW_GROUP), row_group_size=ROW_GROUP)
                    waiting = table.slice(ROW_GROUP).to_batches()
                rows += batch.num_rows
            if waiting:
                writer.write_table(pa.Table.from_batches(waiting, joined), row_group_size=ROW_GROUP)
        written = _written(target.name, rows, temporary)
        commit_file(temporary, target)
    return written


def part_rows(paths: Iterable[Path | Remote]) -> Iterator[dict[str, Any]]:
    """The rows of several files, one after the other. Raises `OutputError` for a file that cannot be read."""
    for batch in _batches(paths):
        yield from batch.to_pylist()


def _batches(paths: Iterable[Path | Remote]) -> Iterator[pa.RecordBatch]:
    for path in paths:
        try:
            # Only small parts are joined (see `pack`), so a remote one is downloaded as a whole.
            where = pa.BufferReader(path.read_bytes()) if isinstance(path, Remote) else path
            with pq.ParquetFile(where, pre_buffer=False, buffer_size=1 << 20) as file:
                yield from file.iter_batches(batch_size=ROW_GROUP // 5)
        except (OSError, pa.ArrowException) as error:
            raise OutputError(f"{path} is missing or damaged: {error}") from error
