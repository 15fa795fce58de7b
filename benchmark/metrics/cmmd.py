"""CMMD (Jayasumana et al., "Rethinking FID", CVPR 2024): MMD between CLIP embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.metrics import Features, MetricInfo, MetricSpec, Score
from benchmark.metrics.encoders import check_installed, exact, find_checkpoint, fingerprint, load_encoder
from benchmark.metrics.fidelity import compared, gaussian_distance
from benchmark.metrics.pictures import as_batch, batches, check_picture, resize_float
from olrd.arrays import Image

CHECKPOINT = "openai/clip-vit-large-patch14-336"
MODEL = "CLIPVisionModelWithProjection"
SIGMA, SCALE = 10.0, 1000.0
# CLIP's own normalisation, for inputs in 0..1.
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Cmmd:
    """A set metric on CLIP's image embeddings of unit length."""

    def __init__(self, spec: MetricSpec, folder: Path) -> None:
        self.info = MetricInfo(
            spec.name,
            "set",
            higher_is_better=False,
            unit="",
            definition=(
                "1000 x squared MMD, Gaussian kernel, sigma 10, of unit CLIP image embeddings (the paper: "
                "ViT-L/14 at 336 px; revision names the one used), input stretched by a float "
                "antialiased bicubic filter"
            ),
            revision=f"1+{fingerprint(folder)}",
        )
        self._device, self._folder = spec.device, folder

    @cached_property
    def _network(self) -> tuple[str, Any]:
        return load_encoder(self.info.name, self._folder, MODEL, self._device)

    def features(self, images: Sequence[Image]) -> Features:
        """Features, float64 [n, d], with rows of length 1."""
        device, model = self._network
        side = model.config.image_size
        rows = [np.empty((0, model.config.projection_dim))]
        for some in batches(images):
            for image in some:
                check_picture(self.info.name, image)
            with exact():
                x = as_batch([resize_float(image, (side, side)) for image in some], device) / 255
                mean, deviation = (x.new_tensor(v)[:, None, None] for v in (MEAN, DEVIATION))
                embeds = model(pixel_values=(x - mean) / deviation).image_embeds.cpu().double()
                rows.append((embeds / embeds.norm(dim=1, keepdim=True)).numpy())
        return np.concatenate(rows)

    def compare(self, outputs: Features, truths: Features) -> Score:
        """0 for equal sets."""

        def distance(a: Features, b: Features) -> float:
            return SCALE * gaussian_distance(a, b, SIGMA)

        return compared(self.info.name, outputs, truths, distance)


def open_cmmd(spec: MetricSpec) -> Cmmd:
    """Open `cmmd`. It needs a CLIP image encoder: $CMMD_MODEL, or ViT-L/14 at 336 px from the hub's cache."""
    check_installed(spec.name, "torch", "transformers")
    folder = find_checkpoint(spec.name, "CMMD_MODEL", CHECKPOINT, MODEL)
    return Cmmd(spec, folder)
