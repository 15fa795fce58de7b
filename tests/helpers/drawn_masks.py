"""A drawn folder of photos and masks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from drawn_instances import HEIGHT, WIDTH, disc
from PIL import Image as Pillow
from synthetic_coco import ellipse

ONE, TWO = (20, 60, 40, 50), (140, 90, 30, 30)
"""Two objects apart, as x, y, width, height."""


def draw_masks(root: Path, photos: Mapping[str, int], masks: Mapping[str, tuple[int, int, int, int]]) -> Path:
    """Photos by name, each with its seed, and masks by name, each with the box of its disc. Both relative to root."""
    for name, seed in photos.items():
        rng = np.random.default_rng(seed)
        small = rng.integers(90, 160, (HEIGHT // 12, WIDTH // 12, 3), dtype=np.uint8)
        pixels = np.kron(small, np.ones((12, 12, 1), np.uint8))
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(pixels).save(root / name)
    for name, box in masks.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(disc(*box)).convert("L").save(root / name)
    return root


def large(path: Path, box: tuple[int, int, int, int]) -> None:
    """A mask of twice the size."""
    x, y, w, h = (2 * value for value in box)
    Pillow.fromarray(ellipse((2 * HEIGHT, 2 * WIDTH), (x, y, w, h))).save(path)
