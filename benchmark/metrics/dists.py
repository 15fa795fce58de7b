"""DISTS (Ding et al., "Image Quality Assessment: Unifying Structure and Texture Similarity", TPAMI 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from baselines.weights import locate, revision_of
from benchmark.metrics import MetricInfo, MetricSpec, Score
from benchmark.metrics.backbones import VGG, Backbone
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
    """DISTS of whole pictures. It compares global statistics, so it has no regions."""

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
    def _network(self) -> tuple[str, Backbone, Any, list[Any], list[Any]]:
        """Device, backbone, pooling, and alpha and beta by layer ([c] each; all together sum to 1)."""
        import torch

        device = choose_device(self._device, self.info.name)
        backbone = Backbone(VGG, load_tensors(self._file), device, str(self._file))
        learned = load_tensors(WEIGHTS)
        alpha, beta = learned["alpha"].double(), learned["beta"].double()
        whole = alpha.sum() + beta.sum()
        per_layer = [list(torch.split(weights / whole, CHANNELS)) for weights in (alpha, beta)]
        return device, backbone, _l2_pooling(device), *per_layer

    def scores(self, outputs: Sequence[Image], mask: Mask, truth: Image | None) -> list[Score]:
        """0 for equal pictures, at most about 1. The mask is not used."""
        truth = check_pairs(self.info.name, outputs, truth)
        if not outputs:
            return []
        device, backbone, pool, alpha, beta = self._network
        with exact():
            picture = as_batch([truth, *outputs], device) / 255
            mean, deviation = (picture.new_tensor(v)[:, None, None] for v in (MEAN, DEVIATION))
            features = (picture, *backbone.taps((picture - mean) / deviation, pool))
            likeness = sum(_likeness(layer, a, b) for layer, a, b in zip(features, alpha, beta, strict=True))
        return [Score(1 - float(value)) for value in likeness]


def _likeness(features: Any, alpha: Any, beta: Any) -> Any:
    """The weighted texture and structure terms of a layer, [n]: the first of [1 + n, c, h, w] against the others.

    The last steps are in float64 and so on the CPU: Apple's GPUs have none.
    """
    mean = features.mean((2, 3), keepdim=True)
    centred = features - mean
    variance = centred.square().mean((2, 3)).cpu().double()
    covariance = (centred[1:] * centred[:1]).mean((2, 3)).cpu().double()
    mean = mean[..., 0, 0].cpu().double()
    texture = (2 * mean[1:] * mean[:1] + C1) / (mean[1:] ** 2 + mean[:1] ** 2 + C1)
    structure = (2 * covariance + C2) / (variance[1:] + variance[:1] + C2)
    return texture @ alpha + structure @ beta


def _l2_pooling(device: str) -> Any:
    """The pooling of DISTS: the root of the Hann-weighted mean of squares, 3 x 3, stride 2."""
    import torch
    from torch.nn import functional

    hann = torch.tensor([0.25, 0.5, 0.25], device=device)
    window = (hann[:, None] * hann)[None, None]

    def pool(x: Any) -> Any:
        channels = x.shape[1]
        kernel = window.expand(channels, 1, 3, 3)
        mean = functional.conv2d(x.square(), kernel, stride=2, padding=1, groups=channels)
        return (mean + 1e-12).sqrt()

    return pool


def open_dists(spec: MetricSpec) -> Dists:
    """Open `dists`.

    It needs VGG16: $LPIPS_VGG_MODEL, or `benchmark fetch vgg16`. Alpha and beta ship with the package.
    """
    check_installed(spec.name, "torch", "safetensors")
    return Dists(spec, locate(VGG16, variable="LPIPS_VGG_MODEL"))
