"""COCO instances: polygons and run lengths, as COCO, LVIS and every labelling tool write them.

Background is every pixel that no instance covers; rows have `background_kind = unlabelled`. With the option `stuff` it
has labels, and a pixel without one is void. In LVIS an object of a category that is not exhaustively annotated in a photo may be part of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from olrd.arrays import Ids
from olrd.errors import Rejected, SourceError, UsageError, did_you_mean
from olrd.licenses import license_code, license_url
from olrd.options import names as names_of
from olrd.panoptic import Box, Category, PanopticMap, Record, Segment
from olrd.sources import SourceSpec
from olrd.sources.instances.index import InstancesIndex
from olrd.sources.instances.layout import FoundJson, PhotoFiles, find_json, photo_folders
from olrd.sources.instances.shapes import draw_shape
from olrd.sources.instances.stuff import Stuff, open_stuff
from olrd.sources.listing import named_path
from olrd.sources.overlays import measured, paint
from olrd.storage.roots import Traversable, local_copy, open_root

BACKGROUND = Category(1, "background", "unlabelled", False)
_BACKGROUND_ID = 0xFFFFFFFF
_STUFF_ID = 0xF0000000
_OPTIONS = ("json", "license", "photos", "stuff", "things")


class Instances:
    """One set of instances (see `Source`). Sizes and areas are measured when a photo is opened."""

    name = "instances"
    background_kind = "unlabelled"

    def __init__(self, found: FoundJson, photos: list[Traversable], spec: SourceSpec, root: Traversable) -> None:
        """photos: the folders where the photos may be. root: where the option `stuff` is looked for."""
        options = spec.options
        self.subset, self.max_pixels = found.subset, spec.max_pixels
        self._declared = license_url(options["license"]) if "license" in options else ""
        self._index = InstancesIndex(local_copy(found.path), BACKGROUND.id + 1)
        self._table = self._index.images
        self._photos = PhotoFiles(photos, self._table["file_name"].to_pylist())
        self.fingerprint = self._index.fingerprint
        kinds = self._index.categories
        if "things" in options:
            kinds = _picked(kinds, names_of("things", options["things"]))
            wanted = sorted(category.name for category in kinds.values() if category.isthing)
            self.fingerprint = hashlib.sha256(json.dumps([self.fingerprint, wanted]).encode()).hexdigest()
        self.categories: dict[int, Category] = {BACKGROUND.id: BACKGROUND} | kinds
        self._stuff: Stuff | None = None
        if "stuff" in options:
            self._stuff = open_stuff(root, options["stuff"], len(self.categories) + 1, spec.max_pixels)
            self.background_kind = "stuff"
            self.categories = kinds | dict(self._stuff.categories)
            self.fingerprint = hashlib.sha256(f"{self.fingerprint} {self._stuff.fingerprint}".encode()).hexdigest()

    def __len__(self) -> int:
        return self._table.num_rows

    def image_id(self, index: int) -> str:
        image_id: str = self._table["image_id"][index].as_py()
        return image_id

    def record(self, index: int) -> Record:
        row = self._table.slice(index, 1).to_pylist()[0]
        url = row["license_url"] or self._declared
        segments = [
            Segment(number, category, 0, Box(0, 0, 0, 0), crowd)
            for number, category, crowd in zip(row["ids"], row["categories"], row["crowds"], strict=True)
        ]
        if self._stuff is not None:
            kinds = self._stuff.kinds(row["image_id"], row["file_name"])
            segments += [Segment(_STUFF_ID + kind, kind, 0, Box(0, 0, 0, 0)) for kind in kinds]
        elif segments:
            segments.append(Segment(_BACKGROUND_ID, BACKGROUND.id, 0, Box(0, 0, 0, 0)))
        return Record(
            image_id=row["image_id"],
            file_name=self._photos.name_of(row["file_name"]),
            width=0,
            height=0,
            license=license_code(url),
            license_url=url,
            source_url=row["source_url"],
            author=row["author"],
            panoptic_name=str(index) if segments else None,
            segments=tuple(segments),
        )

    def photo_bytes(self, record: Record) -> bytes:
        return self._photos.read(record.file_name)

    def panoptic(self, record: Record, width: int, height: int) -> PanopticMap:
        """The instances in one map: stuff below things, and smaller over larger."""
        index = int(record.panoptic_name or 0)
        given = self._table["width"][index].as_py(), self._table["height"][index].as_py()
        if all(given) and given != (width, height):
            raise Rejected(
                "photo_size",
                f"{record.file_name}: annotated as {given[0]} x {given[1]}, but the photo (orientation applied) is "
                f"{width} x {height}",
            )
        if self._stuff is None:
            ids = np.full((height, width), _BACKGROUND_ID, np.uint32)
        else:
            ids = self._stuff.draw(record.image_id, record.file_name, width, height)
            ids[ids > 0] += np.uint32(_STUFF_ID)
        layers: tuple[list[Any], list[Any]] = ([], [])
        for segment, one in zip(record.segments, self._index.instances(index), strict=False):
            name = f"{record.file_name}: annotation {segment.id}"
            if one.shape.is_empty:  # an object is here, but its pixels are not known
                ids[_pixels_of(one.bbox, width, height, name)] = 0
                continue
            mask = draw_shape(one.shape, width, height, name, self.max_pixels)
            kind = self.categories.get(segment.category_id)  # an unknown one is refused by the checks of the map
            layers[kind is None or kind.isthing].append((segment.id, mask))
        for layer in layers:
            paint(ids, layer)
        if self._stuff is None and layers[False]:
            _leave_out_seams(ids, {number for number, _ in layers[True]})
        return PanopticMap(ids, tuple(measured(segment, ids) for segment in record.segments))


def _leave_out_seams(ids: Ids, things: set[int]) -> None:
    """Make pixels without a label void, if stuff covers most of what no thing covers.

    Polygons leave a seam around each object. As background it would be the surface that every object stands on.
    """
    free = ~np.isin(ids, [0, *things])
    unlabelled = ids == np.uint32(_BACKGROUND_ID)
    if 2 * np.count_nonzero(unlabelled) < np.count_nonzero(free):
        ids[unlabelled] = 0


def _pixels_of(box: tuple[float, ...], width: int, height: int, name: str) -> tuple[slice, slice]:
    """Every pixel that a box touches. Raises `Rejected` for one that is not finite."""
    left, top, wide, tall = box
    edges = np.array([left, left + wide, top, top + tall])
    if not np.isfinite(edges).all():
        raise Rejected("panoptic_unreadable", f"{name}: its box is {list(box)}, expected four numbers")
    x0, x1 = np.clip([np.floor(edges[0]), np.ceil(edges[1])], 0, width).astype(int).tolist()
    y0, y1 = np.clip([np.floor(edges[2]), np.ceil(edges[3])], 0, height).astype(int).tolist()
    return slice(y0, y1), slice(x0, x1)


def _picked(kinds: Mapping[int, Category], wanted: tuple[str, ...]) -> dict[int, Category]:
    """The categories, of which only those with these names are things; the others are background."""
    known = {category.name for category in kinds.values()}
    for name in wanted:
        if name not in known:
            raise did_you_mean("category", name, known)
    if not wanted:
        raise UsageError("--source-option things= names no category: at least one must be a thing")
    return {number: category._replace(isthing=category.name in wanted) for number, category in kinds.items()}


def open_instances(spec: SourceSpec) -> Instances:
    """`--source instances --root DIR [--subset NAME] [--source-option KEY=VALUE]`.

    Options: `json` and `photos` (paths below the root, or any others), `things` (the categories that are cut out; the
    others are background), `stuff` (labels of the background, see `open_stuff`), `license` (of the photos for which the JSON names none).
    """
    for key in spec.options:
        if key not in _OPTIONS:
            raise did_you_mean("option of the source instances", key, _OPTIONS)
    if spec.root is None:
        raise UsageError("--source instances needs --root, the folder with the JSON and the photos")
    root = open_root(spec.root)
    if not root.is_dir():
        raise SourceError(f"--root {spec.root} is not a folder or an archive")
    if "json" in spec.options:
        path = named_path(root, "json", spec.options["json"])
        stem = path.name.partition(".")[0].removeprefix("instances_")
        found = FoundJson(spec.subset or stem, path, path.parent if isinstance(path, Path) else root)
    else:
        found = find_json(root, spec.subset)
    if "photos" in spec.options:
        folders = [named_path(root, "photos", spec.options["photos"])]
    else:
        folders = photo_folders(root, found)
    return Instances(found, folders, spec, root)
