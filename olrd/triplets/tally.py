"""The counts of photos and objects: used, rejected, and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """What happened to photos and objects. The number read always equals used plus rejected."""

    photos_read: int = 0
    photos_used: int = 0
    photos_rejected: Counter[str] = field(default_factory=Counter)
    photos_without_triplet: int = 0
    objects_read: int = 0
    objects_used: int = 0
    objects_rejected: Counter[str] = field(default_factory=Counter)
    triplets: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    """What was not as the annotations say, and was measured instead: see `olrd.errors.NOTES`."""

    def add(self, other: Tally) -> None:
        """Add another tally to this one."""
        self.photos_read += other.photos_read
        self.photos_used += other.photos_used
        self.photos_rejected.update(other.photos_rejected)
        self.photos_without_triplet += other.photos_without_triplet
        self.objects_read += other.objects_read
        self.objects_used += other.objects_used
        self.objects_rejected.update(other.objects_rejected)
        self.triplets += other.triplets
        self.failures.extend(other.failures)
        self.notes.update(other.notes)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values. `notes` is left out if there are none."""
        values = vars(self) | {
            "photos_rejected": dict(self.photos_rejected),
            "objects_rejected": dict(self.objects_rejected),
            "notes": dict(self.notes),
        }
        return values if self.notes else {name: value for name, value in values.items() if name != "notes"}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Tally:
        """The inverse of `to_dict`."""
        tally = cls(**values)
        tally.photos_rejected = Counter(tally.photos_rejected)
        tally.objects_rejected = Counter(tally.objects_rejected)
        tally.notes = Counter(tally.notes)
        return tally

    def balanced(self) -> bool:
        """Whether the counts add up to what was read."""
        photos = self.photos_used + self.photos_without_triplet + sum(self.photos_rejected.values())
        return (
            photos == self.photos_read and self.objects_used + sum(self.objects_rejected.values()) == self.objects_read
        )
