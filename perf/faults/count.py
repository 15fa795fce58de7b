"""The registered faults, and the count of how often a build recovers from each."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from perf.faults.clock import clock_jumps
from perf.faults.disk import full_disk, read_errors
from perf.faults.kills import parent_killed, repair_killed, worker_killed
from perf.faults.rivals import two_at_once
from perf.faults.scene import FaultError, NotPossibleError, Scene
from perf.faults.shards import damaged_part, edited_shard, truncated_shard

Fault = Callable[[Scene, Path, random.Random], Path]
"""Applies one fault to a build in an empty folder, does what a user would do next, and returns the dataset."""

FAULTS: dict[str, Fault] = {
    "worker-killed": worker_killed,
    "parent-killed": parent_killed,
    "full-disk": full_disk,
    "read-errors": read_errors,
    "truncated-shard": truncated_shard,
    "edited-shard": edited_shard,
    "repair-killed": repair_killed,
    "damaged-part": damaged_part,
    "clock-jumps": clock_jumps,
    "two-at-once": two_at_once,
}


@dataclass
class Count:
    """One line of the table.

    Attributes:
        fault: Name of the fault.
        tried: Times that it was applied.
        recovered: Times that the dataset had the undisturbed build's bytes afterwards.
        rows_lost: Rows of the undisturbed build that could not be read afterwards, summed over all times.
        problems: What went wrong, or why this machine does not allow the fault.
    """

    fault: str
    tried: int = 0
    recovered: int = 0
    rows_lost: int = 0
    problems: list[str] = field(default_factory=list)


def count_fault(name: str, scene: Scene, times: int, seed: int = 0) -> Count:
    """Apply one fault several times, each time in a new folder with its own random draws."""
    count = Count(name)
    for time in range(times):
        with TemporaryDirectory(prefix="olrd-fault-") as folder:
            draw = random.Random(f"{name} {seed} {time}")
            lost = len(scene.rows)
            try:
                out = FAULTS[name](scene, Path(folder), draw)
                lost = scene.lost(out)
                scene.check(out)
                count.recovered += 1
            except NotPossibleError as error:
                count.problems.append(str(error))
                break
            except FaultError as error:
                count.problems.append(f"time {time}: {error}")
            count.tried += 1
            count.rows_lost += lost
    return count
