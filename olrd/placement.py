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
Run = tuple[int, int, int]
SPARSE = 8
"""Every how many runs of a mask are tried before all of them."""


class Field:
    """Blocked pixels of one photo, prepared so that any mask can be tested against them.

    blocked: bool [H, W]. Level k of the table has a bit set where any of the 2**k pixels to the
    right, the pixel itself included, is blocked; two look-ups then cover a run of any length.
    """

    def __init__(self, blocked: Mask) -> None:
        self.height, self.width = blocked.shape
        bits = int.from_bytes(np.packbits(blocked.ravel(), bitorder="little").tobytes(), "little")
        self._levels = [bits]
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

    def legal(self, mask: Mask, rows: range, among: Legal | None = None) -> Legal:
        """bool [len(rows), W - w + 1]: whether `mask` (bool [h, w]) may lie with its corner at
        (x, rows[y]), touching no blocked pixel. among: of the same shape, the only positions asked for.

        A few of the mask's rows are tried first, as they rule out most positions; the whole mask
        is tried on what is left.
        """
        if not len(rows) or mask.shape[1] > self.width:
            return np.zeros((len(rows), max(self.width - mask.shape[1] + 1, 0)), np.bool_)
        legal = np.ones((len(rows), self.width - mask.shape[1] + 1), np.bool_)
        if among is not None:
            legal &= among
        runs = mask_runs(mask)
        few = runs[::SPARSE]
        del runs[::SPARSE]
        for some in (few, runs):
            hopeful = np.flatnonzero(legal.any(axis=1))
            if not len(hopeful):
                break
            first, last = int(hopeful[0]), int(hopeful[-1]) + 1
            hit = self._collisions(some, mask.shape[0], rows[first:last])
            legal[first:last] &= self._free(hit, last - first, mask.shape[1])
            legal[:first], legal[last:] = False, False
        return legal

    def _collisions(self, runs: list[Run], mask_height: int, rows: range) -> int:
        """One bit per position (y - rows[0]) * W + x for y in `rows`: set if a run of a mask with its
        corner at (x, y) lands on a blocked pixel."""
        base = rows.start * self.width
        window = (1 << (len(rows) + mask_height) * self.width) - 1
        cropped: dict[int, int] = {}
        hit = 0
        for y, x, length in runs:
            level = length.bit_length() - 1
            if level not in cropped:
                cropped[level] = (self._levels[level] >> base) & window
            bits, start = cropped[level], y * self.width + x
            hit |= bits >> start
            if length != 1 << level:
                hit |= bits >> (start + length - (1 << level))
        return hit

    def _free(self, hit: int, count: int, mask_width: int) -> Legal:
        """The positions without a collision, bool [count, W - w + 1]. Nothing wraps: a position that
        would cross the right edge is outside the returned array."""
        size = count * self.width
        raw = (hit & ((1 << size) - 1)).to_bytes((size + 7) // 8, "little")
        bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=size, bitorder="little")
        return bits.reshape(count, self.width)[:, : self.width - mask_width + 1] == 0


def legal_positions(blocked: Mask, mask: Mask) -> Legal:
    """All legal positions of `mask` (bool [h, w]) on `blocked` (bool [H, W]).

    Returns bool [H - h + 1, W - w + 1]; [y, x] is True if the mask with its corner at (x, y)
    touches no blocked pixel. Empty if the mask is larger than the photo.
    """
    field = Field(blocked)
    return field.legal(mask, field.rows(mask.shape[0]))


def mask_runs(mask: Mask) -> list[Run]:
    """The horizontal runs of a mask as (row, first column, length)."""
    width = mask.shape[1] + 1
    padded = np.zeros((mask.shape[0], width), np.bool_)  # a last column that ends every run
    padded[:, :-1] = mask
    flat = padded.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat[:1].any():
        edges = np.concatenate([[0], edges])
    starts, ends = edges[0::2], edges[1::2]
    rows = starts // width
    columns = starts - rows * width
    return list(zip(rows.tolist(), columns.tolist(), (ends - starts).tolist(), strict=True))
