"""MI-GAN (Sargsyan et al., ICCV 2023): the authors' ONNX pipeline, from photo to photo.

The pipeline crops around the mask, resizes the crop to 512 x 512, and blends the result into the photo with a softened
mask. All of this is part of the method. The pipeline is deterministic and takes photos of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from baselines.eraser import Eraser, EraserInfo, EraserSpec, Hints, WeightsUnusableError
from baselines.fill import one_by_one
from baselines.finite import to_uint8
from baselines.onnx_session import onnx_device, open_session
from baselines.weights import Pinned, check_known, check_unchanged, locate, revision_of
from olrd.arrays import Image, Mask
from olrd.registry import checked_options

PIPELINE = Pinned(
    eraser="migan",
    file_name="migan_pipeline_v2.onnx",
    url="https://huggingface.co/andraniksargsyan/migan/resolve/"
    "1538c135034b8cfe7a8472f34d09c8a5a45b17a7/migan_pipeline_v2.onnx",
    # Not in the authors' README. Independent users of this revision publish the same checksum and size.
    sha256="6f1f3530a1a2324b19752018ce756088b07973cda8d7d890034ace5c8a48c40b",
    size=28_079_181,
    license="MIT",
    code=True,  # an ONNX file is a graph of operations, and may name other files
)
WHAT = "the eraser migan"
SMALLEST = 3
"""Shortest side in pixels that the pipeline takes: its blur mirrors two pixels at each edge."""


def open_migan(spec: EraserSpec) -> Eraser:
    """Open MI-GAN.

    Options:
        weights: Path of the pipeline; by default the file that MIGAN_MODEL names, or the fetched one.
    """
    options = checked_options(spec, {"weights": ""})
    device = onnx_device(spec.device, WHAT)
    return Migan(locate(PIPELINE, options["weights"], "MIGAN_MODEL"), device)


class Migan:
    """Runs the pipeline. weights: the pipeline's file. device: `cpu`, `cuda`, `cuda:1`, ..."""

    def __init__(self, weights: Path, device: str) -> None:
        self.weights, self.device = weights, device

    @cached_property
    def info(self) -> EraserInfo:
        """The revision is a hash of the pipeline's file."""
        return EraserInfo(
            "migan",
            revision_of(self.weights),
            PIPELINE.license,
            "MI-GAN pipeline (28 MB)",
            {"weights": self.weights.name},
            device=self.device,
        )

    @cached_property
    def _pipeline(self) -> Any:
        check_known(PIPELINE, self.weights)
        check_unchanged(self.weights, self.info.revision)
        pipeline = open_session(self.weights, self.device, WHAT)
        names = [[end.name for end in ends()] for ends in (pipeline.get_inputs, pipeline.get_outputs)]
        if names != [["image", "mask"], ["result"]]:
            raise WeightsUnusableError(
                f"{self.weights} is not the published pipeline: expected the inputs image and mask and "
                f"the output result, got {names}"
            )
        return pipeline

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        """See `Eraser.erase`. Samples are erased one at a time because their sizes differ."""
        return one_by_one(self._one, images, masks, hints)

    def _one(self, image: Image, mask: Mask, hint: Hints) -> Image:
        height, width = mask.shape
        room = ((0, max(0, SMALLEST - height)), (0, max(0, SMALLEST - width)))
        pixels, hole = np.pad(image, (*room, (0, 0)), "edge"), np.pad(mask, room, "edge")
        photo = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])
        known = np.where(hole, 0, 255).astype(np.uint8)[None, None]  # 255 = keep
        (result,) = self._pipeline.run(["result"], {"image": photo, "mask": known})
        if result.dtype != np.uint8:  # the published pipeline returns uint8; others may return numbers
            result = to_uint8(result, f"migan, {hint.key or 'the photo'}")
        return np.ascontiguousarray(result[0].transpose(1, 2, 0)[:height, :width])
