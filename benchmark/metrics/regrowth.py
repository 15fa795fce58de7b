"""Is the object gone? Whether a fill is nearer to the erased object than to what belongs there.

Each sample is 1 (the object is back) or 0, so the mean is the share of samples in which an eraser painted the object
again. The fill, the object and the truth are compared inside the same photo: each is pasted into the mask of the input.
The object is the input itself, and also its twin, if the photo holds the untouched original of a pasted object.

`regrowth` compares features without their places, and finds an object that is moved or mirrored. Comparing pixel by
pixel misses those (`regrowth-colour`), or takes more flat fills for the object (`regrowth-lpips`). The page of the benchmark
has the shares of each; `perf/regrowth.py` measures them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from baselines.weights import revision_of
from benchmark.metrics import Erasure, MetricInfo, MetricSpec, Score
from benchmark.metrics.backbones import ALEX
from benchmark.metrics.encoders import check_installed, exact
from benchmark.metrics.grid import overlap
from benchmark.metrics.lpips import ALEX_WEIGHTS, EPSILON, Lpips, Network, open_network
from benchmark.metrics.pictures import check_fits
from olrd.arrays import Image, Mask
from olrd.errors import UsageError
from olrd.masks import mask_box
from olrd.panoptic import Box

MARGIN = 64
"""Pixels around the mask's box that the network sees."""
Judged = Callable[[Image, Erasure], Score]
"""The score of one picture that equals the input outside the mask."""


def check_erasure(metric: str, outputs: Sequence[Image], erasure: Erasure) -> None:
    """Raise `UsageError` if an output, the photo or the truth is no picture, or differs from the mask in size."""
    pictures = [("an output", output) for output in outputs] + [("the photo", erasure.image)]
    for what, image in pictures + ([] if erasure.truth is None else [("the truth", erasure.truth)]):
        check_fits(metric, image, erasure.regions["mask"], what)


def each_fill(metric: MetricInfo, outputs: Sequence[Image], erasure: Erasure, judge: Judged) -> list[Score]:
    """Judge the fill of each output, pasted into the input. Outputs with equal fills are judged once."""
    check_erasure(metric.name, outputs, erasure)
    mask = erasure.regions["mask"]
    if metric.needs_truth and erasure.truth is None:
        raise UsageError(f"{metric.name} compares with the truth, and this sample has none")
    if not mask.any():
        return [Score(None, "empty_region") for _ in outputs]
    if metric.needs_truth and not np.any(erasure.image[mask] != pasted(erasure.truth, erasure)[mask]):
        return [Score(None, "no_object") for _ in outputs]
    found: list[tuple[Image, Score]] = []
    for output in outputs:
        fill = pasted(output, erasure)
        known = [score for other, score in found if np.array_equal(fill, other)]
        found.append((fill, known[0] if known else judge(fill, erasure)))
    return [score for _, score in found]


def pasted(picture: Any, erasure: Erasure) -> Image:
    """The input with a picture in its mask."""
    return np.where(erasure.regions["mask"][..., None], picture, erasure.image)


def objects(erasure: Erasure) -> list[Image]:
    """The input, and the input with the twin in its mask, resized to the mask's box if the sizes differ."""
    box, twin = mask_box(erasure.regions["mask"]), erasure.twin
    if twin is None:
        return [erasure.image]
    patch = erasure.image[twin.crop()]
    if not patch.size:
        return [erasure.image]
    if patch.shape[:2] != (box.h, box.w):
        patch = cv2.resize(patch, (box.w, box.h), interpolation=cv2.INTER_AREA)
    shown = erasure.image.copy()
    shown[box.crop()] = patch
    return [erasure.image, pasted(shown, erasure)]


def _info(spec: MetricSpec, definition: str, needs_truth: bool = True, revision: str = "1") -> MetricInfo:
    return MetricInfo(
        spec.name,
        "erasure",
        higher_is_better=False,
        unit="",
        definition=f"1 if the fill is nearer to the object (input in the mask, or its twin) than to {definition}, else 0",
        needs_truth=needs_truth,
        revision=revision,
        region="mask",
        needs_image=True,
    )


class ColourRegrowth:
    """By colour, pixel by pixel."""

    def __init__(self, spec: MetricSpec) -> None:
        self.info = _info(spec, "the truth, by the mean squared difference of RGB in the mask, pixel by pixel")

    def judge(self, outputs: Sequence[Image], erasure: Erasure) -> list[Score]:
        """1 or 0 per output."""
        return each_fill(self.info, outputs, erasure, self._judge)

    def _judge(self, fill: Image, erasure: Erasure) -> Score:
        mask = erasure.regions["mask"]

        def distance(other: Any) -> int:
            return int(np.square(fill[mask].astype(np.int64) - other[mask]).sum())

        return Score(float(min(map(distance, objects(erasure))) < distance(erasure.truth)))


