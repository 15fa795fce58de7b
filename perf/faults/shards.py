"""Damaged files: a truncated shard, an edited shard, a damaged part of an unfinished build."""

from __future__ import annotations

import random
import shutil
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from perf.faults.processes import kill_build
from perf.faults.scene import FaultError, Scene


def truncated_shard(scene: Scene, folder: Path, draw: random.Random) -> Path:
    """A finished shard is truncated. `verify` names it and `--repair` builds it again."""
    return _repaired(scene, truncate(scene, folder, draw))


def edited_shard(scene: Scene, folder: Path, draw: random.Random) -> Path:
    """A value of a shard is changed: the file is valid Parquet, but not what was built. `--repair` builds it again."""
    out = shutil.copytree(scene.undisturbed, folder / "out")
    shard = _any_shard(out, draw)
    table = pq.read_table(shard)
    authors = table["author"].to_pylist()
    authors[draw.randrange(len(authors))] = "me"
    column = table.schema.get_field_index("author")
    pq.write_table(table.set_column(column, table.schema.field(column), pa.array(authors)), shard)
    return _repaired(scene, out)


def damaged_part(scene: Scene, folder: Path, draw: random.Random) -> Path:
    """A build is killed, and one bit of its parts changes before the same command is run again.

    The second run names the damaged part and asks to be run once more.
    """
    for number in count():
        out = folder / str(number)
        killed = kill_build(scene, out, draw.uniform(0, scene.seconds))
        if killed and (parts := sorted(out.glob("parts/[!.]*.parquet"))):
            break
    part = draw.choice(parts)
    flip(part, draw)
    code, said = scene.build(out)
    marked = "was damaged after it was written" in said
    if code != 0 and not marked:
        raise FaultError(f"the rerun failed without naming {part.name}: {said[-500:]}")
    if code != 0:
        scene.must_build(out)
    return out


def truncate(scene: Scene, folder: Path, draw: random.Random) -> Path:
    """Copy the undisturbed build and truncate one shard at a random byte."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    out = shutil.copytree(scene.undisturbed, folder / "out")
    shard = _any_shard(out, draw)
    with shard.open("r+b") as file:
        file.truncate(draw.randrange(shard.stat().st_size))
    return out


def flip(path: Path, draw: random.Random) -> None:
    """Change one random bit of a file."""
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def _repaired(scene: Scene, out: Path) -> Path:
    """Repair a build: `verify` must name every damaged shard, and `--repair` must be all that is needed."""
    damaged = [n for n in scene.whole if (out / n).read_bytes() != (scene.undisturbed / n).read_bytes()]
    problems = " ".join(scene.problems(out))
    if not damaged or not all(name in problems for name in damaged):
        raise FaultError(f"{damaged} damaged, but verify says: {problems[:500]}")
    scene.must_build(out, "--repair")
    return out


def _any_shard(out: Path, draw: random.Random) -> Path:
    return draw.choice(sorted(out.glob("data/*.parquet")))
