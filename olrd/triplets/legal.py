"""Legal positions: every position at which an object may lie, computed exactly and all at once.

A position is the top-left corner of the object's box. It is legal if no pixel of the object's mask lies on a blocked
pixel. This is a morphological erosion with the mask as structuring element. It runs on one bit per pixel, with two ORs
per horizontal run of the mask: exact, without floating point, about a millisecond per object.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from olrd.arrays import Mask

Legal = npt.NDArray[np.bool_]
Bits = npt.NDArray[np.uint8]
"""Eight pixels per byte, rows without gaps; the first pixel is the lowest bit."""
Words = npt.NDArray[np.uint64]
WORD = np.dtype("<u8")
Run = tuple[int, int, int]
SPARSE = 48, 8
"""Every n-th run of a mask is tried before all runs, the sparsest ones first."""


class Field:
    """The blocked pixels of one photo, prepared for testing masks against them.

    blocked: bool [H, W]. In level k of the table a bit is set if any of 2**k pixels, from this one to the right, is
    blocked. Two look-ups cover a run of any length.
    """

    def __init__(self, blocked: Mask) -> None:
        self.height, self.width = blocked.shape
        packed = np.packbits(blocked.ravel(), bitorder="little")
        bits = np.zeros(-(-len(packed) // 8), WORD)
        bits.view(np.uint8)[: len(packed)] = packed
        self._levels = [bits.view(np.uint8)]
        reach = 1
        while reach < self.width:
            bits = bits | _moved(bits, reach)
            self._levels.append(bits.view(np.uint8))
            reach *= 2

    def rows(self, mask_height: int, first: float = 0, last: float | None = None) -> range:
        """The rows on which a box of that height fits, limited to [first, last]."""
        lowest = self.height - mask_height
        top = max(0, math.ceil(first))
        return range(top, max(top, (lowest if last is None else min(lowest, math.floor(last))) + 1))

    def legal(self, mask: Mask, rows: range, among: Legal | None = None) -> Legal:
        """The legal positions of a mask in some rows.

        A few runs of the mask are tried first, because they rule out most positions. The whole mask is tried on the
        positions that are left.

        Args:
            mask: bool [h, w].
            rows: the rows of the corner (see `rows`).
            among: bool of the same shape as the result; only these positions are tested.

        Returns:
            bool [len(rows), W - w + 1]: whether the mask with its corner at (x, rows[y]) covers no blocked pixel.
        """
        if not len(rows) or mask.shape[1] > self.width:
            return np.zeros((len(rows), max(self.width - mask.shape[1] + 1, 0)), np.bool_)
        legal = np.ones((len(rows), self.width - mask.shape[1] + 1), np.bool_)
        if among is not None:
            legal &= among
        runs = mask_runs(mask)
        stages = []
        for step in SPARSE:
            stages.append(runs[step // 2 :: step])
            del runs[step // 2 :: step]
        for some in (*stages, runs):
            if not some:
                continue
            hopeful = np.flatnonzero(legal.any(axis=1))
            if not len(hopeful):
                break
            first, last = int(hopeful[0]), int(hopeful[-1]) + 1
            hit = self._collisions(some, rows[first:last])
            legal[first:last] &= self._free(hit, last - first, mask.shape[1])
            legal[:first], legal[last:] = False, False
        return legal

    def _collisions(self, runs: list[Run], rows: range) -> Bits:
        """One bit per position (y - rows[0]) * W + x, y in `rows`: set if a run of a mask with its corner at (x, y)
        covers a blocked pixel."""
        words = len(rows) * self.width // 64 + 2
        # Whole bytes can be read at any offset. The remaining offset of 0 to 7 bits is the same for everything that
        # goes into one of these sums, so that each sum is shifted once.
        sums = np.zeros((8, words), WORD)
        by_rest = list(sums.view(np.uint8))
        for y, x, length in runs:
            level = length.bit_length() - 1
            bits, start = self._levels[level], (rows.start + y) * self.width + x
            for at in {start, start + length - (1 << level)}:
                part = bits[at >> 3 : (at >> 3) + words * 8]
                total = by_rest[at & 7][: len(part)]  # there is nothing blocked below the photo
                np.bitwise_or(total, part, out=total)
        for half in (4, 2, 1):
            sums[:half] |= _moved(sums[half : 2 * half], half)
        return sums[0].view(np.uint8)

    def _free(self, hit: Bits, count: int, mask_width: int) -> Legal:
        """The positions without a collision, bool [count, W - w + 1]. Positions that cross the right edge are not part
        of the array."""
        bits = np.unpackbits(hit, count=count * self.width, bitorder="little")
        return bits.reshape(count, self.width)[:, : self.width - mask_width + 1] == 0


def _moved(bits: Words, places: int) -> Words:
    """The words [..., n] shifted: bit i becomes bit i + places; zeros follow at the end."""
    whole, rest = divmod(places, 64)
    moved = np.zeros_like(bits)
    moved[..., : bits.shape[-1] - whole] = bits[..., whole:]
    if rest:
        over = moved[..., 1:] << np.uint64(64 - rest)
        moved >>= np.uint64(rest)
        moved[..., :-1] |= over
    return moved


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
