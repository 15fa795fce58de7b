"""The register of targets, and what several of them do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from olrd.arrays import decode_photo
from olrd.errors import Rejected
from olrd.panoptic import check_panoptic
from olrd.sources import Source
from perf.fuzz.harness import Target

TARGETS: dict[str, Target] = {}


class NotCleanError(Exception):
    """A text that is written holds a stranger's markup."""


def target(name: str) -> Callable[[Target], Target]:
    """Enter a function in `TARGETS`."""

    def enter(function: Target) -> Target:
        TARGETS[name] = function
        return function

    return enter


def copied(honest: Path, scratch: Path, name: str) -> Path:
    target = scratch / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(honest / name, target)
    return target


def without_cache(scratch: Path) -> None:
    shutil.rmtree(scratch / "cache", ignore_errors=True)


def read_all(source: Source) -> None:
    """Read all photos and maps, as a build does. What is rejected is counted there."""
    for index in range(len(source)):
        try:
            record = source.record(index)
            photo = decode_photo(source.photo_bytes(record), record.file_name)
            size = photo.pixels.shape[1], photo.pixels.shape[0]
            check_panoptic(record.file_name, source.panoptic(record, *size), size, source.categories)
        except Rejected:
            continue
