"""Metrics of published evaluation scripts, with their known defects.

They show whether two published numbers differ because of the scripts or because of the methods. No protocol uses them
by default, and every definition names the defect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from baselines.weights import locate, revision_of
from benchmark.metrics import Features, MetricInfo, MetricSpec, Score
from benchmark.metrics.encoders import check_installed, exact, find_checkpoint, load_tensors
from benchmark.metrics.fidelity import compared, frechet
from benchmark.metrics.pictures import as_batch, check_pairs, check_picture
from benchmark.metrics.pinned import IMAGENET_INCEPTION
from benchmark.metrics.remove import CHECKPOINT, MODEL, Remove, Weights
from olrd.arrays import Image, Mask
from olrd.errors import SourceError
from olrd.models.checkpoints import choose_device


class BrushNetPsnr:
    """BrushNet's PSNR: of the part that was *not* erased.

    The squared error is summed over three channels but divided by the number of pixels of one channel, so the result is
    always 10 log10(3) = 4.77 dB too low. Equal pictures have the value 1000.
    """

    info = MetricInfo(
        "legacy:brushnet-psnr",
        "sample",
        True,
        "dB",
        "BrushNet's evaluation: outside the mask, error summed over 3 channels over a 1-channel count "
        "(-4.77 dB), 1000 for equal pictures",
    )

    def scores(self, outputs: Sequence[Image], mask: Mask, truth: Image | None) -> list[Score]:
        """See `SampleMetric.scores`."""
        truth = check_pairs(self.info.name, outputs, truth)
        kept = np.count_nonzero(~mask)
        if not kept:
            return [Score(None, "empty_region")] * len(outputs)
        found = []
        for output in outputs:
            error = output[~mask].astype(np.float64) - truth[~mask].astype(np.float64)
            mean = float((error**2).sum() / kept) / 255**2
            found.append(Score(1000.0 if mean == 0 else 20 * math.log10(1 / math.sqrt(mean))))
        return found


def open_brushnet_psnr(spec: MetricSpec) -> BrushNetPsnr:
    """Open `legacy:brushnet-psnr`. It needs nothing."""
    return BrushNetPsnr()


class SshPsnr:
    """The PSNR of RealHM's authors: at 256 x 256, with the range of the *output* (max - min) as the peak."""

    info = MetricInfo(
        "legacy:ssh-psnr",
        "sample",
        True,
        "dB",
        "RealHM's authors: resized to 256 x 256, data range = max - min of the output",
    )
    size = 256

    def scores(self, outputs: Sequence[Image], mask: Mask, truth: Image | None) -> list[Score]:
        """See `SampleMetric.scores`."""
        truth = check_pairs(self.info.name, outputs, truth)
        small = self._small(truth)
        found = []
        for output in outputs:
            other = self._small(output)
            mean = float(((other - small) ** 2).mean())
            peak = float(other.max() - other.min())
            if mean == 0:
                found.append(Score(None, "identical"))
            elif peak == 0:
                found.append(Score(None, "no_range"))
            else:
                found.append(Score(10 * math.log10(peak**2 / mean)))
        return found

    def _small(self, pixels: Image) -> np.ndarray:
        resized = Pillow.fromarray(pixels).resize((self.size,) * 2, Pillow.Resampling.BICUBIC)
        return np.asarray(resized).astype(np.float64)


def open_ssh_psnr(spec: MetricSpec) -> SshPsnr:
    """Open `legacy:ssh-psnr`. It needs nothing."""
    return SshPsnr()


class Remove64(Remove):
    """ReMOVE as its published code computes it.

    The mask is resized to SAM's grid by Pillow's default filter and an integer division. Only cells that are completely
    white count, so thin masks vanish (`no_cell`). The mask is also stretched over SAM's padding, so the regions of
    pictures that are not square are displaced.
    """

    definition = "ReMOVE's published code: mask to the grid by Pillow's default filter, then // 255; padding ignored"

    def regions(self, mask: Mask, cells: int) -> tuple[Weights, Weights]:
        """Weights of the cells that are completely white, and of all others."""
        grey = Pillow.fromarray(mask.astype(np.uint8) * 255).resize((cells, cells))
        white = np.asarray(grey) // 255
        return white.astype(np.float64), (1 - white).astype(np.float64)


def open_remove_64(spec: MetricSpec) -> Remove64:
    """Open `legacy:remove-64`. It needs what `remove` needs."""
    check_installed(spec.name, "torch", "transformers")
    return Remove64(spec, find_checkpoint(spec.name, "REMOVE_MODEL", CHECKPOINT, MODEL))


class AttentiveFid:
    """The Frechet distance of Attentive Eraser's evaluation.

    It uses torchvision's ImageNet network instead of FID's, on pictures of 512 x 512 in 0..1, although the network
    expects normalised ones. The authors compare with the original photos, in which the object is still present
    (`--dataset openimages-original`).
    """

    side = 512

    def __init__(self, spec: MetricSpec, weights: Path) -> None:
        self.info = MetricInfo(
            spec.name,
            "set",
            False,
            "",
            "Attentive Eraser's evaluation: torchvision's ImageNet Inception, pictures stretched to "
            "512 x 512 and not normalised; comparable with no other FID",
            revision=f"1+{revision_of(weights)}",
        )
        self._device, self._weights = spec.device, weights

    @cached_property
    def _network(self) -> tuple[str, Any]:
        import torch
        from torchvision.models import Inception3

        network = Inception3(1000, aux_logits=True, transform_input=True, init_weights=False)
        try:
            network.load_state_dict(load_tensors(self._weights))
        except RuntimeError as error:
            raise SourceError(
                f"{self._weights}: expected torchvision's {IMAGENET_INCEPTION.file_name} ({error})"
            ) from error
        network.fc = torch.nn.Identity()
        device = choose_device(self._device, self.info.name)
        return device, network.eval().requires_grad_(False).to(device)

    def features(self, images: Sequence[Image]) -> Features:
        """Features, float64 [n, 2048]."""
        device, network = self._network
        rows = [np.empty((0, 2048))]
        for image in images:
            check_picture(self.info.name, image)
            small = Pillow.fromarray(image).resize((self.side,) * 2, Pillow.Resampling.BICUBIC)
            with exact():
                x = as_batch([np.asarray(small, np.float32) / 255], device)
                rows.append(network(x).cpu().double().numpy())
        return np.concatenate(rows)

    def compare(self, outputs: Features, truths: Features) -> Score:
        """0 for equal sets."""
        return compared(self.info.name, outputs, truths, frechet)


def open_attentive_fid(spec: MetricSpec) -> AttentiveFid:
    """Open `legacy:attentive-fid`. It needs $IMAGENET_INCEPTION, or `benchmark fetch imagenet-inception`."""
    check_installed(spec.name, "torch", "torchvision")
    return AttentiveFid(spec, locate(IMAGENET_INCEPTION, variable="IMAGENET_INCEPTION"))
