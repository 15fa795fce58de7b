"""The index of a COCO panoptic JSON: an Arrow file, written once.

The JSON (118,000 photos for COCO's training set) is read as a stream, in constant memory. Its lists `images` and
`annotations` have different orders and are joined by image id. The index is memory-mapped: it opens in milliseconds,
and only the rows that are read occupy memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from olrd.errors import SourceError
from olrd.licenses import UNKNOWN, license_code
from olrd.panoptic import Category
from olrd.progress import progress_bar
from olrd.storage.indexes import open_index
from olrd.trust import DepthGuard, one_line, reading, shown

INDEX_VERSION = "1"
_BATCH = 1000
_CHUNK = 1 << 20
_SEGMENT = pa.struct(
    [
        ("id", pa.int64()),
        ("category_id", pa.int32()),
        ("area", pa.int64()),
        ("bbox", pa.list_(pa.int32(), 4)),
        ("iscrowd", pa.bool_()),
    ]
)
_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("file_name", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("license", pa.string()),
        ("license_url", pa.string()),
        ("source_url", pa.string()),
        ("author", pa.string()),
        ("panoptic_name", pa.string()),
        ("segments", pa.list_(_SEGMENT)),
    ]
)


def panoptic_index(json_path: Path) -> pa.Table:
    """The index of a panoptic JSON as a memory-mapped table; it is built if it does not exist.

    Schema metadata: `fingerprint` (sha256 of the JSON) and `categories`. Raises `SourceError`.
    """
    stat = json_path.stat()
    key = f"{json_path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{INDEX_VERSION}"

    def make(path: Path) -> None:
        with reading(json_path, "a COCO panoptic JSON", SourceError):
            _write_index(json_path, path)

    return open_index(hashlib.sha256(key.encode()).hexdigest()[:32], make)


def _write_index(json_path: Path, out: Path) -> None:
    images, categories, fingerprint = _read_heads(json_path)
    metadata = {"fingerprint": fingerprint, "categories": json.dumps([tuple(category) for category in categories])}
    schema = _SCHEMA.with_metadata(metadata)
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        batch: list[dict[str, Any]] = []
        found = 0
        for annotation in _stream(json_path, "annotations.item"):
            batch.append(_row(json_path, annotation, images))
            found += 1
            if len(batch) == _BATCH:
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
                batch = []
        if not found:
            raise SourceError(f"{json_path}: its list 'annotations' is missing or empty")
        # Photos without an annotation stay in the index, so that the build can count them.
        batch.extend(image | {"panoptic_name": None, "segments": []} for image in images.values())
        if batch:
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))


def _row(json_path: Path, annotation: dict[str, Any], images: dict[int, dict[str, Any]]) -> dict[str, Any]:
    try:
        image = images.pop(annotation["image_id"])
        segments = [
            {
                "id": s["id"],
                "category_id": s["category_id"],
                "area": int(s["area"]),
                "bbox": [int(v) for v in s["bbox"]],
                "iscrowd": bool(s.get("iscrowd", 0)),
            }
            for s in annotation["segments_info"]
        ]
        return image | {"panoptic_name": _file_name(annotation["file_name"]), "segments": segments}
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{json_path}: the annotation of image {annotation.get('image_id')!r} is not a COCO "
            f"panoptic one, or its image is missing or annotated twice ({error!r})"
        ) from error


def _read_heads(json_path: Path) -> tuple[dict[int, dict[str, Any]], list[Category], str]:
    """Images by id, categories, and the sha256 of the file, in one pass."""
    import ijson

    images: list[Any] = ijson.sendable_list()
    licenses: list[Any] = ijson.sendable_list()
    raw: list[Any] = ijson.sendable_list()
    feeds = [
        ijson.items_coro(target, prefix, use_float=True)
        for target, prefix in ((images, "images.item"), (licenses, "licenses.item"), (raw, "categories.item"))
    ]
    urls: dict[Any, str] = {}
    by_id: dict[int, dict[str, Any]] = {}
    digest, guard = hashlib.sha256(), DepthGuard(json_path, SourceError)
    try:
        for chunk in _chunks(json_path, "indexing, pass 1 of 2"):
            digest.update(chunk)
            guard.feed(chunk)
            for feed in feeds:
                feed.send(chunk)
        for feed in feeds:
            feed.close()
    except (ijson.JSONError, StopIteration) as error:
        raise SourceError(f"{json_path} is not valid JSON: {error}") from error
    if not images or not raw:
        raise SourceError(
            f"{json_path}: expected a COCO panoptic JSON with 'images', 'annotations' and "
            f"'categories'; found {len(images)} images and {len(raw)} categories"
        )
    urls = {entry["id"]: _text(entry.get("url")) for entry in licenses}
    for image in images:
        if image["id"] in by_id:
            raise SourceError(f"{json_path}: image {image['id']} is listed twice")
        url = urls.get(image.get("license"), "") if isinstance(image.get("license"), int | str) else ""
        by_id[image["id"]] = {
            "image_id": str(image["id"]),
            "file_name": _file_name(image["file_name"]),
            "width": image["width"],
            "height": image["height"],
            "license": license_code(url) if url else UNKNOWN,
            "license_url": url,
            "source_url": _text(image.get("source_url")) or _text(image.get("coco_url")),
            "author": _text(image.get("author")),
        }
    return by_id, [_category(json_path, entry) for entry in raw], digest.hexdigest()


def _category(json_path: Path, entry: dict[str, Any]) -> Category:
    number, name = entry["id"], entry["name"]
    if type(number) is not int or not isinstance(name, str | int) or not str(name).strip():
        raise SourceError(
            f"{json_path}: a category has the id {shown(number)} and the name {shown(name)}; expected a number and a "
            "text"
        )
    return Category(number, one_line(str(name)), _text(entry.get("supercategory")), bool(entry.get("isthing", 1)))


def _text(value: object) -> str:
    """A text in one line; empty for anything else."""
    return one_line(value) if isinstance(value, str) else ""


def _stream(json_path: Path, prefix: str) -> Iterator[dict[str, Any]]:
    import ijson

    items: list[Any] = ijson.sendable_list()
    feed = ijson.items_coro(items, prefix, use_float=True)
    try:
        for chunk in _chunks(json_path, "indexing, pass 2 of 2"):
            feed.send(chunk)
            yield from items
            items.clear()
        feed.close()
    except ijson.JSONError as error:
        raise SourceError(f"{json_path} is not valid JSON: {error}") from error


def _chunks(json_path: Path, label: str) -> Iterator[bytes]:
    with json_path.open("rb") as file, progress_bar(label, json_path.stat().st_size, unit="B") as bar:
        while chunk := file.read(_CHUNK):
            yield chunk
            bar.update(len(chunk))


def _file_name(value: object) -> str:
    """A file name that can be stored; one that is no text becomes empty, so that only its photo is refused."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""
