"""Two builds that write into one folder at the same time."""

from __future__ import annotations

import random
import time
from pathlib import Path

from perf.faults.scene import FaultError, Scene, ended

REFUSAL = "another process is building in"


def two_at_once(scene: Scene, folder: Path, draw: random.Random) -> Path:
    """A second build starts while the first one runs. Exactly one is refused, and the other one is complete."""
    number = 0
    while True:
        out = folder / str(number)
        first = scene.start(out)
        time.sleep(draw.uniform(0, scene.seconds / 2))
        second = scene.start(out)
        codes = []
        for process in (first, second):
            code, said = ended(process)
            codes.append(code)
            if code != 0 and REFUSAL not in said:
                raise FaultError(f"not a refusal: {said[-500:]}")
        if sorted(codes) == [0, 1]:
            return out
        if codes != [0, 0]:
            raise FaultError(f"exit codes {codes}: both were refused")
        number += 1  # the first build finished before the second one began
