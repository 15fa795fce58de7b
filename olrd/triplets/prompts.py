"""Short prompts from the background under an object: "A photo of R* sky".

Method: paper section on prompt tuning (template); tags by area, at most three (inferred)."""

from __future__ import annotations

import numpy as np

from olrd.arrays import Mask
from olrd.panoptic import Box
from olrd.triplets.scene import Scene

TEMPLATE = "A photo of R* {labels}"
MAX_LABELS = 3
MIN_SHARE = 0.05
UNLABELLED = "unlabelled"
"""The supercategory of unlabelled background; it is not named in prompts."""


def background_labels(scene: Scene, box: Box, mask: Mask) -> list[str]:
    """The stuff classes under `mask` (bool [h, w], inside `box`), largest first, at most three, each
    over 5 %."""
    counts = np.bincount(scene.panoptic.index[box.crop()][mask], minlength=len(scene.kinds))
    areas: dict[str, int] = {}
    for number in np.flatnonzero(counts).tolist():
        category = scene.categories.get(int(scene.kinds[number]))
        if category and not category.isthing and category.supercategory != UNLABELLED:
            areas[category.label] = areas.get(category.label, 0) + int(counts[number])
    total = sum(areas.values())
    ranked = sorted(areas, key=lambda label: (-areas[label], label))
    return [label for label in ranked if areas[label] >= MIN_SHARE * total][:MAX_LABELS]


def short_prompt(labels: list[str]) -> str:
    """The prompt in the paper's form; without labels it says "background"."""
    return TEMPLATE.format(labels=", ".join(labels) or "background")
