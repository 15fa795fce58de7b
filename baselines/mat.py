"""MAT (Li et al., Mask-Aware Transformer for Large Hole Image Inpainting, CVPR 2022), Places 512.

The network takes images whose sides are multiples of 512. As the authors advise, photos are extended to the right and
at the bottom by unknown pixels; the network draws there as well, and that part is cut off. Photos whose longer side is
below 512 or above the option `longest` are resized before and after.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from baselines.eraser import Eraser, EraserSpec
from baselines.gan import Drawn, Gan, resize_hole, sampling
from baselines.weights import Pinned, locate, weights_folder
from olrd.arrays import Image, Mask, resize_image
from olrd.errors import UsageError
from olrd.models.checkpoints import require
from olrd.registry import checked_options

PLACES_512 = Pinned(
    eraser="mat",
    file_name="MAT_Places512_G_fp16.safetensors",
    url="https://huggingface.co/Acly/MAT/resolve/main/MAT_Places512_G_fp16.safetensors",
    # Published by packagers of the file. Its size is, to the byte, that of our generator without noise in float16.
    sha256="309dd6ce6e04034dc4b6b15c7bd2a4844d158e03eb2a139e0eca6b366e40c0de",
    size=125_280_278,
    license="CC-BY-NC-4.0",
)
FULL_PRECISION = Pinned(
    eraser="mat-float32",
    file_name="Places_512_FullData_G.pth",
    url="https://github.com/Sanster/models/releases/download/add_mat/Places_512_FullData_G.pth",
    sha256="",  # none is published
    size=250_600_000,  # approximate: the size of its tensors
    license="CC-BY-NC-4.0",
    md5="8ca927835fa3f5e21d65ffcb165377ed",  # in IOPaint's code
)
OFFICIAL = Pinned(
    eraser="mat",
    file_name="Places_512_FullData.pkl",
    url="https://github.com/fenglinglwb/MAT",  # its README links a shared folder instead of a file
    sha256="",  # none is published
    size=651_000_000,  # approximate: the size of its tensors (generator twice, discriminator)
    license="CC-BY-NC-4.0",
)
FILES = (OFFICIAL, FULL_PRECISION, PLACES_512)
"""The files of the same weights, the most exact first. The last one is named if there is none."""
NOISE = (".noise_const", ".noise_strength")
"""Ends of the names of the noise inputs, which the official snapshot has and the other two files leave out."""
SIDE = 512


def open_mat(spec: EraserSpec) -> Eraser:
    """Open MAT.

    Options:
        weights: The official .pkl, or its `G_ema` as .safetensors or .pth; by default the file that MAT_MODEL names, or
            the fetched one: the most exact of those that are in the weights folder.
        truncation: StyleGAN's psi, from 0 to 1 (default).
        noise: `const` (default), `random` or `none`. `const` applies at 512 x 512; at other sizes noise is random.
        longest: Photos with a longer side than this are made smaller first (pixels, default 1024).
    """
    defaults = {"weights": "", "truncation": "1", "noise": "const", "longest": "1024"}
    options = checked_options(spec, defaults)
    chosen = sampling("mat", options)
    longest = int(options["longest"]) if options["longest"].isdecimal() else 0
    if longest < SIDE:
        raise UsageError(f"mat: longest must be at least {SIDE}, got '{options['longest']}'")
    require("torch", "the eraser mat")
    require("safetensors", "the eraser mat")
    pinned = next((one for one in FILES if (weights_folder() / one.file_name).is_file()), FILES[-1])
    weights = locate(pinned, options["weights"], "MAT_MODEL")
    frame = Canvas(SIDE, longest)
    return Gan(spec, PLACES_512, weights, load=_load, frame=frame, chosen=chosen, options=options)


def _load(weights: Path, device: str) -> Any:
    from baselines.nets.checkpoint import load_network
    from baselines.nets.mat_generator import Generator

    return load_network(Generator, weights, device, optional=NOISE)


class Canvas(NamedTuple):
    """Places photos at the upper left of a canvas.

    side: The canvas's sides are multiples of it, in pixels.
    longest: Largest longer side of a photo on the canvas, in pixels.
    """

    side: int
    longest: int

    def enter(self, image: Image, mask: Mask) -> tuple[Image, Mask]:
        """See `Frame.enter`."""
        height, width = self._inner(image.shape[0], image.shape[1])
        if (height, width) != mask.shape:
            image = resize_image(image, (width, height))
            mask = resize_hole(mask, (width, height))
        room = ((0, -height % self.side), (0, -width % self.side))
        return np.pad(image, (*room, (0, 0))), np.pad(mask, room, constant_values=True)

    def leave(self, drawn: Drawn, size: tuple[int, int]) -> Image:
        """See `Frame.leave`."""
        height, width = self._inner(*size)
        levels = np.rint(drawn[:height, :width] * 127.5 + 127.5)
        pixels = levels.clip(0, 255).astype(np.uint8)
        return pixels if (height, width) == size else resize_image(pixels, (size[1], size[0]))

    def _inner(self, height: int, width: int) -> tuple[int, int]:
        """Return the photo's size on the canvas, (height, width)."""
        longer = max(height, width)
        scale = min(max(longer, self.side), self.longest) / longer
        return max(1, round(height * scale)), max(1, round(width * scale))
