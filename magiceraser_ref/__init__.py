"""The MagicEraser method (ECCV 2024): inpainting with content initialisation, learned prompts and refocused attention.

Erase with the small model that comes with the package:
    >>> import numpy as np
    >>> from magiceraser_ref import MagicEraser
    >>> image = np.full((64, 96, 3), 200, np.uint8)  # uint8 [H, W, 3], RGB
    >>> mask = np.zeros((64, 96), bool)  # bool [H, W], True = erase
    >>> mask[20:44, 30:60] = True

    >>> eraser = MagicEraser.from_pretrained("small")
    >>> clean = eraser.erase(image, mask, seed=0)
    >>> clean.shape, bool((clean[~mask] == image[~mask]).all())
    ((64, 96, 3), True)

Or call it like a diffusers pipeline, with Pillow pictures (`MagicEraser.__call__` documents all arguments):
    >>> from PIL import Image
    >>> photo, mask_image = Image.fromarray(image), Image.fromarray(mask)  # white = erase
    >>> eraser(image=photo, mask_image=mask_image, num_inference_steps=20).images[0].size
    (96, 64)

`import magiceraser_ref` is fast: torch and diffusers are imported when `MagicEraser` is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from magiceraser_ref.erase.pipeline import MagicEraser as MagicEraser

__all__ = ["MagicEraser"]


def __getattr__(name: str) -> Any:
    """Import `MagicEraser` on first use."""
    if name == "MagicEraser":
        from magiceraser_ref.erase.pipeline import MagicEraser

        return MagicEraser
    raise AttributeError(f"module 'magiceraser_ref' has no attribute '{name}'")
