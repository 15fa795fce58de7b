"""The rows of a record: the samples of a run as compressed Parquet, beside the record or in a submission.

The file says which record its rows belong to; rows of other data or of another method are refused. Every file may come
from a stranger: its size is bounded before it is read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmark.runner.results import FIXED, read_frame, read_rows
from benchmark.runner.summary import Summary
from olrd.errors import IntegrityError
from olrd.storage.files import atomic_path
from olrd.trust import parse_json, shown, without_folders

IDENTITY = b"olrd.benchmark.record"
"""Key of the file's metadata that says whose rows it holds."""
MAX_BYTES = 1 << 27
"""Largest file of rows, and largest content unpacked. 10,000 samples with 100 scores have about 8 MB."""
MAX_ROWS = 1_000_000
MAX_COLUMNS = 2_000


def rows_beside(record: Path) -> Path:
    """The path of the rows of a record: its name with `.parquet` for `.json`."""
    return record.with_name(f"{record.name.removesuffix('.json')}.parquet")


def portable_rows(samples: Path) -> list[dict[str, Any]]:
    """The rows of a samples.parquet without the folders of this machine. Raises `IntegrityError` if it is damaged."""
    check_size(samples)
    rows = read_rows(samples)
    for row in rows:
        row["reason"] = without_folders(row["reason"])
        for name in ("reasons", "facts"):
            if row[name] is None:
                continue
            values = parse_json(row[name], f"{samples}: {name} of {shown(row['id'])}")
            row[name] = json.dumps(without_folders(values), sort_keys=True)
    return rows


def write_rows_of(record: Summary, rows: list[dict[str, Any]], path: Path) -> None:
    """Write the rows of a record, compressed. The same rows give the same bytes with one version of pyarrow."""
    names = [name for name in (rows[0] if rows else ()) if name not in FIXED]
    schema = pa.schema([*FIXED.items(), *((name, pa.float64()) for name in names)])
    metadata = {IDENTITY: json.dumps(identity_of(record), sort_keys=True)}
    table = pa.Table.from_pylist(rows, schema).replace_schema_metadata(metadata)
    texts = [name for name, kind in FIXED.items() if kind == pa.string()]
    with atomic_path(path) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            compression_level=9,
            use_dictionary=texts,
            use_byte_stream_split=names,
            write_statistics=False,
        )


def read_rows_of(record: Summary, path: Path) -> pd.DataFrame:
    """The rows of a record.

    Raises:
        IntegrityError: the file is damaged, too large, or holds the rows of another record.
    """
    check_size(path)
    check_identity(record, path)
    return read_frame(path)


def identity_of(record: Summary) -> dict[str, str]:
    """What the rows' file says of its record."""
    return {
        "method": record.method.name,
        "revision": record.method.revision,
        "dataset": record.dataset.name,
        "fingerprint": record.dataset.fingerprint,
        "protocol": record.protocol_id,
        **({"disturbance": record.disturbance} if record.disturbance else {}),
    }


def check_identity(record: Summary, path: Path) -> None:
    """Raise `IntegrityError` unless the file says that its rows belong to the record."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, ValueError, pa.ArrowException) as error:
        raise IntegrityError(f"{path} is missing or damaged: {error}") from error
    if IDENTITY not in metadata:
        raise IntegrityError(f"{path} does not say whose rows it holds: write it again with `benchmark submit`")
    found = parse_json(metadata[IDENTITY], path)
    for name, expected in ({"disturbance": None} | identity_of(record)).items():
        there = found.get(name) if isinstance(found, dict) else None
        if there != expected:
            raise IntegrityError(f"{path} holds rows of the {name} {shown(there)}, the record is of {shown(expected)}")


def check_size(path: Path) -> None:
    """Refuse a file of rows that would take much memory. Raises `IntegrityError`."""
    if not path.is_file():  # opening a pipe would block
        raise IntegrityError(f"{path} is missing or damaged: it is not there, or it is not a file")
    if (size := path.stat().st_size) > MAX_BYTES:
        raise IntegrityError(f"{path}: {size:,} bytes of rows, expected at most {MAX_BYTES:,}")
    try:
        with pq.ParquetFile(path) as file:
            found = file.metadata
            unpacked = sum(found.row_group(k).total_byte_size for k in range(found.num_row_groups))
            for what, number, most in (
                ("rows", found.num_rows, MAX_ROWS),
                ("columns", found.num_columns, MAX_COLUMNS),
                ("bytes unpacked", unpacked, MAX_BYTES),
                ("values", found.num_rows * found.num_columns, MAX_BYTES // 8),
            ):
                if not 0 <= number <= most:
                    raise IntegrityError(f"{path}: {number:,} {what}, expected at most {most:,}")
            _check_texts(file, path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise IntegrityError(f"{path} is missing or damaged: {error}") from error


def _check_texts(file: pq.ParquetFile, path: Path) -> None:
    """Refuse texts that are stored once and repeated in many rows until they fill the memory."""
    names = [name for name, kind in FIXED.items() if kind == pa.string() and name in file.schema_arrow.names]
    with pq.ParquetFile(path, read_dictionary=names) as packed:
        table = packed.read(columns=names)
    total = 0
    for column in table.columns:
        for chunk in column.chunks:
            if isinstance(chunk, pa.DictionaryArray):
                lengths = pc.binary_length(chunk.dictionary).cast(pa.int64())
                total += pc.sum(pc.take(lengths, chunk.indices)).as_py() or 0
            else:
                total += chunk.nbytes
    if total > MAX_BYTES:
        raise IntegrityError(f"{path}: {total:,} bytes of texts, expected at most {MAX_BYTES:,}")
