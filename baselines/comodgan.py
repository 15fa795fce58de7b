"""Co-Mod-GAN (Zhao et al., ICLR 2021), the PyTorch checkpoints published with MI-GAN (ICCV 2023).

The network takes square images of one size. As in the authors' script, the photo is resized to the square without
keeping its proportions, and the result is resized back. The network draws the whole image, so the result also differs
from the photo outside the mask.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image as Pillow

from baselines.eraser import Eraser, EraserSpec
from baselines.gan import Drawn, Gan, resize_hole, sampling
from baselines.weights import Pinned, locate
from olrd.arrays import Image, Mask
from olrd.errors import UsageError
from olrd.models.checkpoints import require
from olrd.registry import checked_options

README = "https://github.com/Picsart-AI-Research/MI-GAN"
"""The page links a shared folder instead of files, and publishes no checksums."""
PLACES2 = {
    side: Pinned(
        eraser="comodgan", file_name=f"comodgan_{side}_places2.pt", url=README, sha256="", size=size, license="MIT"
    )
    for side, size in (("256", 317_400_000), ("512", 322_000_000))
}


def open_comodgan(spec: EraserSpec) -> Eraser:
    """Open Co-Mod-GAN.

    Options:
        size: Side of the network's square, 256 or 512 (default).
        weights: The published .pt file of that size; by default the file that COMODGAN_MODEL names, or the fetched one.
        truncation: StyleGAN's psi, from 0 to 1 (default).
        noise: `random` (default, as in the authors' script), `const` or `none`.
    """
    defaults = {"size": "512", "weights": "", "truncation": "1", "noise": "random"}
    options = checked_options(spec, defaults)
    chosen = sampling("comodgan", options)
    if options["size"] not in PLACES2:
        raise UsageError(f"comodgan: size is 256 or 512, not '{options['size']}'")
    require("torch", "the eraser comodgan")
    require("safetensors", "the eraser comodgan")
    pinned, side = PLACES2[options["size"]], int(options["size"])
    weights = locate(pinned, options["weights"], "COMODGAN_MODEL")

    def load(path: Path, device: str) -> Any:
        from baselines.nets.checkpoint import load_network
        from baselines.nets.comodgan_generator import Generator, Shape

        return load_network(lambda: Generator(Shape(side)), path, device)

    return Gan(spec, pinned, weights, load=load, frame=Square(side), chosen=chosen, options=options)


class Square(NamedTuple):
    """Resizes photos to squares. side: the side of the square in pixels."""

    side: int

    def enter(self, image: Image, mask: Mask) -> tuple[Image, Mask]:
        """See `Frame.enter`."""
        size = (self.side, self.side)
        pixels = Pillow.fromarray(image).resize(size, Pillow.Resampling.BICUBIC)
        return np.asarray(pixels), resize_hole(mask, size)

    def leave(self, drawn: Drawn, size: tuple[int, int]) -> Image:
        """See `Frame.leave`. Values are truncated, not rounded, as in the authors' script."""
        pixels = ((drawn * 0.5 + 0.5).clip(0, 1) * 255).astype(np.uint8)
        if size == drawn.shape[:2]:
            return pixels
        return cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
