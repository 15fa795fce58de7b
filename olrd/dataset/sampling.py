"""Picking rows of a dataset: evenly spread, the same each time, without reading the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from olrd.dataset.folder import Dataset, batch_rows, group_batches
from olrd.draws import draw_integer


def pick_evenly(total: int, count: int, seed: int = 0) -> list[int]:
    """`count` of the row numbers 0 to total - 1, ascending: one, drawn by `seed`, from each of `count` equal ranges.

    All numbers if there are not more than `count`.
    """
    if total <= count:
        return list(range(total))
    ends = [stretch * total // count for stretch in range(count + 1)]
    return [start + draw_integer(end - start, seed, "pick", start) for start, end in pairwise(ends)]


def rows_at(dataset: Dataset, numbers: Sequence[int], columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows with these numbers, which must ascend. Row groups without any of them are not read."""
    wanted = np.asarray(numbers, np.int64)
    first = 0  # number of the row group's first row
    for shard in dataset.shards:
        with dataset.open(shard) as file:
            for group in range(file.num_row_groups):
                last = first + file.metadata.row_group(group).num_rows
                low, high = np.searchsorted(wanted, (first, last))
                if low < high:
                    chosen = (wanted[low:high] - first).tolist()
                    yield from _group_rows(group_batches(shard, file, [group], columns), chosen)
                first = last


def _group_rows(batches: Iterator[pa.RecordBatch], chosen: list[int]) -> Iterator[dict[str, Any]]:
    """The rows `chosen` (ascending, counted from the group's first row); reads up to the last one."""
    start = 0
    for batch in batches:
        here = [number - start for number in chosen if start <= number < start + batch.num_rows]
        for number in here:
            yield from batch_rows(batch.slice(number, 1))
        start += batch.num_rows
        if start > chosen[-1]:
            return
