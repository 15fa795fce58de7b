"""The pictures of a dataset, a Parquet folder or a folder of image files, for comparison."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from olrd.audit.hashes import Hash, perceptual_hash, thumbnail
from olrd.dataset.folder import READ_ERRORS, Dataset, batch_rows
from olrd.dataset.record import BUILD_FILE
from olrd.dataset.sampling import rows_at
from olrd.errors import SourceError
from olrd.progress import progress_bar
from olrd.storage.files import sha256
from olrd.storage.remote import is_url
from olrd.triplets.seen_recipe import read_recipe
from olrd.trust import printable

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


class Picture(NamedTuple):
    """A picture without its pixels.

    Attributes:
        name: for reports.
        shas: sha256 of its bytes, and of the photo's own file if a recipe has it.
        ids: `source/image_id`.
        files: file names without folder.
        splits: in which it occurs.
        hash: None if it has no readable pixels (recipes, or damaged).
    """

    name: str
    shas: frozenset[str]
    ids: frozenset[str]
    files: frozenset[str]
    splits: frozenset[str]
    hash: Hash | None


class Collection(NamedTuple):
    """The pictures of a folder. kind: `olrd`, `parquet` or `images`. unreadable: pictures that cannot be opened."""

    path: str
    kind: str
    pictures: list[Picture]
    unreadable: int


def collect(folder: Path | str) -> Collection:
    """All pictures of a folder. Raises `SourceError` if there are none."""
    if is_url(folder):
        return Collection(str(folder), "olrd", photos(Dataset(folder)), 0)
    folder = Path(folder)
    if not folder.is_dir():
        raise SourceError(f"{folder} is not a folder: expected a dataset or a folder of images")
    if (folder / BUILD_FILE).is_file():
        return Collection(str(folder), "olrd", photos(Dataset(folder)), 0)
    shards = sorted(folder.rglob("*.parquet"))
    if shards:
        found, kind = _hashed(_parquet_bytes(shards), str(folder)), "parquet"
    else:
        files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
        found, kind = (
            _hashed(((p.relative_to(folder).as_posix(), p.read_bytes) for p in files), str(folder)),
            "images",
        )
    if not found:
        raise SourceError(
            f"{folder} holds no {BUILD_FILE}, no image column in a Parquet file and no image files "
            f"({', '.join(sorted(_SUFFIXES))})"
        )
    return Collection(str(folder), kind, found, sum(p.hash is None for p in found))


def photos(dataset: Dataset) -> list[Picture]:
    """Every photo that a dataset uses, once. In the full form, backgrounds have a perceptual hash; photos that are only
    donors have none."""
    columns = ["source", "image_id", "donor_image_id", "split", "recipe"]
    splits: dict[str, set[str]] = {}
    shas: dict[str, str] = {}
    files: dict[str, str] = {}
    first: dict[str, int] = {}
    for number, row in enumerate(dataset.rows(columns)):
        recipe = read_recipe(row["recipe"])
        for image_id, ref in ((row["image_id"], recipe.background), (row["donor_image_id"], recipe.donor)):
            key = f"{row['source']}/{image_id}"
            splits.setdefault(key, set()).add(str(row["split"]))
            shas[key], files[key] = ref.sha256, PurePosixPath(ref.file_name).name
        first.setdefault(f"{row['source']}/{row['image_id']}", number)
    hashed: dict[str, Picture] = {}
    if dataset.form == "full":
        rows = rows_at(dataset, sorted(first.values()), ["source", "image_id", "background"])
        found = _hashed(
            (
                (f"{row['source']}/{row['image_id']}", _constant((row["background"] or {}).get("bytes") or b""))
                for row in rows
            ),
            str(dataset.folder),
            len(first),
        )
        hashed = {picture.name: picture for picture in found}
    return [
        Picture(
            key,
            frozenset({shas[key]}) | (hashed[key].shas if key in hashed else frozenset()),
            frozenset({key}),
            frozenset({files[key]}),
            frozenset(where),
            hashed[key].hash if key in hashed else None,
        )
        for key, where in sorted(splits.items())
    ]


def _constant(data: bytes) -> Callable[[], bytes]:
    return lambda: data


def _parquet_bytes(shards: list[Path]) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """(name, bytes) of every picture in every image column; columns are struct<bytes, path> or binary."""
    for shard in shards:
        try:
            opened = pq.ParquetFile(shard, memory_map=True)
            names = [field.name for field in opened.schema_arrow if _is_picture(field.type)]
        except READ_ERRORS as error:
            raise SourceError(f"{shard} is not a readable Parquet file: {printable(str(error))}") from error
        with opened as file:
            number = 0
            for batch in _batches(shard, file, names):
                for row in batch_rows(batch):
                    for name in names:
                        value: Any = row[name]
                        data = value["bytes"] if isinstance(value, dict) else value
                        path = value.get("path") if isinstance(value, dict) else None
                        if data:
                            yield path or f"{shard.name}[{number}].{name}", _constant(data)
                    number += 1


def _batches(shard: Path, file: pq.ParquetFile, names: list[str]) -> Iterator[pa.RecordBatch]:
    """The batches of any Parquet file. Raises `SourceError` if it is damaged."""
    try:
        yield from file.iter_batches(batch_size=16, columns=names) if names else ()
    except READ_ERRORS as error:
        raise SourceError(f"{shard} is damaged: {printable(str(error))}") from error


def _is_picture(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _hashed(sources: Iterable[tuple[str, Callable[[], bytes]]], label: str, total: int = 0) -> list[Picture]:
    """Pictures of (name, reader) pairs, decoded in threads, with a few dozen in memory at a time."""
    workers = min(8, os.cpu_count() or 1)
    found: list[Picture] = []
    pending = iter(sources)
    with ThreadPoolExecutor(workers) as pool, progress_bar(f"hash {label}", total, "picture") as bar:
        while chunk := list(islice(pending, 8 * workers)):
            for picture in pool.map(_picture, chunk):
                found.append(picture)
                bar.update()
    return found


def _picture(source: tuple[str, Callable[[], bytes]]) -> Picture:
    name, read = source
    try:
        data = read()
    except OSError:
        return Picture(name, *(frozenset[str](),) * 4, None)
    thumb = thumbnail(data)
    return Picture(
        name,
        frozenset({sha256(data)}),
        frozenset(),
        frozenset({PurePosixPath(name).name}),
        frozenset(),
        None if thumb is None else perceptual_hash(thumb),
    )


def hash_array(pictures: list[Picture], mirrored: bool = False) -> np.ndarray:
    """uint64 [n]: the hashes of pictures; each must have one."""
    return np.array([p.hash.mirrored if mirrored else p.hash.bits for p in pictures if p.hash], np.uint64)
