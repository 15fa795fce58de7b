"""The index of a COCO panoptic JSON: an Arrow file, written once.

The JSON (118,000 photos for COCO's training set) is read as a stream, in constant memory. Its lists `images` and
`annotations` have different orders and are joined by image id. The index is memory-mapped: it opens in milliseconds,
and only the rows that are read occupy memory.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import json
import posixpath
import re
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from olrd.errors import SourceError
from olrd.licenses import UNKNOWN, license_code
from olrd.progress import progress_bar
from olrd.sources.things import Declared, read_isthing
from olrd.storage.indexes import open_index
from olrd.trust import DepthGuard, counted, one_line, reading, shown

INDEX_VERSION = "2"
_BATCH = 1000
_CHUNK = 1 << 20
_SEGMENT = pa.struct(
    [
        ("id", pa.int64()),
        ("category_id", pa.int64()),
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
    images, kinds, fingerprint = _read_heads(json_path)
    metadata = {"fingerprint": fingerprint, "categories": json.dumps([tuple(kind) for kind in kinds])}
    schema = _SCHEMA.with_metadata(metadata)
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        batch: list[dict[str, Any]] = []
        done: set[str] = set()
        for annotation in _stream(json_path, "annotations.item"):
            batch.append(_row(json_path, annotation, images, done))
            if len(batch) == _BATCH:
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
                batch = []
        if not done:
            raise SourceError(f"{json_path}: its list 'annotations' is missing or empty")
        # Photos without an annotation stay in the index, so that the build can count them.
        batch.extend(image | {"panoptic_name": None, "segments": []} for image in images.values())
        if batch:
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))


def _row(
    json_path: Path, annotation: dict[str, Any], images: dict[str, dict[str, Any]], done: set[str]
) -> dict[str, Any]:
    """A row of the index. Takes its image out of `images` and notes it in `done`."""
    if not isinstance(annotation, dict) or not isinstance(annotation.get("segments_info"), list):
        raise SourceError(f"{json_path}: {_what_it_is(annotation)}")
    number = image_key(annotation.get("image_id"))
    if number in done:
        raise SourceError(
            f"{json_path}: image {number} is annotated twice; expected one annotation with all its segments"
        )
    if number is None or number not in images:
        raise SourceError(
            f"{json_path}: there is an annotation of image {shown(annotation.get('image_id'))}, but 'images' has no "
            "image with this id"
        )
    done.add(number)
    segments = [_segment(entry) for entry in annotation["segments_info"]]
    image = images.pop(number)
    # A few tools leave the name out: the PNG is called like the photo.
    png = (
        _file_name(annotation.get("file_name")) or f"{PurePosixPath(image['file_name'].replace(chr(92), '/')).stem}.png"
    )
    return image | {"panoptic_name": png, "segments": segments}


def _what_it_is(annotation: object) -> str:
    """What an annotation is that is none of COCO panoptic."""
    expected = "a COCO panoptic annotation has the list 'segments_info'"
    if isinstance(annotation, dict):
        if "segmentation" in annotation or "bbox" in annotation:
            return (
                "it is a COCO instances JSON: its annotations have 'segmentation' or 'bbox'. "
                "Read it with --source instances"
            )
        if "caption" in annotation:
            return f"it is a COCO captions JSON; {expected}"
    return f"{expected}; found {shown(annotation)}"


def _segment(entry: Any) -> dict[str, Any]:
    """A segment as the index stores it. A value that is missing or of no use becomes 0 and is measured in the PNG; an id
    becomes -1, so that only this photo is refused."""
    entry = entry if isinstance(entry, dict) else {}
    numbers = [whole_number(v) for v in box] if isinstance(box := entry.get("bbox"), list) else []
    usable = len(numbers) == 4 and all(v is not None and abs(v) < 1 << 31 for v in numbers)
    number, category, area = (whole_number(entry.get(name)) for name in ("id", "category_id", "area"))
    return {
        "id": -1 if number is None else number,
        "category_id": -1 if category is None else category,
        "area": max(0, area or 0) if usable else 0,
        "bbox": numbers if usable else [0, 0, 0, 0],
        "iscrowd": bool(read_isthing(entry.get("iscrowd"))),
    }


def whole_number(value: object) -> int | None:
    """A number of at most 63 bits, as tools write it: `5`, `5.0`, `"5"`. Fractions are cut off; None for others."""
    if isinstance(value, str) and value.strip().isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) >= 1 << 63:
        return None
    return int(value)


def image_key(value: object) -> str | None:
    """The id of an image as text: numbers and their texts are the same id. None for what is no id."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, float) and not value.is_integer():
        return str(value) if value == value else None
    number = whole_number(value)
    return None if number is None else str(number)


