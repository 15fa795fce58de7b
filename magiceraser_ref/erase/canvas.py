"""What the model is given of a window: resized without a trace of the object, padded, in whole cells.

Resizing rules are inferred; the paper only says 512 x 512.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from magiceraser_ref.erase.initialization import blanked
from olrd.arrays import Ids, Image, Labels, Mask, resize_ids, resize_image

LONGEST = 3
"""The longer working side is at most so many times the model's resolution (inferred), so that a long
and narrow photo needs no unbounded memory."""


class Canvas(NamedTuple):
    """Sizes (width, height) in pixels. content: of the resized window. padded: what the model sees,
    in multiples of a latent cell; the content is its upper left part."""

    content: tuple[int, int]
    padded: tuple[int, int]


class Seen(NamedTuple):
    """A window at content size. photo: uint8 [h, w, 3], whose hole is blank. hole: bool [h, w], True
    where any pixel to erase had a part in the value. ids: uint32 [h, w] panoptic ids, or None."""

    photo: Image
    hole: Mask
    ids: Ids | None


def canvas_of(width: int, height: int, resolution: int, multiple: int) -> Canvas:
    """The canvas for a window: short side at `resolution`, aspect kept, padded to `multiple`."""
    scale = min(resolution / min(width, height), LONGEST * resolution / max(width, height))
    content = max(1, round(width * scale)), max(1, round(height * scale))
    across, down = (-(-side // multiple) * multiple for side in content)
    return Canvas(content, (across, down))


def seen(photo: Image, hole: Mask, ids: Ids | None, size: tuple[int, int]) -> Seen:
    """A window at `size` (width, height). photo: uint8 [H, W, 3]. hole: bool [H, W]. ids: [H, W].

    The hole is blanked before resizing, and then grown to every pixel that a masked one had a part in:
    both go through one kernel. So no value inside or outside the hole depends on the object.
    """
    blank = blanked(photo, hole)
    if size != (hole.shape[1], hole.shape[0]):
        shrinks = size[0] <= hole.shape[1] and size[1] <= hole.shape[0]
        kernel = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        blank = cv2.resize(blank, size, interpolation=kernel)
        hole = cv2.resize(hole.astype(np.float32), size, interpolation=kernel) > 0
        ids = None if ids is None else resize_ids(ids, size)
    return Seen(blank, hole, ids)


def padded(pixels: Labels, size: tuple[int, int]) -> Labels:
    """[h, w, ...] mirrored at the right and lower edge up to `size` (width, height)."""
    below, right = size[1] - pixels.shape[0], size[0] - pixels.shape[1]
    wide: Labels = np.pad(pixels, ((0, below), (0, right), *((0, 0),) * (pixels.ndim - 2)), "symmetric")  # type: ignore[assignment]
    return wide


def whole_cells(hole: Mask, factor: int) -> Mask:
    """The hole grown to whole latent cells of `factor` x `factor` pixels; sides divisible by `factor`.

    diffusers shrinks the mask to latent size by nearest neighbour, which loses every part of it that
    does not meet a cell's sampled pixel.
    """
    height, width = hole.shape
    cells = hole.reshape(height // factor, factor, width // factor, factor).any(axis=(1, 3))
    grown: Mask = cells.repeat(factor, axis=0).repeat(factor, axis=1)
    return grown


def enlarged(result: Image, canvas: Canvas, size: tuple[int, int]) -> Image:
    """The model's output (uint8, padded size) without its padding, at the window's size."""
    content = np.ascontiguousarray(result[: canvas.content[1], : canvas.content[0]])
    return content if canvas.content == size else resize_image(content, size)
