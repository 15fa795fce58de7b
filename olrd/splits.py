"""Splits by source photo. The split of a photo depends only on its id."""

from __future__ import annotations

from olrd.config import BuildConfig
from olrd.draws import draw_share
from olrd.sources import Source


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
    by_split: dict[str, list[int]] = {name: [] for name, _ in config.splits}
    for index in range(count):
        by_split[split_of(source.image_id(index), config.splits)].append(index)
    return by_split
