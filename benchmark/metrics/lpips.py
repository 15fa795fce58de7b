"""LPIPS v0.1 as a map whose mean over the picture is the published score.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, eq. 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from baselines.weights import locate, revision_of
from benchmark.metrics import FloatMap, MetricInfo, MetricSpec, Score
from benchmark.metrics.backbones import ALEX, VGG, Backbone, Layout
from benchmark.metrics.changed import Plan, Tapped, difference, part, pixels_of
from benchmark.metrics.encoders import check_installed, exact, load_tensors
from benchmark.metrics.grid import overlap
from benchmark.metrics.pictures import as_batch, check_pairs
from benchmark.metrics.pinned import VGG16
from olrd.arrays import Image
from olrd.models.checkpoints import choose_device

SHIPPED = Path(__file__).parents[1] / "weights"
ALEX_WEIGHTS = SHIPPED / "lpips_v0.1_alex.safetensors"
"""AlexNet's convolutions, and the heads of LPIPS for them."""

# The published scaling layer: mean and deviation of ImageNet, for inputs in -1..1.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPSILON = 1e-10


class Network(NamedTuple):
    """A backbone behind the scaling layer. shift, scale: tensors [3, 1, 1]."""

    backbone: Backbone
    device: str
    shift: Any
    scale: Any

    def input_of(self, images: Sequence[npt.NDArray[Any]]) -> Any:
        """Pictures [H, W, 3] of one size, values 0 to 255, as the backbone's input [n, 3, H, W]."""
        return (as_batch(images, self.device) / 127.5 - 1 - self.shift) / self.scale


def open_network(metric: str, device: str, layout: Layout, weights: Path) -> Network:
    """Load a backbone.

    Args:
        metric: name of the metric, for messages.
        device: `auto` or a device of torch.
        layout: the network.
        weights: file of its convolutions.
    """
    import torch

    device = choose_device(device, metric)
    shift, scale = (torch.tensor(v, device=device)[:, None, None] for v in (SHIFT, SCALE))
    return Network(Backbone(layout, load_tensors(weights), device, str(weights)), device, shift, scale)


class Lpips:
    """Perceptual distance. Its map is the sum of the distances of all layers.

    The distances of a layer lie on a coarse grid. Each cell is spread evenly over its pixels; pixels on an edge are
    shared by area. The mean of the map over the whole picture is therefore the published score (spatial mean per layer,
    then the sum), and a region gets from each cell the part that it covers. Bilinear upsampling would weight the cells
    at the border differently and give a slightly different score.

    Cells that see no difference of output and truth have distance 0 and are not computed (see `changed`).
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
    def _network(self) -> tuple[Network, list[Any]]:
        """The network, and the weights of the heads ([c] per layer)."""
        backbone, heads = self._files
        network, tensors = open_network(self.info.name, self._device, self._layout, backbone), load_tensors(heads)
        return network, [tensors[f"lin{i}.model.1.weight"].float().flatten().to(network.device) for i in range(5)]

    def maps(self, outputs: Sequence[Image], truth: Image) -> list[FloatMap]:
        """Distance per pixel, at least 0. NaN everywhere if a side is smaller than the network accepts."""
        check_pairs(self.info.name, outputs, truth)
        height, width = truth.shape[:2]
        if min(height, width) < self._layout.smallest:
            return [np.full((height, width), np.nan, np.float32) for _ in outputs]
        areas = [difference(output, truth) for output in outputs]
        network, heads = self._network  # before equal pictures are let off: damaged weights end a run
        if all(area.empty for area in areas):
            return [np.zeros((height, width), np.float32) for _ in outputs]
        with exact():
            plan = Plan(network.backbone, (height, width), areas)
            reference = network.input_of([part(truth, plan.needed[0])])
            changed = [None if a.empty else network.input_of([part(o, a)]) for o, a in zip(outputs, areas, strict=True)]
            totals = [reference.new_zeros(height, width) for _ in outputs]
            for tapped, head in zip(plan.taps(reference, changed), heads, strict=False):
                for one in tapped:
                    _add(totals[one.output], one, _distances(one.truth, one.values, head))
            return [total.cpu().numpy() for total in totals]

    def finish(self, mean: float) -> Score:
        """The mean itself; NaN means that the picture is too small for the network."""
        return Score(None, "too_small") if math.isnan(mean) else Score(mean)


def _distances(truth: Any, output: Any, head: Any) -> Any:
    """Equation 1 before its spatial mean, [h, w], of features [1, c, h, w].

    The features of each cell are scaled to unit length, and their squared differences weighted by `head` [c].
    """
    a, b = (features / (features.square().sum(1, keepdim=True).sqrt_() + EPSILON) for features in (truth, output))
    return ((a - b).square_()[0].movedim(0, -1) @ head[:, None])[..., 0]


def _add(total: Any, tapped: Tapped, distances: Any) -> None:
    """Spread the distances of a layer's cells over their pixels, and add them to a map [H, W].

    All cells that are not part of the tap have distance 0. The mean over the picture stays that of all cells.
    """
    size = tuple(total.shape)
    pixels = pixels_of(tapped.area, tapped.size, size)
    if tapped.size != size:
        rows, columns = (
            distances.new_tensor(overlap(count, cells)[inside.cut, area.cut])
            for count, cells, inside, area in zip(size, tapped.size, pixels, tapped.area, strict=True)
        )
        distances = rows @ distances @ columns.T
    total[pixels.rows.cut, pixels.columns.cut] += distances


def open_lpips_alex(spec: MetricSpec) -> Lpips:
    """Open `lpips-alex`. Its weights ship with the package."""
    check_installed(spec.name, "torch", "safetensors")
    return Lpips(spec, ALEX, ALEX_WEIGHTS, ALEX_WEIGHTS)


def open_lpips_vgg(spec: MetricSpec) -> Lpips:
    """Open `lpips-vgg`.

    It needs VGG16: $LPIPS_VGG_MODEL, or `benchmark fetch vgg16`. The heads ship with the package.
    """
    check_installed(spec.name, "torch", "safetensors")
    backbone = locate(VGG16, variable="LPIPS_VGG_MODEL")
    return Lpips(spec, VGG, backbone, SHIPPED / "lpips_v0.1_vgg_heads.safetensors")
