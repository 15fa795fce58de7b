"""Matching of an object to its new surroundings, with `--match`: sharpness and noise.

Sharpness: an object that is sharper than its surroundings is softened. Noise: an object with less grain than its
surroundings gets the missing grain.
"""

from __future__ import annotations

import cv2
import numpy as np

from olrd.arrays import Image, Mask
from olrd.config import MATCHES
from olrd.draws import draw_noise
from olrd.errors import did_you_mean


def grain(pixels: Image) -> float:
    """The noise level in grey levels: the median absolute Laplacian, scaled for white noise.

    Immerkaer (1996) uses the mean of the same operator; the median ignores edges.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.int32)
    if min(grey.shape) < 3:
        return 0.0
    laplace = (
        grey[:-2, :-2]
        - 2 * grey[:-2, 1:-1]
        + grey[:-2, 2:]
        - 2 * grey[1:-1, :-2]
        + 4 * grey[1:-1, 1:-1]
        - 2 * grey[1:-1, 2:]
        + grey[2:, :-2]
        - 2 * grey[2:, 1:-1]
        + grey[2:, 2:]
    )
    # For white noise of deviation s the operator has deviation 6 s; the median of |x| of a normal x is 0.6745.
    return float(np.median(np.abs(laplace))) / (6 * 0.6745)


def acutance(pixels: Image) -> float:
    """Sharpness: high-frequency over mid-frequency contrast of the grey image."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.int32)
    if min(grey.shape) < 5:
        return 1.0
    # Squares, because blurring an isolated edge changes the sum of its squared steps but not the sum of its steps.
    near = (np.diff(grey, axis=0) ** 2).mean() + (np.diff(grey, axis=1) ** 2).mean()
    far = ((grey[4:] - grey[:-4]) ** 2).mean() + ((grey[:, 4:] - grey[:, :-4]) ** 2).mean()
    return float(near / far) if far else 1.0


def match_patch(patch: Image, mask: Mask, under: Image, match: tuple[str, ...], key: str) -> Image:
    """The patch with the sharpness or noise of `under`, both uint8 [h, w, 3].

    match: what is matched, `noise` or `sharpness` or both. key: of the draw of the noise.
    """
    for name in match:
        if name not in MATCHES:
            raise did_you_mean("match", name, MATCHES)
    if min(patch.shape[:2]) < 8:
        return patch
    if "sharpness" in match and acutance(patch) > 1.15 * acutance(under):
        kernel = np.array([1, 2, 1], np.int32)
        wide = np.pad(patch.astype(np.int32), ((1, 1), (1, 1), (0, 0)), mode="edge")
        rows = sum(k * wide[i : i + patch.shape[0]] for i, k in enumerate(kernel))
        both = sum(k * rows[:, i : i + patch.shape[1]] for i, k in enumerate(kernel))
        patch = ((both + 8) // 16).astype(np.uint8)
    if "noise" in match:
        missing = grain(under) ** 2 - grain(patch) ** 2
        if missing > 0:
            amount = int(np.sqrt(missing) * 256)
            noise = draw_noise(patch.shape[:2], key, "noise").astype(np.int32) * amount
            grainy = patch.astype(np.int32) + ((noise + (1 << 15)) >> 16)[..., None]
            patch = np.clip(grainy, 0, 255).astype(np.uint8)
    return patch
