"""Progress and messages on stderr."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(label: str, total: int, unit: str = "it", initial: int = 0) -> tqdm[Any]:
    """A progress bar on stderr with rate and remaining time. It appears after two seconds."""
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
    """Print one line on stderr."""
    print(message, file=sys.stderr, flush=True)
