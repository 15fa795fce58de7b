"""The files that a run writes: never one of its inputs, and none that is there already unless it is forced."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from olrd.errors import OutputError, SourceError, UsageError


def effects_path(result: Path) -> Path:
    """Where the proposed shadow and reflection of a result are written."""
    return result.with_name(f"{result.stem}-effects.png")


def check_targets(targets: Iterable[Path], inputs: Iterable[Path], replace: bool) -> None:
    """Raise an error for files that must not be written, before any work.

    A file is told by its number on the disk, so that links and other spellings of a path are seen through.

    Args:
        targets: All files that the run writes.
        inputs: All files that it reads. They are never replaced.
        replace: Whether other files may be replaced.

    Raises:
        UsageError: If a target is an input.
        SourceError: If two photos would have the same target.
        OutputError: If a target is there and must stay, or cannot be looked at.
    """
    read = {number: path for path in inputs if (number := _number(path)) is not None}
    named: set[Path] = set()
    for path in targets:
        if path in named:
            raise SourceError(f"{path} would be written twice, for two photos: rename one of the photos")
        named.add(path)
        number = _number(path)
        if number in read:
            raise UsageError(
                f"{path} is the same file as the input {read[number]}: give another --out, so that it is kept"
            )
        if number is not None and not replace:
            raise OutputError(
                f"{path} exists already, and was not made by this command here: give another --out, or --force to overwrite it"
            )


def _number(path: Path) -> tuple[int, int] | None:
    """The device and the number of a file, or None if there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OutputError(f"{path} cannot be looked at: {error.strerror}") from error
    return found.st_dev, found.st_ino
