"""The COCO panoptic JSON of a folder of photos: reading it, adding photos, writing it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from olrd.errors import SourceError
from olrd.models.mask2former import Segmentation
from olrd.panoptic import Category
from olrd.storage.files import atomic_path
from olrd.trust import parse_json

Json = dict[str, Any]

DECLARED_LICENSE = 0
"""The licence id of photos under the licence that is declared for the whole folder."""


def image_id(file_name: str) -> int:
    """The id of a photo: a 48-bit hash of its relative path, so that new photos do not change the ids of others."""
    return int.from_bytes(hashlib.sha256(file_name.encode()).digest()[:6], "big")


def png_name(file_name: str) -> str:
    """The name of a photo's PNG: its stem without special characters, and its id, because folders repeat names."""
    stem = re.sub(r"[^\w-]+", "_", PurePosixPath(file_name).stem)[:40]
    return f"{stem}_{image_id(file_name):012x}.png"


def check_ids(images: Iterable[tuple[int, str]]) -> None:
    """Raise `SourceError` if two photos, given as (id, file name), share an id."""
    seen: dict[int, str] = {}
    for number, name in images:
        if (other := seen.setdefault(number, name)) != name:
            raise SourceError(f"the photos '{other}' and '{name}' both have the image id {number}: rename one")


def new_part(file_name: str, result: Segmentation) -> Json:
    """What is kept of a photo until it is joined: its size and the two fields of its annotation."""
    height, width = result.ids.shape
    segments = [
        {
            "id": segment.id,
            "category_id": segment.category_id,
            "iscrowd": int(segment.iscrowd),
            "bbox": list(segment.bbox),
            "area": segment.area,
        }
        for segment in result.segments
    ]
    size = {"width": width, "height": height}
    return size | {"file_name": png_name(file_name), "segments_info": segments}


def join_document(
    document: Json, parts: Mapping[str, Json], rejected: Mapping[str, str], categories: list[Json], settings: Json
) -> Json:
    """The document with more photos. Its entries for other photos stay as they are.

    Args:
        parts: `new_part` of each photo.
        rejected: the reason code of each photo that is listed without an annotation.

    Raises:
        SourceError: ids or categories contradict.
    """
    images: dict[str, Json] = {image["file_name"]: image for image in document.get("images", [])}
    notes: dict[int, Json] = {note["image_id"]: note for note in document.get("annotations", [])}
    for name in sorted({*parts, *rejected}):
        image = images.setdefault(name, {"id": image_id(name), "file_name": name, "width": 0, "height": 0})
        if name in parts:
            part = dict(parts[name])
            image |= {"width": part.pop("width"), "height": part.pop("height")}
            image.pop("rejected", None)
            notes[image["id"]] = {"image_id": image["id"], **part}
        elif image["id"] not in notes:
            image["rejected"] = rejected[name]
    ordered = [images[name] for name in sorted(images)]
    check_ids((image["id"], image["file_name"]) for image in ordered)
    _declare(ordered, document.get("info", {}).get("olrd") or {}, settings)
    others = [entry for entry in document.get("licenses", []) if entry["id"] != DECLARED_LICENSE]
    return document | {
        "info": {"description": "panoptic annotations of a photo folder"}
        | document.get("info", {})
        | {"olrd": settings},
        "licenses": [_declared_entry(settings), *others],
        "images": ordered,
        "annotations": [notes[image["id"]] for image in ordered if image["id"] in notes],
        "categories": join_categories(document.get("categories", []), categories),
    }


def join_categories(old: list[Json], new: list[Json]) -> list[Json]:
    """Both lists as one, by id. Raises `SourceError` if an id or a name has two meanings."""
    joined = {kind["id"]: kind for kind in old}
    names = {kind["name"]: kind["id"] for kind in old}
    for kind in new:
        other = joined.setdefault(kind["id"], kind)
        if (other["name"], other["isthing"]) != (kind["name"], kind["isthing"]) or (
            names.get(kind["name"], kind["id"]) != kind["id"]
        ):
            raise SourceError(
                f"category {kind['id']} '{kind['name']}' of the segmentation network is "
                f"{other['id']} '{other['name']}' in the annotations already there: use another "
                "folder with the source option panoptic=FOLDER"
            )
    return [joined[number] for number in sorted(joined)]


def category_entries(categories: Iterable[Category]) -> list[Json]:
    """Categories as the JSON has them."""
    return [c._asdict() | {"isthing": int(c.isthing)} for c in categories]


def _declare(images: list[Json], old: Json, new: Json) -> None:
    """Give the declared licence and address to the photos that have none."""
    before, after = old.get("source_url_prefix"), new.get("source_url_prefix")
    for image in images:
        image.setdefault("license", DECLARED_LICENSE)
        address = quote(image["file_name"])
        if image.get("source_url", "") == (before + address if before else ""):
            image["source_url"] = after + address if after else ""


def _declared_entry(settings: Json) -> Json:
    url = settings.get("license") or ""
    name = "declared for the whole folder" if url else "no licence declared"
    return {"id": DECLARED_LICENSE, "name": name, "url": url}


def read_json(path: Path) -> Json:
    """Read a JSON file whose content is an object. Raises `SourceError`."""
    try:
        document = parse_json(path.read_bytes(), path, SourceError)
    except OSError as error:
        raise SourceError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(document, dict):
        raise SourceError(f"{path}: expected a JSON object, got a {type(document).__name__}")
    return document


def write_document(document: Json, path: Path) -> None:
    """Write the document atomically: `info` first, then one photo, annotation or category per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for number, key in enumerate(sorted(document, key=lambda key: key != "info")):
            value = document[key]
            file.write(("{" if number == 0 else ",\n") + json.dumps(key) + ": ")
            if isinstance(value, list):
                file.write("[\n" + ",\n".join(map(json.dumps, value)) + "\n]")
            else:
                file.write(json.dumps(value))
        file.write("}\n")
