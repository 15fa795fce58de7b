"""LPIPS v0.1 as a map whose mean over the picture is the published score.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, eq. 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from baselines.weights import locate, revision_of
from benchmark.metrics import FloatMap, MetricInfo, MetricSpec, Score
from benchmark.metrics.backbones import ALEX, VGG, Backbone, Layout
from benchmark.metrics.encoders import check_installed, exact, load_tensors
from benchmark.metrics.grid import overlap
from benchmark.metrics.pictures import as_batch, check_pairs
from benchmark.metrics.pinned import VGG16
from olrd.arrays import Image
from olrd.models.checkpoints import choose_device

SHIPPED = Path(__file__).parents[1] / "weights"

# The published scaling layer: mean and deviation of ImageNet, for inputs in -1..1.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10


class Lpips:
    """Perceptual distance. Its map is the sum of the distances of all layers.

    The distances of a layer lie on a coarse grid. Each cell is spread evenly over its pixels; pixels on an edge are
    shared by area. The mean of the map over the whole picture is therefore the published score (spatial mean per layer,
    then the sum), and a region gets from each cell the part that it covers. Bilinear upsampling would weight the cells
    at the border differently and give a slightly different score.
    """

    def __init__(self, spec: MetricSpec, layout: Layout, backbone: Path, heads: Path) -> None:
        self.info = MetricInfo(
            spec.name,
            "map",
            higher_is_better=False,
            unit="",
            definition=(
                f"LPIPS v0.1 with {layout.name}, RGB in -1..1 at full size, layers spread over pixels by "
                "area; over the whole picture the published score"
            ),
            revision=f"1+{revision_of(backbone)}",
        )
        self._device, self._layout, self._files = spec.device, layout, (backbone, heads)

    @cached_property
    def _network(self) -> tuple[str, Backbone, list[Any], Any, Any]:
        """Device, backbone, weights of the heads ([c] per layer), shift and scale ([3, 1, 1])."""
        import torch

        device = choose_device(self._device, self.info.name)
        backbone, heads = (load_tensors(path) for path in self._files)
        layers = [heads[f"lin{i}.model.1.weight"].float().flatten().to(device) for i in range(5)]
        shift, scale = (torch.tensor(v, device=device)[:, None, None] for v in (SHIFT, SCALE))
        return (device, Backbone(self._layout, backbone, device, str(self._files[0])), layers, shift, scale)

    def maps(self, outputs: Sequence[Image], truth: Image) -> list[FloatMap]:
        """Distance per pixel, at least 0. NaN everywhere if a side is smaller than the network accepts."""
        check_pairs(self.info.name, outputs, truth)
        if not outputs:
            return []
        height, width = truth.shape[:2]
        if min(height, width) < self._layout.smallest:
            return [np.full((height, width), np.nan, np.float32) for _ in outputs]
        device, backbone, heads, shift, scale = self._network
        with exact():
            # One batch: the truth first, then everything that is compared with it.
            x = (as_batch([truth, *outputs], device) / 127.5 - 1 - shift) / scale
            total = sum(
                _spread(_distances(features, head), height, width)
                for features, head in zip(backbone.taps(x), heads, strict=True)
            )
            return list(total.cpu().numpy())

    def finish(self, mean: float) -> Score:
        """The mean itself; NaN means that the picture is too small for the network."""
        return Score(None, "too_small") if math.isnan(mean) else Score(mean)


def _distances(features: Any, head: Any) -> Any:
    """Equation 1 before its spatial mean, [n, h, w]: the first of `features` [1 + n, c, h, w] against the others.

    The features of each pixel are scaled to unit length, and their squared differences weighted by `head`.
    """
    unit = features / (features.square().sum(1, keepdim=True).sqrt_() + EPSILON)
    squared = (unit[1:] - unit[:1]).square_()
    return (squared.movedim(1, -1) @ head[:, None])[..., 0]


def _spread(cells: Any, height: int, width: int) -> Any:
    """Spread the cells of a layer [n, h, w] over the pixels [n, height, width]. The mean stays the same."""
    if cells.shape[1:] == (height, width):
        return cells
    rows, columns = (
        cells.new_tensor(overlap(pixels, count)) for pixels, count in zip((height, width), cells.shape[1:], strict=True)
    )
    return rows @ cells @ columns.T


def open_lpips_alex(spec: MetricSpec) -> Lpips:
    """Open `lpips-alex`. Its weights ship with the package."""
    check_installed(spec.name, "torch", "safetensors")
    weights = SHIPPED / "lpips_v0.1_alex.safetensors"
    return Lpips(spec, ALEX, weights, weights)


def open_lpips_vgg(spec: MetricSpec) -> Lpips:
    """Open `lpips-vgg`.

    It needs VGG16: $LPIPS_VGG_MODEL, or `benchmark fetch vgg16`. The heads ship with the package.
    """
    check_installed(spec.name, "torch", "safetensors")
    backbone = locate(VGG16, variable="LPIPS_VGG_MODEL")
    return Lpips(spec, VGG, backbone, SHIPPED / "lpips_v0.1_vgg_heads.safetensors")
