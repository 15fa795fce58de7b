"""Poisson blending: a gradient-domain paste."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu

from olrd.arrays import Image, Mask
from olrd.triplets.blends import Blend, Params, Pasted


def poisson(patch: Image, mask: Mask, background: Image, params: Params) -> Pasted:
    """Gradient-domain paste (Perez et al. 2003): the object's gradients, the background's rim.

    Solves the discrete Poisson equation inside the mask with the background as boundary value. The patch contains a
    ring of background around the object. Where the frame cuts the object there is no ring, and the boundary is free.
    """
    if mask.all():
        return Pasted(patch.copy(), mask)  # without any background the level is not determined
    ys, xs = np.nonzero(mask)
    number = np.full(mask.shape, -1)
    number[ys, xs] = np.arange(len(ys))
    source, target = patch.astype(np.float64), background.astype(np.float64)
    right = np.zeros((len(ys), 3))
    degree = np.zeros(len(ys))
    rows, columns = [], []
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        ny, nx = ys + dy, xs + dx
        inside = (ny >= 0) & (ny < mask.shape[0]) & (nx >= 0) & (nx < mask.shape[1])
        ny, nx = np.where(inside, ny, ys), np.where(inside, nx, xs)
        degree += inside
        right += source[ys, xs] - source[ny, nx]
        neighbour = np.where(inside, number[ny, nx], -1)
        rim = inside & (neighbour < 0)
        right[rim] += target[ny[rim], nx[rim]]
        joined = neighbour >= 0
        rows.append(np.flatnonzero(joined))
        columns.append(neighbour[joined])
    i, j = np.concatenate(rows), np.concatenate(columns)
    diagonal = np.arange(len(ys))
    matrix = coo_array(
        (np.concatenate([-np.ones(len(i)), degree]), (np.concatenate([i, diagonal]), np.concatenate([j, diagonal]))),
        shape=(len(ys), len(ys)),
    ).tocsc()
    pixels = background.copy()
    pixels[ys, xs] = np.floor(np.clip(splu(matrix).solve(right), 0, 255) + 0.5)
    return Pasted(pixels, mask)


POISSON = Blend(poisson, {}, lambda p: 1)
