"""The clean plate: what a place looks like without what passes through it, from several pictures of it.

Per pixel, the most frequent luma among the layers is found (the middle of the shortest interval that holds a share of
them: a half-sample mode), and the median of the layers near it is taken, channel by channel. A pixel counts as sure if
enough layers agree and no second value occurs nearly as often. All of it is computed in whole numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask

SHARE = 0.4
"""Share of the layers that the shortest interval holds: a place may be covered for up to 60 % of the time."""
LEAST_SHARE = 0.3
"""Share of the layers that must show the plate's value at a sure pixel."""
SECOND_SHARE = 0.6
"""A second value may occur this often, relative to the plate's, at a sure pixel."""
_BAND = 1 << 23
"""Bytes of a band of rows that is computed at once."""
_NOWHERE = 1 << 12
"""A luma that no pixel has: the layer does not reach there."""


class Plate(NamedTuple):
    """A plate. pixels: uint8 [H, W, 3]. sure: bool [H, W]. spread: uint8 [H, W], the median distance to it in levels."""

    pixels: Image
    sure: Mask
    spread: npt.NDArray[np.uint8]


def plate_of(layers: Image, valid: Mask | None = None, tolerance: int = 8) -> Plate:
    """The plate of fitted layers.

    Args:
        layers: uint8 [K, H, W, 3], K at least 1.
        valid: bool [K, H, W], where each layer reaches; None for everywhere.
        tolerance: distance in levels of luma within which two layers show the same.
    """
    count, height, width = layers.shape[:3]
    if count == 1:
        sure = np.ones((height, width), np.bool_) if valid is None else valid[0]
        return Plate(np.ascontiguousarray(layers[0]), sure, np.zeros((height, width), np.uint8))
    rows = max(1, _BAND // (count * width * 3))
    bands = [
        _band(layers[:, top : top + rows], None if valid is None else valid[:, top : top + rows], tolerance)
        for top in range(0, height, rows)
    ]
    pixels, sure, spread = (np.concatenate(parts) for parts in zip(*bands, strict=True))
    return Plate(pixels, cv2.medianBlur(sure.astype(np.uint8), 5).view(np.bool_), spread)


def _band(layers: Image, valid: Mask | None, tolerance: int) -> tuple[Image, Mask, npt.NDArray[np.uint8]]:
    count = len(layers)
    luma = luma_of(layers)
    if valid is not None:
        luma[~valid] = _NOWHERE
    centre = _mode(np.sort(luma, axis=0))
    distance = np.abs(luma - centre)
    near = (distance <= tolerance) & (luma != _NOWHERE)
    number = near.sum(axis=0)
    pixels = _median(layers, near, number)
    distance.partition(count // 2, axis=0)
    spread = np.minimum(distance[count // 2], 255).astype(np.uint8)
    sure = (number >= max(2, LEAST_SHARE * count)) & (_second(luma, near, tolerance) <= SECOND_SHARE * number)
    return pixels, sure, spread


def luma_of(pixels: Image) -> npt.NDArray[np.int16]:
    """int16 [...]: 0.299 R + 0.587 G + 0.114 B, in whole numbers."""
    wide = pixels.astype(np.uint16)
    return ((wide[..., 0] * 77 + wide[..., 1] * 150 + wide[..., 2] * 29) >> 8).astype(np.int16)


def _mode(ordered: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """The middle of the shortest interval that holds `SHARE` of the sorted values; of several, the most central one."""
    count = len(ordered)
    held = max(2, round(SHARE * count))
    lengths = ordered[held - 1 :] - ordered[: count - held + 1]
    # Of intervals of equal length the one nearest to the middle counts: noise makes many equal ones.
    starts = np.arange(len(lengths), dtype=np.int32)
    off = np.abs(2 * starts - (len(lengths) - 1))
    first = np.argmin(lengths.astype(np.int32) * (2 * count) + off[:, None, None], axis=0)
    found: npt.NDArray[np.int16] = np.take_along_axis(ordered, (first + held // 2)[None], axis=0)[0]
    return found


def _median(layers: Image, near: Mask, number: npt.NDArray[np.intp]) -> Image:
    """The lower median per channel of the layers that are near."""
    values = np.where(near[..., None], layers, np.uint8(255))
    values.sort(axis=0)
    place = np.maximum(number - 1, 0) // 2
    found: Image = np.take_along_axis(values, place[None, ..., None], axis=0)[0]
    return found


def _second(luma: npt.NDArray[np.int16], near: Mask, tolerance: int) -> npt.NDArray[np.intp]:
    """How many of the layers that are not near agree on another value: the median of them, as a second value."""
    others = np.where(near | (luma == _NOWHERE), np.int16(_NOWHERE), luma)
    ordered = np.sort(others, axis=0)
    amount = (others != _NOWHERE).sum(axis=0)
    middle = np.take_along_axis(ordered, (np.maximum(amount - 1, 0) // 2)[None], axis=0)[0]
    found: npt.NDArray[np.intp] = ((np.abs(others - middle) <= tolerance) & (others != _NOWHERE)).sum(axis=0)
    return found
