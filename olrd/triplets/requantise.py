"""JPEG of the place: the pasted pixels get the block grid and the quantisation of the photo around them, with `--match
jpeg`.

A moved object brings the block grid of its old place, and the mixed rim has none. Here the composite is compressed with
the tables of the background's own file, on the background's grid, and only the pasted pixels are taken from the result.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import simplejpeg
from PIL import Image as Pillow
from PIL import JpegImagePlugin

from olrd.arrays import Image, Mask, photo_header
from olrd.masks import mask_box
from olrd.triplets.photo import WorkingPhoto

_GRID = 16
"""Pixels on which the blocks of all chroma subsamplings begin."""


class Coding(NamedTuple):
    """How a JPEG file codes its pixels.

    Attributes:
        tables: of luminance and chrominance, 64 integers in [1, 255] each.
        subsampling: Pillow's number: 0 = 4:4:4, 1 = 4:2:2, 2 = 4:2:0.
    """

    tables: tuple[tuple[int, ...], ...]
    subsampling: int


def coding_of(photo: WorkingPhoto, match: tuple[str, ...]) -> Coding | None:
    """The coding of a photo if `match` asks for it. None if the pixels lie on no grid: the photo is no colour JPEG of
    eight bits, or was resized."""
    if "jpeg" not in match or not photo.original or not photo.data.startswith(b"\xff\xd8"):
        return None
    return _coding(photo)


@lru_cache(maxsize=1)  # the triplets of a photo follow one another
def _coding(photo: WorkingPhoto) -> Coding | None:
    image = photo_header(photo.data, photo.file_name, photo.max_pixels).image
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode != "RGB":
        return None
    tables = tuple(tuple(image.quantization[key]) for key in sorted(image.quantization)[:2])
    subsampling = JpegImagePlugin.get_sampling(image)
    good = all(len(table) == 64 and min(table) >= 1 and max(table) <= 255 for table in tables)
    return Coding(tables, subsampling) if tables and good and subsampling in (0, 1, 2) else None


def requantise(image: Image, pasted: Mask, coding: Coding) -> None:
    """Code the pixels of `image` (uint8 [H, W, 3]) where `pasted` (bool [H, W]) is True, in place.

    libjpeg's integer transforms give the same result on any machine.
    """
    box = mask_box(pasted)
    window = (
        slice(box.y // _GRID * _GRID, -(-(box.y + box.h) // _GRID) * _GRID),
        slice(box.x // _GRID * _GRID, -(-(box.x + box.w) // _GRID) * _GRID),
    )
    file = io.BytesIO()
    tables = [list(table) for table in coding.tables]
    part = np.ascontiguousarray(image[window])
    Pillow.fromarray(part).save(file, "JPEG", qtables=tables, subsampling=coding.subsampling)
    coded = simplejpeg.decode_jpeg(file.getvalue())
    image[window] = np.where(pasted[window][..., None], coded, part)
