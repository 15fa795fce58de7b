"""The plan of a build: its units of work, which depend only on the source and the configuration.

A unit is a range of consecutive photos of one split. One worker builds it, writes one or more part files, and marks it
as done; then it is not built again. Units are the same for any number of workers, and so are the bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple, Self

from olrd.config import BuildConfig
from olrd.errors import UsageError, did_you_mean
from olrd.sources import Source
from olrd.splits import photos_by_split, unit_name_parts
from olrd.triplets.makers import check_options

LARGEST_UNIT = 256
UNITS_PER_SPLIT = 16
SMALLEST_UNIT = 8


@dataclass(frozen=True, slots=True)
class Unit:
    """Photos of one split, as indices in the source, in order. `name` is the unit's file stem in `parts/`.

    photos: a `range` takes no memory, whatever number of photos a file claims.
    """

    split: str
    number: int
    photos: tuple[int, ...] | range

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:05d}"

    @classmethod
    def named(cls, name: str, photos: int = 0) -> Self:
        """The unit of that name. photos: how many it has; which ones is not known.

        Raises `IntegrityError` for a name that no unit has: it becomes the name of a file.
        """
        split, number = unit_name_parts(name, "a unit's name")
        return cls(split, number, range(photos))

    @classmethod
    def of_part(cls, file: str) -> Self:
        """The unit that a part file belongs to."""
        return cls.named(file.split(".")[0])


class Share(NamedTuple):
    """Share number `part`, counted from 0, of `of` equal shares of a build's units: `--shards 3/16`."""

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
        """Every `of`-th unit. Neighbouring units take similar time, so they go to different shares."""
        return units[self.part :: self.of]


def plan_units(source: Source, config: BuildConfig) -> list[Unit]:
    """All units, in the order of the splits and then of the photos.

    Raises `UsageError` if --categories names a class that the source does not have: it would give no triplets; or if an
    option has no effect on this source.
    """
    check_options(source, config)
    objects = {category.name for category in source.categories.values() if category.isthing}
    for name in config.rules.categories:
        if name not in objects:
            raise did_you_mean(f"object class of the source {source.name}", name, objects)
    units = []
    for split, photos in photos_by_split(source, config).items():
        size = min(LARGEST_UNIT, max(SMALLEST_UNIT, -(-len(photos) // UNITS_PER_SPLIT)))
        for number, start in enumerate(range(0, len(photos), size)):
            units.append(Unit(split, number, tuple(photos[start : start + size])))
    return units
