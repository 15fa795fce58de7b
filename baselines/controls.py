"""Controls: yardsticks that a sound benchmark must rank where they belong.

`identity`, `mean-fill` and `blur-fill` do badly on some metrics by construction (measuring rules of
docs/benchmark.md), `copy-twin` pastes what a model would that memorised the photo, `ground-truth` is
the ceiling. None of them is a method.
"""

from __future__ import annotations

import cv2
import numpy as np

from baselines.eraser import Eraser, EraserInfo, EraserSpec, Hints
from baselines.fill import Fill, Filler, mean_fill
from olrd.arrays import Image, Mask
from olrd.errors import UsageError
from olrd.registry import checked_options


def _control(spec: EraserSpec, fill: Fill, **defaults: str) -> Eraser:
    options = checked_options(spec, defaults)
    info = EraserInfo(spec.name, "1", "Apache-2.0", options=options, control=True)
    return Filler(info, fill)


def open_identity(spec: EraserSpec) -> Eraser:
    """Does nothing: the score of a method that leaves the object where it is."""
    return _control(spec, lambda image, mask, hint: image.copy())


def open_ground_truth(spec: EraserSpec) -> Eraser:
    """Returns the truth: the best score there is."""
    return _control(spec, _truth)


def _truth(image: Image, mask: Mask, hint: Hints) -> Image:
    if hint.truth is None:
        raise UsageError("the control ground-truth needs a data set with a truth; this one has none")
    return hint.truth.copy()


def open_mean_fill(spec: EraserSpec) -> Eraser:
    """The mean colour of everything outside the mask (grey 128 if the mask covers all)."""
    return _control(spec, mean_fill)


def open_blur_fill(spec: EraserSpec) -> Eraser:
    """A normalised Gaussian blur of what is outside the mask; option sigma (pixels, default 12)."""
    sigma = checked_options(spec, {"sigma": "12"})["sigma"]
    try:
        width = float(sigma)
    except ValueError:
        width = 0.0
    if not 0.5 <= width <= 500:
        raise UsageError(f"blur-fill: sigma must be between 0.5 and 500 pixels, got '{sigma}'")
    return _control(spec, lambda image, mask, hint: blur_fill(image, mask, width), sigma="12")


def blur_fill(image: Image, mask: Mask, sigma: float) -> Image:
    """Each masked pixel becomes the Gaussian-weighted mean of the pixels outside the mask. Where none
    is near enough to count, the mean colour stands in."""
    known = (~mask).astype(np.float32)
    weight = cv2.GaussianBlur(known, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    sums = cv2.GaussianBlur(image * known[..., None], (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    filled = mean_fill(image, mask, Hints())
    near = mask & (weight > 1e-4)
    filled[near] = np.clip(np.rint(sums[near] / weight[near][:, None]), 0, 255).astype(np.uint8)
    return filled


def open_copy_twin(spec: EraserSpec) -> Eraser:
    """Paints over the mask what stands at the object's original place in the same photo, so the object
    itself again: what a model would do that has learned to look for the twin. Without a twin it is
    `identity`."""
    return _control(spec, copy_twin)


def copy_twin(image: Image, mask: Mask, hint: Hints) -> Image:
    """See `open_copy_twin`. The mask's box is filled from the twin's box, scaled if they differ."""
    if hint.twin is None:
        return image.copy()
    x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
    twin = image[hint.twin.crop()]
    patch = twin if twin.shape[:2] == (h, w) else cv2.resize(twin, (w, h), interpolation=cv2.INTER_AREA)
    filled = image.copy()
    inside = mask[y : y + h, x : x + w]
    filled[y : y + h, x : x + w][inside] = patch[inside]
    return filled
