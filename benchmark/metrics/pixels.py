"""PSNR and SSIM of RGB pictures in 0..255, as maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from benchmark.metrics import FloatMap, MetricInfo, MetricSpec, Score
from benchmark.metrics.changed import NOWHERE, Area, Span, difference, hull, part
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
    """Statistics of the truth in an area, float64 [h, w, 3] each. values: its pixels. mean, variance: of windows."""

    area: Area
    values: Planes
    mean: Planes
    variance: Planes


class Ssim:
    """Structural similarity (Wang et al., IEEE TIP 2004, eq. 13). Its map is the mean over RGB.

    At the border, the picture is mirrored about its outermost pixels (BORDER_REFLECT_101), as in torchmetrics. These
    windows count: every region of the picture has a score.
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
        changed = [difference(output, truth) for output in outputs]
        seen = hull([_grown(area, RADIUS, truth) for area in changed])
        if seen.empty:
            return [np.ones(truth.shape[:2], np.float32) for _ in outputs]
        reference = _local(truth, _grown(seen, RADIUS, truth))
        return [_ssim(output, truth, reference, area) for output, area in zip(outputs, changed, strict=True)]

    def finish(self, mean: float) -> Score:
        """The mean itself."""
        return Score(mean)


def _blur(values: Planes) -> Planes:
    return cv2.GaussianBlur(values, (WINDOW, WINDOW), SIGMA, sigmaY=SIGMA, borderType=cv2.BORDER_REFLECT_101)


def _local(truth: Image, area: Area) -> _Local:
    """Statistics of the truth. They are right up to RADIUS pixels from the area's edges, or up to the picture's border."""
    # float64, because E[x^2] - E[x]^2 loses digits. It costs little: memory bandwidth is the limit.
    values = part(truth, area).astype(np.float64)
    mean, variance = _blur(values), _blur(values * values)
    variance -= mean * mean
    return _Local(area, values, mean, variance)


def _ssim(output: Image, truth: Image, reference: _Local, changed: Area) -> FloatMap:
    """The SSIM map. It is 1 where no window sees a difference; only the rest is computed."""
    result = np.ones(truth.shape[:2], np.float32)
    if changed.empty:
        return result
    seen, context = _grown(changed, RADIUS, truth), _grown(changed, 2 * RADIUS, truth)
    change = cv2.subtract(part(output, context), part(truth, context), dtype=cv2.CV_64F)
    held = [span.within(inside) for span, inside in zip(context, reference.area, strict=True)]
    found = _compare(change, *(values[held[0], held[1]] for values in reference[1:]))
    result[seen.rows.cut, seen.columns.cut] = seen.of(found, context)
    return result


def _grown(area: Area, by: int, image: Image) -> Area:
    """An area grown by `by` pixels on all sides, inside the picture."""
    if area.empty:
        return NOWHERE
    spans = (Span(max(s.start - by, 0), min(s.stop + by, n)) for s, n in zip(area, image.shape[:2], strict=True))
    return Area(*spans)


def _compare(change: Planes, values: Planes, mean: Planes, truth_variance: Planes) -> Planes:
    """Equation 13 of the paper per pixel, averaged over the channels, [H, W].

    change is output - truth, the others are statistics of the truth (see `_Local`), [H, W, 3] each. With it, luminance is 1 - (m - m')^2 / (m^2 + m'^2 + C1), and structure is
    1 - var(change) / (v + v' + C2) with v + v' = 2 v + 2 cov(change, truth) + var(change).
    """
    step = _blur(change)
    squared_step = step * step
    variance = _blur(change * change)
    variance -= squared_step
    spread = _blur(change * values)
    spread -= step * mean
    spread += truth_variance
    spread *= 2
    spread += variance
    spread += C2
    structure = np.subtract(1, np.divide(variance, spread, out=variance), out=variance)

    step += mean
    step *= step
    step += mean * mean
    step += C1
    luminance = np.subtract(1, np.divide(squared_step, step, out=step), out=step)
    return cv2.transform(np.multiply(luminance, structure, out=structure), AVERAGE)


def open_psnr(spec: MetricSpec) -> Psnr:
    """Open `psnr`. It needs nothing."""
    return Psnr()


def open_ssim(spec: MetricSpec) -> Ssim:
    """Open `ssim`. It needs nothing."""
    return Ssim()
