"""Does the fill go with its surroundings? Seam, tone and smoothness, from the result alone.

They need no truth and no network. A perfect result is not 0: photos themselves have edges and changes of light, so compare with
the scores of `ground-truth` on a set that has one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from benchmark.metrics import Erasure, MetricInfo, MetricSpec, Score
from benchmark.metrics.regrowth import check_erasure
from olrd.arrays import Image, Mask
from olrd.masks import grown

REACH = 8
"""Pixels on both sides of the mask's edge that `seam` and `tone` look at."""
Cut = tuple[slice, slice]
ALL, FIRST, LAST = slice(None), slice(None, -1), slice(1, None)
NEIGHBOURS: tuple[tuple[Cut, Cut], ...] = (((ALL, FIRST), (ALL, LAST)), ((FIRST, ALL), (LAST, ALL)))
"""Per axis, the cuts of an array that give both pixels of every pair of neighbours."""


class Surroundings:
    """A score of output and regions."""

    def __init__(self, info: MetricInfo, compute: Callable[[Image, Erasure], float | None]) -> None:
        self.info, self._compute = info, compute

    def judge(self, outputs: Sequence[Image], erasure: Erasure) -> list[Score]:
        """One score per output. No value for a mask that is empty or covers the whole picture."""
        check_erasure(self.info.name, outputs, erasure)
        mask = erasure.regions["mask"]
        if not mask.any() or mask.all():
            return [Score(None, "full_region" if mask.any() else "empty_region") for _ in outputs]
        found = (self._compute(output, erasure) for output in outputs)
        return [Score(None, "empty_region") if value is None else Score(value) for value in found]


def seam(output: Image, erasure: Erasure) -> float | None:
    """By how much the steps across the mask's edge exceed the steps beside it, in grey levels.

    A step is the absolute difference of two neighbours, averaged over RGB. Steps beside the edge are those whose two
    pixels lie on one side, within `REACH` pixels of the other side.
    """
    mask = erasure.regions["mask"]
    near = grown(mask, REACH) & grown(~mask, REACH)
    across, beside = [], []
    for steps, a, b in _steps(output):
        across.append(steps[mask[a] != mask[b]])
        beside.append(steps[(mask[a] == mask[b]) & near[a] & near[b]])
    return _difference(_mean(across), _mean(beside))


def tone(output: Image, erasure: Erasure) -> float | None:
    """The difference of the mean colour on both sides of the mask's edge, in grey levels, averaged along the edge.

    For every pixel of the mask that touches the outside: the mean of the masked and of the other pixels in the square of
    side 2 * `REACH` + 1 around it, their absolute difference averaged over RGB.
    """
    mask = erasure.regions["mask"]
    rim = mask & grown(~mask, 1)
    inside, outside = (_local_mean(output, region)[rim] for region in (mask, ~mask))
    return float(np.abs(inside - outside).mean())


def smoothness(output: Image, erasure: Erasure) -> float | None:
    """By how many octaves the fill has less detail than the ring: log2((ring + 1) / (mask + 1)), at least 0.

    The detail of a region is the mean step between neighbours that both lie in it, in grey levels. The 1 keeps flat
    regions finite. A fill with more detail than its surroundings scores 0.
    """
    found = _steps(output)
    regions = (erasure.regions[name] for name in ("ring", "mask"))
    ring, mask = (_mean([steps[where[a] & where[b]] for steps, a, b in found]) for where in regions)
    if ring is None or mask is None:
        return None
    return max(0.0, float(np.log2((ring + 1) / (mask + 1))))


def _steps(output: Image) -> list[tuple[npt.NDArray[np.float32], Cut, Cut]]:
    """Per axis the steps between neighbours in grey levels [h, w], and the cuts that give both pixels of each step."""
    return [
        (cv2.absdiff(output[a], output[b]).mean(axis=2, dtype=np.float32), a, b)
        for a, b in NEIGHBOURS
        if output[a].size
    ]


def _mean(values: Sequence[npt.NDArray[np.float32]]) -> float | None:
    count = sum(one.size for one in values)
    return sum(float(one.sum(dtype=np.float64)) for one in values) / count if count else None


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _local_mean(output: Image, region: Mask) -> npt.NDArray[np.float64]:
    """The mean of a region's pixels in the square around each pixel, [H, W, 3]; only valid where there are some."""
    side = (2 * REACH + 1, 2 * REACH + 1)
    weights = region.astype(np.float64)

    def total(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return cv2.boxFilter(values, -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT)

    return total(output * weights[..., None]) / np.maximum(total(weights), 1)[..., None]


def _open(
    spec: MetricSpec, region: str, unit: str, definition: str, compute: Callable[[Image, Erasure], float | None]
) -> Surroundings:
    info = MetricInfo(spec.name, "erasure", False, unit, definition, needs_truth=False, region=region)
    return Surroundings(info, compute)


def open_seam(spec: MetricSpec) -> Surroundings:
    """Open `seam`. It needs nothing."""
    definition = "mean step between neighbours across the mask's edge, minus that on both sides of it within 8 pixels; mean |RGB|"
    return _open(spec, "ring", "grey levels", definition, seam)


def open_tone(spec: MetricSpec) -> Surroundings:
    """Open `tone`. It needs nothing."""
    definition = (
        "difference of the mean colour inside and outside, in squares of 17 pixels along the mask's edge; mean |RGB|"
    )
    return _open(spec, "ring", "grey levels", definition, tone)


def open_smoothness(spec: MetricSpec) -> Surroundings:
    """Open `smoothness`. It needs nothing."""
    definition = "log2((d(ring) + 1) / (d(mask) + 1)), at least 0; d: mean step between neighbours in grey levels"
    return _open(spec, "mask", "octaves", definition, smoothness)
