"""Progress and messages on stderr, and sizes in words."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from contextlib import suppress
from functools import cache
from typing import Any

from tqdm import tqdm


class _Messages:
    """stderr, for messages. If it is closed (`2>&1 | head`), messages are lost and the work continues."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


MESSAGES = _Messages()


def progress_bar(label: str, total: int, unit: str = "it", initial: int = 0) -> tqdm[Any]:
    """A progress bar on stderr with rate and remaining time. It appears after two seconds."""
    return tqdm(
        total=total,
        desc=label,
        unit=unit,
        unit_scale=unit == "B",
        initial=initial,
        delay=2.0,
        file=MESSAGES,
        dynamic_ncols=True,
        mininterval=0.5,
    )


def lock_for_one_process() -> None:
    """Let progress bars of this process and its libraries share a lock of threads.

    By default tqdm makes a semaphore for all processes. A worker that is killed leaves it behind, and Python warns of
    "leaked semaphore objects" when the command ends.
    """
    tqdm.set_lock(threading.RLock())


def say(message: str) -> None:
    """Print one line on stderr. If stderr is closed, the line is lost and the work continues."""
    print(message, file=MESSAGES, flush=True)


@cache
def say_once(message: str) -> None:
    """Print one line on stderr, once in a run: worker processes, which read the same input again, say nothing."""
    if multiprocessing.parent_process() is None:
        say(message)


def size_text(count: float) -> str:
    """1536 as '1.5 kB'."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
