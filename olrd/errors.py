"""Typed errors: each says what was expected, what was found, in which file, and what to do.

There are two families. `OlrdError` stops the command (a wrong option, a folder that is not there). `Rejected`
concerns one photo or one object: the build counts it under its reason code and goes on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_LONGEST = 80
_NEAR, _NEARLY_THE_SAME = 0.5, 0.8


class OlrdError(Exception):
    """Base of every error that a user can cause and fix."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the attributes, so that errors pass between processes whatever their constructor takes."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[OlrdError], args: tuple[Any, ...], members: dict[str, Any]) -> OlrdError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(members)
    return error


class UsageError(OlrdError):
    """The command must be changed: an option or a name does not exist, or does not fit the others (exit code 2)."""


class PluginError(OlrdError):
    """A registered object cannot be imported, or is not what its kind needs."""


class MissingExtraError(OlrdError):
    """An optional dependency is not installed; the message holds the command that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra '{extra}': pip install 'olrd[{extra}]'")


class SourceError(OlrdError):
    """A source's folder, annotation file or layout is not what was expected."""


class OutputError(OlrdError):
    """The output folder cannot be used: it holds another build, or the disk is full."""


class IntegrityError(OlrdError):
    """A condition that every triplet must meet does not hold (equal pixels outside the mask, a hash, a count)."""


class Rejected(OlrdError):
    """One photo or one object cannot be used. `code` is a key of `ALL_REASONS`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def did_you_mean(
    kind: str, name: object, known: Iterable[str], lists: Mapping[str, Iterable[str]] | None = None
) -> UsageError:
    """The error for an unknown `name`, with the nearest known name and the whole list.

    Args:
        kind: what it should be the name of, for the message.
        name: what was given. It need not be a text: a program can pass anything.
        known: all names.
        lists: the same names in parts by title, if one list of all would be hard to read. Empty parts are left out.
    """
    known = sorted(known)
    listed = f"Known: {', '.join(known)}" if known else "There are none"
    if known and lists:
        parts = {title: sorted(names) for title, names in lists.items()}
        listed = "".join(f"\n{title}: {', '.join(names)}" for title, names in parts.items() if names)
    else:
        listed = f" {listed}"
    if not isinstance(name, str):
        article = "an" if kind[:1] in "aeiou" else "a"
        return UsageError(f"expected a text, the name of {article} {kind}, got {_short(repr(name))}.{listed}")
    near = _nearest(name, known) if len(name) <= _LONGEST else None
    hint = f" Did you mean '{near}'?" if near else ""
    return UsageError(f"no {kind} is called '{_short(name)}'.{hint}{listed}")


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """The known name that `name` most resembles, itself or in the plural; None if none is near.

    Without a name that is nearly the same, `name` is another word rather than a slip. Then a name that begins alike comes
    before one that shares more letters: for "people", "person" before "apple".
    """
    plurals = {form: one for one in known for form in (f"{one}s", f"{one}es", f"{one.removesuffix('y')}ies")}
    forms = {form.lower(): one for form, one in (plurals | {one: one for one in known}).items()}
    name = name.lower()
    alike = [form for form in forms if form[:2] == name[:2]]
    for candidates, cutoff in ((forms, _NEARLY_THE_SAME), (alike, _NEAR), (forms, _NEAR)):
        if found := difflib.get_close_matches(name, candidates, n=1, cutoff=cutoff):
            return forms[found[0]]
    return None


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


# Why a photo or an object did not become a triplet, by reason code. Every rejection has one.

PHOTO_REASONS: dict[str, str] = {
    "annotation_missing": "the photo is listed, but has no panoptic annotation",
    "license_refused": "its licence is not among --licenses",
    "path_outside_root": "its file name climbs out of the root folder",
    "photo_missing": "the photo's file is not there",
    "photo_unreadable": "the photo is truncated, corrupt or not an image",
    "photo_too_large": "the photo has more pixels than --max-pixels",
    "photo_mode": "the photo has transparent pixels, or a mode that is no photo's, such as 1-bit",
    "photo_size": "the photo's size is not the annotated one",
    "panoptic_missing": "the panoptic PNG or instance mask is not there",
    "panoptic_unreadable": "the panoptic PNG or instance mask is truncated, corrupt or not 8-bit RGB",
    "panoptic_too_large": "the panoptic PNG or instance mask has more pixels than --max-pixels",
    "panoptic_size": "the panoptic map's size is not the photo's",
    "panoptic_unknown_id": "the PNG holds a segment id that the JSON does not list",
    "panoptic_area": "a segment's area or box in the JSON is not the one in the PNG",
    "frame_alike": "the frame differs too little from the last one that is used",
    "plate_missing": "too few pictures show the place for a clean plate",
    "camera_moved": "the picture cannot be aligned with the other pictures of its place",
    "light_changed": "the light differs from that of the other pictures by more than a gain and an offset",
    "category_unknown": "a segment's category is not in the category list",
}

OBJECT_REASONS: dict[str, str] = {
    "photo_rejected": "its photo was rejected",
    "stuff": "it is background (stuff), not a thing",
    "crowd": "it is a group drawn as one region",
    "category_excluded": "its category is not among --categories",
    "too_small": "its area share is under --min-area",
    "too_large": "its area share is over --max-area",
    "truncated": "the frame cuts it (--allow-truncated permits)",
    "fragmented": "it is in several pieces",
    "occluded": "too much of its outline touches other things (--max-contact)",
    "see_through": "the background shows through it, as through a bicycle or a glass (--see-through)",
    "doubtful": "its outline touches many other regions, or much that is unlabelled (--doubtful)",
    "rough_outline": "its annotated outline does not follow the edges of the picture (--min-edge)",
    "carried": "it belongs to a larger object, which carries, wears, holds or is ridden by it",
    "no_surface": "it stands on no background surface (another thing, unlabelled pixels, a wall)",
    "no_position": "no legal position on the allowed background",
    "no_fitting_photo": "it fits into none of the other photos that were tried (--donor other)",
    "faint": "it changed the picture too weakly to be told from a shadow",
    "plate_unsure": "what is behind it is not seen often enough",
    "left_behind": "the clean plate shows it, not the picture",
    "seam": "picture and clean plate differ around it, so that the ground truth would have a seam",
    "over_limit": "the photo already gave --max-per-photo triplets",
}

ALL_REASONS: dict[str, str] = PHOTO_REASONS | OBJECT_REASONS

NOTES: dict[str, str] = {
    "horizon_unknown": "the ground plane could not be estimated, so objects changed their size only to fit",
    "segments_measured": "area or box in the JSON is not the one in the PNG; the PNG counts",
    "segments_hidden": "listed, but without a pixel in the PNG",
}
"""What was not as the annotations say, or could not be estimated, and did no harm."""
