"""Prompts (section 4): the short prompt made of the labels around a mask, and where the learned token R* goes.

The template and the 50/50 mix of short and long prompts are the paper's (second-hand). Four things are inferred: the ring in which
labels are searched, their order by area, their number of three, and that long captions have no R*. The token itself
is in model/token.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from magiceraser_ref.model.token import TOKEN
from olrd.arrays import Mask
from olrd.draws import draw_share
from olrd.masks import grown
from olrd.panoptic import Category, PanopticMap
from olrd.triplets.prompts import MAX_LABELS, MIN_SHARE, UNLABELLED, short_prompt

__all__ = ["labels_around", "short_prompt", "training_prompt", "worded"]

RING_SHARE = 0.25
"""Width of the ring around the mask, as a share of the square root of the mask's area (inferred)."""


def labels_around(
    mask: Mask, panoptic: PanopticMap, categories: Mapping[int, Category], ring_share: float = RING_SHARE
) -> list[str]:
    """Return the labels of the stuff in a ring around the mask, largest area first (all inferred).

    At most three labels are returned, each of at least 5 % of the ring's stuff. Segments of an unknown category are
    ignored.

    Args:
        mask: bool [H, W], True = erase.
        panoptic: Panoptic map of the same size.
        categories: Categories by their number.
        ring_share: Width of the ring as a share of the square root of the mask's area.
    """
    width = max(1, round(ring_share * math.sqrt(np.count_nonzero(mask))))
    ring = panoptic.ids[grown(mask, width, square=True) & ~mask]
    areas: dict[str, int] = {}
    for segment in panoptic.segments:
        category = categories.get(segment.category_id)
        if category and not category.isthing and category.supercategory != UNLABELLED:
            count = int(np.count_nonzero(ring == np.uint32(segment.id)))
            areas[category.label] = areas.get(category.label, 0) + count
    total = sum(areas.values())
    ranked = sorted((label for label in areas if areas[label]), key=lambda x: (-areas[x], x))
    return [label for label in ranked if areas[label] >= MIN_SHARE * total][:MAX_LABELS]


def training_prompt(row: Mapping[str, Any], key: object, long_share: float = 0.5) -> str:
    """Draw the prompt of a training sample: its long caption or its short prompt.

    Args:
        row: An OLRD row with `prompt` and `caption`. Without a caption the short prompt is returned.
        key: Everything that the draw depends on.
        long_share: Probability of the long caption.
    """
    caption = row.get("caption")
    if caption and draw_share(key, "long caption") < long_share:
        return str(caption)
    return str(row["prompt"])


def worded(prompt: str, token: str | None) -> str:
    """Replace R* in a prompt by the model's token, or remove it if the model has none (None)."""
    if token is None:
        return " ".join(word for word in prompt.split(" ") if word != TOKEN)
    return prompt if token == TOKEN else prompt.replace(TOKEN, token)
