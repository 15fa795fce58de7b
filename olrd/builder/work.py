"""Building one unit: photos in, part files and a done-mark out. Runs in a worker process."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from olrd.builder.units import Unit
from olrd.config import BuildConfig
from olrd.dataset.shards import ShardWriter, Written, numbered
from olrd.errors import IntegrityError, OutputError
from olrd.sources import open_source
from olrd.storage.files import write_atomic
from olrd.storage.remote import Remote, many, place
from olrd.triplets.maker import TripletMaker
from olrd.triplets.tally import Tally

_state: dict[str, Any] = {}


def start_worker(config: BuildConfig, parts: str) -> None:
    """Open the source once per process."""
    import cv2

    folder = place(parts)
    if isinstance(folder, Path) and not folder.is_dir():
        raise OutputError(f"{parts} is not there on {platform.node()}: all machines must see --out under one path")
    cv2.setNumThreads(1)  # the units are the parallelism
    _state.update(maker=TripletMaker(open_source(config.source), config), parts=folder)


def build_unit(unit: Unit) -> tuple[Unit, Tally]:
    """Build one unit. The done-mark is written last, after the files it names are in place."""
    maker: TripletMaker = _state["maker"]
    parts: Path | Remote = _state["parts"]
    tally = Tally()
    writer = ShardWriter(parts, maker.config.form, maker.config.shard_bytes)
    rows = (row for i in unit.photos for row in maker.photo(i, tally))
    files = writer.write(rows, numbered(unit.name))
    if not tally.balanced():
        raise IntegrityError(f"the counts of unit {unit.name} do not add up: {tally}")
    write_mark(parts, unit, files, tally)
    return unit, tally


def write_mark(parts: Path | Remote, unit: Unit, files: list[Written], tally: Tally) -> None:
    """Mark a unit as done. Neither the mark nor its files wait for the disk: `finish` compares the
    hashes of what an earlier run left, and syncs the shards that stay."""
    mark = {"files": [file._asdict() for file in files], "tally": tally.to_dict()}
    write_atomic(mark_path(parts, unit), json.dumps(mark), durable=False)


def mark_path(parts: Path | Remote, unit: Unit) -> Path | Remote:
    """Where a unit's done-mark lies."""
    return parts / f"{unit.name}.json"


def read_mark(parts: Path | Remote, unit: Unit) -> tuple[list[Written], Tally] | None:
    """A unit's files and tally if it is done and its files are whole, else None."""
    try:
        mark = json.loads(mark_path(parts, unit).read_text())
        files = [Written(**file) for file in mark["files"]]
        tally = Tally.from_dict(mark["tally"])
        whole = all((parts / f.file).stat().st_size == f.bytes for f in files)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (files, tally) if whole else None


def read_marks(parts: Path | Remote, units: Sequence[Unit]) -> dict[Unit, tuple[list[Written], Tally]]:
    """The marks of those units that are done, in the order given."""
    if isinstance(parts, Remote):
        marks = many(lambda unit: read_mark(parts, unit), units)
    else:
        marks = [read_mark(parts, unit) for unit in units]
    return {unit: mark for unit, mark in zip(units, marks, strict=True) if mark}
