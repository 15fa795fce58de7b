"""The plan of a build: units of work that depend on the dataset and the configuration alone.

A unit is some consecutive photos of one split. It is built whole, by one worker, into one or more
part files, and marked done; then it is never built again. Units are the same for any number of
workers, so the bytes are too.
"""

from __future__ import annotations

from dataclasses import dataclass

from olrd.config import BuildConfig
from olrd.sources import Source
from olrd.splits import split_of

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


def photos_by_split(source: Source, config: BuildConfig) -> dict[str, list[int]]:
    """The indices of the photos of each split, up to --limit."""
    count = len(source) if config.limit is None else min(config.limit, len(source))
    by_split: dict[str, list[int]] = {name: [] for name, _ in config.splits}
    for index in range(count):
        by_split[split_of(source.image_id(index), config.splits)].append(index)
    return by_split


def plan_units(source: Source, config: BuildConfig) -> list[Unit]:
    """All units, in the order of the splits and then of the photos."""
    units = []
    for split, photos in photos_by_split(source, config).items():
        size = min(LARGEST_UNIT, max(SMALLEST_UNIT, -(-len(photos) // UNITS_PER_SPLIT)))
        for number, start in enumerate(range(0, len(photos), size)):
            units.append(Unit(split, number, tuple(photos[start : start + size])))
    return units
