"""What the tests of `--source images` share beside their fixtures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from olrd.panoptic import Record, SegmentMap, check_panoptic
from olrd.sources.panoptic.json_file import png_name

NAMES = ["a/one.jpg", "a/two.PNG", "b/deep/one.jpg", "grey.jpeg"]


def picture(seed: int, height: int, width: int) -> Image.Image:
    """Coloured blocks."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 15, width // 15, 3), dtype=np.uint8)
    return Image.fromarray(np.kron(small, np.ones((15, 15, 1), np.uint8)))


Open = Callable[..., Any]


def joined(root: Path) -> tuple[Path, dict[str, Any]]:
    """The joined JSON's path and content."""
    path = root.parent / "photos-panoptic" / "annotations" / "panoptic_photos.json"
    return path, json.loads(path.read_text())


def check(source: Any, record: Record) -> SegmentMap:
    """The record's map, with every area, box and id checked."""
    size = record.width, record.height
    return check_panoptic("a map", source.panoptic(record, *size), size, source.categories)


def png_of(root: Path, name: str) -> Path:
    return joined(root)[0].with_suffix("") / png_name(name)
