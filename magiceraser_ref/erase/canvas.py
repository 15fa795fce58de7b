"""Prepares a window for the model: resized so that no trace of the object is left, padded, with a hole of whole latent cells.

The rules of resizing are inferred; the paper only gives 512 x 512 pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from magiceraser_ref.erase.initialization import blanked
from olrd.arrays import Ids, Image, Labels, Mask, resize_ids, resize_image

LONGEST = 3
"""The longer side of a canvas is at most this multiple of the model's resolution (inferred).

This bounds the memory that a long and narrow photo needs."""


class Canvas(NamedTuple):
    """Sizes of a prepared window, (width, height) in pixels.

    Attributes:
        content: Size of the resized window.
        padded: Size of the model's input, in multiples of a latent cell. The content is its upper left part.
    """

    content: tuple[int, int]
    padded: tuple[int, int]


class Seen(NamedTuple):
    """A window at content size.

    Attributes:
        photo: uint8 [h, w, 3] with a blank hole.
        hole: bool [h, w], True where any pixel to erase contributed to the value.
        ids: uint32 [h, w], panoptic ids, or None.
    """

    photo: Image
    hole: Mask
    ids: Ids | None


def canvas_of(width: int, height: int, resolution: int, multiple: int) -> Canvas:
    """Return the canvas of a window: its short side is `resolution`, and its sides are padded to `multiple`."""
    scale = min(resolution / min(width, height), LONGEST * resolution / max(width, height))
    content = max(1, round(width * scale)), max(1, round(height * scale))
    across, down = (-(-side // multiple) * multiple for side in content)
    return Canvas(content, (across, down))


def seen(photo: Image, hole: Mask, ids: Ids | None, size: tuple[int, int]) -> Seen:
    """Resize a window to `size` (width, height).

    The hole is blanked before resizing, and afterwards it contains every pixel that a masked pixel contributed to: both
    are resized with the same kernel. So no value inside or outside the hole depends on the object.

    Args:
        photo: uint8 [H, W, 3].
        hole: bool [H, W], True = erase.
        ids: uint32 [H, W], panoptic ids, or None.
        size: (width, height) in pixels.
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
    """Pad [h, w, ...] to `size` (width, height) by mirroring at the right and lower edge."""
    below, right = size[1] - pixels.shape[0], size[0] - pixels.shape[1]
    wide: Labels = np.pad(pixels, ((0, below), (0, right), *((0, 0),) * (pixels.ndim - 2)), "symmetric")  # type: ignore[assignment]
    return wide


def whole_cells(hole: Mask, factor: int) -> Mask:
    """Grow the hole to whole latent cells of `factor` x `factor` pixels. The sides must be divisible by `factor`.

    diffusers resizes the mask to the latents' size by nearest neighbour, which loses every part that does not contain
    the sampled pixel of a cell.
    """
    height, width = hole.shape
    cells = hole.reshape(height // factor, factor, width // factor, factor).any(axis=(1, 3))
    grown: Mask = cells.repeat(factor, axis=0).repeat(factor, axis=1)
    return grown


def enlarged(result: Image, canvas: Canvas, size: tuple[int, int]) -> Image:
    """Remove the padding from the model's output (uint8, padded size) and resize it to the window's size."""
    content = np.ascontiguousarray(result[: canvas.content[1], : canvas.content[0]])
    return content if canvas.content == size else resize_image(content, size)
