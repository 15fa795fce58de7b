"""stdout is for results. What methods, metrics and libraries print there goes to stderr."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

STDOUT, STDERR = 1, 2


@contextmanager
def stdout_for_results() -> Iterator[None]:
    """Send everything that is printed inside this context to stderr.

    That includes what libraries of C and child processes write to the file descriptor of stdout.
    """
    _flush()
    try:
        kept = os.dup(STDOUT)
        os.dup2(STDERR, STDOUT)
    except OSError:  # one of them is closed
        with redirect_stdout(sys.stderr):
            yield
        return
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _flush()  # what libraries of C hold back would come out after the result
        os.dup2(kept, STDOUT)
        os.close(kept)


def _flush() -> None:
    """Write out what Python and the C library hold back for stdout."""
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError, AttributeError, TypeError):  # no C library of that form
        ctypes.CDLL(None).fflush(None)
