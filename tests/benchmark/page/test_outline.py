"""What the outline of a mask encloses."""

from __future__ import annotations

import re

import cv2
import numpy as np

from benchmark.page.outline import outline_path
from olrd.arrays import Mask
from olrd.masks import grown


def filled(path: str, shape: tuple[int, int]) -> Mask:
    """The pixels whose centres are inside the path or on it."""
    parts = [np.array(re.findall(r"(\d+)(?:\.5)? (\d+)(?:\.5)?", part), np.int32) for part in path.split("Z") if part]
    inside = np.zeros(shape, np.uint8)
    cv2.fillPoly(inside, parts, 1)
    return inside.astype(bool)


def test_an_empty_mask_has_no_outline() -> None:
    assert outline_path(np.zeros((30, 40), bool)) == ""


def test_an_outline_encloses_the_mask_and_little_more() -> None:
    mask = np.zeros((120, 160), np.uint8)
    cv2.ellipse(mask, (60, 60), (40, 25), 20, 0, 360, 1, -1)
    cv2.circle(mask, (60, 60), 10, 0, -1)  # a hole
    mask[0:12, 140:160] = 1  # at the edge of the photo
    mask[100, 20] = 1  # a single pixel
    erased = mask.astype(bool)
    inside = filled(outline_path(erased), erased.shape)
    assert (inside | ~erased).all()
    assert not (inside & ~grown(erased, 2)).any()
    assert not inside[60, 60]


def test_the_outline_of_noise_is_simplified_and_still_encloses_it() -> None:
    noise = np.random.Generator(np.random.Philox(2)).random((200, 200)) < 0.3
    path = outline_path(noise)
    assert len(path) <= 6000
    assert (filled(path, noise.shape) | ~noise).mean() > 0.99
    assert outline_path(noise, limit=60).count("L") == 3
