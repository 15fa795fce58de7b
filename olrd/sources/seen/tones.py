"""Tone between two pictures of one place: a gain and an offset per channel, fitted and applied."""

from __future__ import annotations

import cv2
import numpy as np

from olrd.arrays import Image, Mask

Tone = tuple[tuple[float, float], ...]
"""(gain, offset) of red, green and blue: level * gain + offset."""
_SAMPLE = 6_000
_ROUNDS = 5
_DARK, _BRIGHT = 12, 243
"""Levels outside are clipped by cameras and tell nothing of a gain."""
_LEAST = 200
MAX_TONE = 64.0
"""Largest change of a level that a gain and an offset may make."""
SAME = 0.6
"""Difference in levels, over the whole range, up to which two tones count as equal."""


def fitted_tone(source: Image, target: Image, valid: Mask | None = None) -> Tone | None:
    """The tone that turns the levels of one picture into those of another; None if they are equal.

    Least squares per channel, repeated without the pixels that fit worst, so that objects in one of the pictures do not
    count.

    Args:
        source, target: uint8 [H, W, 3].
        valid: bool [H, W], the pixels that both pictures show; None for all.
    """
    size = max(1, int((source.shape[0] * source.shape[1] / _SAMPLE) ** 0.5))
    smooth = [cv2.blur(picture, (5, 5))[::size, ::size].astype(np.float64) for picture in (source, target)]
    usable = np.ones(smooth[0].shape[:2], np.bool_) if valid is None else valid[::size, ::size]
    tone = tuple(_line(smooth[0][..., c][usable], smooth[1][..., c][usable]) for c in range(3))
    return None if tone_change(tone) < SAME else tone


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    inside = (x > _DARK) & (x < _BRIGHT) & (y > _DARK) & (y < _BRIGHT)
    x, y = x[inside], y[inside]
    if x.size < _LEAST:
        return 1.0, 0.0
    gain, offset = 1.0, float(np.median(y - x))
    for _ in range(_ROUNDS):
        error = np.abs(y - gain * x - offset)
        kept = error <= max(1.0, 2.5 * float(np.median(error)))
        spread = float(np.var(x[kept]))
        if spread > 25:
            gain = float(np.mean((x[kept] - x[kept].mean()) * (y[kept] - y[kept].mean()))) / spread
        offset = float(np.mean(y[kept]) - gain * np.mean(x[kept]))
    return round(gain, 6), round(offset, 6)


def tone_change(tone: Tone | None) -> float:
    """The largest change of a level between 32 and 224."""
    return 0.0 if tone is None else max(abs((g - 1) * level + o) for g, o in tone for level in (32, 128, 224))


def toned(picture: Image, tone: Tone | None) -> Image:
    """The picture with a tone applied, rounded to the nearest level."""
    if tone is None:
        return picture
    levels = np.arange(256, dtype=np.float64)
    tables = [np.floor(np.clip(levels * gain + offset, 0, 255) + 0.5).astype(np.uint8) for gain, offset in tone]
    return np.stack([table[picture[..., c]] for c, table in enumerate(tables)], axis=-1)


def joined_tones(first: Tone | None, then: Tone | None) -> Tone | None:
    """The tone that applies `first` and then another one."""
    if first is None or then is None:
        return then if first is None else first
    both = tuple((round(a * c, 6), round(b * c + d, 6)) for (a, b), (c, d) in zip(first, then, strict=True))
    return None if tone_change(both) < SAME else both
