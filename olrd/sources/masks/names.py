"""Which mask belongs to which photo, by their names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from olrd.errors import SourceError
from olrd.trust import shown

# name_mask, name_mask001, name_mask_2; name_0, name-1. A number needs a separator: frame12 is no mask of frame1.
_MASK = re.compile(r"[ ._-]?masks?(?:[ ._-]?\d+)?$", re.IGNORECASE)
_BEFORE = re.compile(r"(?:^|(?<=/))masks?[ ._-]", re.IGNORECASE)
_NUMBER = re.compile(r"[ ._-]\d+$")


class Matched(NamedTuple):
    """Photos with their masks, and the masks that have no photo.

    Attributes:
        masks: by photo, sorted; photos without a mask have an empty list.
        alone: the masks without a photo.
    """

    masks: Mapping[str, Sequence[str]]
    alone: Sequence[str]


def match_masks(photos: Iterable[str], masks: Mapping[str, str]) -> Matched:
    """Give each mask to the photo whose name it has.

    A mask has the photo's path, whatever its suffix, and after it nothing, `_mask`, `_mask001` or `_0`, or before it
    `mask_`; or it lies in a folder with the photo's path. Of several photos the one with the longest name wins.

    Args:
        photos: relative names.
        masks: relative names, each with the part of it that names the photo (a folder of a class is no part of it).

    Raises:
        SourceError: two photos differ only in their suffixes, so that masks belong to both.
    """
    stems: dict[str, str] = {}
    whole = dict.fromkeys(photos)
    for name in whole:
        if other := stems.get(stem_of(name)):
            raise SourceError(
                f"the photos {shown(other)} and {shown(name)} differ only in their suffix, so that masks would belong to "
                "both: rename one"
            )
        stems[stem_of(name)] = name
    found: dict[str, list[str]] = {name: [] for name in whole}
    alone = []
    for mask, name in sorted(masks.items()):
        for candidate in photo_stems(name):
            photo = stems.get(candidate) or (candidate if candidate in whole else None)
            if photo:
                found[photo].append(mask)
                break
        else:
            alone.append(mask)
    return Matched(found, alone)


def photo_stems(mask: str) -> Iterator[str]:
    """The names that the photo of a mask may have, without a suffix, the longest first."""
    stem, folder = stem_of(mask), mask.rpartition("/")[0]
    yield stem
    for ending in (_NUMBER, _MASK):
        yield ending.sub("", stem)
    yield _BEFORE.sub("", stem)
    yield folder
    yield _MASK.sub("", folder)


def is_mask_beside(name: str, stems: Collection[str]) -> bool:
    """Whether a picture is the mask of another one in the same folder: it is called as that one and `_mask`."""
    short = _MASK.sub("", stem_of(name))
    return short != stem_of(name) and short in stems


def stem_of(name: str) -> str:
    """A relative name without its suffix."""
    return name.removesuffix(PurePosixPath(name).suffix)
