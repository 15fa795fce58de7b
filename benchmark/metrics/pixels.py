"""PSNR and SSIM of RGB pictures in 0..255, as maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from benchmark.metrics import FloatMap, MetricInfo, MetricSpec, Score
from benchmark.metrics.pictures import check_pairs
from olrd.arrays import Image

PEAK = 255.0
WINDOW, SIGMA = 11, 1.5
RADIUS = WINDOW // 2
AVERAGE = np.full((1, 3), 1 / 3)
C1, C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


class Psnr:
    """Peak signal-to-noise ratio. Its map is the squared error, averaged over the three channels."""

    info = MetricInfo(
        "psnr",
        "map",
        higher_is_better=True,
        unit="dB",
        definition="10 log10(255^2 / MSE), RGB 0..255, MSE averaged over channels and region",
    )

    def maps(self, outputs: Sequence[Image], truth: Image) -> list[FloatMap]:
        """Squared error per pixel, 0 to 255 squared (65025)."""
        check_pairs("psnr", outputs, truth)
        return [_squared_error(output, truth) for output in outputs]

    def finish(self, mean: float) -> Score:
        """PSNR in dB from the mean squared error.

        Equal pictures have no value (`identical`), as it would be infinite.
        """
        return Score(10 * math.log10(PEAK**2 / mean)) if mean > 0 else Score(None, "identical")


def _squared_error(output: Image, truth: Image) -> FloatMap:
    """(r^2 + g^2 + b^2) / 3 of the difference. The sum is exact in float32, because 3 * 255^2 < 2^24."""
    difference = cv2.absdiff(output, truth)
    squares = cv2.multiply(difference, difference, dtype=cv2.CV_32F)
    return cv2.transform(squares, np.ones((1, 3), np.float32)) / np.float32(3)


Planes = npt.NDArray[np.float64]


class _Local(NamedTuple):
    """Statistics of the truth, float64 [H, W, 3] each. values: the picture. mean, variance: inside the window."""

    values: Planes
    mean: Planes
    variance: Planes


class Ssim:
    """Structural similarity (Wang et al., IEEE TIP 2004, eq. 13). Its map is the mean over RGB.

    At the border, the picture is mirrored about its outermost pixels (BORDER_REFLECT_101), as in torchmetrics. These
    windows count, so that every region of the picture has a score.
    """

    info = MetricInfo(
        "ssim",
        "map",
        higher_is_better=True,
        unit="",
        definition=(
            "SSIM on RGB 0..255, Gaussian window 11, sigma 1.5, K1 .01, K2 .03, averaged over channels "
            "and region; mirrored border counts, windows straddling the region's rim too"
        ),
    )

    def maps(self, outputs: Sequence[Image], truth: Image) -> list[FloatMap]:
        """SSIM per pixel, -1 to 1."""
        check_pairs("ssim", outputs, truth)
        reference = _local(truth)
        return [_ssim(output, truth, reference) for output in outputs]

    def finish(self, mean: float) -> Score:
        """The mean itself."""
        return Score(mean)


def _blur(values: Planes) -> Planes:
    return cv2.GaussianBlur(values, (WINDOW, WINDOW), SIGMA, sigmaY=SIGMA, borderType=cv2.BORDER_REFLECT_101)


def _local(truth: Image) -> _Local:
    # float64, because E[x^2] - E[x]^2 loses digits. It costs little: memory bandwidth is the limit.
    values = truth.astype(np.float64)
    mean, variance = _blur(values), _blur(values * values)
    variance -= mean * mean
    return _Local(values, mean, variance)


def _ssim(output: Image, truth: Image, reference: _Local) -> FloatMap:
    """The SSIM map. It is 1 where no window sees a difference; only the rest is computed."""
    result = np.ones(truth.shape[:2], np.float32)
    # Channels side by side: the box of the array [H, 3 W] has three times the x and width of the picture's.
    left, top, width, height = cv2.boundingRect(cv2.absdiff(output, truth).reshape(len(truth), -1))
    if width == 0:
        return result
    box = left // 3, top, -(-(left + width) // 3) - left // 3, height
    seen, context = _grown(box, RADIUS, truth), _grown(box, 2 * RADIUS, truth)
    inner = tuple(slice(s.start - c.start, s.stop - c.start) for s, c in zip(seen, context, strict=True))
    change = cv2.subtract(output[context], truth[context], dtype=cv2.CV_64F)
    result[seen] = _compare(change, _Local(*(values[context] for values in reference)))[inner]
    return result


def _grown(box: Sequence[int], by: int, image: Image) -> tuple[slice, slice]:
    """Rows and columns of a box (x, y, width, height), grown by `by` on all sides, inside the picture."""
    x, y, width, height = box
    rows = slice(max(y - by, 0), min(y + height + by, image.shape[0]))
    return rows, slice(max(x - by, 0), min(x + width + by, image.shape[1]))


def _compare(change: Planes, truth: _Local) -> Planes:
    """Equation 13 of the paper per pixel, averaged over the channels, [H, W].

    change is output - truth, [H, W, 3]. With it, luminance is 1 - (m - m')^2 / (m^2 + m'^2 + C1), and structure is
    1 - var(change) / (v + v' + C2) with v + v' = 2 v + 2 cov(change, truth) + var(change).
    """
    step = _blur(change)
    squared_step = step * step
    variance = _blur(change * change)
    variance -= squared_step
    spread = _blur(change * truth.values)
    spread -= step * truth.mean
    spread += truth.variance
    spread *= 2
    spread += variance
    spread += C2
    structure = np.subtract(1, np.divide(variance, spread, out=variance), out=variance)

    step += truth.mean
    step *= step
    step += truth.mean * truth.mean
    step += C1
    luminance = np.subtract(1, np.divide(squared_step, step, out=step), out=step)
    return cv2.transform(np.multiply(luminance, structure, out=structure), AVERAGE)


def open_psnr(spec: MetricSpec) -> Psnr:
    """Open `psnr`. It needs nothing."""
    return Psnr()


def open_ssim(spec: MetricSpec) -> Ssim:
    """Open `ssim`. It needs nothing."""
    return Ssim()
