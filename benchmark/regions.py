"""Regions: where a score is taken. One set of masks per sample serves all metrics and modes."""

from __future__ import annotations

import cv2
import numpy as np

from benchmark.protocol import Protocol
from olrd.arrays import Mask
from olrd.masks import grown

REGIONS = ("full", "mask", "ring", "box", "outside")
MODES = ("raw", "composited")
"""raw: the method's output as it came. composited: the output inside the mask, the input outside."""


def regions_of(mask: Mask, protocol: Protocol) -> dict[str, Mask]:
    """bool [H, W] per region name.

    full: everything. mask: what was erased. ring: within `ring` pixels (Euclidean) of the mask, without
    it. box: the mask's bounding box, grown by `box_margin`. outside: farther than `outside_margin` from
    the mask. With an empty mask, mask, ring and box are empty; with a full one, ring and outside are.
    """
    box = np.zeros_like(mask)
    if mask.any():
        x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
        grow = protocol.box_margin
        box[max(y - grow, 0) : y + h + grow, max(x - grow, 0) : x + w + grow] = True
    return {
        "full": np.ones_like(mask),
        "mask": mask,
        "ring": grown(mask, protocol.ring) & ~mask,
        "box": box,
        "outside": ~grown(mask, protocol.outside_margin),
    }
