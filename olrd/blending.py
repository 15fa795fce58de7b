"""Blending: how the cut-out meets its new background.

A blend gets the object's surroundings (`patch`, with its mask) and the background under it, and
returns the pasted pixels and the footprint: every pixel it touched. All arithmetic is in integers
or single IEEE operations, so the same input gives the same bytes on any machine (`poisson` solves a
linear system and is the exception, see olrd.poisson).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask
from olrd.candidates import disc

Alpha = npt.NDArray[np.uint8]
Params = dict[str, float]


class Pasted(NamedTuple):
    """pixels: uint8 [h, w, 3]. footprint: bool [h, w], a superset of every changed pixel."""

    pixels: Image
    footprint: Mask


class Blend(NamedTuple):
    """A blend: its function (patch, mask, background, params) -> Pasted, its parameters' defaults,
    and its reach: by how many pixels the footprint may exceed the mask."""

    run: Callable[[Image, Mask, Image, Params], Pasted]
    defaults: Params
    reach: Callable[[Params], int]


def mix(foreground: npt.NDArray[np.integer], background: Image, alpha: Alpha) -> Image:
    """alpha F + (1 - alpha) B, rounded, in integers. foreground: values 0..255 [h, w, 3]."""
    a = alpha[..., None].astype(np.int32)
    return ((a * foreground + (255 - a) * background + 127) // 255).astype(np.uint8)


def hard(patch: Image, mask: Mask, background: Image, params: Params) -> Pasted:
    """The paper's paste: I~ = I (1 - m~) + o~."""
    return Pasted(np.where(mask[..., None], patch, background), mask)


def feather(patch: Image, mask: Mask, background: Image, params: Params) -> Pasted:
    """A soft rim: alpha is the mask averaged over a (2 radius + 1) square."""
    size = 2 * int(params["radius"]) + 1
    count = cv2.boxFilter(
        mask.view(np.uint8),
        cv2.CV_32S,
        (size, size),
        normalize=False,
        borderType=cv2.BORDER_CONSTANT,
    )
    alpha = (count * 255 // (size * size)).astype(np.uint8)
    return Pasted(mix(patch.astype(np.int32), background, alpha), (alpha > 0) | mask)


def matting(patch: Image, mask: Mask, background: Image, params: Params) -> Pasted:
    """Alpha and foreground colours in the band around the outline, from the colours on both sides.

    In the band (`band` pixels to each side), F and B are the mean colours of the sure foreground
    and of the sure old background nearby. The observed colour I = alpha F + (1 - alpha) B gives
    alpha by projection on F - B, pulled towards the annotated mask where F and B are alike
    (`trust`, in squared grey levels). The remaining error is divided between F and B in proportion
    to alpha and 1 - alpha, which is the least change that makes the equation exact.
    """
    band = int(params["band"])
    solid = mask.view(np.uint8)
    inner = cv2.erode(solid, disc(band), borderType=cv2.BORDER_REPLICATE)
    outer = cv2.dilate(solid, disc(band))
    unknown = (outer != 0) & (inner == 0)
    ys, xs = np.nonzero(unknown)
    reach = 2 * band + 1
    foreground, fg_known = _local_mean(patch, inner, reach, ys, xs)
    old, old_known = _local_mean(patch, 1 - outer, reach, ys, xs)
    observed = patch[ys, xs].astype(np.float64)
    prior = cv2.boxFilter(solid, cv2.CV_32S, (3, 3), normalize=False)[ys, xs] / 9.0
    gap = foreground - old
    num = _dot(observed - old, gap) + params["trust"] * prior
    share = np.clip(num / np.maximum(_dot(gap, gap) + params["trust"], 1.0), 0.0, 1.0)
    share = np.where(fg_known & old_known, share, prior)
    alpha = inner * np.uint8(255)
    alpha[ys, xs] = np.floor(share * 255 + 0.5)
    # One 3x3 mean over the band takes out single-pixel noise; the sure parts stay as they are.
    smooth = cv2.boxFilter(alpha, cv2.CV_32S, (3, 3), normalize=False)[ys, xs] // 9
    smooth = np.where(smooth < 6, 0, np.where(smooth > 249, 255, smooth))
    alpha[ys, xs] = smooth
    share = smooth / 255.0
    error = observed - share[:, None] * foreground - (1 - share)[:, None] * old
    weight = share / (share * share + (1 - share) * (1 - share))
    colour = np.where(
        (fg_known & old_known)[:, None], foreground + weight[:, None] * error, observed
    )
    new = patch.astype(np.int32)
    new[ys, xs] = np.floor(np.clip(colour, 0, 255) + 0.5)
    # The annotated mask stays in the footprint, so that the rim cannot leave pinholes in it.
    return Pasted(mix(new, background, alpha), (alpha > 0) | mask)


def _dot(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Row-wise dot product of [n, 3], in a fixed order of additions."""
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]


def _local_mean(
    patch: Image, where: npt.NDArray[np.uint8], reach: int, ys: np.ndarray, xs: np.ndarray
) -> tuple[npt.NDArray[np.float64], Mask]:
    """Mean colour of `patch` where `where` is 1, in a square of `reach` around each (y, x).

    Returns float64 [n, 3] and whether there was any such pixel. Integer sums, so exact.
    """
    size = (2 * reach + 1, 2 * reach + 1)
    constant = cv2.BORDER_CONSTANT
    sums = cv2.boxFilter(
        patch * where[..., None], cv2.CV_32S, size, normalize=False, borderType=constant
    )[ys, xs]
    count = cv2.boxFilter(where, cv2.CV_32S, size, normalize=False, borderType=constant)[ys, xs]
    return sums / np.maximum(count, 1)[:, None], count > 0


HARD = Blend(hard, {}, lambda p: 0)
FEATHER = Blend(feather, {"radius": 2}, lambda p: int(p["radius"]))
MATTING = Blend(matting, {"band": 3, "trust": 300.0}, lambda p: int(p["band"]) + 1)
