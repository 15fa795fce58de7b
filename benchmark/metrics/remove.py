"""ReMOVE: is the filled region similar to the rest of the picture, according to SAM's encoder?

Chandrasekar et al., "ReMOVE: A Reference-free Metric for Object Erasure", CVPR Workshops 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from benchmark.metrics import MetricInfo, MetricSpec, Score
from benchmark.metrics.encoders import check_installed, exact, find_checkpoint, fingerprint, load_encoder
from benchmark.metrics.grid import overlap
from benchmark.metrics.pictures import as_batch, check_fits
from olrd.arrays import Image, Mask

Weights = npt.NDArray[np.float64]
CHECKPOINT = "facebook/sam-vit-huge"
MODEL = "SamVisionModel"
# SAM's own normalisation, for inputs in 0..255.
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Remove:
    """Cosine of the mean features inside and outside the mask. It needs no truth and prefers blurred pictures.

    Two things differ from the published code (`legacy:remove-64`). The mask is averaged by area on the grid of features
    and used as a weight; in the published code only cells completely inside count, so thin masks vanish. The padding
    that makes SAM's input square belongs to neither region; in the published code the mask is stretched over it.
    """

    definition = (
        "cosine of SAM's mean image features in the mask and outside (the paper: ViT-H; revision "
        "names the one used), mask area-averaged, padding left out, no crop"
    )

    def __init__(self, spec: MetricSpec, folder: Path) -> None:
        self.info = MetricInfo(
            spec.name,
            "sample",
            higher_is_better=True,
            unit="",
            definition=self.definition,
            needs_truth=False,
            revision=f"1+{fingerprint(folder)}",
        )
        self._device, self._folder = spec.device, folder

    @cached_property
    def _network(self) -> tuple[str, Any]:
        return load_encoder(self.info.name, self._folder, MODEL, self._device)

    def scores(self, outputs: Sequence[Image], mask: Mask, truth: Image | None) -> list[Score]:
        """-1 to 1. No value for a mask that is empty or covers the whole picture."""
        for output in outputs:
            check_fits(self.info.name, output, mask)
        if not mask.any() or mask.all():
            return [Score(None, "full_region" if mask.any() else "empty_region") for _ in outputs]
        return [self._score(output, mask) for output in outputs]

    def _score(self, output: Image, mask: Mask) -> Score:
        device, model = self._network
        side = model.config.image_size
        inside, outside = self.regions(mask, side // model.config.patch_size)
        if not inside.any() or not outside.any():
            return Score(None, "no_cell")
        with exact():
            features = model(as_batch([_sam_input(output, side)], device)).last_hidden_state[0]
        grid = features.cpu().double().numpy()
        a, b = (np.einsum("chw,hw->c", grid, weights) for weights in (inside, outside))
        return Score(float(a @ b / np.sqrt((a @ a) * (b @ b))))

    def regions(self, mask: Mask, cells: int) -> tuple[Weights, Weights]:
        """The weights of SAM's cells inside and outside the mask."""
        return region_weights(mask, cells)


def region_weights(mask: Mask, cells: int) -> tuple[Weights, Weights]:
    """The masked and the unmasked area of each cell in pixels, two [cells, cells].

    The grid covers a square of the longer side with the picture in its top left corner. Padding has no area.
    """
    longer = float(max(mask.shape))
    rows, columns = (overlap(pixels, cells, longer) for pixels in mask.shape)
    return rows.T @ mask @ columns, rows.T @ ~mask @ columns


def _sam_input(image: Image, side: int) -> npt.NDArray[np.float32]:
    """Resize the longer side to `side` and normalise; zeros on the right and below. Returns float32 [side, side, 3]."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))
    resized = np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.BILINEAR))
    padded = np.zeros((side, side, 3), np.float32)
    padded[: size[1], : size[0]] = (resized - np.array(MEAN)) / np.array(DEVIATION)
    return padded


def open_remove(spec: MetricSpec) -> Remove:
    """Open `remove`. It needs SAM's image encoder: $REMOVE_MODEL, or ViT-H from the hub's cache."""
    check_installed(spec.name, "torch", "transformers")
    return Remove(spec, find_checkpoint(spec.name, "REMOVE_MODEL", CHECKPOINT, MODEL))
