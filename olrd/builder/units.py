"""The plan of a build: units of work that depend on the dataset and the configuration alone.

A unit is some consecutive photos of one split. It is built whole, by one worker, into one or more
part files, and marked done; then it is never built again. Units are the same for any number of
workers, so the bytes are too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

from olrd.config import BuildConfig
from olrd.errors import UsageError
from olrd.sources import Source
from olrd.splits import photos_by_split

LARGEST_UNIT = 256
UNITS_PER_SPLIT = 16
SMALLEST_UNIT = 8


@dataclass(frozen=True, slots=True)
class Unit:
    """Photos (indices in the source) of one split, in order. `name` is its file stem in parts/."""

    split: str
    number: int
    photos: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:05d}"

    @classmethod
    def named(cls, name: str, photos: int = 0) -> Self:
        """The unit of that name. photos: how many it has; which ones is not known."""
        split, _, number = name.rpartition("-")
        return cls(split, int(number), tuple(range(photos)))

    @classmethod
    def of_part(cls, file: str) -> Self:
        """The unit that a part file belongs to."""
        return cls.named(file.split(".")[0])


class Share(NamedTuple):
    """One of `of` equal shares of a build's units, counted from 0: `--shards 3/16`."""

    part: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """`3/16`. Raises `UsageError`."""
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if found is None or not int(found[1]) < int(found[2]):
            raise UsageError(f"--shards expects PART/OF, counted from 0 (0/16 to 15/16), got '{text}'")
        return cls(int(found[1]), int(found[2]))

    def take(self, units: list[Unit]) -> list[Unit]:
        """Every `of`-th unit: neighbours, which cost alike, go to different shares."""
        return units[self.part :: self.of]


def plan_units(source: Source, config: BuildConfig) -> list[Unit]:
    """All units, in the order of the splits and then of the photos."""
    units = []
    for split, photos in photos_by_split(source, config).items():
        size = min(LARGEST_UNIT, max(SMALLEST_UNIT, -(-len(photos) // UNITS_PER_SPLIT)))
        for number, start in enumerate(range(0, len(photos), size)):
            units.append(Unit(split, number, tuple(photos[start : start + size])))
    return units
