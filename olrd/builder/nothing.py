"""A build without a triplet is no success: the error that says why."""

from __future__ import annotations

from collections.abc import Mapping

from olrd.errors import ALL_REASONS, OutputError
from olrd.triplets.tally import Tally
from olrd.trust import counted

NOT_A_REASON = ("stuff", "photo_rejected", "over_limit")
"""Codes of objects that are never meant to be moved, or that another code explains."""
REMEDIES: Mapping[str, str] = {
    "annotation_missing": "give the annotations of these photos",
    "license_refused": "--licenses names the licences to use",
    "category_excluded": "--categories names the classes to use",
    "too_small": "--min-area lowers the limit",
    "too_large": "--max-area raises the limit",
    "truncated": "--allow-truncated permits them",
    "occluded": "--max-contact raises the limit",
    "no_surface": "--placement uniform needs no surface",
    "no_fitting_photo": "with more photos, or with --donor same, objects find a place more easily",
    "no_position": "--size with a smaller number, or --margin 0, leaves more room",
    "photo_missing": "check --root, or say where they are with --source-option photos=PATH",
    "panoptic_missing": "check --root, or say where they are with --source-option pngs=PATH",
    "path_outside_root": "write names relative to the folder of the photos into the annotations",
    "panoptic_unreadable": "save the maps as PNG, 8-bit RGB, without a palette",
    "photo_too_large": "--max-pixels raises the limit",
}


class NothingBuiltError(OutputError):
    """No triplet could be made. Nothing is left in the output folder, which is removed if the build made it.

    Attributes:
        total: the counts of photos and objects, with their reasons.
    """

    def __init__(self, message: str, total: Tally) -> None:
        super().__init__(message)
        self.total = total


def many_rejected(total: Tally) -> str | None:
    """One line if half of the photos are rejected or more; None otherwise. A chosen licence is no reason to warn."""
    counts = {code: count for code, count in total.photos_rejected.items() if code != "license_refused"}
    if sum(counts.values()) * 2 < max(1, total.photos_read):
        return None
    return _most(counts, total.photos_read, "photo", "rejected")


def nothing_built(total: Tally) -> NothingBuiltError:
    """The error for a build whose tally counts no triplet: its most frequent reason, and what to do."""
    objects = {code: count for code, count in total.objects_rejected.items() if code not in NOT_A_REASON}
    if not total.photos_read:
        text = "the source lists no photo"
    elif total.photos_rejected and total.photos_rejected.total() >= total.photos_read / 2:
        text = _most(total.photos_rejected, total.photos_read, "photo", "rejected")
        if total.failures:
            text += f" (first: {total.failures[0]['message']})"
    elif objects:
        text = _most(objects, sum(objects.values()), "object", "left out")
    else:
        text = f"the annotations of {counted(total.photos_read, 'photo')} list no object of a class that is a thing"
    return NothingBuiltError(f"no triplet could be made: {text}", total)


def _most(counts: Mapping[str, int], of: int, noun: str, done: str) -> str:
    code = max(sorted(counts), key=lambda one: counts[one])
    remedy = f"; {REMEDIES[code]}" if code in REMEDIES else ""
    number = sum(counts.values())
    are = "is" if number == 1 else "are"
    return f"{number:,} of {counted(of, noun)} {are} {done}, most as {code}: {ALL_REASONS[code]}{remedy}"
