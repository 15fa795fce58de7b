"""Stuff labels beside instances: a second JSON, or pixel maps of COCO-Stuff."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
import pyarrow as pa

from olrd.arrays import Ids, open_picture
from olrd.errors import Rejected, SourceError
from olrd.panoptic import Category
from olrd.progress import progress_bar
from olrd.sources import read_file
from olrd.sources.instances.index import InstancesIndex
from olrd.sources.instances.shapes import Shape, draw_shape
from olrd.sources.instances.stuff_names import stuff_names
from olrd.sources.listing import named_path, pictures_under, state_of
from olrd.sources.overlays import paint
from olrd.sources.panoptic.coco import PanopticFolder
from olrd.storage.indexes import open_index
from olrd.storage.remote import is_url
from olrd.storage.roots import Traversable, folder_or_archive, local_copy
from olrd.trust import decoding

_OTHER = "other"
"""The class of COCO-Stuff for all pixels that an instance has."""
_UNLABELLED = 255
_THINGS = 91
"""Number of the things of COCO, which pixel maps of instances and stuff list before the stuff."""
_PIXELMAP_VERSION = "1"


class Stuff(Protocol):
    """Stuff labels of photos. `categories` are numbered from the number that it is opened with."""

    categories: Mapping[int, Category]
    fingerprint: str

    def kinds(self, image_id: str, file_name: str) -> Sequence[int]:
        """The categories of a photo, sorted, without opening a picture."""

    def draw(self, image_id: str, file_name: str, width: int, height: int) -> Ids:
        """The category of each pixel, uint32 [H, W], 0 = none. Raises `Rejected`."""


def open_stuff(root: Traversable, text: str, first: int, max_pixels: int) -> Stuff:
    """What the option `stuff` names.

    A folder or an archive holds pixel maps of COCO-Stuff. A JSON beside a folder of its name is a panoptic one, and
    the folder has its PNGs. Any other JSON is in the form of instances.
    """
    found = named_path(root, "stuff", text)
    if found.is_dir():
        return PixelMaps(found, first, max_pixels)
    stem = text.removesuffix(".json")
    apart = not is_url(text) and Path(text).expanduser().is_absolute()
    beside = Path(stem).expanduser() if apart else None
    pngs = folder_or_archive(beside.parent, beside.name) if beside else folder_or_archive(root, stem)
    if pngs is not None:
        return PanopticStuff(local_copy(found), pngs, first, max_pixels)
    return InstancesStuff(local_copy(found), first, max_pixels)


class InstancesStuff:
    """Stuff in the form of instances: COCO's stuff_train2017.json. See `Stuff`."""

    def __init__(self, json_path: Path, first: int, max_pixels: int) -> None:
        self._index, self._max_pixels = InstancesIndex(json_path, first), max_pixels
        self.fingerprint = self._index.fingerprint
        self.categories: Mapping[int, Category] = {
            number: category._replace(isthing=False)
            for number, category in self._index.categories.items()
            if category.name != _OTHER
        }

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self._index.images["image_id"].to_pylist())}

    def _listed(self, image_id: str) -> list[int]:
        row = self._rows.get(image_id)
        return [] if row is None else self._index.images["categories"][row].as_py()

    def kinds(self, image_id: str, file_name: str) -> Sequence[int]:
        return sorted(set(self._listed(image_id)) & self.categories.keys())

    def draw(self, image_id: str, file_name: str, width: int, height: int) -> Ids:
        ids = np.zeros((height, width), np.uint32)
        masks = []
        for kind, one in zip(self._listed(image_id), self._shapes(image_id), strict=True):
            if kind in self.categories and not one.is_empty:
                masks.append((kind, draw_shape(one, width, height, f"{file_name}: stuff", self._max_pixels)))
        paint(ids, masks)
        return ids

    def _shapes(self, image_id: str) -> list[Shape]:
        row = self._rows.get(image_id)
        return [] if row is None else [one.shape for one in self._index.instances(row)]


