"""Splits by source photo. The split of a photo depends only on its id. The names of splits and of units of work."""

from __future__ import annotations

import re

from olrd.config import BuildConfig
from olrd.draws import draw_share
from olrd.errors import IntegrityError
from olrd.sources import Source
from olrd.trust import plain_name, shown


def split_of(image_id: str, splits: tuple[tuple[str, float], ...]) -> str:
    """The split of a photo. Splits are drawn in proportion to their shares, which sum to 1.

    The seed of the build has no influence, so that builds with different seeds have the same splits. An object and
    the background that it is pasted on are always of the same split.
    """
    share, total = draw_share("split", image_id), 0.0
    for name, part in splits:
        total += part
        if share < total:
            return name
    return splits[-1][0]


def photos_by_split(source: Source, config: BuildConfig) -> dict[str, list[int]]:
    """The indices of the photos of each split, up to --limit."""
    count = len(source) if config.limit is None else min(config.limit, len(source))
    scene_of = getattr(source, "scene_id", source.image_id)  # all frames of a clip are of one split
    by_split: dict[str, list[int]] = {name: [] for name, _ in config.splits}
    for index in range(count):
        by_split[split_of(scene_of(index), config.splits)].append(index)
    return by_split


def split_name(name: object, where: object) -> str:
    """A split's name out of a file: letters, digits and `_`, as `--splits` takes it. Raises `IntegrityError`."""
    found = plain_name(name, where)
    if not found.isidentifier():
        raise IntegrityError(f"{where}: {shown(name)} is not the name of a split: expected letters, digits and _")
    return found


def unit_name_parts(name: object, where: object) -> tuple[str, int]:
    """The split and the number in `SPLIT-NUMBER`, the name of a unit of work.

    Raises `IntegrityError` for a name that no build gives: it becomes the name of a file.
    """
    split, _, digits = plain_name(name, where).rpartition("-")
    if re.fullmatch(r"[0-9]{5,9}", digits) and f"{int(digits):05d}" == digits:
        return split_name(split, where), int(digits)
    raise IntegrityError(f"{where}: {shown(name)} is not the name of a unit: expected SPLIT-NUMBER, e.g. train-00000")
