"""A built folder: its record, shards, rows and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import index
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex, overload

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from olrd.arrays import MAX_PIXELS, Image, Mask, decode_mask, decode_photo
from olrd.config import MOST_OBJECTS
from olrd.dataset.record import BUILD_FILE, BuildRecord
from olrd.dataset.schema import ALL_PICTURES, MASKS, PICTURES, optional_columns, schema
from olrd.errors import IntegrityError, Rejected, SourceError, UsageError
from olrd.sources import SEEN
from olrd.storage.remote import Remote, location
from olrd.triplets.compose import Triplet
from olrd.trust import counted, printable, shown

MAX_GROUP_BYTES = 1 << 31
"""Largest row group that is read. A build ends one at 64 MB (see `olrd.dataset.shards`), or after a single larger row."""
MAX_GROUP_ROWS = 10_000
"""Most rows of a row group that is read. A build writes 100."""
BATCH_ROWS = 16
_BATCH_BYTES = 1 << 30


class Sample(NamedTuple):
    """One triplet of a dataset.

    Attributes:
        id: unique in the dataset.
        image: the composite, uint8 [H, W, 3], RGB.
        mask: bool [H, W], True = erase.
        background: the ground truth, uint8 [H, W, 3], RGB. It equals `image` outside the mask.
        row: the other columns (docs/formats.md).
        effect: bool [H, W], every pixel that the object changes, with its shadow and reflection, or None if the set has
            none. It contains the mask; `background` equals `image` outside it.
        masks: bool [H, W] each, the mask of every pasted object, if the set has the column; `mask` is their union.
    """

    id: str
    image: Image
    mask: Mask
    background: Image
    row: dict[str, Any]
    effect: Mask | None = None
    masks: tuple[Mask, ...] | None = None


class Dataset:
    """A finished build in a folder or at a URL.

    `len(dataset)` is the number of triplets; `dataset[3]` and iterating decode them, one at a time. `dataset[3:5]` is a
    list of them.

    Attributes:
        folder: where it lies.
        record: the content of build.json; read from the folder if not given.
        max_pixels: larger pictures are not decoded, whatever build.json says.
        form: `full` or `recipes`.
        optional: its optional columns; see `olrd.dataset.schema.optional_columns`.
        shards: its Parquet files, in order.
    """

    def __init__(
        self, folder: Path | Remote | str, record: BuildRecord | None = None, max_pixels: int = MAX_PIXELS
    ) -> None:
        self.folder, self.max_pixels = location(folder), max_pixels
        self.record = self._read() if record is None else record
        self.form = self.record.form
        self.optional = _optional(self.record)
        self.shards = [self.folder / shard.file for shard in self.record.shards]

    def _read(self) -> BuildRecord:
        path = self.folder / BUILD_FILE
        if not path.is_file():
            unfinished = (self.folder / "parts").is_dir()
            raise SourceError(
                f"{self.folder} holds no finished build ({BUILD_FILE} is not there)"
                + ("; run the same olrd-build command again to finish it" if unfinished else "")
            )
        return BuildRecord.read(path)

    def __len__(self) -> int:
        return self.record.rows

    def need_triplets(self) -> None:
        """Raise `SourceError` if there is no triplet. Builds leave no such set; another program may."""
        if not len(self):
            raise SourceError(f"{self.folder} holds no triplets; its {BUILD_FILE} says why")

    def __iter__(self) -> Iterator[Sample]:
        self._check_pictures()
        return (_sample(row, self.max_pixels) for row in self.rows())

    @overload
    def __getitem__(self, number: SupportsIndex) -> Sample: ...

    @overload
    def __getitem__(self, number: slice) -> list[Sample]: ...

    def __getitem__(self, number: SupportsIndex | slice) -> Sample | list[Sample]:
        self._check_pictures()
        size = len(self)
        if isinstance(number, slice):
            return [self[one] for one in _numbers(number, size)]
        number = _whole(number)
        if not -size <= number < size:
            raise IndexError(f"triplet {number} of {size}")
        for row in self.rows_from(number % size):
            return _sample(row, self.max_pixels)
        raise IntegrityError(
            f"{self.folder}: {BUILD_FILE} says {counted(size, 'triplet')}, number {number} is not there"
        )

    def _check_pictures(self) -> None:
        if self.form != "full":
            raise UsageError(
                f"{self.folder} holds recipes without pictures: make them with `olrd rebuild`, or read them with "
                "olrd.load(folder, root=PHOTOS)"
            )

    def open(self, shard: Path | Remote) -> pq.ParquetFile:
        """Open a shard. Raises `IntegrityError` if it is missing or damaged, or lacks a column."""
        if isinstance(shard, Path) and not shard.is_file():  # a named pipe would wait forever
            raise IntegrityError(f"{shard} is missing or damaged: there is no such file")
        try:
            where = shard.open() if isinstance(shard, Remote) else shard
            file = pq.ParquetFile(where, pre_buffer=False, buffer_size=1 << 20)
            found = file.schema_arrow
        except READ_ERRORS as error:
            raise IntegrityError(f"{shard} is missing or damaged: {printable(str(error))}") from error
        for column in schema(self.form, self.optional):
            place = found.get_field_index(column.name)
            if place < 0 or found.field(place).type != column.type:
                file.close()
                raise IntegrityError(
                    f"{shard}: its columns are not those of {self.form}: {column.name} is missing or of another type"
                )
        return file

    def batches(
        self, columns: Sequence[str] | None = None, shards: Sequence[Path | Remote] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Rows in order, in small batches. Memory does not grow with the dataset."""
        for shard in self.shards if shards is None else shards:
            with self.open(shard) as file:
                yield from group_batches(shard, file, None, columns)

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Rows in order, as dicts. Pictures are {"bytes": ..., "path": ...}."""
        for batch in self.batches(columns):
            yield from batch_rows(batch)

    def rows_from(self, start: int) -> Iterator[dict[str, Any]]:
        """Rows from number `start` on. Row groups before it are not read."""
        for shard in self.shards:
            with self.open(shard) as file:
                for group in range(file.metadata.num_row_groups):
                    count = file.metadata.row_group(group).num_rows
                    if start >= count:
                        start -= count
                        continue
                    for batch in group_batches(shard, file, [group]):
                        yield from batch_rows(batch.slice(min(start, len(batch))))
                        start = max(0, start - len(batch))

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Whole columns (not pictures) as one table."""
        whole = schema(self.form, self.optional)
        part = pa.schema([whole.field(name) for name in columns])
        return pa.Table.from_batches((batch.select(list(columns)) for batch in self.batches(columns)), part)


