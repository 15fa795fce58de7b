"""COCO panoptic: photos, panoptic PNGs, and the JSON that links them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from olrd.arrays import decode_ids
from olrd.errors import SourceError, UsageError, did_you_mean
from olrd.panoptic import Box, PanopticMap, Record, Segment
from olrd.sources import SourceSpec, check_unused, read_file
from olrd.sources.lookup import Listed
from olrd.sources.panoptic.index import panoptic_index
from olrd.sources.panoptic.layout import find_layout
from olrd.sources.things import Declared, decide_things, given_names
from olrd.storage.remote import location
from olrd.storage.roots import Traversable, local_copy
from olrd.trust import shown

OPTIONS = ("json", "pngs", "photos", "things", "stuff")
DEMO_ROOT = Path(__file__).parents[1] / "demo_photos"


class PanopticFolder:
    """A folder of photos, a folder of panoptic PNGs, and the JSON that links them (see `Source`).

    The folders may be archives or URLs.
    """

    background_kind = "stuff"

    def __init__(
        self,
        name: str,
        json_path: Path,
        png_folder: Traversable,
        photo_folder: Traversable,
        max_pixels: int,
        options: Mapping[str, str] | None = None,
        need_both: bool = True,
    ) -> None:
        """options and need_both: see `olrd.sources.things`."""
        self.name, self.json_path = name, json_path
        self.png_folder, self.photo_folder = png_folder, photo_folder
        self.max_pixels = max_pixels
        self._table = panoptic_index(json_path)
        self._listed = Listed(lambda: self._table["file_name"].to_pylist())
        metadata = self._table.schema.metadata
        self.fingerprint: str = metadata[b"fingerprint"].decode()
        kinds = [Declared(*row) for row in json.loads(metadata[b"categories"])]
        things, stuff = (
            given_names(options[key]) if options and key in options else None for key in ("things", "stuff")
        )
        self.categories = decide_things(json_path, kinds, things, stuff, need_both)

    def __len__(self) -> int:
        return self._table.num_rows

    def image_id(self, index: int) -> str:
        image_id: str = self._table["image_id"][index].as_py()
        return image_id

    def record(self, index: int) -> Record:
        row = self._table.slice(index, 1).to_pylist()[0]
        segments = [
            Segment(s["id"], s["category_id"], s["area"], Box(*s["bbox"]), s["iscrowd"]) for s in row.pop("segments")
        ]
        return Record(**row, segments=tuple(self._merged(segments)))

    def _merged(self, segments: list[Segment]) -> list[Segment]:
        """The segments, with regions of stuff that share an id as one; its area and box are measured. Some tools list
        such regions apart. A thing that is listed twice stays, and the photo is refused."""
        if len({segment.id for segment in segments}) == len(segments):
            return segments
        merged: dict[object, Segment] = {}
        for position, segment in enumerate(segments):
            category = self.categories.get(segment.category_id)
            is_stuff = category is not None and not category.isthing
            key = (segment.id, segment.category_id) if is_stuff else position
            merged[key] = replace(segment, area=0) if key in merged else segment
        return list(merged.values())

    def photo_bytes(self, record: Record) -> bytes:
        return read_file(self.photo_folder, record.file_name, "photo", avoid=self.png_folder, listed=self._listed)

    def panoptic(self, record: Record, width: int, height: int) -> PanopticMap:
        name = record.panoptic_name or ""
        data = read_file(self.png_folder, name, "panoptic")
        return PanopticMap(decode_ids(data, name, self.max_pixels), record.segments)


def open_coco(spec: SourceSpec) -> PanopticFolder:
    """`--source coco`: the official layout and those of common tools; without a root, the embedded photos.

    Options: `json`, `pngs` and `photos` are paths, relative to the root, of the annotation file and the two folders,
    where they are not found. `things` and `stuff` name classes (see `olrd.sources.things`).
    """
    for key in spec.options:
        if key not in OPTIONS:
            raise did_you_mean("option of the source coco", key, OPTIONS)
    if spec.root is None:
        if spec.options:
            raise UsageError(f"--source-option {next(iter(spec.options))}= needs --root, the folder of COCO")
        if spec.subset is not None:
            raise UsageError(
                f"--subset {shown(spec.subset)} needs --root, the folder of COCO: the embedded photos have no subsets"
            )
        return open_demo(spec)
    root = location(spec.root)
    if not root.is_dir():
        hint = f": give its folder, and --source-option json={root.name}" if root.is_file() else ""
        raise SourceError(f"--root {root} is not a folder{hint}")
    found = find_layout(root, spec.subset, spec.options)
    return PanopticFolder("coco", local_copy(found.json), found.pngs, found.photos, spec.max_pixels, spec.options)


def open_demo(spec: SourceSpec) -> PanopticFolder:
    """`--source demo`: the 15 embedded photos; demo_photos/ATTRIBUTION.md has their authors and licences."""
    check_unused(spec, "root", "subset", "options")
    return PanopticFolder(
        "demo",
        DEMO_ROOT / "annotations" / "panoptic_demo.json",
        DEMO_ROOT / "annotations" / "panoptic_demo",
        DEMO_ROOT / "demo",
        spec.max_pixels,
    )
