"""COCO panoptic, in the official layout and in the variants people really have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from olrd.arrays import decode_ids
from olrd.errors import SourceError, UsageError, did_you_mean
from olrd.panoptic import Box, Category, PanopticMap, Record, Segment
from olrd.sources import SourceSpec, read_file
from olrd.sources.panoptic_index import panoptic_index


class PanopticFolder:
    """A folder of photos, a folder of panoptic PNGs and the JSON that joins them (see `Source`)."""

    background_kind = "stuff"

    def __init__(self, name: str, json_path: Path, png_folder: Path, photo_folder: Path,
                 max_pixels: int) -> None:  # fmt: skip
        self.name, self.json_path = name, json_path
        self.png_folder, self.photo_folder = png_folder, photo_folder
        self.max_pixels = max_pixels
        self._table = panoptic_index(json_path)
        metadata = self._table.schema.metadata
        self.fingerprint: str = metadata[b"fingerprint"].decode()
        rows: list[list[Any]] = json.loads(metadata[b"categories"])
        self.categories = {row[0]: Category(*row) for row in rows}

    def __len__(self) -> int:
        return self._table.num_rows

    def image_id(self, index: int) -> str:
        image_id: str = self._table["image_id"][index].as_py()
        return image_id

    def record(self, index: int) -> Record:
        row = self._table.slice(index, 1).to_pylist()[0]
        segments = row.pop("segments")
        return Record(
            **row,
            segments=tuple(
                Segment(s["id"], s["category_id"], s["area"], Box(*s["bbox"]), s["iscrowd"])
                for s in segments
            ),
        )

    def photo_bytes(self, record: Record) -> bytes:
        return read_file(self.photo_folder, record.file_name, "photo")

    def panoptic(self, record: Record, width: int, height: int) -> PanopticMap:
        name = record.panoptic_name or ""
        data = read_file(self.png_folder, name, "panoptic")
        return PanopticMap(decode_ids(data, name, self.max_pixels), record.segments)


def open_coco(spec: SourceSpec) -> PanopticFolder:
    """`--source coco`: the official layout, or the embedded demo set when no root is given."""
    if spec.options:
        raise did_you_mean("option of the source coco", next(iter(spec.options)), ())
    if spec.root is None:
        from olrd.sources.demo import open_demo

        return open_demo(spec)
    root = Path(spec.root)
    subset = find_subset(root, spec.subset)
    return PanopticFolder(
        "coco",
        root / "annotations" / f"panoptic_{subset}.json",
        _find_png_folder(root, subset),
        _find_photo_folder(root, subset),
        spec.max_pixels,
    )


def find_subset(root: Path, wanted: str | None) -> str:
    """The subset to read: the wanted one, or the only one there is. Raises with what was found."""
    if not root.is_dir():
        raise SourceError(f"--root {root} is not a folder")
    found = sorted(
        p.stem.removeprefix("panoptic_") for p in root.glob("annotations/panoptic_*.json")
    )
    if not found:
        raise SourceError(
            f"expected annotations/panoptic_<subset>.json under {root}, found none. Get "
            "panoptic_annotations_trainval2017.zip from https://cocodataset.org/#download and "
            f"unpack it in {root}"
        )
    if wanted is None and len(found) > 1:
        raise UsageError(
            f"{root} holds several subsets: choose one with --subset {{{','.join(found)}}}"
        )
    if wanted is not None and wanted not in found:
        raise did_you_mean("subset", wanted, found)
    return wanted or found[0]


def _find_png_folder(root: Path, subset: str) -> Path:
    name = f"panoptic_{subset}"
    for folder in (root / "annotations" / name, root / name):
        if folder.is_dir():
            return folder
    for zipped in (root / "annotations" / f"{name}.zip", root / f"{name}.zip"):
        if zipped.is_file():
            raise SourceError(
                f"the panoptic PNGs are still packed: unzip {zipped} in {zipped.parent} (the official "
                "annotation archive holds a second archive with the PNGs)"
            )
    raise SourceError(
        f"expected the panoptic PNGs in {root}/annotations/{name} or {root}/{name}; neither is there"
    )


def _find_photo_folder(root: Path, subset: str) -> Path:
    named = [root / subset, root / "images" / subset]
    loose = [root / "images", root / "photos"]
    for folder in named:
        if folder.is_dir():
            return folder
    for zipped in (root / f"{subset}.zip", root / "images" / f"{subset}.zip"):
        if zipped.is_file():
            raise SourceError(f"the photos are still packed: unzip {zipped} in {zipped.parent}")
    for folder in loose:
        if folder.is_dir():
            return folder
    raise SourceError(f"expected the photos in {root}/{subset} or {root}/images/{subset}")
