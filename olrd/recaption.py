"""`olrd caption`: captions into a finished dataset, shard by shard, hashes kept true at every moment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa

from olrd.caption import caption_dataset
from olrd.card import write_card
from olrd.dataset import BUILD_FILE, Dataset
from olrd.errors import UsageError
from olrd.files import disk_errors, sha256_file, to_json, write_atomic
from olrd.locks import locked
from olrd.remote import Remote
from olrd.shards import ROW_GROUP, open_writer


def caption_folder(folder: Path | str, checkpoint: str, **options: Any) -> dict[str, Any]:
    """Fill the null captions of a full dataset (see `olrd.caption.caption_dataset` for options).

    Run again after an interruption, it goes on where it stopped.
    """
    dataset = Dataset(folder)
    if isinstance(dataset.folder, Remote):
        raise UsageError(f"captions are written into a local folder: download {folder} first")
    if dataset.form != "full":
        raise UsageError(f"{folder} holds recipes without pixels: `olrd rebuild` it first")
    with locked(dataset.folder):
        finish_renames(dataset)
        summary = caption_dataset(
            dataset.folder,
            lambda path, table: replace_shard(dataset, path, table),
            checkpoint,
            **options,
        )
        dataset.build["captions"] = {
            key: summary[key]
            for key in ("checkpoint", "revision", "commit", "prompt")
            if key in summary
        }
        write_card(dataset.folder, dataset.build)
        write_atomic(dataset.folder / BUILD_FILE, to_json(dataset.build))
    return summary


def replace_shard(dataset: Dataset, path: Path, table: pa.Table) -> None:
    """Replace one shard's content and its record in build.json.

    The new shard is whole on disk before build.json names its hash, and takes the old one's place
    after that: whenever this is cut off, `finish_renames` can complete it.
    """
    waiting = _waiting(path)
    with disk_errors(path):
        with open_writer(waiting, table.schema) as writer:
            for start in range(0, table.num_rows, ROW_GROUP):
                writer.write_table(table.slice(start, ROW_GROUP), row_group_size=ROW_GROUP)
        with waiting.open("rb") as file:
            os.fsync(file.fileno())
    for shard in dataset.build["shards"]:
        if dataset.folder / shard["file"] == path:
            shard["sha256"], shard["bytes"] = sha256_file(waiting), waiting.stat().st_size
    write_atomic(dataset.folder / BUILD_FILE, to_json(dataset.build))
    os.replace(waiting, path)


def finish_renames(dataset: Dataset) -> None:
    """Complete what a run that was cut off left: put named shards in place, drop unnamed ones."""
    for shard in dataset.build["shards"]:
        path = dataset.folder / shard["file"]
        waiting = _waiting(path)
        if waiting.exists():
            if sha256_file(waiting) == shard["sha256"]:
                os.replace(waiting, path)
            else:
                waiting.unlink()


def _waiting(path: Path) -> Path:
    return path.with_name(f".{path.name}.captioned")
