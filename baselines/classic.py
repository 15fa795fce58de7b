"""Classical erasers: they need no weights, are always available and are deterministic.

`opencv-telea` (fast marching, Telea 2004) and `opencv-ns` (Navier-Stokes, Bertalmio 2001) from
OpenCV; `biharmonic` (smooth surface, Damelin and Hoang 2018) from scikit-image.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import cv2
import numpy as np

from baselines.eraser import Eraser, EraserInfo, EraserSpec, Hints
from baselines.fill import Filler, mean_fill
from olrd.arrays import Image, Mask
from olrd.errors import MissingExtraError
from olrd.registry import checked_options, number_options


def open_opencv_telea(spec: EraserSpec) -> Eraser:
    """OpenCV's fast marching method.

    Options:
        radius: Radius of the neighbourhood that a pixel is made of, in pixels (default 5).
    """
    return _opencv(spec, cv2.INPAINT_TELEA)


def open_opencv_ns(spec: EraserSpec) -> Eraser:
    """OpenCV's Navier-Stokes method.

    Options:
        radius: Radius of the neighbourhood that a pixel is made of, in pixels (default 5).
    """
    return _opencv(spec, cv2.INPAINT_NS)


def _opencv(spec: EraserSpec, how: int) -> Eraser:
    options = checked_options(spec, {"radius": "5"})
    radius = number_options(spec, options, {"radius": (1, 100)})["radius"]

    def fill(image: Image, mask: Mask, hint: Hints) -> Image:
        if mask.all():  # there is no known pixel to start from
            return mean_fill(image, mask, hint)
        return cv2.inpaint(image, mask.astype(np.uint8), radius, how)

    return Filler(EraserInfo(spec.name, f"opencv-{cv2.__version__}", "Apache-2.0", options=options), fill)


LIMIT = 20_000
"""Largest number of masked pixels that `biharmonic` solves for. With more, it works on a smaller copy."""


def open_biharmonic(spec: EraserSpec) -> Eraser:
    """scikit-image's biharmonic inpainting."""
    try:
        revision = f"scikit-image-{version('scikit-image')}"
    except PackageNotFoundError as error:
        raise MissingExtraError("the eraser biharmonic", "benchmark") from error
    options = checked_options(spec, {})
    info = EraserInfo(spec.name, revision, "BSD-3-Clause", options=options)
    return Filler(info, biharmonic)


def biharmonic(image: Image, mask: Mask, hint: Hints) -> Image:
    """Fill the mask with a biharmonic surface.

    The system is solved at a size at which at most `LIMIT` pixels are masked, and the result is enlarged. This bounds
    time and memory, and little is lost because the surface is smooth.
    """
    from skimage.restoration import inpaint_biharmonic

    if mask.all():
        return mean_fill(image, mask, hint)
    height, width = mask.shape
    shrink = min(1.0, (LIMIT / np.count_nonzero(mask)) ** 0.5)
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    photo, hole = np.ascontiguousarray(image), np.ascontiguousarray(mask)  # scikit-image needs contiguous arrays
    if shrink < 1:
        # The small hole contains every masked pixel, so that no colour of the object leaks into the small copy.
        hole = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        photo = cv2.resize(mean_fill(image, mask, hint), size, interpolation=cv2.INTER_AREA)
        if hole.all():
            return mean_fill(image, mask, hint)
    solved = inpaint_biharmonic(photo, hole, channel_axis=-1)
    pixels = np.clip(np.rint(solved * 255), 0, 255).astype(np.uint8)
    if shrink < 1:
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC)
    filled = image.copy()
    filled[mask] = pixels[mask]
    return filled
