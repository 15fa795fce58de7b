"""Submissions made from runs over seven pairs, and forgeries of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.submissions.folder import MANIFEST, RECORD, ROWS
from olrd.storage.files import sha256_file


def sealed(folder: Path) -> Path:
    """List the files as they are now, as a careful forger does. Returns `folder`."""
    values = json.loads((folder / MANIFEST).read_text())
    for name in values["files"]:
        path = folder / name
        values["files"][name] = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
    (folder / MANIFEST).write_text(json.dumps(values))
    return folder


def edit_record(folder: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    """Change record.json and seal the folder."""
    values = json.loads((folder / RECORD).read_text())
    edit(values)
    (folder / RECORD).write_text(json.dumps(values))
    return sealed(folder)


def edit_rows(folder: Path, edit: Callable[[pd.DataFrame], pd.DataFrame], **metadata: str) -> Path:
    """Change the rows, and what their file says of itself, and seal the folder."""
    table = pq.read_table(folder / ROWS)
    (key, text), *_ = (table.schema.metadata or {}).items()
    said = json.dumps(json.loads(text) | metadata)
    changed = pa.Table.from_pandas(edit(table.to_pandas()), table.schema, preserve_index=False)
    pq.write_table(changed.replace_schema_metadata({key: said}), folder / ROWS)
    return sealed(folder)
