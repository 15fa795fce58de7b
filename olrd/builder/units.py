"""The plan of a build: its units, which depend only on the source and the configuration, and their pieces.

A unit is a range of consecutive photos of one split. Its rows lie in separate part files, and it is marked when it
is done; then it is not built again. Units are the same for any number of workers, and so are the bytes.

A worker builds a whole unit, or one of its pieces of some dozens of photos. Pieces keep all workers busy in a small
build, at the end of a large one, and where there are more workers than units. The rows of the pieces, in order, are
written again as the part files of the unit, so pieces have no influence on the bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
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
LARGEST_PIECE = 32
"""Photos of a piece: about a second of work, against which writing its rows twice counts little."""


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

    def pieces(self) -> list[Piece]:
        """The pieces of equal size that the unit is divided into; one if it is small."""
        return Piece(self, 0, max(1, -(-len(self.photos) // LARGEST_PIECE))).siblings()


@dataclass(frozen=True, slots=True)
class Piece:
    """Piece `number`, counted from 0, of the `count` pieces of a unit."""

    unit: Unit
    number: int
    count: int

    @property
    def name(self) -> str:
        """The stem of its files in `parts/`, e.g. `train-00003-0of8`."""
        return f"{self.unit.name}-{self.number}of{self.count}"

    @property
    def photos(self) -> tuple[int, ...] | range:
        total = len(self.unit.photos)
        return self.unit.photos[total * self.number // self.count : total * (self.number + 1) // self.count]

    def siblings(self) -> list[Piece]:
        """All pieces of the unit, in order."""
        return [Piece(self.unit, number, self.count) for number in range(self.count)]


Task = Unit | Piece
"""What a worker does at a time."""


UNITS_PER_SHARE = 4
"""With fewer units for each share, shares would differ much in their time."""


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

    def take(self, units: list[Unit]) -> list[Task]:
        """Every `of`-th unit, or every `of`-th piece if there are fewer than `UNITS_PER_SHARE` units for each share.

        Neighbours take similar time, so they go to different shares.
        """
        return self.all_tasks(units)[self.part :: self.of]

    def all_tasks(self, units: list[Unit]) -> list[Task]:
        """What is divided among the shares: units, or pieces."""
        if len(units) >= UNITS_PER_SHARE * self.of:
            return [*units]
        return [task for unit in units for task in divided(unit)]


def divided(unit: Unit) -> list[Unit] | list[Piece]:
    """The pieces of a unit; the unit itself if it is small."""
    pieces = unit.pieces()
    return pieces if len(pieces) > 1 else [unit]


def in_pieces(units: Sequence[Unit], workers: int | None) -> list[Task]:
    """The units in order, the last ones in pieces, so that `workers` end at nearly the same time.

    A unit is left whole while all workers have at least another one of its size before them, because pieces are written
    twice. One worker gets whole units. workers: None if their number is not known, which may be large.
    """
    left = sum(len(unit.photos) for unit in units)
    tasks: list[Task] = []
    for unit in units:
        if workers is not None and (workers == 1 or left >= 2 * workers * len(unit.photos)):
            tasks.append(unit)
        else:
            tasks += divided(unit)
        left -= len(unit.photos)
    return tasks


def check_categories(source: Source, names: Iterable[str]) -> None:
    """Raise `UsageError` if a name is neither an object class of the source nor a supercategory of one."""
    things = [category for category in source.categories.values() if category.isthing]
    classes = {category.name for category in things} - {""}
    above = {category.supercategory for category in things} - {""} - classes  # the name of a class means it alone
    for name in names:
        if name not in classes | above:
            lists = {"Supercategories (each stands for all its classes)": above, "Classes": classes}
            raise did_you_mean(f"object class of the source {source.name}", name, classes | above, lists)


def plan_units(source: Source, config: BuildConfig) -> list[Unit]:
    """All units, in the order of the splits and then of the photos.

    Raises `UsageError` if --categories names a class that the source does not have: it would give no triplets; or if an
    option has no effect on this source.
    """
    check_options(source, config)
    check_categories(source, config.rules.categories)
    units = []
    for split, photos in photos_by_split(source, config).items():
        size = min(LARGEST_UNIT, max(SMALLEST_UNIT, -(-len(photos) // UNITS_PER_SPLIT)))
        for number, start in enumerate(range(0, len(photos), size)):
            units.append(Unit(split, number, tuple(photos[start : start + size])))
    return units