class LpipsRegrowth:
    """By the map of LPIPS, cell by cell."""

    def __init__(self, spec: MetricSpec) -> None:
        self._lpips = Lpips(spec, ALEX, ALEX_WEIGHTS, ALEX_WEIGHTS)
        revision = self._lpips.info.revision
        self.info = _info(spec, "the truth, by the mean of LPIPS-alex's map in the mask", revision=revision)

    def judge(self, outputs: Sequence[Image], erasure: Erasure) -> list[Score]:
        """1 or 0 per output."""
        return each_fill(self.info, outputs, erasure, self._judge)

    def _judge(self, fill: Image, erasure: Erasure) -> Score:
        mask = erasure.regions["mask"]
        others = [*objects(erasure), pasted(erasure.truth, erasure)]
        *to_object, to_truth = (float(m[mask].mean(dtype=np.float64)) for m in self._lpips.maps(others, fill))
        return Score(None, "too_small") if np.isnan(to_truth) else Score(float(min(to_object) < to_truth))


class FeatureRegrowth:
    """By AlexNet's features in the mask, without their places.

    The features of a layer are scaled to unit length in each cell, as in LPIPS, and averaged over the cells of a region,
    each weighted by the area that it shares with the region. The distance of two averages is 1 - their cosine, summed
    over the five layers. The network sees the mask's box, grown by 64 pixels.
    """

    def __init__(self, spec: MetricSpec, truth: bool) -> None:
        other = "the truth" if truth else "the ring around the mask"
        definition = (
            f"{other}, by 1 - cosine of AlexNet's mean features, each cell of unit length, summed over five "
            f"layers; seen: the mask's box, grown by {MARGIN} pixels"
        )
        self.info = _info(spec, definition, needs_truth=truth, revision=f"1+{revision_of(ALEX_WEIGHTS)}")
        self._device = spec.device

    @cached_property
    def _network(self) -> Network:
        return open_network(self.info.name, self._device, ALEX, ALEX_WEIGHTS)

    def judge(self, outputs: Sequence[Image], erasure: Erasure) -> list[Score]:
        """1 or 0 per output."""
        if not self.info.needs_truth and erasure.regions["mask"].any() and not erasure.regions["ring"].any():
            check_erasure(self.info.name, outputs, erasure)
            return [Score(None, "full_region") for _ in outputs]
        return each_fill(self.info, outputs, erasure, self._judge)

    def _judge(self, fill: Image, erasure: Erasure) -> Score:
        seen = _around(mask_box(erasure.regions["mask"]), fill.shape[:2]).crop()
        mask, ring = erasure.regions["mask"][seen], erasure.regions["ring"][seen]
        if min(mask.shape) < ALEX.smallest:
            return Score(None, "too_small")
        pictures = [fill, *objects(erasure)]
        if self.info.needs_truth:
            pictures.append(pasted(erasure.truth, erasure))
        layers = self._means([picture[seen] for picture in pictures], mask, ring)
        expected = [inside[-1] if self.info.needs_truth else around[0] for inside, around in layers]
        count = len(pictures) - 1 - self.info.needs_truth
        to_object = [sum(_apart(inside[0], inside[1 + k]) for inside, _ in layers) for k in range(count)]
        to_other = sum(_apart(inside[0], other) for (inside, _), other in zip(layers, expected, strict=True))
        return Score(float(min(to_object) < to_other))

    def _means(self, pictures: Sequence[Image], mask: Mask, ring: Mask) -> list[tuple[Any, Any]]:
        """By layer the mean features in the mask and in the ring, float64 [n, c] each."""
        network, found = self._network, []
        with exact():
            for features in network.backbone.taps(network.input_of(pictures)):
                unit = features / (features.square().sum(1, keepdim=True).sqrt() + EPSILON)
                rows, columns = (overlap(p, c) for p, c in zip(mask.shape, features.shape[2:], strict=True))
                weights = [rows.T @ region @ columns for region in (mask, ring)]
                cells = unit.cpu().double().numpy()
                found.append(tuple(np.einsum("nchw,hw->nc", cells, w, optimize=True) for w in weights))
        return found  # type: ignore[return-value]


def _around(box: Box, size: tuple[int, ...]) -> Box:
    left, top = max(0, box.x - MARGIN), max(0, box.y - MARGIN)
    right, bottom = min(size[1], box.x + box.w + MARGIN), min(size[0], box.y + box.h + MARGIN)
    return Box(left, top, right - left, bottom - top)


def _apart(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """1 - cosine. Two vectors without length are equal."""
    length = float(np.sqrt((a @ a) * (b @ b)))
    return 1 - float(a @ b) / length if length else float(np.any(a != b))


def open_regrowth(spec: MetricSpec) -> FeatureRegrowth:
    """Open `regrowth`. Its weights are those of LPIPS, which ship with the package."""
    check_installed(spec.name, "torch", "safetensors")
    return FeatureRegrowth(spec, truth=True)


def open_regrowth_ring(spec: MetricSpec) -> FeatureRegrowth:
    """Open `regrowth-ring`, which needs no truth."""
    check_installed(spec.name, "torch", "safetensors")
    return FeatureRegrowth(spec, truth=False)


def open_regrowth_colour(spec: MetricSpec) -> ColourRegrowth:
    """Open `regrowth-colour`. It needs nothing."""
    return ColourRegrowth(spec)


def open_regrowth_lpips(spec: MetricSpec) -> LpipsRegrowth:
    """Open `regrowth-lpips`."""
    check_installed(spec.name, "torch", "safetensors")
    return LpipsRegrowth(spec)
