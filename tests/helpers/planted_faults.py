"""Targets for the fuzzer with faults in them. A child process imports this file."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from random import Random

from olrd.errors import IntegrityError
from perf.fuzz.harness import Example


def planted(honest: Path, scratch: Path) -> Example:
    """One reader with five faults: an exception, a crash, no end, too much memory, and waiting."""

    def example(random: Random) -> None:
        draw = random.randrange(10)
        if draw == 0:
            raise KeyError("planted")
        if draw == 1:
            ctypes.string_at(0)
        if draw == 2:
            while True:
                pass
        if draw == 4:
            time.sleep(60)
        if draw == 3:
            bytearray(1 << 34)
        if draw < 8:
            raise IntegrityError("an error of ours is what is expected")

    return example


def never_starts(honest: Path, scratch: Path) -> Example:
    raise RuntimeError("no input")
