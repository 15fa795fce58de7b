"""Controls: trivial methods whose expected rank is known, so that they show whether a benchmark works.

`identity`, `mean-fill` and `blur-fill` score badly on some metrics by construction (see
docs/benchmark.md). `copy-twin` pastes what a model that memorised the photo would paste. `ground-truth` has the best
score that is possible. None of them is a method.
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
    """Returns the photo as it is: the score of a method that does not remove the object."""
    return _control(spec, lambda image, mask, hint: image.copy())


def open_ground_truth(spec: EraserSpec) -> Eraser:
    """Returns the truth: the best possible score."""
    return _control(spec, _truth)


def _truth(image: Image, mask: Mask, hint: Hints) -> Image:
    if hint.truth is None:
        raise UsageError("the control ground-truth needs a dataset with a truth; this one has none")
    return hint.truth.copy()


def open_mean_fill(spec: EraserSpec) -> Eraser:
    """Fills the mask with the mean colour outside it, or grey 128 if the mask covers the whole photo."""
    return _control(spec, mean_fill)


def open_blur_fill(spec: EraserSpec) -> Eraser:
    """Fills the mask with a normalised Gaussian blur of the pixels outside it.

    Options:
        sigma: Standard deviation of the blur in pixels (default 12).
    """
    sigma = checked_options(spec, {"sigma": "12"})["sigma"]
    try:
        width = float(sigma)
    except ValueError:
        width = 0.0
    if not 0.5 <= width <= 500:
        raise UsageError(f"blur-fill: sigma must be between 0.5 and 500 pixels, got '{sigma}'")
    return _control(spec, lambda image, mask, hint: blur_fill(image, mask, width), sigma="12")


def blur_fill(image: Image, mask: Mask, sigma: float) -> Image:
    """Fill each masked pixel with the Gaussian-weighted mean of the pixels outside the mask.

    Pixels that are too far from the mask's edge get the mean colour.
    """
    known = (~mask).astype(np.float32)
    weight = cv2.GaussianBlur(known, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    sums = cv2.GaussianBlur(image * known[..., None], (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    filled = mean_fill(image, mask, Hints())
    near = mask & (weight > 1e-4)
    filled[near] = np.clip(np.rint(sums[near] / weight[near][:, None]), 0, 255).astype(np.uint8)
    return filled


def open_copy_twin(spec: EraserSpec) -> Eraser:
    """Pastes the object's untouched original, its twin, from the same photo over the mask.

    A model that has learned to look for the twin would do the same. Without a twin it returns the photo as it is.
    """
    return _control(spec, copy_twin)


def copy_twin(image: Image, mask: Mask, hint: Hints) -> Image:
    """Fill the mask from the twin's box, which is resized if its size differs from that of the mask's box."""
    if hint.twin is None:
        return image.copy()
    x, y, w, h = cv2.boundingRect(mask.view(np.uint8))
    twin = image[hint.twin.crop()]
    patch = twin if twin.shape[:2] == (h, w) else cv2.resize(twin, (w, h), interpolation=cv2.INTER_AREA)
    filled = image.copy()
    inside = mask[y : y + h, x : x + w]
    filled[y : y + h, x : x + w][inside] = patch[inside]
    return filled
