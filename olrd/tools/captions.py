"""`olrd caption`: fill the column `caption` of a built dataset with one line about each clean background."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from olrd.arrays import Image, decode_photo
from olrd.builder.finish import write_record
from olrd.dataset.folder import READ_ERRORS, Dataset
from olrd.dataset.record import BUILD_FILE
from olrd.dataset.shards import ROW_GROUP, open_writer
from olrd.errors import IntegrityError, Rejected, SourceError, UsageError
from olrd.models.captioner import CHECKPOINT, MAX_NEW_TOKENS, PROMPT, Captioner
from olrd.progress import progress_bar
from olrd.storage.files import disk_errors, sha256, sha256_file, to_json, write_atomic
from olrd.storage.locks import locked
from olrd.storage.remote import Remote
from olrd.trust import printable, without_folders

Rewrite = Callable[[Path, pa.Table], None]
"""Replaces a shard by a table, atomically, together with the record of its hash."""

_COLUMNS = ["id", "background", "background_labels", "caption"]


class Captions(Protocol):
    """What writes captions: `olrd.models.captioner.Captioner`, or anything with this method."""

    def caption(self, photos: Sequence[Image], tags: Sequence[Sequence[str]]) -> list[str]:
        """One line for each photo (uint8 [H, W, 3]) and its background tags."""


def caption_folder(folder: Path | str, checkpoint: str, **options: Any) -> dict[str, Any]:
    """Fill the null captions of a full dataset. options: see `caption_dataset`.

    An interrupted call is finished by the next one.
    """
    dataset = Dataset(folder)
    if isinstance(dataset.folder, Remote):
        raise UsageError(f"captions are written into a local folder: download {folder} first")
    if dataset.form != "full":
        raise UsageError(f"{folder} holds recipes without pixels: `olrd rebuild` it first")
    with locked(dataset.folder):
        finish_renames(dataset)
        for path in dataset.shards:
            dataset.open(path).close()
        if strays := sorted({*(dataset.folder / "data").glob("*.parquet")} - {*map(Path, map(str, dataset.shards))}):
            raise IntegrityError(f"{strays[0]} is not part of the build: remove it first")
        summary = caption_dataset(
            dataset.folder, lambda path, table: replace_shard(dataset, path, table), checkpoint, **options
        )
        kept: dict[str, Any] = {
            key: without_folders(summary[key]) for key in ("checkpoint", "revision", "commit") if key in summary
        } | {"prompt": summary["prompt"]}
        if not summary["captioned"] and dataset.record.captions is not None:
            kept = dict(dataset.record.captions)  # another checkpoint that wrote nothing is not noted
        write_record(dataset.folder, replace(dataset.record, captions=kept))
    return summary


def caption_dataset(
    out: Path,
    rewrite: Rewrite,
    checkpoint: str = CHECKPOINT,
    revision: str | None = None,
    device: str = "auto",
    batch: int = 1,
    prompt: str = PROMPT,
    max_new_tokens: int = MAX_NEW_TOKENS,
    limit: int | None = None,
) -> dict[str, Any]:
    """Caption every row of the dataset folder `out` that has no caption, at most `limit` rows.

    An interrupted call is finished by the next one, shard by shard. The network is loaded only if a row lacks its
    caption.

    Returns:
        A summary: checkpoint, revision, prompt, and the numbers of shards, new captions and rows without caption.

    Raises:
        SourceError: `out` is not a dataset.
        IntegrityError: a background picture cannot be read.
    """
    if batch < 1 or (limit is not None and limit < 0):
        raise UsageError(f"expected batch >= 1 and limit >= 0, got batch {batch} and limit {limit}")
    paths = sorted((out / "data").glob("*.parquet"))
    if not paths:
        raise SourceError(f"expected a built dataset with data/*.parquet in {out}, found no shard")
    pending = {path: count for path in paths if (count := count_missing(path))}
    summary: dict[str, Any] = {"checkpoint": checkpoint, "revision": revision, "prompt": prompt}
    done = 0
    if pending and limit != 0:
        captioner = Captioner(checkpoint, revision, device, prompt, max_new_tokens)
        summary["commit"] = captioner.commit
        done = caption_shards(list(pending), captioner, rewrite, batch, limit)
    return summary | {"shards": len(paths), "captioned": done, "without_caption": sum(pending.values()) - done}


def caption_shards(
    paths: Sequence[Path], captioner: Captions, rewrite: Rewrite, batch: int = 1, limit: int | None = None
) -> int:
    """Caption the shards that lack captions and pass each to `rewrite`. Returns the number of new captions."""
    pending = {path: count for path in paths if (count := count_missing(path))}
    total = min(sum(pending.values()), sum(pending.values()) if limit is None else limit)
    done = 0
    with progress_bar("captioning", total, unit="photo") as bar:
        for path, count in pending.items():
            if done == total:
                break
            allowed = min(count, total - done)
            try:
                whole = pq.read_table(path)
            except READ_ERRORS as error:
                raise IntegrityError(f"{path} is damaged: {printable(str(error))}") from error
            table = caption_table(whole, captioner, batch, allowed, bar.update)
            rewrite(path, table)
            done += allowed
    return done


def caption_table(
    table: pa.Table,
    captioner: Captions,
    batch: int = 1,
    limit: int | None = None,
    report: Callable[[int], object] | None = None,
) -> pa.Table:
    """The table with its null captions filled, at most `limit` of them, from the first row on.

    Captions describe the column `background` (never the composite) and its `background_labels`. Rows that share both
    share one caption. Schema, metadata and all other columns stay as they are.

    Args:
        table: of a shard.
        captioner: what writes the captions.
        batch: pictures per call.
        limit: largest number of new captions.
        report: is called with the number of rows that each batch filled.

    Raises:
        IntegrityError: a picture cannot be read.
    """
    captions = table.column("caption").to_pylist()
    empty = [row for row, caption in enumerate(captions) if caption is None][:limit]
    groups: dict[tuple[str, ...], list[int]] = {}
    for row in empty:
        groups.setdefault(_key(table, row), []).append(row)
    scenes = list(groups.values())
    for start in range(0, len(scenes), batch):
        chosen = scenes[start : start + batch]
        photos = [_background(table, rows[0]) for rows in chosen]
        tags = [_tags(table, rows[0]) for rows in chosen]
        for rows, caption in zip(chosen, captioner.caption(photos, tags), strict=True):
            for row in rows:
                captions[row] = caption
        if report is not None:
            report(sum(map(len, chosen)))
    position = table.schema.get_field_index("caption")
    field = table.schema.field(position)
    return table.set_column(position, field, pa.array(captions, field.type))


def count_missing(path: Path) -> int:
    """The number of rows of a shard without caption. Raises `SourceError` if it has no such column."""
    try:
        missing = set(_COLUMNS) - set(pq.read_schema(path).names)
        if missing:
            raise SourceError(f"{path}: expected the columns {_COLUMNS}, lacks {sorted(missing)}")
        return int(pq.read_table(path, columns=["caption"]).column(0).null_count)
    except READ_ERRORS as error:
        raise SourceError(f"{path} is not a readable Parquet file: {printable(str(error))}") from error


def _key(table: pa.Table, row: int) -> tuple[str, ...]:
    """What a caption depends on: the hash of the picture and the tags."""
    return sha256(_bytes(table, row)), *_tags(table, row)


def _tags(table: pa.Table, row: int) -> list[str]:
    return [str(tag) for tag in table.column("background_labels")[row].as_py() or []]


def _bytes(table: pa.Table, row: int) -> bytes:
    return (table.column("background")[row].as_py() or {}).get("bytes") or b""


def _background(table: pa.Table, row: int) -> Image:
    name = table.column("id")[row].as_py()
    try:
        return decode_photo(_bytes(table, row), f"background of {name}").pixels
    except Rejected as error:
        raise IntegrityError(
            f"row {name}: its background cannot be read ({error}); the dataset is damaged: build that shard again"
        ) from error


def replace_shard(dataset: Dataset, path: Path, table: pa.Table) -> None:
    """Replace the content of a shard and its entry in build.json.

    The new shard is complete on disk before build.json has its hash; after that it replaces the old one. Whenever the
    process is killed, `finish_renames` can complete the replacement.
    """
    waiting = _waiting(path)
    with disk_errors(path):
        with open_writer(waiting, table.schema) as writer:
            for start in range(0, table.num_rows, ROW_GROUP):
                writer.write_table(table.slice(start, ROW_GROUP), row_group_size=ROW_GROUP)
        with waiting.open("rb") as file:
            os.fsync(file.fileno())
    (shard,) = (one for one in dataset.record.shards if dataset.folder / one.file == path)
    shard = replace(shard, sha256=sha256_file(waiting), bytes=waiting.stat().st_size)
    dataset.record = dataset.record.with_shard(shard)
    write_atomic(dataset.folder / BUILD_FILE, to_json(dataset.record.to_json()))
    os.replace(waiting, path)


def finish_renames(dataset: Dataset) -> None:
    """Complete what a killed process left: rename new shards that build.json names, remove others."""
    for shard in dataset.record.shards:
        path = Path(str(dataset.folder)) / shard.file
        waiting = _waiting(path)
        if waiting.exists():
            if sha256_file(waiting) == shard.sha256:
                os.replace(waiting, path)
            else:
                waiting.unlink()


def _waiting(path: Path) -> Path:
    return path.with_name(f".{path.name}.captioned")
