"""Writes what a comparison page shows of one photo: the photo, the outline of what is erased, and the page itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from baselines.photos.erasing import Erased, Wanted
from baselines.photos.page import Comparison, Shown, write_page
from olrd.arrays import Image, Mask, encode_png
from olrd.masks import mask_box, outline
from olrd.storage.files import write_atomic

RED = (230, 40, 40)


def compare(out: Path, title: str, photo: Image, what: Wanted, entries: Sequence[tuple[str, Path, Erased]]) -> Path:
    """Write the page of one photo.

    Args:
        out: Folder of the page; the results lie in it.
        title: Names the photo.
        photo: uint8 [H, W, 3].
        what: What was erased.
        entries: The name, file and result of each method.

    Returns:
        The page.
    """
    write_atomic(out / "photo.png", encode_png(photo))
    write_atomic(out / "outline.png", encode_png(_drawn(what.mask)))
    height, width = what.mask.shape
    shown = tuple(Shown(name, quote(path.name), erased.seconds, erased.warning or "") for name, path, erased in entries)
    write_page(out, [Comparison(title, "photo.png", "outline.png", (width, height), mask_box(what.hole), shown)])
    return out / "index.html"


def _drawn(mask: Mask) -> Image:
    """The outline as a transparent picture, uint8 [H, W, 4]."""
    picture = np.zeros((*mask.shape, 4), np.uint8)
    picture[outline(mask, max(mask.shape) / 400)] = (*RED, 255)
    return picture
