"""Progress on stderr; nothing at all for work that takes under two seconds."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(label: str, total: int, unit: str = "it", initial: int = 0) -> tqdm[Any]:
    """A bar on stderr that appears after two seconds, with rate and time left."""
    return tqdm(
        total=total,
        desc=label,
        unit=unit,
        unit_scale=unit == "B",
        initial=initial,
        delay=2.0,
        file=sys.stderr,
        dynamic_ncols=True,
        mininterval=0.5,
    )


def say(message: str) -> None:
    """One line for the person at the terminal, on stderr."""
    print(message, file=sys.stderr, flush=True)
