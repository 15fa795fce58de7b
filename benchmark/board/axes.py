"""The range of an axis and its ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Range(NamedTuple):
    """The part of an axis that is shown."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether a value is in it."""
        return self.low <= value <= self.high


def shown_range(values: Sequence[float]) -> Range:
    """The range of the values with a margin of 6 %."""
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    span = high - low if high - low > 1e-6 * size + 1e-12 else size * 0.1 + 1e-9
    return Range(low - 0.06 * span, high + 0.06 * span)


def ticks_of(shown: Range) -> list[float]:
    """2 to 8 round numbers, evenly spaced, within a range."""
    raw = (shown.high - shown.low) / 7
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= raw * 0.999)
    first, last = math.ceil(shown.low / step - 1e-9), math.floor(shown.high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def tick_decimals(ticks: Sequence[float]) -> int:
    """The number of decimals that evenly spaced ticks need."""
    return max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))


def log_ticks_of(shown: Range) -> list[float]:
    """Round numbers within a range of powers of ten: 1, 2 and 5 times a power, or the powers alone."""
    powers = range(math.floor(shown.low) - 1, math.ceil(shown.high) + 1)
    factors = (1, 2, 5) if shown.high - shown.low < 2 else (1,)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    return [tick for tick in ticks if shown.low <= math.log10(tick) <= shown.high]
