"""Likeness: how much two places in photos differ in light, colour, sharpness and noise.

An object looks at home where its new surroundings are like its old ones. All numbers are ratios of integer sums, so
they are the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np

from olrd.arrays import Mask
from olrd.masks import with_margin
from olrd.panoptic import Box
from olrd.triplets.scene import Scene

AROUND = 0.35
"""Width of the surroundings of an object, as a share of the longer side of its box."""
NARROWEST = 12
"""Smallest width of the surroundings in pixels."""
WEIGHTS: Mapping[str, float] = {
    "light": 1.0,
    "contrast": 0.5,
    "warmth": 2.0,
    "colour": 0.5,
    "sharpness": 0.5,
    "noise": 0.25,
}
"""How much each difference counts. Each is 0 for equal places and at most 1. Colours differ least in relative terms."""


class Look(NamedTuple):
    """How a place looks.

    Attributes:
        light: the mean grey value, 0 to 255.
        contrast: the standard deviation of the grey values.
        warmth: mean red over mean red and blue.
        colour: the mean difference of the largest and the smallest channel; near 0 in grey photos.
        sharpness: of the whole photo (see `acutance`).
        noise: of the whole photo, in grey levels (see `grain`).
    """

    light: float
    contrast: float
    warmth: float
    colour: float
    sharpness: float
    noise: float


def look_around(scene: Scene, box: Box, mask: Mask) -> Look:
    """How the surroundings of an object look.

    Args:
        scene: the photo.
        box: of the object in it.
        mask: bool [h, w], the object inside its box.
    """
    window, solid = with_margin(box, mask, max(NARROWEST, round(AROUND * max(box.w, box.h))), scene.shape)
    seen = scene.photo.pixels[window.crop()]
    around = solid == 0
    around = around if around.any() else np.ones_like(around)  # the object fills the photo
    red, _, blue = (int(channel[around].sum(dtype=np.int64)) for channel in cv2.split(seen))
    chroma = int((seen.max(axis=2) - seen.min(axis=2))[around].sum(dtype=np.int64))
    grey = cv2.cvtColor(seen, cv2.COLOR_RGB2GRAY)[around].astype(np.int64)
    mean = int(grey.sum()) / len(grey)
    variance = int((grey * grey).sum()) / len(grey) - mean * mean
    return Look(
        light=mean,
        contrast=math.sqrt(max(variance, 0.0)),
        warmth=red / max(red + blue, 1),
        colour=chroma / len(grey),
        sharpness=scene.sharpness,
        noise=scene.noise,
    )


def difference(one: Look, other: Look) -> float:
    """How much two looks differ: 0 for equal ones, larger the more they do."""
    return sum(weight * _apart(getattr(one, name), getattr(other, name)) for name, weight in WEIGHTS.items())


def _apart(one: float, other: float) -> float:
    """The difference of two numbers as a share of their sum, 0 to 1. A grey level or so is no difference."""
    floor = 1.0 if max(one, other) > 1 else 0.0
    return abs(one - other) / max(one + other + floor, 1e-9)
