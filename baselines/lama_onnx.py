"""LaMa through onnxruntime: the exports of OpenCV and of Carve, which need no torch.

The networks take squares of 512 pixels. A square window around the mask is resized to that and back, and only the
masked pixels are taken from the result. Photos that are smaller than the window are mirrored at the right and lower
edge, as LaMa's evaluation code does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from baselines.eraser import Eraser, EraserInfo, EraserSpec, Hints, WeightsUnusableError
from baselines.fill import one_by_one
from baselines.finite import to_uint8
from baselines.gan import resize_hole
from baselines.onnx_session import onnx_device, open_session
from baselines.weights import Pinned, check_known, check_unchanged, locate, revision_of
from olrd.arrays import Image, Mask, resize_image
from olrd.errors import did_you_mean
from olrd.masks import mask_box
from olrd.registry import checked_options, number_options

WHAT = "the eraser lama-onnx"
SIDE = 512
"""Sides of the network's input in pixels."""


class Export(NamedTuple):
    """An export of the network.

    Attributes:
        pinned: The published file.
        blue_first: Whether the channels are blue, green, red, as in the example that OpenCV publishes with its file.
    """

    pinned: Pinned
    blue_first: bool


OPENCV = Pinned(
    eraser="lama-onnx",
    file_name="inpainting_lama_2025jan.onnx",
    url="https://huggingface.co/opencv/inpainting_lama/resolve/"
    "aee6d22f0a13e5e35af1c9a1c3afd62841fc6f3f/inpainting_lama_2025jan.onnx",
    sha256="7df918ac3921d3daf0aae1d219776cf0dc4e4935f035af81841b40adcf74fdf2",  # in opencv/opencv_zoo's LFS pointer
    size=92_591_623,
    license="Apache-2.0",
    code=True,  # an ONNX file is a graph of operations, and may name other files
)
CARVE = Pinned(
    eraser="lama-onnx-carve",
    file_name="lama_fp32.onnx",
    url="https://huggingface.co/Carve/LaMa-ONNX/resolve/c3c0c9e468934d62e79c329e35d82dd09ff8c444/lama_fp32.onnx",
    # Not in its model card. Independent users publish the same checksum and size.
    sha256="1faef5301d78db7dda502fe59966957ec4b79dd64e16f03ed96913c7a4eb68d6",
    size=208_044_816,
    license="Apache-2.0",
    code=True,
)
EXPORTS = {"opencv": Export(OPENCV, blue_first=True), "carve": Export(CARVE, blue_first=False)}


def open_lama_onnx(spec: EraserSpec) -> Eraser:
    """Open LaMa through onnxruntime.

    Options:
        export: `opencv` (default; 93 MB) or `carve` (208 MB).
        weights: Path of the file; by default the file that LAMA_ONNX_MODEL names, or the fetched one.
        context: Side of the window, as a multiple of the longer side of the mask's box (default 3). The window has at
            least 512 pixels, where the photo has them.
    """
    options = checked_options(spec, {"export": "opencv", "weights": "", "context": "3"})
    if options["export"] not in EXPORTS:
        raise did_you_mean("export of LaMa", options["export"], EXPORTS)
    context = number_options(spec, options, {"context": (1, 16)})["context"]
    device = onnx_device(spec.device, WHAT)
    export = EXPORTS[options["export"]]
    weights = locate(export.pinned, options["weights"], "LAMA_ONNX_MODEL")
    return LamaOnnx(export, weights, context, device, options | {"weights": weights.name})


class LamaOnnx:
    """Erases with an exported network, one sample at a time."""

    def __init__(self, export: Export, weights: Path, context: float, device: str, options: dict[str, str]) -> None:
        self.export, self.weights, self.context, self.device = export, weights, context, device
        self._options = options

    @cached_property
    def info(self) -> EraserInfo:
        """The revision is a hash of the file."""
        pinned = self.export.pinned
        return EraserInfo(
            "lama-onnx",
            revision_of(self.weights),
            pinned.license,
            f"LaMa as ONNX ({pinned.size / 1e6:.0f} MB)",
            self._options,
            device=self.device,
        )

    @cached_property
    def _network(self) -> Any:
        check_known(self.export.pinned, self.weights)
        check_unchanged(self.weights, self.info.revision)
        network = open_session(self.weights, self.device, WHAT)
        found = {end.name: tuple(end.shape) for end in network.get_inputs()}
        fits = {"image": 3, "mask": 1}
        if set(found) != set(fits) or not all(_takes(found[name], fits[name]) for name in fits):
            raise WeightsUnusableError(
                f"{self.weights} is no LaMa of this form: expected the inputs image [1, 3, {SIDE}, {SIDE}] and mask "
                f"[1, 1, {SIDE}, {SIDE}], found {found}"
            )
        return network

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        """See `Eraser.erase`. Pixels outside the mask stay as they are."""
        return one_by_one(self._one, images, masks, hints)

    def _one(self, image: Image, mask: Mask, hint: Hints) -> Image:
        rows, columns = window(mask, self.context)
        part, hole = image[rows, columns], mask[rows, columns]
        height, width = hole.shape
        side = max(height, width)
        room = ((0, side - height), (0, side - width))
        square, unknown = np.pad(part, (*room, (0, 0)), "symmetric"), np.pad(hole, room, "symmetric")
        filled = self._filled(square, unknown, f"lama-onnx, {hint.key or 'the photo'}")[:height, :width]
        result = image.copy()
        result[rows, columns][hole] = filled[hole]
        return result

    def _filled(self, square: Image, hole: Mask, what: str) -> Image:
        """Let the network fill a square of any size."""
        side = len(hole)
        if side != SIDE:
            square, hole = resize_image(square, (SIDE, SIDE)), resize_hole(hole, (SIDE, SIDE))
        order = slice(None, None, -1) if self.export.blue_first else slice(None)
        photo = square[..., order].transpose(2, 0, 1)[None].astype(np.float32) / 255
        erase = hole[None, None].astype(np.float32)
        output = self._network.run(None, {"image": np.ascontiguousarray(photo), "mask": erase})[0]
        if output.shape != (1, 3, SIDE, SIDE):
            raise WeightsUnusableError(
                f"{self.weights}: expected an output of the shape (1, 3, {SIDE}, {SIDE}), found {output.shape}"
            )
        pixels = to_uint8(output[0].transpose(1, 2, 0)[..., order], what)  # the output is in grey levels
        return pixels if side == SIDE else resize_image(pixels, (side, side))


def _takes(shape: tuple[Any, ...], channels: int) -> bool:
    """Whether an input of a graph takes [1, channels, 512, 512]. Names stand for sizes that are free."""
    wanted = (1, channels, SIDE, SIDE)
    return len(shape) == 4 and all(
        not isinstance(size, int) or size == want for size, want in zip(shape, wanted, strict=True)
    )


def window(mask: Mask, context: float) -> tuple[slice, slice]:
    """Return the rows and columns of a window around a mask.

    Args:
        mask: bool [H, W], not empty.
        context: Side of the window as a multiple of the longer side of the mask's box, at least 1. It is at least 512
            pixels, and at most the photo's side.

    Returns:
        Slices that hold the whole mask, centred on it as far as the photo's edges allow.
    """
    box = mask_box(np.ascontiguousarray(mask))
    side = max(SIDE, round(context * max(box.w, box.h)))

    def along(start: int, length: int, whole: int) -> slice:
        size = min(side, whole)
        first = min(max(0, start + length // 2 - size // 2), whole - size)
        return slice(first, first + size)

    return along(box.y, box.h, mask.shape[0]), along(box.x, box.w, mask.shape[1])
