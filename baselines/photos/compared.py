"""What the comparison page shows beside the results: the photo and the outline of what is erased, kept as files.

They lie in a separate folder below the results, so that a run that goes on finds those of earlier photos.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

from baselines.photos.erasing import Wanted
from baselines.photos.files import read_input
from baselines.photos.page import Comparison, Shown, write_page
from olrd.arrays import Image, Mask, encode_png
from olrd.errors import OutputError, SourceError, UsageError
from olrd.masks import mask_box, outline
from olrd.panoptic import Box
from olrd.storage.files import write_atomic
from olrd.trust import parse_json

FOLDER = "compared"
PAGE = "index.html"
RED = (230, 40, 40)


class Compared(NamedTuple):
    """A photo of the page.

    Attributes:
        title: Names it for the reader.
        stem: Names its files: a relative path without suffix.
        results: What the methods made of it.
    """

    title: str
    stem: str
    results: tuple[Shown, ...]


class View(NamedTuple):
    """The files of a photo's view: the photo, the outline of what is erased, and its place."""

    photo: Path
    outline: Path
    place: Path


def view_paths(out: Path, stem: str) -> View:
    """Where the view of a photo is kept. See `Compared` for `stem`."""
    folder = out / FOLDER
    return View(folder / f"{stem}.png", folder / f"{stem}-outline.png", folder / f"{stem}.json")


def keep_view(out: Path, stem: str, photo: Image, what: Wanted) -> None:
    """Write the photo, the outline and the place of what is erased. The place comes last: with it, all are there."""
    height, width = what.mask.shape
    view = view_paths(out, stem)
    view.photo.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(view.photo, encode_png(photo))
    write_atomic(view.outline, encode_png(_drawn(what.mask)))
    write_atomic(view.place, json.dumps({"size": [width, height], "box": list(mask_box(what.hole))}))


def write_comparison(out: Path, photos: Sequence[Compared]) -> Path:
    """Write the page of all photos whose view was kept.

    Args:
        out: Folder of the page; the results lie in it.
        photos: In the order of the page.

    Returns:
        The page.
    """
    found = []
    for one in photos:
        place = view_paths(out, one.stem).place
        if not place.is_file():
            continue
        try:
            read = parse_json(read_input(place), place, SourceError)
            size, box = (int(read["size"][0]), int(read["size"][1])), Box(*map(int, read["box"]))
        except (SourceError, UsageError, ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
            raise OutputError(f"{place} is damaged: remove it, and give --force to make the results anew") from error
        base = quote(f"{FOLDER}/{one.stem}")
        found.append(Comparison(one.title, f"{base}.png", f"{base}-outline.png", size, box, one.results))
    write_page(out, found)
    return out / PAGE


def _drawn(mask: Mask) -> Image:
    """The outline as a transparent picture, uint8 [H, W, 4]."""
    picture = np.zeros((*mask.shape, 4), np.uint8)
    picture[outline(mask, max(mask.shape) / 400)] = (*RED, 255)
    return picture
