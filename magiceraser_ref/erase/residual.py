"""Residual paste: the detail that the initialiser's fill loses in the autoencoder is put back, at the photo's own scale.

This is ours and not the paper's. Autoencoder and resizing blur everything that passes through them, also what denoising at
a low strength leaves as it is. The fill minus the autoencoder's reconstruction of it is what they took away: the residual.
A share of it is added to the model's picture. With a share of 1 the result is the fill plus what the model changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image as Pillow

from baselines.finite import to_uint8
from magiceraser_ref.erase.canvas import Canvas
from magiceraser_ref.extras import need
from olrd.arrays import Image


def reconstructions(pipeline: Any, starts: Sequence[Image]) -> list[Image]:
    """Return what the model's autoencoder makes of pictures of one size.

    Args:
        pipeline: diffusers' inpainting pipeline.
        starts: uint8 [H, W, 3] each, the pictures that denoising started from.

    Raises:
        NotFiniteError: If the autoencoder's output is NaN or infinite.
    """
    torch = need("torch", "MagicEraser")
    vae = pipeline.vae
    pixels = pipeline.image_processor.preprocess([Pillow.fromarray(start) for start in starts])
    with torch.inference_mode():
        encoded = vae.encode(pixels.to(device=pipeline._execution_device, dtype=vae.dtype)).latent_dist.mode()
        decoded = vae.decode(encoded, return_dict=False)[0]
        levels = (decoded.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy() * 255
    return [to_uint8(one, "magiceraser, the autoencoder's reconstruction") for one in levels]


def with_residual(fill: Image, picture: Image, reconstruction: Image, canvas: Canvas, share: float = 1.0) -> Image:
    """Return picture + share * (fill - reconstruction) at the photo's scale.

    Args:
        fill: uint8 [h, w, 3], the initialiser's fill at the photo's scale.
        picture: uint8 [H, W, 3], the model's picture, of the canvas's padded size.
        reconstruction: uint8 [H, W, 3], see `reconstructions`.
        canvas: The sizes.
        share: Share of the residual, from 0 to 1.

    Returns:
        uint8 [h, w, 3].
    """
    width, height = canvas.content
    part = np.float32(share)
    changed = (picture - part * reconstruction)[:height, :width]
    size = fill.shape[1], fill.shape[0]
    if size != (width, height):
        changed = cv2.resize(changed, size, interpolation=cv2.INTER_CUBIC)
    return np.clip(np.rint(part * fill + changed), 0, 255).astype(np.uint8)
