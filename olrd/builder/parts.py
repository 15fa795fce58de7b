"""The folder `parts/` of an unfinished build: its plan, the part files and the done-mark of every unit.

parts/plan.json             what is built: the build's identity, and what `olrd merge` needs to know
parts/SPLIT-NUMBER*.parquet the rows of a unit
parts/SPLIT-NUMBER.json     its done-mark, written last: its files with sizes and hashes, and its tally
parts/SPLIT-NUMBER-KofN*    the same of a piece of a unit, until the unit is joined from all its pieces
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from olrd.builder.units import Task
from olrd.dataset.shards import Written
from olrd.errors import IntegrityError, SourceError
from olrd.storage.files import write_atomic
from olrd.storage.remote import Remote, many
from olrd.triplets.tally import Tally
from olrd.trust import parse_json, plain_name, shown

PLAN_FILE = "plan.json"
Mark = tuple[list[Written], Tally]
"""The files and the tally of a unit or piece that is done."""
AnyTask = TypeVar("AnyTask", bound=Task)


def write_mark(parts: Path | Remote, unit: Task, files: list[Written], tally: Tally) -> None:
    """Mark a unit as done. Neither the mark nor its files are synced to the disk: `finish` compares the hashes of what
    an earlier run left, and syncs the final shards."""
    mark = {"files": [file._asdict() for file in files], "tally": tally.to_dict()}
    write_atomic(mark_path(parts, unit), json.dumps(mark), durable=False)


def mark_path(parts: Path | Remote, unit: Task) -> Path | Remote:
    """The path of a unit's done-mark."""
    return parts / f"{unit.name}.json"


def read_mark(parts: Path | Remote, unit: Task) -> Mark | None:
    """The mark of a unit or piece, or None if it is not done or a file is incomplete.

    Raises `SourceError` if the mark names a file that is not a part of it: no build writes such a mark.
    """
    path = mark_path(parts, unit)
    try:
        mark = parse_json(path.read_text(), path)
        files = [Written(**file) for file in mark["files"]]
        tally = Tally.from_dict(mark["tally"])
        balanced = tally.balanced()
    except (OSError, IntegrityError, ValueError, KeyError, TypeError, AttributeError):
        return None
    for file in files:
        if not plain_name(file.file, path, SourceError).startswith(f"{unit.name}."):
            raise SourceError(f"{path} names {shown(file.file)}, which is not a part of the unit {unit.name}")
    try:
        whole = balanced and all((parts / f.file).stat().st_size == f.bytes for f in files)
    except OSError:
        return None
    return (files, tally) if whole else None


def read_marks(parts: Path | Remote, units: Sequence[AnyTask]) -> dict[AnyTask, Mark]:
    """The marks of the units or pieces that are done, in the order given."""
    if isinstance(parts, Remote):
        marks = many(lambda unit: read_mark(parts, unit), units)
    else:
        marks = [read_mark(parts, unit) for unit in units]
    return {unit: mark for unit, mark in zip(units, marks, strict=True) if mark}
