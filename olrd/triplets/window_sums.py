"""Sums and means over square windows, in exact integers, so that they are the same on any machine."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image

Floats = npt.NDArray[np.float64]


def box_sums(
    values: npt.NDArray[np.uint8 | np.uint16], reach: int, border: int = cv2.BORDER_DEFAULT
) -> npt.NDArray[np.int32]:
    """The sum over the square of `reach` around every pixel, in integers."""
    size = (2 * reach + 1, 2 * reach + 1)
    return cv2.boxFilter(values, cv2.CV_32S, size, normalize=False, borderType=border)


def local_mean(
    patch: Image, where: npt.NDArray[np.uint8], reach: int, at: npt.NDArray[np.intp]
) -> tuple[Floats, npt.NDArray[np.int32]]:
    """Mean colour of `patch` where `where` is 1, in a square of `reach` around each position.

    at: positions in the flattened patch. Returns the mean, float64 [n, 3], and the number of such pixels, int32 [n].
    """
    chosen = cv2.bitwise_and(patch, patch, mask=where)
    sums = box_sums(chosen, reach, cv2.BORDER_CONSTANT).reshape(-1, 3).take(at, axis=0)
    count = box_sums(where, reach, cv2.BORDER_CONSTANT).take(at)
    return sums / np.maximum(count, 1)[:, None], count


def dot(one: Floats, other: Floats) -> Floats:
    """Row-wise dot product of [n, 3], in a fixed order of additions."""
    return one[:, 0] * other[:, 0] + one[:, 1] * other[:, 1] + one[:, 2] * other[:, 2]
