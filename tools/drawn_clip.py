"""A place drawn in code, through which an object with a shadow passes: every mask, effect and clean picture is known.

    python -m tools.drawn_clip FOLDER

writes the frames of a clip, for `olrd-build --source clip --root FOLDER`. The tests measure masks and effects on such clips.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image as Pillow

from olrd.arrays import Image, Mask

WIDTH, HEIGHT = 176, 132


class Frame(NamedTuple):
    """pixels and clean: uint8 [H, W, 3], with and without the object. mask and effect: bool [H, W];
    the effect is every pixel that the object and its soft shadow change by more than a level."""

    pixels: Image
    clean: Image
    mask: Mask
    effect: Mask


@dataclass(frozen=True)
class Scene:
    """A scene. noise: standard deviation in levels. shake: pixels. flicker: gain. darkness: of the shadow."""

    frames: int = 12
    noise: float = 1.5
    shake: float = 0.0
    flicker: float = 0.0
    darkness: float = 0.6
    seed: int = 0

    def frame(self, number: int) -> Frame:
        """Frame `number`. An object passes from left to right; the first and last two frames are empty."""
        rng = np.random.default_rng((self.seed, number))
        mask, shadow = self._object(number)
        still = ground(self.seed)
        picture = still.copy()
        soft = cv2.GaussianBlur(shadow.astype(np.float32), (0, 0), 1.0)[..., None]
        picture = picture * (1 - (1 - self.darkness) * soft)
        picture[mask] = self._paint(rng)[mask]
        offset = rng.uniform(-self.shake, self.shake, 2) if self.shake else (0.0, 0.0)
        move = np.float32([[1, 0, offset[0]], [0, 1, offset[1]]])
        gain = 1 + self.flicker * np.sin(number)
        noise = rng.normal(0, self.noise, picture.shape)

        def shown(values: np.ndarray, grain: np.ndarray) -> Image:
            moved = cv2.warpAffine(values, move, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
            return np.clip(np.rint(moved * gain + grain), 0, 255).astype(np.uint8)

        def region(values: Mask) -> Mask:
            moved = cv2.warpAffine(values.astype(np.float32), move, (WIDTH, HEIGHT))
            return moved > 0.5

        changed = mask | (np.abs(picture - still).max(axis=2) > 1)
        return Frame(shown(picture, noise), shown(still, noise), region(mask), region(changed))

    def _object(self, number: int) -> tuple[Mask, Mask]:
        """The object's outline, and that of its shadow on the ground to its right."""
        mask, shadow = np.zeros((HEIGHT, WIDTH), np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
        if 2 <= number < self.frames - 2:
            x = 24 + (number - 2) * (WIDTH - 70) // max(1, self.frames - 5)
            cv2.rectangle(mask, (x, 52), (x + 21, 100), 1, -1)
            cv2.circle(mask, (x + 11, 46), 9, 1, -1)
            cv2.ellipse(shadow, (x + 30, 99), (20, 7), 0, 0, 360, 1, -1)
        return mask.view(np.bool_), shadow.view(np.bool_)

    def _paint(self, rng: np.random.Generator) -> np.ndarray:
        """The object's surface: stripes of red and dark blue."""
        rows = np.arange(HEIGHT)[:, None, None] // 6 % 2
        return np.where(rows, (196.0, 52.0, 44.0), (40.0, 44.0, 120.0)) + np.zeros((HEIGHT, WIDTH, 3))

    def save(self, folder: Path) -> Path:
        """Write the frames as `frame0.png` and so on."""
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(self.frames):
            Pillow.fromarray(self.frame(number).pixels).save(folder / f"frame{number}.png", compress_level=1)
        return folder


def ground(seed: int = 0) -> np.ndarray:
    """float64 [H, W, 3]: a wall with bricks over a floor with grain."""
    rng = np.random.default_rng((seed, 1 << 20))
    rough = cv2.GaussianBlur(rng.normal(0, 40, (HEIGHT, WIDTH)), (0, 0), 1.5)
    picture = np.empty((HEIGHT, WIDTH, 3))
    picture[:78], picture[78:] = (168, 150, 128), (126, 132, 122)
    for y in range(6, 78, 12):
        picture[y : y + 2] = (110, 100, 92)
        for x in range(y // 12 % 2 * 12, WIDTH, 24):
            picture[y : y + 12, x : x + 2] = (110, 100, 92)
    picture[78:] += rough[78:, :, None]
    picture[:78] += rough[:78, :, None] * 0.4
    return np.clip(picture, 0, 255)


def overlap(one: Mask, other: Mask) -> float:
    """Intersection over union."""
    return float((one & other).sum() / max(1, (one | other).sum()))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -m tools.drawn_clip FOLDER")
    Scene(frames=16).save(Path(sys.argv[1]))
