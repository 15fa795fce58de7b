"""The area that pixels share with the coarser cells of a network's grid."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt


@lru_cache(maxsize=64)
def overlap(pixels: int, cells: int, extent: float | None = None) -> npt.NDArray[np.float64]:
    """The share of pixel i that lies in cell j along one axis, float64 [pixels, cells], 0 to 1. Read-only.

    Pixel i covers [i, i + 1]. The cells divide [0, extent] equally, by default [0, pixels]. In that case every row sums
    to 1 and every column to pixels / cells, so that spreading cells over pixels keeps the mean.
    """
    edges = np.arange(cells + 1) * ((extent or pixels) / cells)
    left = np.arange(pixels)[:, None]
    shared = np.clip(np.minimum(left + 1, edges[None, 1:]) - np.maximum(left, edges[None, :-1]), 0, None)
    shared.flags.writeable = False
    return shared
