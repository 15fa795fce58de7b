"""The index of a COCO instances JSON: two Arrow files, written once.

The annotations (860,000 for COCO's training set, in no order) are read as a stream and written in the order of the
file, in constant memory. A second, small file lists for each photo the rows of its annotations.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from olrd.errors import SourceError
from olrd.panoptic import Category
from olrd.progress import say
from olrd.sources.instances.json_chunks import json_chunks
from olrd.sources.instances.shapes import Shape, parse_shape
from olrd.storage.indexes import open_index
from olrd.trust import DepthGuard, counted, one_line, reading, shown

INDEX_VERSION = "1"
KIND = "a COCO instances JSON with 'images', 'annotations' and 'categories'"
_BATCH = 1000
_LARGEST = 0xF0000000
"""Ids of segments are below it; those above are for background and stuff."""
_SHAPES = pa.schema(
    [
        ("image", pa.int32()),
        ("id", pa.int64()),
        ("category", pa.int32()),
        ("iscrowd", pa.bool_()),
        ("bbox", pa.list_(pa.float64())),
        ("polygons", pa.list_(pa.list_(pa.float64()))),
        ("counts", pa.string()),
        ("size", pa.list_(pa.int32(), 2)),
        ("problem", pa.string()),
    ]
)
_IMAGES = pa.schema(
    [
        ("image_id", pa.string()),
        ("file_name", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("license_url", pa.string()),
        ("source_url", pa.string()),
        ("author", pa.string()),
        ("rows", pa.list_(pa.int32())),
        ("ids", pa.list_(pa.int64())),
        ("categories", pa.list_(pa.int32())),
        ("crowds", pa.list_(pa.bool_())),
    ]
)


class Instance(NamedTuple):
    """One annotation: its shape, and its box (x, y, width, height), which is empty if there is none."""

    shape: Shape
    bbox: tuple[float, ...]


class _Heads(NamedTuple):
    """What a JSON says beside its annotations. Images are rows of `_IMAGES`, in the order of the file."""

    images: list[dict[str, Any]]
    numbers: dict[Any, int]
    categories: dict[Any, Category]
    fingerprint: str


class InstancesIndex:
    """An opened index.

    Attributes:
        images: a table of `_IMAGES`. `rows`, `ids`, `categories` and `crowds` describe the annotations of a photo.
        fingerprint: the sha256 of the JSON.
        categories: by number. Numbers count from `first`, in the order of the ids of the JSON; an annotation of a
            category that is not listed has -1.
    """

    def __init__(self, json_path: Path, first: int) -> None:
        self._path, self._first = json_path, first
        stat = json_path.stat()
        key = f"{json_path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{INDEX_VERSION}|{first}"
        self._name = f"instances-{hashlib.sha256(key.encode()).hexdigest()[:32]}"
        self._shapes: pa.Table | None = None
        with reading(json_path, KIND, SourceError):
            self.images = open_index(self._name, self._write_images)
        metadata = self.images.schema.metadata
        self.fingerprint: str = metadata[b"fingerprint"].decode()
        self.categories = {row[0]: Category(*row) for row in json.loads(metadata[b"categories"])}

    def instances(self, image: int) -> list[Instance]:
        """The annotations of a photo, in the order of its `ids`."""
        if self._shapes is None:
            self._shapes = open_index(f"{self._name}-shapes", self._write_shapes)
        found = []
        for row in self.images["rows"][image].as_py():
            one = self._shapes.slice(row, 1).to_pylist()[0]
            size = tuple(one["size"]) if one["size"] else (0, 0)
            shape = Shape(one["polygons"] or [], one["counts"] or "", size, one["problem"] or "")
            found.append(Instance(shape, tuple(one["bbox"] or ())))
        return found

    def _write_images(self, out: Path) -> None:
        heads = _read_heads(self._path, self._first)

        def make(path: Path) -> None:
            _write_shapes(self._path, heads, path)

        shapes = open_index(f"{self._name}-shapes", make)
        metadata = {
            "fingerprint": heads.fingerprint,
            "categories": json.dumps([tuple(category) for category in heads.categories.values()]),
        }
        schema = _IMAGES.with_metadata(metadata)
        columns = {name: shapes[name].to_numpy() for name in ("image", "category", "iscrowd")}
        ids = shapes["id"].combine_chunks().fill_null(0).to_numpy()
        order = np.argsort(columns["image"], kind="stable")
        edges = np.searchsorted(columns["image"][order], np.arange(len(heads.images) + 1))
        with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for start in range(0, len(heads.images), _BATCH):
                batch = []
                for number in range(start, min(start + _BATCH, len(heads.images))):
                    rows = order[edges[number] : edges[number + 1]]
                    batch.append(
                        heads.images[number]
                        | {
                            "rows": rows,
                            "ids": _segment_ids(ids[rows].tolist()),
                            "categories": columns["category"][rows],
                            "crowds": columns["iscrowd"][rows],
                        }
                    )
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))

    def _write_shapes(self, out: Path) -> None:
        _write_shapes(self._path, _read_heads(self._path, self._first), out)


def _segment_ids(ids: list[int]) -> list[int]:
    """Different ids of segments: those of the annotations where they can be used, else the smallest free numbers."""
    counts = Counter(ids)
    usable = [0 < number < _LARGEST and counts[number] == 1 for number in ids]
    taken = {number for number, good in zip(ids, usable, strict=True) if good}
    free = (number for number in range(1, _LARGEST) if number not in taken)
    return [number if good else next(free) for number, good in zip(ids, usable, strict=True)]


def _write_shapes(json_path: Path, heads: _Heads, out: Path) -> None:
    kinds = {key: category.id for key, category in heads.categories.items()}
    strange: Counter[str] = Counter()
    boxes = found = 0
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_file(sink, _SHAPES) as writer:
        batch: list[dict[str, Any]] = []
        for annotation in _stream(json_path):
            row, empty = _row(json_path, annotation, heads.numbers, kinds)
            if row["category"] < 0:
                strange[shown(annotation.get("category_id"))] += 1
            found, boxes = found + 1, boxes + empty
            batch.append(row)
            if len(batch) == _BATCH:
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=_SHAPES))
                batch = []
        if batch:
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=_SHAPES))
    if not found:
        raise SourceError(f"{json_path}: its list 'annotations' is missing or empty: there is no object to read")
    if boxes == found:
        raise SourceError(
            f"{json_path}: none of its {counted(found, 'annotation')} has a 'segmentation' (polygons or run lengths), they have "
            "boxes alone: draw outlines, or export them too"
        )
    if boxes:
        have = "has" if boxes == 1 else "have"
        say(f"{boxes:,} of {found:,} annotations {have} no segmentation: the pixels of their boxes are left out")
    if strange:
        say(
            f"annotations with categories that the list 'categories' lacks: {strange.total():,} "
            f"({', '.join(list(strange)[:5])}): their photos are left out"
        )


def _row(
    json_path: Path, annotation: Any, numbers: Mapping[Any, int], kinds: Mapping[Any, int]
) -> tuple[dict[str, Any], bool]:
    """A row of `_SHAPES`, and whether the annotation has no shape."""
    if not isinstance(annotation, dict) or "image_id" not in annotation:
        raise SourceError(f"{json_path}: expected {KIND}, an annotation is {shown(annotation)}")
    if "segments_info" in annotation:
        raise SourceError(
            f"{json_path} is a COCO panoptic JSON, expected {KIND}. Read it with --source coco, which takes the PNGs too"
        )
    image = _looked_up(numbers, annotation["image_id"])
    if image is None:
        raise SourceError(
            f"{json_path}: annotation {shown(annotation.get('id'))} is of the image {shown(annotation['image_id'])}, "
            "which the list 'images' lacks"
        )
    shape = parse_shape(annotation.get("segmentation"))
    number, box = annotation.get("id"), annotation.get("bbox")
    kind = _looked_up(kinds, annotation.get("category_id"))
    row = {
        "image": image,
        "id": number if type(number) is int and 0 < number < _LARGEST else None,
        "category": -1 if kind is None else kind,
        "iscrowd": annotation.get("iscrowd") in (1, True, "1"),
        "bbox": box if _is_box(box) else [],
        "polygons": shape.polygons,
        "counts": shape.counts,
        "size": list(shape.size),
        "problem": shape.problem or ("it has neither a segmentation nor a box" * (shape.is_empty and not _is_box(box))),
    }
    return row, shape.is_empty


def _looked_up(known: Mapping[Any, int], key: Any) -> int | None:
    """The entry of an id. A number that one list writes as a text (`"12"` and 12) is found too."""
    if isinstance(key, list | dict) or key is None:
        return None
    if key in known:
        return known[key]
    if isinstance(key, str):
        return known.get(int(key)) if key.isascii() and key.isdigit() and len(key) < 19 else None
    return known.get(str(key))


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(type(value) in (int, float) for value in box)


def _read_heads(json_path: Path, first: int) -> _Heads:
    """Everything but the annotations, in one pass."""
    import ijson

    images: list[Any] = ijson.sendable_list()
    licenses: list[Any] = ijson.sendable_list()
    raw: list[Any] = ijson.sendable_list()
    feeds = [
        ijson.items_coro(target, prefix, use_float=True)
        for target, prefix in ((images, "images.item"), (licenses, "licenses.item"), (raw, "categories.item"))
    ]
    digest, guard = hashlib.sha256(), DepthGuard(json_path, SourceError)
    try:
        for chunk in json_chunks(json_path, "indexing, pass 1 of 2"):
            digest.update(chunk)
            guard.feed(chunk)
            for feed in feeds:
                feed.send(chunk)
        for feed in feeds:
            feed.close()
    except (ijson.JSONError, StopIteration) as error:
        raise _not_json(json_path, error) from error
    if not images or not raw:
        raise SourceError(
            f"{json_path}: expected {KIND}; found {counted(len(images), 'image')} and {counted(len(raw), 'category', 'categories')}"
        )
    urls = {
        str(entry["id"]): _text(entry.get("url")) for entry in licenses if isinstance(entry, dict) and "id" in entry
    }
    rows: list[dict[str, Any]] = []
    numbers: dict[Any, int] = {}
    named: dict[str, Any] = {}
    for image in images:
        if not isinstance(image, dict) or isinstance(image.get("id"), dict | list | None):
            raise SourceError(f"{json_path}: an entry of 'images' has no id: {shown(image)}")
        row = _image(image, urls)
        if (before := numbers.get(image["id"])) is not None:
            if rows[before] != row:
                raise SourceError(f"{json_path}: image {shown(image['id'])} is listed twice, with different contents")
            continue
        if row["file_name"] and (other := named.setdefault(row["file_name"], image["id"])) != image["id"]:
            raise SourceError(
                f"{json_path}: the file {shown(row['file_name'])} is listed for the images {shown(other)} and "
                f"{shown(image['id'])}. One photo must have one id: export the projects apart, or into folders"
            )
        numbers[image["id"]] = len(rows)
        rows.append(row)
    return _Heads(rows, numbers, _categories(json_path, raw, first), digest.hexdigest())


def _image(image: dict[str, Any], urls: Mapping[str, str]) -> dict[str, Any]:
    address = _text(image.get("coco_url"))
    # LVIS has no file names; its addresses end in train2017/000000000139.jpg.
    given = image.get("file_name")
    name = given if isinstance(given, str) and given else "/".join(address.split("/")[-2:])
    return {
        "image_id": str(image["id"]),
        "file_name": name.encode(errors="replace").decode().replace("\\", "/"),
        "width": _side(image.get("width")),
        "height": _side(image.get("height")),
        "license_url": urls.get(str(image.get("license")), ""),
        "source_url": _text(image.get("source_url")) or address or _text(image.get("flickr_url")),
        "author": _text(image.get("author")),
    }


def _side(value: Any) -> int:
    """A width or height; 0 for one that is not known."""
    return int(value) if type(value) in (int, float) and 0 < value < 1 << 31 else 0


def _text(value: object) -> str:
    """A text in one line that can be stored; empty for anything else."""
    return one_line(value).encode(errors="replace").decode() if isinstance(value, str) else ""


def _categories(json_path: Path, raw: list[Any], first: int) -> dict[Any, Category]:
    """The categories by their ids, numbered from `first`.

    All are things, unless the list says which are (`isthing`, as COCO panoptic has it).
    """
    found: dict[Any, dict[str, Any]] = {}
    for entry in raw:
        name = entry.get("name") if isinstance(entry, dict) else None
        key = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(key, int | str) or not isinstance(name, str | int) or not str(name).strip():
            raise SourceError(
                f"{json_path}: a category has the id {shown(key)} and the name {shown(name)}; expected an id and a text"
            )
        if found.setdefault(key, entry)["name"] != name:
            raise SourceError(
                f"{json_path}: category {shown(key)} is listed twice, as {shown(found[key]['name'])} and {shown(name)}"
            )
    things = {key for key, entry in found.items() if entry.get("isthing") in (1, True, "1", "true", "True")}
    ordered = sorted(found, key=lambda key: (isinstance(key, str), key))
    return {
        key: Category(
            number,
            one_line(str(found[key]["name"])),
            _text(found[key].get("supercategory")) or "object",
            not things or key in things,
        )
        for number, key in enumerate(ordered, start=first)
    }


def _stream(json_path: Path) -> Iterator[Any]:
    import ijson

    items: list[Any] = ijson.sendable_list()
    feed = ijson.items_coro(items, "annotations.item", use_float=True)
    try:
        for chunk in json_chunks(json_path, "indexing, pass 2 of 2"):
            feed.send(chunk)
            yield from items
            items.clear()
        feed.close()
    except (ijson.JSONError, StopIteration) as error:
        raise _not_json(json_path, error) from error


def _not_json(json_path: Path, error: Exception) -> SourceError:
    text = one_line(str(error))[:300]
    hint = ". JSON has no NaN and no Infinity: write null instead" if "NaN" in text or "Infinity" in text else ""
    return SourceError(f"{json_path} is not valid JSON: {text}{hint}")
