"""Regions: the parts of a picture that are scored. All metrics and modes use the same masks."""

from __future__ import annotations

import cv2
import numpy as np

from benchmark.protocol import Protocol
from olrd.arrays import Mask
from olrd.masks import grown

REGIONS = ("full", "mask", "ring", "box", "outside")
EFFECT = "effect"
"""The region of shadow and reflection; only sets with masks of them have it."""
MODES = ("raw", "composited")
"""raw: the eraser's output, unchanged. composited: the output inside the mask and the input outside."""


def regions_of(mask: Mask, protocol: Protocol, effect: Mask | None = None) -> dict[str, Mask]:
    """The regions of a sample, bool [H, W] each, by name.

    - full: the whole picture.
    - mask: what was erased.
    - ring: the pixels within `protocol.ring` pixels (Euclidean) of the mask, without the mask.
    - box: the bounding box of the mask, grown by `protocol.box_margin` pixels.
    - outside: the pixels that are farther than `protocol.outside_margin` from the mask and from the effect.
    - effect: the pixels of the effect outside the mask; only if `effect`, bool [H, W], is given.

    An empty mask has an empty mask, ring and box. A mask over the whole picture has an empty ring and outside.
    """
    box = np.zeros_like(mask)
    if mask.any():
        x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
        grow = protocol.box_margin
        box[max(y - grow, 0) : y + h + grow, max(x - grow, 0) : x + w + grow] = True
    affected = mask if effect is None else mask | effect
    regions = {
        "full": np.ones_like(mask),
        "mask": mask,
        "ring": grown(mask, protocol.ring) & ~mask,
        "box": box,
        "outside": ~grown(affected, protocol.outside_margin),
    }
    return regions if effect is None else regions | {EFFECT: effect & ~mask}
