"""Which photo, mask and truth belong together, by their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from olrd.errors import SourceError
from olrd.trust import counted

_ROLES = {
    "photo": r"image|img|input|photo|source|src|rgb",
    "mask": r"masks?",
    "truth": r"gt|truth|ground[_-]?truth|target|clean|bg|background",
}
_SUFFIX = r"(?:\.(?:jpe?g|png|webp|bmp|tiff?))?"


def is_mask(key: str) -> bool:
    """Whether a picture beside the photos is a mask, as LaMa calls them."""
    return "_mask" in key.rpartition("/")[2]


def duplicates(ids: Iterable[str]) -> list[str]:
    """Ids that occur more than once."""
    seen: set[str] = set()
    return sorted({i for i in ids if i in seen or seen.add(i)})  # type: ignore[func-returns-value]


Triple = tuple[str, str, str]
"""The id of a sample, and the keys of its photo and its mask."""


def with_masks(
    folder: Path, photos: Mapping[str, Path], masks: Mapping[str, Path], beside: bool
) -> tuple[list[Triple], list[str]]:
    """The masks of each photo.

    Args:
        folder: of the masks, for messages.
        photos, masks: the files by their keys (see `olrd.sources.pairs.folders.pictures_in`).
        beside: masks are called `<photo>_mask...`, and are samples of that name. Without it, masks have the names of
            their photos, or, if a photo has none of its name, names that `_matched` understands.

    Returns:
        The samples, sorted, and warnings about masks that are not used.

    Raises:
        SourceError: a photo has no mask.
    """
    if beside:
        owner = {mask: mask.rpartition("_mask")[0] for mask in masks if is_mask(mask)}
        strangers = sorted(mask for mask in masks if owner.get(mask) not in photos)
        pairs = [(mask, photo, mask) for mask, photo in sorted(owner.items()) if photo in photos]
        if lost := sorted(photos.keys() - {photo for _, photo, _ in pairs}):
            expected = f"{lost[0]}_mask001{photos[lost[0]].suffix}"
            raise _missing(folder, lost, photos, expected, masks)
        return pairs, _unused(strangers, masks)
    lost = [key for key in sorted(photos) if key not in masks]
    parts = _matched(photos, masks, "photo", "mask")
    if not lost:
        more = [mask for mask, photo in parts.items() if mask != photo and mask not in photos]
        text = (
            f"files of {folder.name} that look like further masks of a photo and are not used: {len(more):,} (first: "
        )
        seconds = [f"{text}{masks[more[0]].name})"] if more else []
        return [(key, key, key) for key in sorted(photos)], seconds
    if set(parts.values()) != photos.keys():
        expected = f"{lost[0]}{_usual_suffix(masks)}"
        raise _missing(folder, lost, photos, expected, masks)
    counts = Counter(parts.values())
    names = [(photo if counts[photo] == 1 else mask, photo, mask) for mask, photo in parts.items()]
    return sorted(names), _unused(sorted(masks.keys() - parts.keys()), masks)


def _unused(keys: Sequence[str], masks: Mapping[str, Path]) -> list[str]:
    if not keys:
        return []
    what = counted(len(keys), "mask belongs to no photo and is", "masks belong to no photo and are")
    return [f"{what} not used (first: {masks[keys[0]].name})"]


def _matched(photos: Mapping[str, Path], others: Mapping[str, Path], role: str, other: str) -> dict[str, str]:
    """The photo of each file whose name is that of a photo with a word or a number added.

    `1_mask`, `1_mask001`, `1-2`, `1.jpg`, `mask_1` and `1/anything` belong to the photo `1`, or
    `1_image`. The longest name wins.
    """
    word = re.compile(rf"{_SUFFIX}(?:[ _.-]+(?:{_ROLES[other]})[ _.-]*\d*|[ _.-]+\d+|/.+)?", re.IGNORECASE)
    bases = {re.sub(rf"[ _.-](?:{_ROLES[role]})$", "", key, flags=re.IGNORECASE): key for key in sorted(photos)}
    bases |= {key: key for key in photos}
    found: dict[str, str] = {}
    for key in sorted(others):
        plain = re.sub(rf"(^|/)(?:{_ROLES[other]})[ _.-]+(?=[^/]+$)", r"\1", key, flags=re.IGNORECASE)
        for name in (key, plain):
            for end in range(len(name), 0, -1):
                if name[:end] in bases and word.fullmatch(name[end:]):
                    found.setdefault(key, bases[name[:end]])
                    break
    return found


def with_truths(
    folder: Path, photos: Mapping[str, Path], truths: Mapping[str, Path], pairs: Sequence[Triple], role: str = "truth"
) -> dict[str, Path]:
    """The truth of each sample: the file with the name of its photo, or of its mask.

    role: `truth`, or `mask` for masks of effects, which are called by other words.
    """
    named = {photo: truth for truth, photo in _matched(photos, truths, "photo", role).items()}
    found: dict[str, Path] = {}
    for name, photo, mask in pairs:
        for key in (photo, mask, named.get(photo, photo)):
            if key in truths:
                found.setdefault(name, truths[key])
    if lost := sorted({photo for name, photo, _ in pairs if name not in found}):
        raise _missing(folder, lost, photos, f"{lost[0]}{_usual_suffix(truths)}", truths)
    return found


def _usual_suffix(files: Mapping[str, Path]) -> str:
    return Counter(path.suffix for path in files.values()).most_common(1)[0][0]


def _missing(
    folder: Path, lost: Sequence[str], photos: Mapping[str, Path], expected: str, found: Mapping[str, Path]
) -> SourceError:
    strangers = [path for key, path in found.items() if key not in photos] or list(found.values())
    there = f"found {strangers[0].relative_to(folder).as_posix()}" if strangers else "found no file of that kind"
    return SourceError(
        f"{folder} holds no file for {len(lost):,} of {counted(len(photos), 'photo')} (first: {lost[0]}): expected {expected}, {there}"
    )
