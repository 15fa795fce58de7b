"""Placement: every legal position of an object at once, exactly, then one of them.

A position is the top-left corner of the object's box. It is legal if no pixel of the object's mask
lands on a blocked pixel. That is a morphological erosion with the mask as its element; here it runs
on big integers, one bit a pixel, one OR per horizontal run of the mask: exact, no floating point, a
millisecond or two per object.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from olrd.arrays import Mask

Legal = npt.NDArray[np.bool_]


class Field:
    """Blocked pixels of one photo, prepared so that any mask can be tested against them.

    blocked: bool [H, W]. Level k of the table has a bit set where any of the 2**k pixels to the
    right, the pixel itself included, is blocked; two look-ups then cover a run of any length.
    """

    def __init__(self, blocked: Mask) -> None:
        self.height, self.width = blocked.shape
        bits = int.from_bytes(np.packbits(blocked.ravel(), bitorder="little").tobytes(), "little")
        self._levels = [bits]
        self._last: tuple[Mask, range, int] | None = None
        reach = 1
        while reach < self.width:
            bits |= bits >> reach
            self._levels.append(bits)
            reach *= 2

    def rows(self, mask_height: int, first: float = 0, last: float | None = None) -> range:
        """The rows on which a box of that height fits, limited to [first, last]."""
        lowest = self.height - mask_height
        top = max(0, math.ceil(first))
        return range(top, max(top, (lowest if last is None else min(lowest, math.floor(last))) + 1))

    def collisions(self, mask: Mask, rows: range) -> int:
        """One bit per position (y - rows[0]) * W + x for y in `rows`: set if some pixel of the mask
        (bool [h, w], corner at (x, y)) lands on a blocked one.

        The last answer is kept: several positions of one object ask the same question.
        """
        if self._last and self._last[0] is mask and self._last[1] == rows:
            return self._last[2]
        if not len(rows) or mask.shape[1] > self.width:
            return 0  # there is no position to ask about
        base = rows.start * self.width
        window = (1 << (len(rows) + mask.shape[0]) * self.width) - 1
        cropped: dict[int, int] = {}
        hit = 0
        for y, x, length in mask_runs(mask):
            level = length.bit_length() - 1
            if level not in cropped:
                cropped[level] = (self._levels[level] >> base) & window
            bits, start = cropped[level], y * self.width + x
            hit |= bits >> start
            if length != 1 << level:
                hit |= bits >> (start + length - (1 << level))
        self._last = mask, rows, hit
        return hit

    def unpack(self, hit: int, rows: range, mask_width: int) -> Legal:
        """Legal positions, bool [len(rows), W - w + 1], from collision bits. Nothing wraps: a
        position that would cross the right edge is outside the returned array."""
        size = len(rows) * self.width
        raw = (hit & ((1 << size) - 1)).to_bytes((size + 7) // 8, "little")
        bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=size, bitorder="little")
        return bits.reshape(len(rows), self.width)[:, : max(self.width - mask_width + 1, 0)] == 0


def legal_positions(blocked: Mask, mask: Mask) -> Legal:
    """All legal positions of `mask` (bool [h, w]) on `blocked` (bool [H, W]).

    Returns bool [H - h + 1, W - w + 1]; [y, x] is True if the mask with its corner at (x, y)
    touches no blocked pixel. Empty if the mask is larger than the photo.
    """
    field = Field(blocked)
    rows = field.rows(mask.shape[0])
    return field.unpack(field.collisions(mask, rows), rows, mask.shape[1])


def mask_runs(mask: Mask) -> list[tuple[int, int, int]]:
    """The horizontal runs of a mask as (row, first column, length)."""
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    return list(zip(rows.tolist(), starts.tolist(), (ends - starts).tolist(), strict=True))
