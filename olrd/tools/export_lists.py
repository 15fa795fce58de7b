"""The lists that exports have beside their pictures: metadata.jsonl of folders, and COCO's instances."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from olrd.dataset.folder import Dataset
from olrd.storage.files import atomic_path

Name = tuple[str, str]


class Entries(Protocol):
    """Takes the entries of one split."""

    def add(self, number: int, entries: list[dict[str, Any]]) -> None:
        """The entries of stretch `number`. Stretches may come in any order, each once."""


def open_list(to: str, out: Path, split: str, dataset: Dataset) -> AbstractContextManager[Entries]:
    """The list of a split in an export of the form `to`. Its file appears when the context ends without an error."""
    if to == "folders":
        return _json_lines(out / split / "metadata.jsonl")
    if to == "coco":
        return _coco(out / "annotations" / f"instances_{split}.json", dataset)
    return _nothing()


class _InOrder:
    """Hands entries on in the order of their stretches."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[dict[str, Any]]] = {}
        self._next = 0

    def add(self, number: int, entries: list[dict[str, Any]]) -> None:
        self._waiting[number] = entries
        while self._next in self._waiting:
            for entry in self._waiting.pop(self._next):
                self.write(entry)
            self._next += 1

    def write(self, entry: dict[str, Any]) -> None:
        """Write one entry; nothing by default."""


@contextmanager
def _nothing() -> Iterator[Entries]:
    yield _InOrder()


class _JsonLines(_InOrder):
    """One JSON object a line."""

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self._file = file

    def write(self, entry: dict[str, Any]) -> None:
        self._file.write(_json(entry) + "\n")


@contextmanager
def _json_lines(path: Path) -> Iterator[Entries]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        yield _JsonLines(file)
        file.flush()


class _Coco(_InOrder):
    """Images and their objects, numbered from 1 in the order of the rows. They go to two files: COCO has all images first."""

    def __init__(
        self, images: TextIO, annotations: TextIO, categories: Mapping[str, int], licenses: Mapping[Name, int]
    ) -> None:
        super().__init__()
        self._images, self._annotations = images, annotations
        self._categories, self._licenses = categories, licenses
        self._count = self._objects = 0

    def write(self, entry: dict[str, Any]) -> None:
        start = ",\n" if self._count else "\n"
        self._count += 1
        image = entry["image"] | {"id": self._count, "license": self._licenses[entry["image"]["license"]]}
        self._images.write(start + _json(image))
        for found in entry["objects"]:
            start = ",\n" if self._objects else "\n"
            self._objects += 1
            own = {"id": self._objects, "image_id": self._count, "iscrowd": 0}
            kind = {"category_id": self._categories[found.pop("category")]}
            self._annotations.write(start + _json(own | kind | found))


@contextmanager
def _coco(path: Path, dataset: Dataset) -> Iterator[Entries]:
    """See `_Coco`. Numbers of categories and licences are the same in all splits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    several = [name for name in ("categories",) if name in dataset.optional]
    parents: dict[str, str] = {}
    found: set[Name] = set()
    for row in dataset.rows(["category", "supercategory", "license", "license_url", *several]):
        first, *more = classes_of(row)
        parents[first] = parents.get(first) or str(row["supercategory"] or "")
        for name in more:
            parents.setdefault(name, "")
        found.add(license_of(row))
    kinds, licenses = _numbered(set(parents.items())), _numbered(found)
    categories = {name: number for (name, _), number in kinds.items()}
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", dir=path.parent) as later:
            file.write(_head(kinds, licenses))
            yield _Coco(file, later, categories, licenses)
            later.seek(0)
            file.write('\n],\n"annotations": [')
            file.writelines(later)
        file.write("\n]\n}\n")
        file.flush()


def _head(categories: Mapping[Name, int], licenses: Mapping[Name, int]) -> str:
    """The start of the file, up to the first image."""
    parts = {
        "info": {"description": "images of object-removal triplets; the annotations are the objects to erase"},
        "licenses": [{"id": number, "name": name, "url": url} for (name, url), number in licenses.items()],
        "categories": [
            {"id": number, "name": name, "supercategory": parent} for (name, parent), number in categories.items()
        ],
    }
    return "{\n" + "".join(f'"{name}": {_json(value)},\n' for name, value in parts.items()) + '"images": ['


def license_of(row: Mapping[str, Any]) -> Name:
    """The licence of the photo and its address."""
    return str(row["license"] or ""), str(row["license_url"] or "")


def classes_of(row: Mapping[str, Any]) -> list[str]:
    """The class of each object, in the order of `masks` where there are several."""
    return [str(name or "object") for name in row.get("categories") or [row["category"]]]


def _numbered(values: set[Name]) -> dict[Name, int]:
    """Numbers from 1, in the order of the texts."""
    return {value: number for number, value in enumerate(sorted(values), 1)}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, sort_keys=True, allow_nan=False)
