"""Turns a network's output into a picture. NaN and infinity are an error and never become black pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from olrd.arrays import Image
from olrd.errors import OlrdError

REMEDY = "give --option dtype=float32 if the eraser has it, or other weights"


class NotFiniteError(OlrdError):
    """A network's output contains NaN or infinity: it is not a picture."""


def to_uint8(levels: npt.NDArray[Any], what: str, remedy: str = REMEDY, *, truncate: bool = False) -> Image:
    """Convert a network's output to pixels.

    Args:
        levels: Any shape, float, in grey levels: 0 is black and 255 is white. Values outside are clipped.
        what: Names the eraser and the sample in the message.
        remedy: What the user can do about it.
        truncate: Cut the fractions off instead of rounding.

    Raises:
        NotFiniteError: If a value is NaN or infinite.
    """
    check_finite(levels, what, remedy)
    return np.clip(levels if truncate else np.rint(levels), 0, 255).astype(np.uint8)


def check_finite(values: npt.NDArray[Any], what: str, remedy: str = REMEDY) -> None:
    """Raise `NotFiniteError` if a value is NaN or infinite. The arguments are those of `to_uint8`."""
    finite = np.isfinite(values)
    if not finite.all():
        wrong = finite.size - int(np.count_nonzero(finite))
        raise NotFiniteError(
            f"{what}: the network's output is not a picture: {wrong:,} of {finite.size:,} values are NaN or infinite, "
            f"expected none. Nothing is written for it; {remedy}"
        )
