"""KID on AlexNet's features of the erased region: a set metric that needs no download.

Use `kid-box` (see `inception`) to compare with other work. This metric is for machines without the weights of
Inception. The two have different scales, and this one leaves out the pairs of one source photo: its 0 means "equal
to truth".
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from baselines.weights import revision_of
from benchmark.metrics import Features, MetricInfo, MetricSpec, Score
from benchmark.metrics.backbones import ALEX
from benchmark.metrics.encoders import check_installed, exact
from benchmark.metrics.fidelity import compared, kernel_distance, paired_kernel_distance
from benchmark.metrics.lpips import ALEX_WEIGHTS, Network, open_network
from benchmark.metrics.pictures import check_picture, resize_float
from olrd.arrays import Image

SIDE = 128
WIDTHS = (64, 192, 384, 256, 256)
"""Channels of AlexNet's five convolutions."""


class AlexDistance:
    """A set metric on the mean activations of AlexNet's five layers."""

    def __init__(self, spec: MetricSpec, weights: Path) -> None:
        self._device, self._weights = spec.device, weights
        self.info = MetricInfo(
            spec.name,
            "set",
            higher_is_better=False,
            unit="",
            definition="KID (cubic kernel, all pictures in one set, without the pairs of pictures that are of one "
            "source photo, so that ground truth has 0) of the mask's box, grown, "
            f"stretched to {SIDE} x {SIDE} by a float antialiased bicubic filter; features: the spatial "
            "means of AlexNet's five layers after their ReLU, each layer divided by its length",
            revision=f"2+{revision_of(weights)}",
            region="box",
        )

    @cached_property
    def _network(self) -> Network:
        return open_network(self.info.name, self._device, ALEX, self._weights)

    def features(self, images: Sequence[Image]) -> Features:
        """Features, float64 [n, 1152].

        Each layer has unit length, so that all layers count the same whatever the scale of their activations. The
        factor makes x.y / d in the kernel the mean cosine of the layers.
        """
        rows = [np.empty((0, sum(WIDTHS)))]
        for image in images:
            check_picture(self.info.name, image)
            network = self._network
            with exact():
                x = network.input_of([resize_float(image, (SIDE, SIDE))])
                layers = [layer.mean((2, 3)).cpu().double() for layer in network.backbone.taps(x)]
            unit = [v / v.norm(dim=1, keepdim=True).clamp_min(1e-12) for v in layers]
            row = np.concatenate([v.numpy() for v in unit], axis=1)
            rows.append(row * np.sqrt(sum(WIDTHS) / len(WIDTHS)))
        return np.concatenate(rows)

    def compare(self, outputs: Features, truths: Features) -> Score:
        """KID of two independent sets: 0 on average if they are of one distribution, sometimes slightly negative."""
        return compared(self.info.name, outputs, truths, kernel_distance)

    def compare_paired(self, outputs: Features, truths: Features, photos: Sequence[str]) -> Score:
        """KID of outputs and their own truths, over pairs of different source photos: exactly 0 if they are equal."""

        def distance(a: Features, b: Features) -> float | None:
            return paired_kernel_distance(a, b, photos)

        return compared(self.info.name, outputs, truths, distance)


def open_kid_alex_box(spec: MetricSpec) -> AlexDistance:
    """Open `kid-alex-box`. Its weights are those of LPIPS, which ship with the package."""
    check_installed(spec.name, "torch", "safetensors")
    return AlexDistance(spec, ALEX_WEIGHTS)