def _read_heads(json_path: Path) -> tuple[dict[str, dict[str, Any]], list[Declared], str]:
    """Images by id, classes, and the sha256 of the file, in one pass."""
    import ijson

    images: list[Any] = ijson.sendable_list()
    licenses: list[Any] = ijson.sendable_list()
    raw: list[Any] = ijson.sendable_list()
    feeds = [
        ijson.items_coro(target, prefix, use_float=True)
        for target, prefix in ((images, "images.item"), (licenses, "licenses.item"), (raw, "categories.item"))
    ]
    digest, guard = hashlib.sha256(), DepthGuard(json_path, SourceError)
    first = b""
    try:
        for chunk in _chunks(json_path, "indexing, pass 1 of 2"):
            first = first or chunk.lstrip()[:1]
            digest.update(chunk)
            guard.feed(chunk)
            for feed in feeds:
                feed.send(chunk)
        for feed in feeds:
            feed.close()
    except (ijson.JSONError, StopIteration) as error:
        raise _invalid(json_path, error) from error
    if not images or not raw:
        what = (
            "a list"
            if first == b"["
            else f"{counted(len(images), 'image')} and {counted(len(raw), 'category', 'categories')}"
        )
        raise SourceError(
            f"{json_path}: expected a COCO panoptic JSON, an object with 'images', 'annotations' and "
            f"'categories'; found {what}"
        )
    kinds = _kinds(json_path, raw)
    if len({kind.isthing for kind in kinds}) == 1 or any(kind.isthing is None for kind in kinds):
        kinds = _asked_of_segments(json_path, kinds)
    return _images(json_path, images, licenses), kinds, digest.hexdigest()


def _images(json_path: Path, images: list[Any], licenses: list[Any]) -> dict[str, dict[str, Any]]:
    """The images by id. Raises `SourceError` for an id or a file that stands for two images."""
    urls = {image_key(entry.get("id")): _text(entry.get("url")) for entry in licenses if isinstance(entry, dict)}
    urls.pop(None, None)
    by_id: dict[str, dict[str, Any]] = {}
    by_file: dict[str, str] = {}
    for image in images:
        number = image_key(image.get("id")) if isinstance(image, dict) else None
        if number is None:
            raise SourceError(f"{json_path}: 'images' holds {shown(image)}; expected objects with an id")
        url = urls.get(image_key(image.get("license")), "")
        row = {
            "image_id": number,
            "file_name": _file_name(image.get("file_name")),
            "width": _size(image.get("width")),
            "height": _size(image.get("height")),
            "license": license_code(url) if url else UNKNOWN,
            "license_url": url,
            "source_url": _text(image.get("source_url")) or _text(image.get("coco_url")),
            "author": _text(image.get("author")),
        }
        if by_id.setdefault(number, row) != row:
            raise SourceError(
                f"{json_path}: image {number} is listed twice, as '{by_id[number]['file_name']}' and as "
                f"'{row['file_name']}'"
            )
        name = str(row["file_name"])
        if name and by_file.setdefault(_one_spelling(name), number) != number:
            raise SourceError(
                f"{json_path}: the file '{name}' is listed for the images {by_file[_one_spelling(name)]} and {number}. One photo "
                "would be in the dataset several times; give each image a different file"
            )
    return by_id


