"""Prompt tuning (section 4): R*, a learned token for "background completion", and the prompts it is in.

R* is one added token of tokenizer and text encoder, its vector v* trained with the LoRA. Template and
50/50 mix are the paper's (second-hand); the initial word, the labels' ring, their order by area and
their number of three are inferred, as is that long captions go without R*.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from magiceraser_ref.model.token import TOKEN, add_token, load_token, save_token, set_token_vector, token_vector
from olrd.arrays import Mask
from olrd.draws import draw_share
from olrd.masks import grown
from olrd.panoptic import Category, PanopticMap
from olrd.triplets.prompts import MAX_LABELS, MIN_SHARE, UNLABELLED, short_prompt

__all__ = [
    "TOKEN",
    "add_token",
    "labels_around",
    "load_token",
    "save_token",
    "set_token_vector",
    "short_prompt",
    "token_vector",
    "training_prompt",
    "worded",
]

RING_SHARE = 0.25
"""Width of the ring around the mask, as a share of the square root of the mask's area (inferred)."""


def labels_around(
    mask: Mask, panoptic: PanopticMap, categories: Mapping[int, Category], ring_share: float = RING_SHARE
) -> list[str]:
    """The stuff classes in a ring around the mask, largest first, at most three, each over 5 % of the
    ring's stuff (all inferred).

    mask: bool [H, W]. panoptic: of the same size. ring_share: the ring's width as a share of the square
    root of the mask's area. Segments whose category is unknown do not count.
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
    """The prompt of one training sample: the long caption in `long_share` of the draws, else the short
    prompt; always the short one where there is no caption.

    row: an OLRD row with `prompt` and `caption`. key: everything the draw depends on, as text.
    """
    caption = row.get("caption")
    if caption and draw_share(key, "long caption") < long_share:
        return str(caption)
    return str(row["prompt"])


def worded(prompt: str, token: str | None) -> str:
    """A prompt with R* as the model knows it: under another name, or left out (None)."""
    if token is None:
        return " ".join(word for word in prompt.split(" ") if word != TOKEN)
    return prompt if token == TOKEN else prompt.replace(TOKEN, token)
