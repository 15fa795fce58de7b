"""Near duplicates and shared sources, between the splits of a dataset and against other folders.

There are three tests, from certain to probable: identical bytes (of the stored picture, or of the photo's own file,
whose hash is in the recipe); the same photo by id or file name; and near-identical pictures, whose pHashes differ by at
most RADIUS bits and whose 16 x 16 thumbnails correlate. The third test finds rescaled, recompressed, brightened and
optionally mirrored copies, but not crops. The hashes of flat pictures are noise: these are counted as `low_information`
and left out of the third test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from olrd.audit.hashes import correlation, near_pairs
from olrd.audit.pictures import Collection, Picture, collect, hash_array, photos
from olrd.dataset.folder import Dataset

RADIUS = 10
LEAST_CORRELATION = 0.95
_LISTED = 100
"""At most this many examples of a finding are listed; the counts are always complete."""


class Match(NamedTuple):
    """Two near-identical pictures."""

    a: Picture
    b: Picture
    distance: int
    mirrored: bool


def duplicates(
    dataset: Dataset, others: Sequence[Path | str] = (), flips: bool = False, radius: int = RADIUS
) -> dict[str, Any]:
    """Photos that occur in several splits of the dataset, and photos that it shares with other folders.

    Args:
        dataset: the dataset.
        others: folders of image files, Parquet folders with image columns, or olrd datasets.
        flips: also find mirrored copies.
        radius: largest Hamming distance of the pHashes of near duplicates, in bits.

    Returns:
        JSON values: `photos`; `with_pixels`; `low_information`; `within` {shared_by_splits, near_across_splits,
        near_same_split}; and in `against` one entry per folder with `pictures`, `unreadable`, `low_information`,
        `same_bytes`, `same_id`, `same_file_name` and `near`. A finding is {count, examples}; it counts pictures of this
        dataset, or pairs for `near`.
    """
    own = photos(dataset)
    matches = near_matches(own, own, flips, radius, same=True)
    crossing = [m for m in matches if len(m.a.splits | m.b.splits) > 1]
    staying = [m for m in matches if len(m.a.splits | m.b.splits) == 1]
    shared = [{"name": picture.name, "splits": sorted(picture.splits)} for picture in own if len(picture.splits) > 1]
    return {
        "photos": len(own),
        "with_pixels": sum(picture.hash is not None for picture in own),
        "low_information": _finding(_flat(own)),
        "within": {
            "shared_by_splits": _finding(shared),
            "near_across_splits": _finding([_described(m) for m in crossing]),
            "near_same_split": _finding([_described(m) for m in staying]),
        },
        "against": [_against(own, collect(folder), flips, radius) for folder in others],
    }


def near_matches(
    a: Sequence[Picture], b: Sequence[Picture], flips: bool, radius: int, same: bool = False
) -> list[Match]:
    """All pairs of near-identical pictures. same: a is b, and each pair is listed once."""
    left, right = _comparable(a), _comparable(b)
    matches: list[Match] = []
    for mirrored in (False, True) if flips else (False,):
        for i, j, distance in near_pairs(hash_array(left), hash_array(right, mirrored), radius):
            first, second = left[i].hash, right[j].hash
            if (same and i >= j) or first is None or second is None:
                continue
            if correlation(first.small, second.small, mirrored) >= LEAST_CORRELATION:
                matches.append(Match(left[i], right[j], distance, mirrored))
    return sorted(matches, key=lambda m: (m.distance, m.a.name, m.b.name, m.mirrored))


def _comparable(pictures: Iterable[Picture]) -> list[Picture]:
    return [p for p in pictures if p.hash is not None and p.hash.informative]


def _flat(pictures: Iterable[Picture]) -> list[str]:
    return [p.name for p in pictures if p.hash is not None and not p.hash.informative]


def _against(own: list[Picture], other: Collection, flips: bool, radius: int) -> dict[str, Any]:
    """The findings against one other folder."""
    return {
        "path": other.path,
        "kind": other.kind,
        "pictures": len(other.pictures),
        "unreadable": other.unreadable,
        "low_information": _finding(_flat(other.pictures)),
        "same_bytes": _shared(own, other.pictures, "shas"),
        "same_id": _shared(own, other.pictures, "ids"),
        "same_file_name": _shared(own, other.pictures, "files"),
        "near": _finding([_described(m) for m in near_matches(own, other.pictures, flips, radius)]),
    }


def _shared(own: list[Picture], others: list[Picture], key: str) -> dict[str, Any]:
    """The pictures of the dataset that share a value of `key` with one of the others."""
    holders: dict[str, str] = {}
    for picture in others:
        for value in getattr(picture, key):
            holders.setdefault(value, picture.name)
    found = []
    for picture in own:
        common = sorted(getattr(picture, key) & holders.keys())
        if common:
            found.append({"name": picture.name, "other": holders[common[0]]})
    return _finding(found)


def _described(match: Match) -> dict[str, Any]:
    return {"name": match.a.name, "other": match.b.name, "distance": match.distance, "mirrored": match.mirrored}


def _finding(found: list[Any]) -> dict[str, Any]:
    return {"count": len(found), "examples": found[:_LISTED]}
