"""Index the Open Images CSVs once into an Arrow file: one row per photo, its masks as a list."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from olrd.errors import SourceError
from olrd.progress import say
from olrd.storage.files import sha256_file
from olrd.storage.indexes import open_index
from olrd.trust import one_line, reading

INDEX_VERSION = "2"
COLUMNS = ["MaskPath", "ImageID", "LabelName", "BoxID", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax"]
BOX_COLUMNS = ["ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax", "IsGroupOf"]
_NUMBERS = {*COLUMNS[4:], *BOX_COLUMNS[2:]}
_NO_BOXES = pa.table({name: pa.array([], pa.float64() if name in _NUMBERS else pa.string()) for name in BOX_COLUMNS})


def openimages_index(masks_csv: Path, photos: list[str], extra: dict[str, Path | None]) -> pa.Table:
    """The memory-mapped index of one subset; it is built if it does not exist.

    Columns: image_id, masks, boxes, author, license_url, source_url. Photos without a mask have an empty list. Schema
    metadata: fingerprint, and labels (JSON: label id to name).

    Args:
        masks: the CSV of the masks.
        photos: the sorted ids of the photos that exist.
        extra: the paths of the optional CSVs: `boxes` (all boxes, with IsGroupOf), `names` (label id, name), and
            `images` (author, licence and URL of each photo).
    """
    files = [masks_csv, *(path for path in extra.values() if path)]
    key = [INDEX_VERSION, str(len(photos)), hashlib.sha256("\n".join(photos).encode()).hexdigest()]
    for path in files:
        stat = path.stat()
        key += [str(path.resolve()), str(stat.st_size), str(stat.st_mtime_ns)]
    name = hashlib.sha256("|".join(key).encode()).hexdigest()[:32]

    def make(path: Path) -> None:
        with reading(masks_csv, "a CSV of Open Images masks, with the CSVs beside it", SourceError):
            _write_index(masks_csv, photos, extra, files, path)

    return open_index(f"openimages-{name}", make)


def _write_index(
    masks_csv: Path, photos: list[str], extra: dict[str, Path | None], files: list[Path], out: Path
) -> None:
    say(f"indexing {masks_csv.name} (once)")
    table = _read(masks_csv)
    digest = hashlib.sha256("".join(sha256_file(path) for path in files).encode()).hexdigest()
    labels = pc.unique(table["label"]).to_pylist()
    names = _names(extra.get("names"))
    if labels and not names:
        say("no class-descriptions-boxable.csv beside it: categories keep their label ids")
    if extra.get("images") is None:
        say(
            "no image CSV (…-images-with-rotation.csv) beside it: the licences and authors of the photos are unknown; "
            "--source-option license=CODE declares a licence"
        )
    metadata = {
        "fingerprint": digest,
        "labels": json.dumps({label: names.get(label, label) for label in sorted(labels)}),
    }
    grouped = _group(table, photos, extra).replace_schema_metadata(metadata)
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_file(sink, grouped.schema) as writer:
        writer.write_table(grouped, max_chunksize=1000)


def _csv(path: Path, columns: list[str]) -> pa.Table:
    """Some columns of a CSV; label ids and hexadecimal ids stay text. Raises `SourceError` that names what is
    missing."""
    types = {c: pa.float64() if c in _NUMBERS else pa.string() for c in columns}
    try:
        table = pacsv.read_csv(
            path,
            convert_options=pacsv.ConvertOptions(
                include_columns=columns, column_types=types, strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError, KeyError) as error:
        raise SourceError(f"{path}: expected a CSV with the columns {', '.join(columns)} ({error})") from error
    # A corner that is missing is not a number, like one that is not finite; only its photo is refused.
    filled = [pc.fill_null(table[c], float("nan")) if c in _NUMBERS else table[c] for c in columns]
    return pa.table(filled, names=columns)


def _read(masks_csv: Path) -> pa.Table:
    """Mask rows: image, label, mask file, box id, box as xmin, xmax, ymin, ymax (0 to 1)."""
    table = _csv(masks_csv, COLUMNS)
    return table.rename_columns(["file", "image", "label", "box_id", "xmin", "xmax", "ymin", "ymax"])


def _names(path: Path | None) -> dict[str, str]:
    """The class name of each label id. The file of boxable classes has no header, the V6 file has one."""
    if path is None:
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) >= 2]
    return {row[0]: one_line(row[1]) for row in rows if row[0].startswith("/")}


def _lists(table: pa.Table, images: pa.Array, columns: list[str]) -> pa.ListArray:
    """The rows of each image as a list of structs, in the order of `images`."""
    position = pc.index_in(table["image"].combine_chunks(), images).to_numpy(zero_copy_only=False)
    order = np.argsort(position, kind="stable")
    table = table.take(pa.array(order)).combine_chunks()
    counts = np.bincount(position.astype(np.int64), minlength=len(images))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    values = pa.StructArray.from_arrays([table[name].combine_chunks() for name in columns], names=columns)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _group(table: pa.Table, photos: list[str], extra: dict[str, Path | None]) -> pa.Table:
    listed = sorted(set(photos) | set(pc.unique(table["image"]).to_pylist()))
    images = pa.array(listed, pa.string())
    masks = _lists(table, images, ["file", "label", "box_id", "xmin", "xmax", "ymin", "ymax"])
    boxes = _boxes(extra.get("boxes"), images)
    facts = _facts(extra.get("images"), images)
    return pa.table({"image_id": images, "masks": masks, "boxes": boxes} | facts)


def _boxes(path: Path | None, images: pa.Array) -> pa.ListArray:
    """Every annotated box of the listed photos, of any class; empty lists without the box CSV."""
    if path is None:
        table = _NO_BOXES
    else:
        table = _csv(path, BOX_COLUMNS)
        table = table.filter(pc.is_in(table["ImageID"], images))
    names = ["image", "label", "xmin", "xmax", "ymin", "ymax", "group"]
    return _lists(table.rename_columns(names), images, names[1:])


def _facts(path: Path | None, images: pa.Array) -> dict[str, pa.Array]:
    """Author, licence URL and source URL of each photo; empty where unknown."""
    wanted = {"author": "Author", "license_url": "License", "source_url": "OriginalURL"}
    if path is None:
        return {name: pa.array([""] * len(images)) for name in wanted}
    table = _csv(path, ["ImageID", *wanted.values()])
    position = pc.index_in(images, table["ImageID"].combine_chunks())
    return {
        name: pc.fill_null(pc.take(table[column].combine_chunks(), position), "") for name, column in wanted.items()
    }
