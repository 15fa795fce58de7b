"""Splits by source photo: a photo's split depends on its id alone, whatever the order or the seed."""

from __future__ import annotations

from olrd.draws import draw_share


def split_of(image_id: str, splits: tuple[tuple[str, float], ...]) -> str:
    """The split of a photo, in proportion to the shares (which sum to 1).

    Independent of the seed, so that a second build with another seed mixes no splits. An object
    and the background it is pasted on are always of one split.
    """
    share, total = draw_share("split", image_id), 0.0
    for name, part in splits:
        total += part
        if share < total:
            return name
    return splits[-1][0]
