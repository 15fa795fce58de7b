"""What an upload sends: the chunker against a plain loop, and a folder in which little changed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from synthetic_dataset import write_dataset

from perf import versions


def plain_ends(data: bytes) -> list[int]:
    """The definition, byte by byte."""
    cut, start, table = [], 0, [int(one) for one in versions._TABLE]
    for end in range(1, len(data) + 1):
        if end - start < versions.LEAST and end < len(data):
            continue
        window = data[max(0, end - versions.WINDOW) : end]
        total = sum(table[byte] << (len(window) - 1 - age) for age, byte in enumerate(window)) % (1 << 64)
        if total & int(versions._TOP) == 0 or end - start == versions.MOST or end == len(data):
            cut.append(end)
            start = end
    return cut


def test_chunks_end_where_the_definition_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "LEAST", 100)
    monkeypatch.setattr(versions, "MOST", 700)
    monkeypatch.setattr(versions, "_TOP", np.uint64(0xFF << 56))
    monkeypatch.setattr(versions, "_BLOCK", 512)  # several blocks
    data = np.random.default_rng(3).integers(0, 256, 4000, np.uint8).tobytes()
    cut = versions.ends(data)
    assert cut == plain_ends(data)
    assert len({end - start for start, end in pairwise([0, *cut])}) > 5  # by content, not by size alone
    assert versions.ends(b"") == []


def test_equal_files_send_nothing_and_new_rows_are_counted(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", photos=3, splits=("train",))
    file = folder / "data" / "train-00000-of-00001.parquet"
    assert versions.sent(file, file) == 0
    lines = list(versions.measure([folder]))
    assert len(lines) == 1 + len(versions.WAYS) and lines[0].startswith("one photo more: 4 rows to 6, at least ")
    assert all(" bytes sent (" in line for line in lines[1:])
