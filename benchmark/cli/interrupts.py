"""Ctrl-C ends a run within two seconds, also while a library of C works.

Python raises `KeyboardInterrupt` when the main thread runs Python again. A network or a fill in C may take many seconds
until then. What a run writes is whole or absent, so nothing is lost when the process just ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PATIENCE = 1.0
"""Seconds that an interrupted command has to end by itself."""
STATUS = 130
MESSAGE = "interrupted; run the same command again to go on from here"


@contextmanager
def prompt_interrupts() -> Iterator[None]:
    """End this process `PATIENCE` seconds after Ctrl-C if it has not ended by then."""
    if threading.current_thread() is not threading.main_thread():  # whoever runs it there handles signals
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    unwound = threading.Event()
    threading.Thread(target=_watch, args=(reading, unwound), daemon=True).start()
    try:
        yield
    except KeyboardInterrupt:
        unwound.set()  # the command says that it was interrupted; the thread sees to it that it ends
        raise
    except BaseException:
        _stop(before, writing)
        raise
    else:
        _stop(before, writing)


def _stop(before: int, writing: int) -> None:
    with suppress(ValueError):  # the descriptor of whoever was there before may be closed by now
        signal.set_wakeup_fd(before)
    os.close(writing)  # ends the thread


def _watch(reading: int, unwound: threading.Event) -> None:
    """Wait for Ctrl-C, then for the end of the process, and then end it."""
    with os.fdopen(reading, "rb", buffering=0) as signals:
        while (arrived := signals.read(1)) and arrived[0] != signal.SIGINT:
            pass
    if not arrived:
        return
    time.sleep(PATIENCE)
    if not unwound.is_set():
        with suppress(OSError, ValueError):
            print(f"\n{MESSAGE}", file=sys.stderr, flush=True)
    os._exit(STATUS)