def _whole(number: object) -> int:
    try:
        return index(number)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"triplets are numbered: expected a whole number or a slice, got {shown(number)}") from None


def _numbers(part: slice, size: int) -> range:
    start, stop, step = (None if one is None else _whole(one) for one in (part.start, part.stop, part.step))
    if step == 0:
        raise UsageError("a slice of triplets needs a step other than 0")
    return range(size)[start:stop:step]


READ_ERRORS = (OSError, ValueError, pa.ArrowException)
"""What pyarrow raises for files that are missing or damaged."""


def group_batches(
    shard: Path | Remote, file: pq.ParquetFile, groups: Sequence[int] | None, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of these row groups (None: of all) in small batches.

    Batches of large row groups have fewer rows, because a short file can claim long values. Raises `IntegrityError` if
    the shard is damaged, or a row group is larger than any build writes.
    """
    names = None if columns is None else list(columns)
    try:
        largest = 1
        for group in range(file.metadata.num_row_groups) if groups is None else groups:
            described = file.metadata.row_group(group)
            largest = max(largest, described.total_byte_size)
            if described.num_rows > MAX_GROUP_ROWS or not 0 <= described.total_byte_size <= MAX_GROUP_BYTES:
                raise IntegrityError(
                    f"{shard}, row group {group}: {described.num_rows:,} rows and {described.total_byte_size:,} bytes; "
                    f"expected at most {MAX_GROUP_ROWS:,} and {MAX_GROUP_BYTES:,}"
                )
        size = max(1, min(BATCH_ROWS, _BATCH_BYTES // largest))
        more = {} if groups is None else {"row_groups": list(groups)}
        yield from file.iter_batches(batch_size=size, columns=names, **more)
    except READ_ERRORS as error:
        raise IntegrityError(f"{shard} is damaged: {printable(str(error))}") from error


def batch_rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """A batch as dicts. Raises `IntegrityError` if a text in it is damaged."""
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
        return rows
    except UnicodeDecodeError as error:
        raise IntegrityError(f"a text column is damaged: {error}") from error


def _sample(row: dict[str, Any], max_pixels: int) -> Sample:
    image, mask, background, effect, masks = row_triplet(row, max_pixels)
    plain = {name: value for name, value in row.items() if name not in (*ALL_PICTURES, MASKS)}
    return Sample(row["id"], image, mask, background, plain, effect, masks)


def _optional(record: BuildRecord) -> tuple[str, ...]:
    """The optional columns of a build. Raises `IntegrityError` if its configuration does not fit."""
    plain = (
        record.source.background_kind != SEEN
        and record.config.get("objects") in (None, [1, 1])
        and record.config.get("shadow") in (None, "none")
    )
    return () if plain else optional_columns(record.settings(), record.source)


def row_triplet(row: dict[str, Any], max_pixels: int = MAX_PIXELS) -> Triplet:
    """The decoded pictures of a full row.

    Raises `IntegrityError` if one is damaged, is not there, or is not of the size that the row says.

    max_pixels: the limit of what is decoded, whatever the row says.
    """
    name, width, height = shown(row["id"]), row["width"], row["height"]
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
        raise IntegrityError(f"{name}: {shown(width)} x {shown(height)} is no size of a picture")
    if width * height > max_pixels:
        raise IntegrityError(f"{name}: {width} x {height} is more than the allowed {max_pixels:,} pixels")
    parts = [part for part in ALL_PICTURES if part in PICTURES or part in row]
    data: dict[str, Any] = {part: (row[part] or {}).get("bytes") for part in parts}
    if missing := [part for part, found in data.items() if not found]:
        raise IntegrityError(f"{name}: the picture {missing[0]} is not there")
    try:
        image = decode_photo(data["image"], f"{name} image", width * height).pixels
        mask = decode_mask(data["mask"], f"{name} mask", width * height)
        background = decode_photo(data["background"], f"{name} background", width * height).pixels
        effect = decode_mask(data["effect"], f"{name} effect", width * height) if "effect" in row else None
        masks = _decoded_masks(row, name) if MASKS in row else None
    except Rejected as error:
        raise IntegrityError(str(error)) from error
    found = {image.shape[:2], mask.shape, background.shape[:2], *(() if effect is None else (effect.shape,))}
    found |= {one.shape for one in masks or ()}
    if shapes := found - {(height, width)}:
        raise IntegrityError(f"{name}: sizes differ: {sorted(shapes)} (height, width), columns say {width} x {height}")
    whole = None if effect is None else np.ascontiguousarray(effect)
    return Triplet(image, np.ascontiguousarray(mask), background, whole, masks)


def _decoded_masks(row: dict[str, Any], name: str) -> tuple[Mask, ...]:
    """The masks of the single objects. Raises `IntegrityError` or `Rejected`."""
    stored = row[MASKS] or ()
    if not 1 <= len(stored) <= MOST_OBJECTS or not all((one or {}).get("bytes") for one in stored):
        raise IntegrityError(f"{name}: expected 1 to {MOST_OBJECTS} masks of single objects, found {len(stored)}")
    limit = row["width"] * row["height"]
    decoded = (decode_mask(one["bytes"], f"{name} mask {n}", limit) for n, one in enumerate(stored))
    return tuple(np.ascontiguousarray(mask) for mask in decoded)
