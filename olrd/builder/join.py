"""Joining the pieces of a unit: their rows, in order, become the part files of the unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from olrd.builder.parts import Mark, mark_path, read_mark, read_marks, write_mark
from olrd.builder.units import Piece, Task, Unit
from olrd.config import BuildConfig
from olrd.dataset.shards import ShardWriter, numbered, part_rows
from olrd.errors import OlrdError, OutputError
from olrd.storage.files import children, sha256_file
from olrd.storage.remote import Remote
from olrd.triplets.tally import Tally


def join_if_complete(parts: Path | Remote, one: Piece, config: BuildConfig, optional: tuple[str, ...]) -> None:
    """Join the unit of the piece `one` in the folder `parts` if all its pieces are done, and remove these.

    Called after every piece, so the worker that ends last joins the unit. If two end in the same moment, both write the
    same bytes.

    Raises:
        OutputError: a piece was damaged after it was written. Its mark is removed.
    """
    marks = read_marks(parts, one.siblings())
    if len(marks) == one.count:
        try:
            for piece, mark in marks.items():
                if damaged := damaged_part(parts, piece, mark):
                    raise OutputError(
                        f"{damaged} was damaged after it was written; it will be built again: run the same command once "
                        "more"
                    )
            join({piece: (parts, mark) for piece, mark in marks.items()}, parts, one.unit, config, optional)
        except (OlrdError, OSError):
            if read_mark(parts, one.unit) is None:  # else another worker was faster, and has removed the pieces
                raise
        remove_pieces(parts, marks)


def join(
    found: Mapping[Piece, tuple[Path | Remote, Mark]],
    parts: Path | Remote,
    unit: Unit,
    config: BuildConfig,
    optional: tuple[str, ...],
) -> None:
    """Write the part files and the mark of a unit into `parts`.

    Args:
        found: all pieces of the unit, in order: the folder where each lies, and its mark.
        optional: see `olrd.dataset.schema.optional_columns`.
    """
    total, paths = Tally(), []
    for folder, (files, tally) in found.values():
        paths += [folder / file.file for file in files]
        total.add(tally)
    writer = ShardWriter(parts, config.form, config.shard_bytes, optional)
    write_mark(parts, unit, writer.write(part_rows(paths), numbered(unit.name)), total)


def damaged_part(folder: Path | Remote, task: Task, mark: Mark) -> Path | Remote | None:
    """A file of a unit or piece that holds other bytes than were written; None if there is none.

    With such a file the mark is removed, so that the next run builds the unit or piece again.
    """
    for file in mark[0]:
        if sha256_file(folder / file.file) != file.sha256:
            mark_path(folder, task).unlink(missing_ok=True)
            return folder / file.file
    return None


def remove_pieces(parts: Path | Remote, marks: Mapping[Piece, Mark]) -> None:
    """Remove the marks and files of pieces whose unit is done."""
    for piece, (files, _) in marks.items():
        mark_path(parts, piece).unlink(missing_ok=True)
        for file in files:
            (parts / file.file).unlink(missing_ok=True)


def begun_pieces(parts: Path | Remote, units: Sequence[Unit]) -> dict[Piece, Mark]:
    """The pieces of `units` that are done."""
    names = {path.name for path in children(parts)}  # so that no mark is asked for in vain
    return read_marks(parts, [p for unit in units for p in unit.pieces() if mark_path(parts, p).name in names])
