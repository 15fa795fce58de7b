"""The registered faults, and how often a build came back from each."""

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
"""Does one fault to a build in an empty folder, and what a user does then; returns the dataset."""

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
    """One line of the table. rows_lost: rows of the undisturbed build that a dataset could not give
    afterwards, over all times. problems: what went wrong, or why the fault is not possible here."""

    fault: str
    tried: int = 0
    recovered: int = 0
    rows_lost: int = 0
    problems: list[str] = field(default_factory=list)


def count_fault(name: str, scene: Scene, times: int, seed: int = 0) -> Count:
    """Do one fault so many times, each in a fresh folder with its own draw."""
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
