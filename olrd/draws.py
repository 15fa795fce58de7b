"""Random numbers that are keyed per sample: a draw depends only on its key, e.g. (seed, id, purpose).

Draws are hashes of the key, not values of a generator with a state. So order, batch size, number of workers and
library versions have no influence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def digest(*key: object) -> int:
    """A 128-bit integer from the texts of the key's parts, in order."""
    text = "\x1f".join(str(part) for part in key).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")


def draw_integer(n: int, *key: object) -> int:
    """A uniform integer in [0, n). The modulo bias is under n / 2**128."""
    if n < 1:
        raise ValueError(f"draw_integer needs n >= 1, got {n}")
    return digest(*key) % n


def draw_share(*key: object) -> float:
    """A uniform float in [0, 1) with 53 bits."""
    return (digest(*key) >> 75) / (1 << 53)


def draw_weighted(weights: Sequence[int] | npt.NDArray[np.int64], *key: object) -> int:
    """An index drawn in proportion to non-negative integer `weights` (not all zero)."""
    totals = np.cumsum(np.asarray(weights, dtype=np.int64))
    return int(np.searchsorted(totals, draw_integer(int(totals[-1]), *key), side="right"))


def draw_noise(shape: tuple[int, ...], *key: object) -> npt.NDArray[np.int16]:
    """Integer noise, near-normal, mean 0, standard deviation 256 (sum of 12 uniform bytes).

    They are made from a raw bit stream, because NumPy keeps raw bits stable between versions, but not normal draws.
    """
    count = int(np.prod(shape))
    raw = np.random.Philox(key=digest(*key)).random_raw((count * 12 + 7) // 8)
    bytes_ = np.asarray(raw, dtype="<u8").view(np.uint8)[: count * 12].reshape(count, 12)
    # Twelve uniform bytes have variance 12 * (256**2 - 1) / 12, so the sum has deviation ~256.
    return (bytes_.sum(axis=1, dtype=np.int16) - np.int16(1530)).reshape(shape)