class PanopticStuff:
    """The stuff of a COCO panoptic JSON and its PNGs. See `Stuff`."""

    def __init__(self, json_path: Path, pngs: Traversable, first: int, max_pixels: int) -> None:
        self._folder = PanopticFolder("stuff", json_path, pngs, pngs, max_pixels, need_both=False)
        self.fingerprint = self._folder.fingerprint
        stuff = [category for _, category in sorted(self._folder.categories.items()) if not category.isthing]
        self._numbers = {category.id: number for number, category in enumerate(stuff, start=first)}
        self.categories: Mapping[int, Category] = {
            self._numbers[category.id]: category._replace(id=self._numbers[category.id]) for category in stuff
        }

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {self._folder.image_id(row): row for row in range(len(self._folder))}

    def kinds(self, image_id: str, file_name: str) -> Sequence[int]:
        if image_id not in self._rows:
            return []
        found = self._folder.record(self._rows[image_id]).segments
        return sorted({self._numbers[s.category_id] for s in found if s.category_id in self._numbers})

    def draw(self, image_id: str, file_name: str, width: int, height: int) -> Ids:
        drawn = np.zeros((height, width), np.uint32)
        if image_id not in self._rows:
            return drawn
        ids, segments = self._folder.panoptic(self._folder.record(self._rows[image_id]), width, height)
        _check_size(ids.shape, width, height, file_name)
        for segment in segments:
            if segment.category_id in self._numbers:
                drawn[ids == np.uint32(segment.id)] = self._numbers[segment.category_id]
        return drawn


class PixelMaps:
    """A folder of grey PNGs with the names of the photos, whose values are classes. See `Stuff`.

    COCO ships two kinds: stuff alone (92 to 182, 0 for none, 183 for things), and things and stuff (one less than the
    id, 255 for none). A set with a 255 or a thing is of the second kind.
    """

    def __init__(self, folder: Traversable, first: int, max_pixels: int) -> None:
        self._folder, self._max_pixels = folder, max_pixels
        self._table = _pixelmap_index(folder, max_pixels)
        metadata = self._table.schema.metadata
        self.fingerprint: str = metadata[b"fingerprint"].decode()
        shift = 1 if metadata[b"both"] == b"1" else 0
        names = stuff_names()
        self._numbers = {kind - shift: number for number, kind in enumerate(names, start=first)}
        self.categories: Mapping[int, Category] = {
            number: Category(number, *names[value + shift], False) for value, number in self._numbers.items()
        }
        self._look_up = np.zeros(256, np.uint32)
        for value, number in self._numbers.items():
            self._look_up[value] = number

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {PurePosixPath(name).stem: row for row, name in enumerate(self._table["name"].to_pylist())}

    def kinds(self, image_id: str, file_name: str) -> Sequence[int]:
        row = self._rows.get(PurePosixPath(file_name).stem)
        values = [] if row is None else self._table["values"][row].as_py()
        return sorted(self._numbers[value] for value in values if value in self._numbers)

    def draw(self, image_id: str, file_name: str, width: int, height: int) -> Ids:
        row = self._rows.get(PurePosixPath(file_name).stem)
        if row is None:
            return np.zeros((height, width), np.uint32)
        name = self._table["name"][row].as_py()
        values = _values(read_file(self._folder, name, "panoptic"), name, self._max_pixels)
        _check_size(values.shape, width, height, name)
        return self._look_up[values]


def _check_size(shape: tuple[int, ...], width: int, height: int, name: str) -> None:
    if shape != (height, width):
        raise Rejected(
            "panoptic_size", f"{name}: the stuff is of a photo of {shape[1]} x {shape[0]}, expected {width} x {height}"
        )


def _values(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    image = open_picture(data, name, "panoptic", max_pixels)
    if image.mode not in ("L", "P"):
        raise Rejected("panoptic_unreadable", f"{name}: expected a grey pixel map of 8 bits, got {image.mode}")
    with decoding("panoptic_unreadable", name):
        return np.asarray(image)


def _pixelmap_index(folder: Traversable, max_pixels: int) -> pa.Table:
    """The values in each map. Schema metadata: `fingerprint`, and `both` (1 if the maps have things too)."""
    names = [name for name in pictures_under(folder) if name.lower().endswith(".png")]
    if not names:
        raise SourceError(f"expected pixel maps of COCO-Stuff (PNG) in {folder}, found none")
    states = [state_of(folder, name) for name in names]
    key = hashlib.sha256(json.dumps([_PIXELMAP_VERSION, str(folder), states]).encode()).hexdigest()[:32]

    def make(path: Path) -> None:
        rows, digest, both = [], hashlib.sha256(), False
        with progress_bar("reading stuff (once)", len(names), unit="map") as bar:
            for name in names:
                try:
                    data = read_file(folder, name, "panoptic")
                    values = np.unique(_values(data, name, max_pixels)).tolist()
                except Rejected as error:  # its photo reports it
                    data, values = error.code.encode(), []
                digest.update(hashlib.sha256(data).digest())
                both |= any(value == _UNLABELLED or 0 < value < _THINGS for value in values)
                rows.append({"name": name, "values": values})
                bar.update(1)
        metadata = {"fingerprint": digest.hexdigest(), "both": "1" if both else "0"}
        schema = pa.schema([("name", pa.string()), ("values", pa.list_(pa.uint8()))], metadata)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema), max_chunksize=1000)

    return open_index(f"pixelmaps-{key}", make)
