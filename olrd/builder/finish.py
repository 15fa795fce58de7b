"""Finishing a build: the parts become numbered shards; then the card and build.json are written."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import olrd
from olrd.builder.nothing import nothing_built
from olrd.builder.ownership import remove_parts
from olrd.builder.parts import mark_path, read_marks
from olrd.builder.units import Unit
from olrd.config import BuildConfig
from olrd.dataset.card import write_card
from olrd.dataset.record import BUILD_FILE, BuildRecord, ShardRecord, UnitRecord
from olrd.dataset.schema import optional_columns
from olrd.dataset.shards import Written, join_files
from olrd.errors import OutputError
from olrd.progress import progress_bar
from olrd.sources import SourceInfo
from olrd.storage.files import disk_errors, link_or_copy, sha256_file, to_json, write_atomic
from olrd.storage.remote import Remote
from olrd.triplets.tally import Tally
from olrd.trust import parse_json, plain_name

MOST_THREADS = 4
"""Largest number of threads that write shards. Each holds a row group in memory."""
SHARD_ROWS = 50_000
"""Largest number of rows of a joined shard, because the metadata of all row groups of a file is held in memory."""


def finish(
    out: Path | Remote,
    config: BuildConfig,
    source: SourceInfo,
    identity: str,
    units: list[Unit],
    fresh: Set[str] = frozenset(),
    threads: int = 1,
) -> BuildRecord:
    """Write `data/`, README.md, sample.png and build.json from the finished parts.

    Args:
        out: the folder or URL of the build.
        config: of the build.
        source: of the build.
        identity: of the build.
        units: all units.
        fresh: names of the units that this process has written. The parts of all other units were written by an earlier
            process and are checked against their hashes.
        threads: that write shards.
    """
    parts, data = out / "parts", out / "data"
    data.mkdir(exist_ok=True)
    marks = read_marks(parts, units)
    if len(marks) < len(units):
        raise OutputError(f"{parts}: finished parts are missing; run the same command again")
    total = Tally()
    for _, tally in marks.values():
        total.add(tally)
    if not total.triplets:
        remove_parts(parts)  # so that the same command takes up a repaired input
        if isinstance(data, Path) and not any(data.iterdir()):
            data.rmdir()
        raise nothing_built(total)
    jobs: list[tuple[str, str, list[Written]]] = []
    for split, _ in config.splits:
        files = [file for unit, (fs, _) in marks.items() if unit.split == split for file in fs]
        batches = list(pack(files, config.shard_bytes))
        jobs += [(shard_name(split, number, len(batches)), split, batch) for number, batch in enumerate(batches)]
    kept = {name for name, _, _ in jobs}
    begun = note_shards(parts, kept)
    write = partial(
        _write_shard, parts=parts, data=data, config=config, fresh=fresh, optional=optional_columns(config, source)
    )
    shards: list[ShardRecord] = []
    with (
        progress_bar("finishing", len(jobs), unit=" shards") as bar,
        ThreadPoolExecutor(min(threads, MOST_THREADS)) as pool,
    ):
        for shard in pool.map(write, jobs):
            shards.append(shard)
            bar.update()
    for old in sorted(begun - kept):
        (data / old).unlink(missing_ok=True)
    record = BuildRecord(
        identity=identity,
        config=config.resolved(),
        source=source,
        shards=tuple(shards),
        totals=total,
        units=tuple(
            UnitRecord(unit.name, sum(file.rows for file in files), len(tally.failures), tally)
            for unit, (files, tally) in marks.items()
        ),
        olrd=olrd.__version__,
        command=config.command(),
        versions=versions(),
    )
    write_record(out, record)
    remove_parts(parts)
    return record


def write_record(out: Path | Remote, record: BuildRecord) -> None:
    """Write the card, and then build.json: the mark of a finished build."""
    write_card(out, record)
    write_atomic(out / BUILD_FILE, to_json(record.to_json()))


def note_shards(parts: Path | Remote, names: Set[str]) -> set[str]:
    """Note the names in `data/` that are about to be used, and return all that this build ever used.

    So leftovers of an earlier attempt are removed even if a listing does not show them yet.
    """
    path = parts / "shards.json"
    try:
        begun = {*names, *(plain_name(name, path, OutputError) for name in parse_json(path.read_text(), path))}
    except FileNotFoundError:
        begun = set(names)
    write_atomic(path, json.dumps(sorted(begun)), durable=False)
    return begun


def shard_name(split: str, number: int, count: int) -> str:
    """The file name in `data/` of a split's shard."""
    return plain_name(f"{split}-{number:05d}-of-{count:05d}.parquet", "the name of a split", OutputError)


def pack(files: list[Written], limit: int) -> Iterator[list[Written]]:
    """Groups of neighbouring part files that become one shard each: up to `limit` bytes and `SHARD_ROWS` rows together.

    Joining copies bytes, so a part of at least 1/128 of the limit (4 MB by default) becomes a shard alone.
    """
    batch: list[Written] = []
    for file in files:
        large = file.bytes >= limit // 128
        size = sum(f.bytes for f in batch) + file.bytes
        if batch and (large or size > limit or sum(f.rows for f in batch) + file.rows > SHARD_ROWS):
            yield batch
            batch = []
        if large:
            yield [file]
        else:
            batch.append(file)
    if batch:
        yield batch


def _write_shard(
    job: tuple[str, str, list[Written]],
    parts: Path | Remote,
    data: Path | Remote,
    config: BuildConfig,
    fresh: Set[str],
    optional: tuple[str, ...],
) -> ShardRecord:
    """Write a shard: (its name, its split, its parts). A shard of a single part is a link to it, without copying."""
    name, split, batch = job
    for file in batch:
        unit = Unit.of_part(file.file)
        if unit.name not in fresh and sha256_file(parts / file.file) != file.sha256:
            mark_path(parts, unit).unlink(missing_ok=True)
            raise OutputError(
                f"{parts / file.file} was damaged after it was written; it will be built again: run the same command once "
                "more"
            )
    if len(batch) == 1:
        written = batch[0]._replace(file=name)
        with disk_errors(data / name):
            link_or_copy(parts / batch[0].file, data / name)
    else:
        written = join_files([parts / file.file for file in batch], data / name, config.form, optional)
    return ShardRecord(f"data/{name}", split, written.rows, written.bytes, written.sha256)


def versions() -> dict[str, str]:
    """The versions of the libraries that decide the bytes."""
    import cv2
    import numpy
    import PIL
    import pyarrow
    from PIL import features

    return {
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "pillow": PIL.__version__,
        "libwebp": features.version("webp") or "",
        "libjpeg-turbo": features.version("jpg") or "",
        "opencv": cv2.__version__,
        "pyarrow": pyarrow.__version__,
    }
