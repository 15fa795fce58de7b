"""Open Images V5-V7: instance masks from the CSV and its PNGs.

There are no stuff labels. Background is every pixel that no mask and no box covers; rows have `background_kind =
unlabelled`. Pixels inside a box but outside its mask are void.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from fnmatch import fnmatch
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from olrd.arrays import Ids, resize_ids
from olrd.errors import Rejected, SourceError, UsageError, did_you_mean
from olrd.licenses import license_code, license_url
from olrd.mask_files import read_mask
from olrd.masks import mask_box
from olrd.panoptic import Box, Category, PanopticMap, Record, Segment
from olrd.sources import SourceSpec, read_file
from olrd.sources.openimages.index import openimages_index
from olrd.storage.archives import COMPRESSED, is_archive
from olrd.storage.remote import location
from olrd.storage.roots import Traversable, archive_at, folder_or_archive, local_copy, names_in

BACKGROUND = Category(1, "background", "unlabelled", False)
_BACKGROUND_ID = 0xFFFFFFFF
_CORNERS = ("xmin", "xmax", "ymin", "ymax")
_CSV = "-annotations-object-segmentation.csv"


class OpenImages:
    """One subset of Open Images (see `Source`). Sizes and areas are measured when a photo is opened."""

    name = "openimages"
    background_kind = "unlabelled"

    def __init__(
        self, root: Traversable, subset: str, home: Traversable, csv: str, max_pixels: int, declared: str = ""
    ) -> None:
        """declared: the URL of the licence of the photos for which the image CSV names none."""
        self.subset, self.max_pixels, self.declared = subset, max_pixels, declared
        self.photo_folders = _photo_folders(root, subset)
        self.mask_folders = _mask_folders(root, subset)
        self._table = openimages_index(
            local_copy(home / csv),
            _photo_ids(self.photo_folders),
            {
                "boxes": _first(home, f"{subset}-annotations-bbox.csv"),
                "names": _first(
                    home,
                    "class-descriptions-boxable.csv",
                    "oidv6-class-descriptions.csv",
                    "oidv7-class-descriptions-boxable.csv",
                ),
                "images": _first(
                    home, f"{subset}-images-with-rotation.csv", f"{subset}-images-with-labels-with-rotation.csv"
                ),
            },
        )
        metadata = self._table.schema.metadata
        self.fingerprint: str = metadata[b"fingerprint"].decode()
        labels: dict[str, str] = json.loads(metadata[b"labels"])
        self._numbers = {label: number for number, label in enumerate(labels, start=2)}
        self.categories = {BACKGROUND.id: BACKGROUND} | {
            self._numbers[label]: Category(self._numbers[label], name, "object", True) for label, name in labels.items()
        }

    def __len__(self) -> int:
        return self._table.num_rows

    def image_id(self, index: int) -> str:
        image_id: str = self._table["image_id"][index].as_py()
        return image_id

    def record(self, index: int) -> Record:
        row = self._table.slice(index, 1).to_pylist()[0]
        url = row["license_url"] or self.declared
        masks = row["masks"]
        numbers = _segment_ids(masks)
        segments = [
            Segment(number, self._numbers[mask["label"]], 0, Box(0, 0, 0, 0), _is_group(mask, row["boxes"]))
            for number, mask in zip(numbers, masks, strict=True)
        ]
        if masks:
            segments.append(Segment(_BACKGROUND_ID, BACKGROUND.id, 0, Box(0, 0, 0, 0)))
        return Record(
            image_id=row["image_id"],
            file_name=f"{row['image_id']}.jpg",
            width=0,
            height=0,
            license=license_code(url),
            license_url=url,
            source_url=row["source_url"]
            or f"https://open-images-dataset.s3.amazonaws.com/{self.subset}/{row['image_id']}.jpg",
            author=row["author"],
            panoptic_name=json.dumps([masks, row["boxes"]]) if masks else None,
            segments=tuple(segments),
        )

    def photo_bytes(self, record: Record) -> bytes:
        return _read_first(self.photo_folders, (record.file_name,), "photo")

    def panoptic(self, record: Record, width: int, height: int) -> PanopticMap:
        """The instance masks in one map. Where two overlap, the smaller one is on top."""
        masks, boxes = json.loads(record.panoptic_name or "[[],[]]")
        ids = np.full((height, width), _BACKGROUND_ID, np.uint32)
        drawn = []
        for segment, mask in zip(record.segments, masks, strict=False):
            pixels = self._mask(mask["file"], width, height)
            if all(isfinite(mask[corner]) for corner in _CORNERS):
                ids[_pixel_box(mask, width, height)] = 0
            elif pixels.any():  # an export of one's own may leave the box empty: the extent of the mask stands for it
                ids[mask_box(pixels).crop()] = 0
            drawn.append((int(np.count_nonzero(pixels)), segment.id, pixels))
        for box in boxes:
            ids[_pixel_box(box, width, height)] = 0
        for _, number, pixels in sorted(drawn, key=lambda d: (-d[0], d[1])):
            ids[pixels] = number
        return PanopticMap(ids, tuple(_measured(segment, ids) for segment in record.segments))

    def _mask(self, file: str, width: int, height: int) -> Any:
        names = (file, f"{file[:1].upper()}/{file}")
        data = _read_first(self.mask_folders, names, "panoptic")
        try:
            mask = read_mask(data, file, max_pixels=self.max_pixels).mask
        except Rejected as error:
            # This source has no option that chooses.
            said = re.sub(r", or choose\b.*--mask-from.*", "", str(error))
            said = re.sub(r"\. Choose\b.*--mask-from.*", "; save it as white on black", said)
            raise Rejected(error.code, said) from error
        # Masks have other sizes than photos; their aspect must agree within a pixel.
        if abs(mask.shape[1] * height / mask.shape[0] - width) > 1 + mask.shape[1] / mask.shape[0]:
            raise Rejected(
                "panoptic_size",
                f"{file}: a mask of {mask.shape[1]} x {mask.shape[0]} does not have the shape of a "
                f"photo of {width} x {height}",
            )
        return mask if mask.shape == (height, width) else resize_ids(mask, (width, height))


def _segment_ids(masks: list[dict[str, Any]]) -> list[int]:
    """The box ids as numbers (they are 8 hexadecimal digits); their positions if one is not."""
    try:
        numbers = [int(mask["box_id"], 16) for mask in masks]
    except ValueError:
        numbers = []
    usable = len(set(numbers)) == len(masks) and all(0 < n < _BACKGROUND_ID for n in numbers)
    return numbers if usable else list(range(1, len(masks) + 1))


def _is_group(mask: dict[str, Any], boxes: list[dict[str, Any]]) -> bool:
    """Whether the box of the mask is a group box in the box CSV (same label, same corners)."""
    corners = ("xmin", "xmax", "ymin", "ymax")
    return any(
        box["group"] == 1 and box["label"] == mask["label"] and all(abs(box[c] - mask[c]) < 0.005 for c in corners)
        for box in boxes
    )


def _pixel_box(box: dict[str, Any], width: int, height: int) -> tuple[slice, slice]:
    """The pixels of a box whose corners are fractions. Raises `Rejected` if a corner is missing or not finite."""
    corners = tuple(box[corner] for corner in _CORNERS)
    if not all(map(isfinite, corners)):
        raise Rejected("panoptic_unreadable", f"a box in the CSV has the corners {corners}, expected four numbers")

    def reach(low: float, high: float, size: int) -> slice:
        return slice(max(0, int(np.floor(low * size))), max(0, int(np.ceil(high * size))))

    return reach(box["ymin"], box["ymax"], height), reach(box["xmin"], box["xmax"], width)


def _measured(segment: Segment, ids: Ids) -> Segment:
    mask = ids == np.uint32(segment.id)
    area = int(np.count_nonzero(mask))
    box = mask_box(mask) if area else Box(0, 0, 0, 0)
    return Segment(segment.id, segment.category_id, area, box, segment.iscrowd)


def _read_first(folders: Sequence[Traversable], names: Sequence[str], what: str) -> bytes:
    """The bytes of the first of these files that one of the folders has."""
    for folder in folders:
        for name in names:
            try:
                return read_file(folder, name, what)
            except Rejected as error:
                if error.code != f"{what}_missing":
                    raise
    raise Rejected(f"{what}_missing", f"{names[0]} is in none of {[str(f) for f in folders]}")


def open_openimages(spec: SourceSpec) -> OpenImages:
    """`--source openimages --root DIR [--subset train|validation|test] [--source-option license=CODE]`.

    The image CSV names the licence and the author of each photo. Without it the licence is unknown, unless the option
    `license` declares it.
    """
    for key in spec.options:
        if key != "license":
            raise did_you_mean("option of the source openimages", key, ("license",))
    declared = license_url(spec.options.get("license", "")) if "license" in spec.options else ""
    if spec.root is None:
        raise UsageError("--source openimages needs --root, the folder with the CSV, photos and masks")
    root = location(spec.root)
    found: dict[str, tuple[Traversable, str]] = {
        name.removesuffix(_CSV): (folder, name)
        for folder in (root, root / "annotations", root / "labels", root / "metadata")
        for name in names_in(folder)
        if name.endswith(_CSV)
    }
    labels = root / "labels"
    if not found and (labels / "segmentations.csv").is_file():
        whole = root.resolve() if isinstance(root, Path) else root
        # a FiftyOne download: one folder per subset
        found = {spec.subset or whole.name: (labels, "segmentations.csv")}
    if not found:
        raise SourceError(
            f"expected <subset>{_CSV} under {root}, found none. Get it, the mask archives and the "
            "photos from https://storage.googleapis.com/openimages/web/download_v7.html"
        )
    if spec.subset is None and len(found) > 1:
        raise UsageError(f"{root} holds several subsets: choose one with --subset {sorted(found)}")
    subset = spec.subset or next(iter(found))
    if subset not in found:
        raise did_you_mean("subset", subset, found)
    return OpenImages(root, subset, *found[subset], spec.max_pixels, declared)


def _first(folder: Traversable, *names: str) -> Path | None:
    return next((local_copy(folder / name) for name in names if (folder / name).is_file()), None)


def _photo_folders(root: Traversable, subset: str) -> list[Traversable]:
    """One folder or archive of photos, or the official archives train_0.tar to train_f.tar."""
    if folder := folder_or_archive(root, subset, f"images/{subset}"):
        return [folder]
    parts = _archives(root, f"{subset}_?") + _archives(root / "images", f"{subset}_?")
    if parts:
        return parts
    if folder := folder_or_archive(root, "data", "images"):
        return [folder]
    raise SourceError(f"expected the photos in {root}/{subset} or {root}/images/{subset}, as a folder, .zip or .tar")


def _photo_ids(folders: Sequence[Traversable]) -> list[str]:
    names = (name for folder in folders for name in names_in(folder))
    return sorted({name.removesuffix(".jpg") for name in names if name.endswith(".jpg")})


def _mask_folders(root: Traversable, subset: str) -> list[Traversable]:
    """One folder of masks, or the sixteen folders of the official archives, or those archives."""
    name = f"{subset}-masks"
    bases = [root / name, root / "masks" / subset, root / "masks", root / "labels" / "masks"]
    folders: list[Traversable] = []
    for base in bases:
        if base.is_dir():
            folders += [base, *_sixteen(base, name)]
    folders += _sixteen(root, name)
    if found := archive_at(root / f"{name}.zip"):
        folders.append(found)
    if not folders:
        raise SourceError(f"expected the mask PNGs in {root}/{name} or {root}/masks, as folders or .zip files")
    return folders


def _sixteen(base: Traversable, name: str) -> list[Traversable]:
    folders = [base / part for part in names_in(base) if fnmatch(part, f"{name}-?")]
    return [folder for folder in folders if folder.is_dir()] + _archives(base, f"{name}-?")


def _archives(folder: Traversable, pattern: str) -> list[Traversable]:
    """The archives in a folder whose names without suffix match. Raises `SourceError` for a .tar.gz."""
    found = []
    for name in names_in(folder):
        if any(fnmatch(name, pattern + ending) for ending in (".zip", ".tar", *COMPRESSED)):
            is_archive(name)
            found.append(archive_at(folder / name))
    return [archive for archive in found if archive]
