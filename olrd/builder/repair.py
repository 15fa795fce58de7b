"""`olrd-build --repair`: the damaged shards of a finished build, found by their hashes, and the units in them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from olrd.dataset.card import changed_card_files, write_card
from olrd.dataset.folder import Dataset
from olrd.dataset.record import ShardRecord, UnitRecord
from olrd.progress import progress_bar, say
from olrd.storage.files import sha256_file

Counted = TypeVar("Counted", ShardRecord, UnitRecord)


def damaged_shards(dataset: Dataset) -> list[ShardRecord]:
    """The shards that are missing or hold other bytes than were written."""
    shards = dataset.record.shards
    damaged = []
    with progress_bar("checking", dataset.record.bytes, unit="B") as bar:
        for shard in shards:
            path = dataset.folder / shard.file
            try:
                whole = path.stat().st_size == shard.bytes
                whole = whole and sha256_file(path) == shard.sha256
            except OSError:  # missing, or not readable
                whole = False
            if not whole:
                damaged.append(shard)
            bar.update(shard.bytes)
    return damaged


def renew_card(dataset: Dataset) -> None:
    """Write README.md and sample.png of a finished build again if they are not as built."""
    if changed := changed_card_files(dataset):
        say(f"not as built: {', '.join(changed)}; written anew")
        write_card(dataset.folder, dataset.record)


def units_in(dataset: Dataset, shards: Collection[ShardRecord]) -> set[str]:
    """The names of the units that have a row in one of these shards."""
    lost = {shard.file for shard in shards}
    names = set()
    for record, start in _with_start(dataset.record.units):
        pieces = _pieces(dataset, start, record.rows)
        if any(shard.file in lost for shard, _, _ in pieces):
            names.add(record.name)
    return names


def unit_rows(dataset: Dataset, without: Collection[str]) -> Iterator[tuple[UnitRecord, Iterator[dict[str, Any]]]]:
    """The record and the rows of each unit, in order. Shards that contain only units of `without` are not opened."""
    for record, start in _with_start(dataset.record.units):
        if record.name not in without:
            yield record, _rows(dataset, start, record.rows)


def _rows(dataset: Dataset, start: int, count: int) -> Iterator[dict[str, Any]]:
    for shard, first, taken in _pieces(dataset, start, count):
        alone = Dataset(dataset.folder, replace(dataset.record, shards=(shard,)))
        yield from islice(alone.rows_from(first), taken)


def _pieces(dataset: Dataset, start: int, count: int) -> Iterator[tuple[ShardRecord, int, int]]:
    """Where `count` rows from row `start` on are: (shard, first row in it, rows)."""
    for shard, begin in _with_start(dataset.record.shards):
        first, last = max(start, begin), min(start + count, begin + shard.rows)
        if first < last:
            yield shard, first - begin, last - first


def _with_start(records: Sequence[Counted]) -> Iterator[tuple[Counted, int]]:
    """Records, each with the number of its first row in the dataset."""
    start = 0
    for record in records:
        yield record, start
        start += record.rows
