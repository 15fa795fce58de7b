"""DISTS (Ding et al., "Image Quality Assessment: Unifying Structure and Texture Similarity", TPAMI 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from baselines.weights import locate, revision_of
from benchmark.metrics import MetricInfo, MetricSpec, Score
from benchmark.metrics.backbones import VGG, Backbone
from benchmark.metrics.changed import Area, Plan, Pooling, Span, Tapped, Window, difference, part
from benchmark.metrics.encoders import check_installed, exact, load_tensors
from benchmark.metrics.pictures import as_batch, check_pairs
from benchmark.metrics.pinned import VGG16
from olrd.arrays import Image, Mask
from olrd.models.checkpoints import choose_device

WEIGHTS = Path(__file__).parents[1] / "weights" / "dists.safetensors"
CHANNELS = (3, 64, 128, 256, 512, 512)  # the picture itself, then VGG16's five taps
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for inputs in 0..1
C1 = C2 = 1e-6


class Dists:
    """DISTS of whole pictures. It compares global statistics, so it has no regions.

    The truth's features are computed everywhere, an output's only where they differ (see `changed`).
    """

    def __init__(self, spec: MetricSpec, backbone: Path) -> None:
        self.info = MetricInfo(
            spec.name,
            "sample",
            higher_is_better=False,
            unit="",
            definition="DISTS with VGG16, RGB in 0..1 at full size (no resize to 256), whole picture",
            revision=f"1+{revision_of(backbone)}",
        )
        self._device, self._file = spec.device, backbone

    @cached_property
    def _network(self) -> tuple[str, Backbone, Pooling, list[Any], list[Any]]:
        """Device, backbone, pooling, and alpha and beta by layer ([c] each; all together sum to 1)."""
        import torch

        device = choose_device(self._device, self.info.name)
        backbone = Backbone(VGG, load_tensors(self._file), device, str(self._file))
        learned = load_tensors(WEIGHTS)
        alpha, beta = learned["alpha"].double(), learned["beta"].double()
        whole = alpha.sum() + beta.sum()
        per_layer = [list(torch.split(weights / whole, CHANNELS)) for weights in (alpha, beta)]
        return device, backbone, l2_pooling(device), per_layer[0], per_layer[1]

    def scores(self, outputs: Sequence[Image], mask: Mask, truth: Image | None) -> list[Score]:
        """0 for equal pictures, at most about 1. The mask is not used."""
        truth = check_pairs(self.info.name, outputs, truth)
        if not outputs:
            return []
        device, backbone, pooling, alpha, beta = self._network
        areas = [difference(output, truth) for output in outputs]
        with exact():
            plan = Plan(backbone, truth.shape[:2], areas, pooling, whole=True)
            picture = as_batch([truth], device) / 255
            parts = [
                None if a.empty else as_batch([part(o, a)], device) / 255 for o, a in zip(outputs, areas, strict=True)
            ]
            mean, deviation = (picture.new_tensor(v)[:, None, None] for v in (MEAN, DEVIATION))
            scaled = [None if one is None else (one - mean) / deviation for one in (picture, *parts)]
            whole = Area(Span(0, truth.shape[0]), Span(0, truth.shape[1]))
            pixels = [
                Tapped(k, area, truth.shape[:2], area.of(picture, whole), parts[k])
                for k, area in enumerate(areas)
                if not area.empty
            ]
            # Equal features weigh alpha + beta, which sum to 1.
            distances = [0.0] * len(outputs)
            layers = ((picture, pixels), *plan.layers(scaled[0], scaled[1:]))
            for (features, tapped), a, b in zip(layers, alpha, beta, strict=True):
                for one in tapped:
                    distances[one.output] += _unlikeness(features, one, a, b)
        return [Score(distance) for distance in distances]


def _unlikeness(features: Any, tapped: Tapped, alpha: Any, beta: Any) -> float:
    """The weighted texture and structure terms of a layer, each as 1 - likeness.

    The statistics of an output are those of the truth, changed by the cells that differ. The last steps are in float64
    and so on the CPU: Apple's GPUs have none.

    Args:
        features: of the whole truth, [1, c, h, w].
        tapped: where the output differs.
        alpha, beta: weights of the channels, [c].
    """
    count = features.shape[2] * features.shape[3]
    middle = features.mean((2, 3), keepdim=True)
    before, after = tapped.truth - middle, tapped.values - middle

    def summed(x: Any) -> Any:
        return x.sum((0, 2, 3)).cpu().double() / count

    mean = middle.flatten().cpu().double()
    variance = (features - middle).square().mean((0, 2, 3)).cpu().double()
    shift = summed(after - before)
    covariance = variance + summed(before * (after - before))
    own = (variance + summed(after.square() - before.square()) - shift.square()).clamp_min(0)
    texture = (2 * mean * (mean + shift) + C1) / (mean**2 + (mean + shift) ** 2 + C1)
    structure = (2 * covariance + C2) / (variance + own + C2)
    return float((1 - texture) @ alpha + (1 - structure) @ beta)


def l2_pooling(device: str) -> Pooling:
    """The pooling of DISTS: the root of the Hann-weighted mean of squares, 3 x 3, stride 2, padded by 1."""
    import torch
    from torch.nn import functional

    hann = torch.tensor([0.25, 0.5, 0.25], device=device)
    window = (hann[:, None] * hann)[None, None]

    def pool(x: Any) -> Any:
        channels = x.shape[1]
        kernel = window.expand(channels, 1, 3, 3)
        return (functional.conv2d(x.square(), kernel, stride=2, groups=channels) + 1e-12).sqrt()

    return Pooling(Window(3, 2, 1), pool)


def open_dists(spec: MetricSpec) -> Dists:
    """Open `dists`.

    It needs VGG16: $LPIPS_VGG_MODEL, or `benchmark fetch vgg16`. Alpha and beta ship with the package.
    """
    check_installed(spec.name, "torch", "safetensors")
    return Dists(spec, locate(VGG16, variable="LPIPS_VGG_MODEL"))
