"""Indexes: Arrow files in the cache, made from a slow file once and memory-mapped after that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from olrd.progress import say
from olrd.storage.files import atomic_path, cache_folder


def open_index(name: str, make: Callable[[Path], None]) -> pa.Table:
    """The index of that name as a memory-mapped table. One that is missing or damaged is made.

    Args:
        name: the file stem; it contains a hash of everything that the index depends on.
        make: writes the index to a path.
    """
    path = cache_folder() / "index" / f"{name}.arrow"
    if path.is_file():
        try:
            return _read(path)
        except (pa.ArrowException, OSError, ValueError):
            say(f"the index {path.name} in the cache is damaged: it is made again")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        make(temporary)
    return _read(path)


def _read(path: Path) -> pa.Table:
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    table.validate()
    return table
