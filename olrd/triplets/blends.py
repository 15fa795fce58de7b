"""Blends: how the cut-out object is merged with its new background.

A blend gets the object with its surroundings (`patch` and its mask) and the background under it. It returns the pasted
pixels and the footprint: every pixel that it may have changed. All arithmetic uses integers or single IEEE operations,
so the same input gives the same bytes on any machine. The exception is `poisson`, which solves a linear system (see
olrd.triplets.poisson).

To add a blend, write a `Blend` here and add one line to `BLENDS` in olrd/config.py. In another distribution, add one
entry point in the group `olrd.blends`. tests/olrd/triplets/test_blends.py runs on all registered blends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask
from olrd.masks import disc, grown
from olrd.triplets.window_sums import box_sums, dot, local_mean

Alpha = npt.NDArray[np.uint8]
Params = dict[str, float]


class Pasted(NamedTuple):
    """A blended object. pixels: uint8 [h, w, 3]. footprint: bool [h, w], True for every pixel that may have changed."""

    pixels: Image
    footprint: Mask


class Blend(NamedTuple):
    """A blend as it is registered.

    Attributes:
        run: (patch, mask, background, params) -> Pasted.
        defaults: its parameters with their default values.
        reach: params -> number of pixels by which the footprint may exceed the mask.
        view: number of pixels of the old surroundings that it needs beyond its reach.
    """

    run: Callable[[Image, Mask, Image, Params], Pasted]
    defaults: Params
    reach: Callable[[Params], int]
    view: int = 0


def mix(foreground: Image, background: Image, alpha: Alpha) -> Image:
    """alpha F + (1 - alpha) B, rounded, in integers."""
    # Arrays of one shape, because numpy takes four times as long to broadcast over three channels.
    share = cv2.merge([alpha, alpha, alpha]).astype(np.uint16)
    mixed = share * foreground + (255 - share) * background + np.uint16(127)  # at most 65152, which fits
    return (mixed // np.uint16(255)).astype(np.uint8)


def hard(patch: Image, mask: Mask, background: Image, params: Params) -> Pasted:
    """The paste of the paper: I~ = I (1 - m~) + o~."""
    return Pasted(np.where(mask[..., None], patch, background), mask)


def feather(patch: Image, mask: Mask, background: Image, params: Params) -> Pasted:
    """A soft rim: alpha is the mask averaged over a square of side 2 radius + 1."""
    size = 2 * int(params["radius"]) + 1
    count = box_sums(mask.view(np.uint8), int(params["radius"]), cv2.BORDER_CONSTANT)
    alpha = (count * 255 // (size * size)).astype(np.uint8)
    return Pasted(mix(patch, background, alpha), (alpha > 0) | mask)


def matting(patch: Image, mask: Mask, background: Image, params: Params) -> Pasted:
    """Alpha and foreground colours in the band around the outline, from the colours on both sides.

    In the band (`band` pixels to each side of the outline), F and B are the mean colours of the certain foreground and
    of the certain old background nearby. The observed colour I = alpha F + (1 - alpha) B gives alpha by projection on
    F - B. Where F and B are alike, alpha is pulled towards the annotated mask (`trust`, in squared grey levels). The
    remaining error is divided between F and B in proportion to alpha and 1 - alpha; this is the smallest change that
    makes the equation exact.
    """
    band = int(params["band"])
    solid = mask.view(np.uint8)
    inner = cv2.erode(solid, disc(band), borderType=cv2.BORDER_REPLICATE)
    outer = grown(mask, band).view(np.uint8)
    at = np.flatnonzero(outer != inner)  # the band, as positions in the flattened patch
    reach = 2 * band + 1
    foreground, fg_count = local_mean(patch, inner, reach, at)
    old, old_count = local_mean(patch, 1 - outer, reach, at)
    observed = patch.reshape(-1, 3).take(at, axis=0).astype(np.float64)
    prior = box_sums(solid, 1).take(at) / 9.0
    known = (fg_count > 0) & (old_count > 0)
    gap = foreground - old
    length = dot(gap, gap) + params["trust"]
    num = dot(observed - old, gap) + params["trust"] * prior
    share = np.clip(num / np.maximum(length, 1.0), 0.0, 1.0)
    share = np.where(known, share, prior)
    alpha = inner * np.uint8(255)
    alpha.reshape(-1)[at] = np.floor(share * 255 + 0.5)
    # A 3x3 mean over the band removes single-pixel noise. The certain parts stay as they are.
    smooth = box_sums(alpha, 1).take(at) // 9
    smooth[smooth < 6], smooth[smooth > 249] = 0, 255
    alpha.reshape(-1)[at] = smooth
    share = (smooth / 255.0)[:, None]
    error = observed - share * foreground - (1 - share) * old
    weight = share / (share * share + (1 - share) * (1 - share))
    colour = np.where(known[:, None], foreground + weight * error, observed)
    new = patch.copy()
    new.reshape(-1, 3)[at] = np.floor(np.clip(colour, 0, 255) + 0.5)
    # The annotated mask is part of the footprint, so that the rim leaves no pinholes.
    return Pasted(mix(new, background, alpha), (alpha > 0) | mask)


HARD = Blend(hard, {}, lambda p: 0)
FEATHER = Blend(feather, {"radius": 2}, lambda p: int(p["radius"]))
MATTING = Blend(matting, {"band": 3, "trust": 300.0}, lambda p: int(p["band"]) + 1)
