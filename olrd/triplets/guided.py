"""The blend `guided`: alpha by local colour regression, and a rim that keeps its grain.

Alpha is that of the guided filter (He et al. 2013) without its second averaging: in a window around every pixel of the
band, the annotated mask is regressed linearly on the three colours, and the regression is evaluated at the pixel. So the
rim follows the edges of the picture, thin parts survive, and hair stays hair.

Where both sides have the same colours, the regression knows nothing, and alpha is the annotated mask with a soft edge
of one pixel.

The mean colours F and B of both sides are weighted by alpha (blur fusion, Forte 2021). What is left over,
e = I - alpha F - (1 - alpha) B, is mostly grain. Alpha alone would dampen it, and a rim without grain shows. Therefore
e keeps the weight sqrt(1 - (1 - alpha)^2): together with the grain of the new background, which has the weight
1 - alpha, the variance is that of either side.

All sums are integers, and all other arithmetic is elementwise in IEEE double precision.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask
from olrd.masks import disc, grown
from olrd.triplets.blends import Blend, Params, Pasted
from olrd.triplets.window_sums import Floats, box_sums, dot

WINDOW = 8
"""Reach of the window of the regression."""
COLOURS = 5
"""Reach of the window of the mean colours."""
NOISE = 20.0
"""Added to the variance of every colour, in squared grey levels: the regression does not follow smaller steps."""
STEEPNESS = 1.25
"""The regression makes rims softer than they are; alpha is stretched by this factor around one half."""
_CERTAIN = 8
"""Alpha (of 255) that is closer than this to 0 or 255 is rounded to it."""


def guided(patch: Image, mask: Mask, background: Image, params: Params) -> Pasted:
    """Paste with the alpha of a local regression.

    params: `band`, the pixels to each side of the outline in which alpha is found; `trust`, in squared grey levels: the
    squared distance of the colours of both sides at which the regression and the annotated mask count the same.
    """
    band = int(params["band"])
    solid = mask.view(np.uint8)
    inner = cv2.erode(solid, disc(band), borderType=cv2.BORDER_REPLICATE)
    outer = grown(mask, band).view(np.uint8)
    at = np.flatnonzero(outer != inner)  # the band, as positions in the flattened patch
    alpha = inner * np.uint8(255)
    share = np.floor(regressed_alpha(patch, solid, at, params["trust"]) * 255 + 0.5).astype(np.uint8)
    share[share < _CERTAIN], share[share > 255 - _CERTAIN] = 0, 255
    alpha.reshape(-1)[at] = share
    pixels = np.where(inner.view(np.bool_)[..., None], patch, background)
    pixels.reshape(-1, 3)[at] = _mixed(patch, background, alpha, at)
    # The annotated mask is part of the footprint, so that the rim leaves no pinholes.
    return Pasted(pixels, (alpha > 0) | mask)


def regressed_alpha(patch: Image, solid: npt.NDArray[np.uint8], at: npt.NDArray[np.intp], trust: float) -> Floats:
    """Alpha by regression of a mask on the colours around every pixel.

    Args:
        patch: uint8 [h, w, 3].
        solid: the mask, 0 and 1, uint8 [h, w].
        at: positions in the flattened patch.
        trust: see `guided`.

    Returns:
        float64 [n], 0 to 1.
    """
    count = float((2 * WINDOW + 1) ** 2)
    pixel = patch.reshape(-1, 3).take(at, axis=0).astype(np.float64)
    share = _sums(solid, WINDOW, at)[:, 0] / count
    mean = _sums(patch, WINDOW, at) / count
    within = _sums(cv2.bitwise_and(patch, patch, mask=solid), WINDOW, at) / count
    a, b, c = cv2.split(patch.astype(np.uint16))
    squares = _sums(cv2.merge([a * a, a * b, a * c, b * b, b * c, c * c]), WINDOW, at) / count
    first, second = [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]
    spread = squares - mean[:, first] * mean[:, second]
    spread[:, [0, 3, 5]] += NOISE
    slope = _solved(spread, within - mean * share[:, None])
    regression = share + dot(slope, pixel - mean)
    regression = (regression - 0.5) * STEEPNESS + 0.5
    both = (share > 0) & (share < 1)
    inside = within / np.where(both, share, 1.0)[:, None]
    outside = (mean - within) / np.where(both, 1 - share, 1.0)[:, None]
    gap = dot(inside - outside, inside - outside)
    known = np.where(both, gap / np.maximum(gap + trust, 1.0), 0.0)
    plain = _sums(solid, 1, at)[:, 0] / 9.0
    return np.clip(known * regression + (1 - known) * plain, 0.0, 1.0)


def _mixed(patch: Image, background: Image, alpha: npt.NDArray[np.uint8], at: npt.NDArray[np.intp]) -> Image:
    """The blended colours at the positions `at`, uint8 [n, 3]."""
    count = (2 * COLOURS + 1) ** 2 * 255
    weight = _sums(alpha, COLOURS, at)
    weighted = cv2.merge([alpha, alpha, alpha]).astype(np.uint16) * patch
    inside = _sums(weighted, COLOURS, at)
    front = inside / np.maximum(weight, 1)
    back = (_sums(patch, COLOURS, at) * 255 - inside) / np.maximum(count - weight, 1)
    share = alpha.reshape(-1, 1).take(at, axis=0) / 255.0
    rest = patch.reshape(-1, 3).take(at, axis=0) - share * front - (1 - share) * back
    under = background.reshape(-1, 3).take(at, axis=0)
    mixed = share * front + (1 - share) * under + np.sqrt(share * (2 - share)) * rest
    return np.floor(np.clip(mixed, 0, 255) + 0.5).astype(np.uint8)


def _sums(values: npt.NDArray[np.uint8 | np.uint16], reach: int, at: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
    """The sums over the square of `reach` around the positions `at`, int32 [n, channels]; edge pixels are repeated."""
    sums = box_sums(values, reach, cv2.BORDER_REPLICATE)
    return sums.reshape(len(values) * values.shape[1], -1).take(at, axis=0)


def _solved(matrix: Floats, right: Floats) -> Floats:
    """x of A x = b for n symmetric matrices, by cofactors. matrix: [n, 6], the upper triangle by rows. right: [n, 3]."""
    aa, ab, ac, bb, bc, cc = matrix.T
    p, q, r = right.T
    iaa, iab, iac = bb * cc - bc * bc, bc * ac - ab * cc, ab * bc - bb * ac
    ibb, ibc, icc = aa * cc - ac * ac, ac * ab - aa * bc, aa * bb - ab * ab
    whole = iaa * aa + iab * ab + iac * ac
    solved = [iaa * p + iab * q + iac * r, iab * p + ibb * q + ibc * r, iac * p + ibc * q + icc * r]
    return np.stack(solved, axis=1) / whole[:, None]


GUIDED = Blend(guided, {"band": 4, "trust": 1000.0}, lambda p: int(p["band"]), view=WINDOW)