def _one_spelling(name: str) -> str:
    """The same text for `a.jpg`, `./a.jpg`, `b/../a.jpg` and for letters with composed or decomposed accents."""
    return unicodedata.normalize("NFC", posixpath.normpath(name.replace("\\", "/")))


def _size(value: object) -> int:
    """A width or height; 0 if it is not given, and is measured later."""
    number = whole_number(value)
    return number if number is not None and 0 < number < 1 << 31 else 0


def _kinds(json_path: Path, raw: list[Any]) -> list[Declared]:
    """The classes, each once. Raises `SourceError` for one without id or name, or with two meanings."""
    kinds: dict[int, Declared] = {}
    for entry in raw:
        entry = entry if isinstance(entry, dict) else {"name": entry}
        number, name = whole_number(entry.get("id")), entry.get("name")
        if number is None or number < 0 or not isinstance(name, str | int) or not str(name).strip():
            raise SourceError(
                f"{json_path}: a category has the id {shown(entry.get('id'))} and the name {shown(name)}; expected a "
                "number from 0 on and a text"
            )
        above = _text(entry.get("supercategory"))
        kind = Declared(number, one_line(str(name)), above, read_isthing(entry.get("isthing")))
        if (other := kinds.setdefault(number, kind)) != kind:
            raise SourceError(
                f"{json_path}: category {number} is listed twice, as '{other.name}' and as '{kind.name}', with other "
                "contents"
            )
    return list(kinds.values())


def _asked_of_segments(json_path: Path, kinds: list[Declared]) -> list[Declared]:
    """The classes, with what 'segments_info' says where 'categories' do not say which are things."""
    said: dict[int, bool] = {}
    for annotation in _stream(json_path, "annotations.item"):
        listed = annotation.get("segments_info") if isinstance(annotation, dict) else None
        for entry in listed if isinstance(listed, list) else []:
            if isinstance(entry, dict) and (answer := read_isthing(entry.get("isthing"))) is not None:
                number = whole_number(entry.get("category_id"))
                if number is not None:
                    said[number] = said.get(number, False) or answer
    return [kind._replace(isthing=said.get(kind.id, kind.isthing)) for kind in kinds]


def _text(value: object) -> str:
    """A text in one line; empty for anything else."""
    return one_line(value) if isinstance(value, str) else ""


def _file_name(value: object) -> str:
    """A file name that can be stored; one that is no text becomes empty, so that only its photo is refused."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


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
        raise _invalid(json_path, error) from error


def _invalid(json_path: Path, error: Exception) -> SourceError:
    hint = ""
    if not isinstance(error, StopIteration) and "invalid char" in str(error):
        for chunk in _chunks(json_path, "looking for the error"):
            if found := re.search(rb"[:\[,]\s*(-?Infinity|NaN)\b", chunk):
                hint = (
                    f". It contains {found[1].decode()}, which JSON does not have: write null, or leave the entry out"
                )
                break
    return SourceError(f"{json_path} is not valid JSON: {one_line(str(error))[:200]}{hint}")


def _chunks(json_path: Path, label: str) -> Iterator[bytes]:
    """The text as UTF-8, piece by piece, without a byte order mark. Files may be UTF-16, or packed by gzip."""
    with json_path.open("rb") as file, progress_bar(label, json_path.stat().st_size, unit="B") as bar:
        source: Any = gzip.GzipFile(fileobj=file) if json_path.name.lower().endswith(".gz") else file
        decoder = None
        start = True
        try:
            while chunk := source.read(_CHUNK):
                if start:
                    start = False
                    if chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                        decoder = codecs.getincrementaldecoder("utf-16")()
                    chunk = chunk.removeprefix(codecs.BOM_UTF8)
                yield decoder.decode(chunk).encode() if decoder else chunk
                bar.update(file.tell() - bar.n)
        except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeError) as error:
            raise SourceError(f"{json_path} is damaged: {error}") from error
