"""Measures how many bytes an upload sends when a dataset changes a little, by how its Parquet files are written.

    python -m perf.versions triplets/coco
    python -m perf.versions triplets/coco triplets/coco-more

The old version is the first folder without the photo in its middle, the new version is the first folder; with a second
folder, that one is also compared with the first. All rows of a folder are written into one file. The Hub's store (Xet)
cuts files into chunks by their content, of about 64 KB, and sends those that it does not have. `chunks` does the same
with another table of random numbers. `least` counts the bytes of pictures and recipes that the old version does not hold.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from olrd.dataset import shards
from olrd.dataset.folder import Dataset
from olrd.dataset.schema import ALL_PICTURES, MASKS

WAYS: dict[str, dict[str, Any]] = {
    "as built": {},
    "content-defined": {"use_content_defined_chunking": True},
    "content-defined, 64 to 256 KB": {
        "use_content_defined_chunking": {"min_chunk_size": 1 << 16, "max_chunk_size": 1 << 18}
    },
}
"""Further arguments of `pyarrow.parquet.ParquetWriter`."""
LEAST, MOST, WINDOW = 8 << 10, 128 << 10, 64
"""Bytes of the smallest and the largest chunk, and of the window that decides where a chunk ends."""
_TABLE = np.random.default_rng(0).integers(0, 1 << 64, 256, np.uint64)
_TOP = np.uint64(0xFFFF << 48)  # 16 bits: a chunk has 64 KB on average
_BLOCK = 1 << 24


def ends(data: bytes) -> list[int]:
    """Where the chunks of `data` end: after a window whose gear hash begins with 16 zero bits."""
    found = np.concatenate(
        [_candidates(data, start) for start in range(0, len(data), _BLOCK)] or [np.zeros(0, np.int64)]
    )
    cut: list[int] = []
    start = 0
    while start < len(data):
        place = int(np.searchsorted(found, start + LEAST))
        end = min(start + MOST, len(data), int(found[place]) if place < len(found) else len(data))
        cut.append(end)
        start = end
    return cut


def _candidates(data: bytes, start: int) -> npt.NDArray[np.int64]:
    """The ends in one block. The hash of a window is the sum of its bytes' random numbers, each shifted by its age."""
    first = max(0, start - WINDOW + 1)
    values = np.frombuffer(data, np.uint8, min(len(data), start + _BLOCK) - first, first)
    sums = _TABLE[values]
    for age in (1, 2, 4, 8, 16, 32):  # windows of twice the size each time
        sums[age:] += sums[:-age].copy() << np.uint64(age)
    places = np.flatnonzero((sums & _TOP) == 0) + first
    return places[places >= start] + 1


def chunks(file: Path) -> list[tuple[bytes, int]]:
    """(hash, size) of every chunk of a file."""
    data = file.read_bytes()
    cut = ends(data)
    return [(hashlib.sha256(data[a:b]).digest(), b - a) for a, b in zip([0, *cut], cut, strict=False)]


def sent(old: Path, new: Path) -> int:
    """The bytes of the chunks of `new` that `old` does not have."""
    have = {digest for digest, _ in chunks(old)}
    return sum(dict(one for one in chunks(new) if one[0] not in have).values())


def values(row: dict[str, Any]) -> Iterator[bytes]:
    """The long values of a row."""
    yield row["recipe"].encode()
    for picture in (*(row[name] for name in ALL_PICTURES if name in row), *row.get(MASKS, ())):
        yield picture["bytes"]


def least(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> int:
    """The bytes of the long values that only `new` holds, each once."""
    return sum(map(len, {one for row in new for one in values(row)} - {one for row in old for one in values(row)}))


@contextmanager
def written_with(extra: dict[str, Any]) -> Iterator[None]:
    """Further arguments for every Parquet writer."""
    writer = pq.ParquetWriter

    def opened(*args: Any, **named: Any) -> pq.ParquetWriter:
        return writer(*args, **named, **extra)

    with patch.object(shards.pq, "ParquetWriter", opened):
        yield


def write(rows: list[dict[str, Any]], folder: Path, name: str, like: Dataset) -> Path:
    """All rows in one file, as a build writes them. like: a dataset with the same columns."""
    shards.ShardWriter(folder, like.form, 1 << 40, like.optional).write(rows, lambda _: name)
    return folder / name


def measure(folders: list[Path]) -> Iterator[str]:
    """One line per pair of versions and way of writing."""
    sets = [Dataset(folder) for folder in folders]
    rows = [list(one.rows()) for one in sets]
    middle = rows[0][len(rows[0]) // 2]["image_id"]
    without = [row for row in rows[0] if row["image_id"] != middle]
    pairs = [("one photo more", without, rows[0]), *((f"{folders[0]} to {folders[1]}", *rows) for _ in folders[1:])]
    for title, old, new in pairs:
        yield f"{title}: {len(old)} rows to {len(new)}, at least {least(old, new):,} new bytes"
        for way, extra in WAYS.items():
            with tempfile.TemporaryDirectory() as scratch, written_with(extra):
                files = [write(part, Path(scratch), name, sets[0]) for part, name in ((old, "old"), (new, "new"))]
                size, new_bytes = files[1].stat().st_size, sent(*files)
            yield f"  {way:<30} {new_bytes:>12,} of {size:,} bytes sent ({100 * new_bytes / size:.1f} %)"


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="one or two built datasets")
    for line in measure(parser.parse_args().folders[:2]):
        print(line, flush=True)


if __name__ == "__main__":
    main()
