"""COCO panoptic, in the official layout and in common variants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from olrd.arrays import decode_ids
from olrd.errors import SourceError, UsageError, did_you_mean
from olrd.panoptic import Box, Category, PanopticMap, Record, Segment
from olrd.sources import SourceSpec, check_unused, read_file
from olrd.sources.panoptic_index import panoptic_index
from olrd.storage.archives import Member
from olrd.storage.remote import location
from olrd.storage.roots import Traversable, archive_at, folder_or_archive, local_copy, names_in
from olrd.trust import shown

DEMO_ROOT = Path(__file__).parent / "demo_photos"


class PanopticFolder:
    """A folder of photos, a folder of panoptic PNGs, and the JSON that links them (see `Source`).

    The folders may be archives or URLs.
    """

    background_kind = "stuff"

    def __init__(
        self, name: str, json_path: Path, png_folder: Traversable, photo_folder: Traversable, max_pixels: int
    ) -> None:
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
                Segment(s["id"], s["category_id"], s["area"], Box(*s["bbox"]), s["iscrowd"]) for s in segments
            ),
        )

    def photo_bytes(self, record: Record) -> bytes:
        return read_file(self.photo_folder, record.file_name, "photo")

    def panoptic(self, record: Record, width: int, height: int) -> PanopticMap:
        name = record.panoptic_name or ""
        data = read_file(self.png_folder, name, "panoptic")
        return PanopticMap(decode_ids(data, name, self.max_pixels), record.segments)


def open_coco(spec: SourceSpec) -> PanopticFolder:
    """`--source coco`: the official layout; without a root, the embedded photos."""
    if spec.options:
        raise did_you_mean("option of the source coco", next(iter(spec.options)), ())
    if spec.root is None:
        if spec.subset is not None:
            raise UsageError(
                f"--subset {shown(spec.subset)} needs --root, the folder of COCO: the embedded photos have no subsets"
            )
        return open_demo(spec)
    root = location(spec.root)
    found = find_annotations(root)
    subset = choose_subset(str(root), sorted(found), spec.subset)
    return PanopticFolder(
        "coco",
        local_copy(found[subset]),
        _find_png_folder(root, subset, found[subset]),
        _find_photo_folder(root, subset),
        spec.max_pixels,
    )


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


def find_annotations(root: Traversable) -> dict[str, Traversable]:
    """The panoptic JSON of each subset: a file, or inside the official annotation archive."""
    if not root.is_dir():
        raise SourceError(f"--root {root} is not a folder")
    folders: list[Traversable] = [root / "annotations"]
    for folder in (root, root / "annotations"):
        packed = [n for n in names_in(folder) if fnmatch(n, "panoptic_annotations*.zip")]
        folders += [archive for name in packed if (archive := archive_at(folder / name))]
    found: dict[str, Traversable] = {}
    for folder in folders:
        for name in names_in(folder):
            if fnmatch(name, "panoptic_*.json"):
                subset = name.removeprefix("panoptic_").removesuffix(".json")
                found.setdefault(subset, folder / name)
    if not found:
        raise SourceError(
            f"expected annotations/panoptic_<subset>.json under {root}, found none. Get "
            "panoptic_annotations_trainval2017.zip from https://cocodataset.org/#download and put it, "
            f"or what is in it, in {root}"
        )
    return found


def choose_subset(root: str, found: Sequence[str], wanted: str | None) -> str:
    """The subset to read: `wanted`, or the only one. Raises `UsageError` with the subsets that exist."""
    if wanted is None and len(found) > 1:
        raise UsageError(f"{root} holds several subsets: choose one with --subset {{{','.join(found)}}}")
    if wanted is not None and wanted not in found:
        raise did_you_mean("subset", wanted, found)
    return wanted or found[0]


def _find_png_folder(root: Traversable, subset: str, annotations: Traversable) -> Traversable:
    name = f"panoptic_{subset}"
    if folder := folder_or_archive(root, f"annotations/{name}", name):
        return folder
    # The official annotation archive contains a second archive with the PNGs.
    inside = annotations.archive if isinstance(annotations, Member) else None
    if inside and (folder := folder_or_archive(inside, name)):
        return folder
    raise SourceError(
        f"expected the panoptic PNGs in {root}/annotations/{name} or {root}/{name}, as a folder, .zip or "
        ".tar; neither is there"
    )


def _find_photo_folder(root: Traversable, subset: str) -> Traversable:
    if folder := folder_or_archive(root, subset, f"images/{subset}"):
        return folder
    for name in ("images", "photos"):
        if (root / name).is_dir():
            return root / name
    raise SourceError(f"expected the photos in {root}/{subset} or {root}/images/{subset}, as a folder, .zip or .tar")
