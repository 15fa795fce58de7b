"""Masks in every form that programs save, and what the mask reader takes from each."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

Bits = npt.NDArray[np.bool_]
RED = (128, 0, 0)


def disc(height: int = 60, width: int = 80) -> Bits:
    y, x = np.mgrid[:height, :width]
    return (x - 50) ** 2 + (y - 25) ** 2 < 18**2


def file_of(image: Pillow.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(mask: Bits, high: int = 255, low: int = 0) -> Pillow.Image:
    return Pillow.fromarray(np.where(mask, high, low).astype(np.uint8))


def photo(height: int = 60, width: int = 80) -> npt.NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 3, y * 4, 255 - x * 2], axis=-1).astype(np.uint8)


def deep(mask: Bits, high: int) -> Pillow.Image:
    return Pillow.fromarray(np.where(mask, high, 0).astype(np.uint16))


def palette(mask: Bits, index: int = 1, colour: tuple[int, int, int] = RED) -> Pillow.Image:
    image = Pillow.fromarray(np.where(mask, index, 0).astype(np.uint8), "P")
    image.putpalette([0] * 3 * index + list(colour) + [0] * 3 * (255 - index))
    return image


def coloured(mask: Bits, colour: tuple[int, int, int] = (255, 0, 0)) -> Pillow.Image:
    return Pillow.fromarray(np.where(mask[..., None], colour, 0).astype(np.uint8))


def strokes(mask: Bits, colour: tuple[int, int, int] = (255, 255, 255)) -> Pillow.Image:
    """Opaque strokes on transparent ground."""
    pixels = np.zeros((*mask.shape, 4), np.uint8)
    pixels[mask] = (*colour, 255)
    return Pillow.fromarray(pixels)


def holed(mask: Bits) -> Pillow.Image:
    """A photo that is transparent where the mask is."""
    return Pillow.fromarray(np.dstack([photo(*mask.shape), np.where(mask, 0, 255).astype(np.uint8)]))


def opaque(image: Pillow.Image, mode: str = "RGBA") -> Pillow.Image:
    return image.convert(mode)


FORMS: dict[str, tuple[Any, str]] = {
    "1-bit": (lambda m: Pillow.fromarray(m), "1-bit"),
    "grey 0/255": (grey, "grey"),
    "grey 0/1": (lambda m: grey(m, 1), "grey"),
    "grey 0/38": (lambda m: grey(m, 38), "grey"),
    "grey 10/200": (lambda m: grey(m, 200, 10), "grey"),
    "16-bit": (lambda m: deep(m, 65535), "16-bit grey"),
    "16-bit 0/1": (lambda m: deep(m, 1), "16-bit grey"),
    "16-bit 0/300": (lambda m: deep(m, 300), "16-bit grey"),
    "RGB": (lambda m: grey(m).convert("RGB"), "grey of RGB"),
    "RGB 0/1": (lambda m: grey(m, 1).convert("RGB"), "grey of RGB"),
    "red on black": (coloured, "colour on black of RGB"),
    "dark blue on black": (lambda m: coloured(m, (0, 0, 90)), "colour on black of RGB"),
    "opaque RGBA": (lambda m: opaque(grey(m)), "grey of RGB"),
    "opaque LA": (lambda m: opaque(grey(m), "LA"), "grey"),
    "strokes": (strokes, "alpha of RGBA"),
    "black strokes": (lambda m: strokes(m, (0, 0, 0)), "alpha of RGBA"),
    "strokes as LA": (lambda m: strokes(m).convert("LA"), "alpha of LA"),
    "hole": (holed, "hole in the alpha of RGBA"),
    "palette VOC": (palette, "palette entry 1"),
    "palette 15": (lambda m: palette(m, 15), "palette entry 15"),
    "palette of greys": (lambda m: grey(m).convert("P"), "grey palette"),
}
"""By name: how a mask is drawn as a Pillow image, and what `MaskRead.kind` says."""
