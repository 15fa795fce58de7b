"""Photos and masks in folders: each mask is one object.

There are no stuff labels. Background is every pixel that no mask covers; rows have `background_kind = unlabelled`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from olrd.arrays import Mask
from olrd.errors import Rejected, SourceError, UsageError, did_you_mean
from olrd.licenses import license_code, license_url
from olrd.mask_files import MaskChoice, options_named, read_mask
from olrd.panoptic import Box, Category, PanopticMap, Record, Segment
from olrd.progress import progress_bar, say
from olrd.sources import SourceSpec, check_unused, read_file
from olrd.sources.listing import entries, named_path, pictures_under, state_of
from olrd.sources.masks.names import is_mask_beside, match_masks, stem_of
from olrd.sources.overlays import measured, paint
from olrd.sources.panoptic.json_file import check_ids, image_id
from olrd.storage.indexes import open_index
from olrd.storage.roots import Traversable, folder_or_archive, open_root
from olrd.trust import counted, one_line, shown

INDEX_VERSION = "1"
BACKGROUND = Category(1, "background", "unlabelled", False)
_BACKGROUND_ID = 0xFFFFFFFF
_OPTIONS = ("category", "class_folders", "invert", "license", "mask_from", "masks", "photos", "source_url_prefix")
_PHOTOS = ("photos", "images", "image", "imgs", "img")
_MASKS = ("masks", "mask")
_SAMPLE = 200
_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("file_name", pa.string()),
        ("masks", pa.list_(pa.string())),
        ("categories", pa.list_(pa.int32())),
    ]
)


class MaskFolders:
    """A folder of photos and one of masks (see `Source`). Sizes and areas are measured when a photo is opened."""

    name = "masks"
    background_kind = "unlabelled"

    def __init__(self, photos: Traversable, masks: Traversable, spec: SourceSpec) -> None:
        """photos and masks may be the same folder, or one may lie in the other."""
        options = spec.options
        self.photo_folder, self.mask_folder, self.max_pixels = photos, masks, spec.max_pixels
        self._declared = license_url(options["license"]) if "license" in options else ""
        self._prefix = options.get("source_url_prefix", "")
        self._choice = MaskChoice(options.get("mask_from"), _yes(options, "invert"))
        self._table = _index(photos, masks, options, self._choice)
        metadata = self._table.schema.metadata
        self.fingerprint: str = metadata[b"fingerprint"].decode()
        names: list[str] = json.loads(metadata[b"categories"])
        self.categories = {BACKGROUND.id: BACKGROUND} | {
            number: Category(number, name, "object", True) for number, name in enumerate(names, start=BACKGROUND.id + 1)
        }

    def __len__(self) -> int:
        return self._table.num_rows

    def image_id(self, index: int) -> str:
        image_id: str = self._table["image_id"][index].as_py()
        return image_id

    def record(self, index: int) -> Record:
        row = self._table.slice(index, 1).to_pylist()[0]
        segments = [Segment(n, kind, 0, Box(0, 0, 0, 0)) for n, kind in enumerate(row["categories"], start=1)]
        if segments:
            segments.append(Segment(_BACKGROUND_ID, BACKGROUND.id, 0, Box(0, 0, 0, 0)))
        return Record(
            image_id=row["image_id"],
            file_name=row["file_name"],
            width=0,
            height=0,
            license=license_code(self._declared),
            license_url=self._declared,
            source_url=self._prefix + quote(row["file_name"]) if self._prefix else "",
            author="",
            panoptic_name=str(index) if segments else None,
            segments=tuple(segments),
        )

    def photo_bytes(self, record: Record) -> bytes:
        return read_file(self.photo_folder, record.file_name, "photo")

    def panoptic(self, record: Record, width: int, height: int) -> PanopticMap:
        """The masks in one map. Where two overlap, the smaller one is on top."""
        ids = np.full((height, width), _BACKGROUND_ID, np.uint32)
        files = self._table["masks"][int(record.panoptic_name or 0)].as_py()
        paint(
            ids,
            [
                (segment.id, self._mask(file, width, height))
                for segment, file in zip(record.segments, files, strict=False)
            ],
        )
        return PanopticMap(ids, tuple(measured(segment, ids) for segment in record.segments))

    def _mask(self, file: str, width: int, height: int) -> Mask:
        with options_named("--source-option"):
            data = read_file(self.mask_folder, file, "panoptic")
            return read_mask(data, file, (width, height), self._choice, self.max_pixels).mask


def open_masks(spec: SourceSpec) -> MaskFolders:
    """`--source masks --root DIR [--source-option KEY=VALUE]`.

    Options: `photos` and `masks` (folders below the root, or any others), `category` (the class of all masks),
    `class_folders=yes` (the first folder of a mask is its class), `mask_from` and `invert=yes` (how masks are read, see
    `olrd.mask_files`), `license` and `source_url_prefix` (of all photos).
    """
    for key in spec.options:
        if key not in _OPTIONS:
            raise did_you_mean("option of the source masks", key, _OPTIONS)
    check_unused(spec, "subset")
    if spec.root is None:
        raise UsageError("--source masks needs --root, the folder with the photos and the masks")
    root = open_root(spec.root)
    if not root.is_dir():
        raise SourceError(f"--root {spec.root} is not a folder or an archive")
    photos = _folder(root, "photos", spec.options, _PHOTOS) or root
    masks = _folder(root, "masks", spec.options, _MASKS) or photos
    return MaskFolders(photos, masks, spec)


def _folder(root: Traversable, key: str, options: Mapping[str, str], usual: tuple[str, ...]) -> Traversable | None:
    """The folder that an option names, or the first with a usual name, in any case."""
    if key in options:
        return named_path(root, key, options[key])
    stems = [name[:-4] if name.lower().endswith((".zip", ".tar")) else name for name in entries(root)]
    named = {stem.lower(): stem for stem in stems}
    return folder_or_archive(root, *(named[name] for name in usual if name in named))


def _index(photos: Traversable, masks: Traversable, options: Mapping[str, str], choice: MaskChoice) -> pa.Table:
    """One row per photo, of `_SCHEMA`. Schema metadata: `fingerprint`, and `categories` (the names of the classes)."""
    photo_names, mask_names = _names(photos, masks)
    if not photo_names or not mask_names:
        raise SourceError(
            f"expected photos in {photos} and masks in {masks}, or masks beside their photos, called NAME_mask.png; "
            f"found {counted(len(photo_names), 'photo')} and {counted(len(mask_names), 'mask')}. --source-option photos=FOLDER and "
            "masks=FOLDER name other folders"
        )
    classes = _classes(mask_names, options)
    by_folder = _yes(options, "class_folders")
    settings = [INDEX_VERSION, by_folder, choice.part, choice.invert, sorted(classes.items()), photo_names]
    states = [state_of(masks, name) for name in mask_names]
    key = hashlib.sha256(json.dumps([str(photos), str(masks), settings, states]).encode()).hexdigest()[:32]

    def make(path: Path) -> None:
        _tell(masks, mask_names, choice)
        _write(photos, masks, photo_names, classes, by_folder, choice, path)

    return open_index(f"masks-{key}", make)


def _names(photos: Traversable, masks: Traversable) -> tuple[list[str], list[str]]:
    """The names of the photos and of the masks, each relative to its folder."""
    found = pictures_under(photos)
    if str(photos) == str(masks):
        stems = {stem_of(name) for name in found}
        beside = {name for name in found if is_mask_beside(name, stems)}
        return [name for name in found if name not in beside], sorted(beside)
    # Masks in the folder of the photos are no photos, and the other way round.
    return _outside(found, photos, masks), _outside(pictures_under(masks), masks, photos)


def _outside(names: list[str], folder: Traversable, other: Traversable) -> list[str]:
    """The names in a folder that are not below the other folder."""
    return [
        name for name in names if not f"{folder}/{name}".startswith(f"{other}/") or f"{folder}/".startswith(f"{other}/")
    ]


def _classes(masks: list[str], options: Mapping[str, str]) -> dict[str, str]:
    """The class of each mask. Raises `UsageError` for a mask outside a folder, if folders are classes."""
    if not _yes(options, "class_folders"):
        name = one_line(options.get("category", "object"))
        if not name:
            raise UsageError("source option category: expected a name, got none")
        return dict.fromkeys(masks, name)
    if "category" in options:
        raise UsageError("the source options category and class_folders=yes exclude each other: leave one out")
    if outside := [name for name in masks if "/" not in name]:
        raise UsageError(
            f"class_folders=yes expects each mask in the folder of its class, {shown(outside[0])} is in none"
        )
    return {name: one_line(name.partition("/")[0]) for name in masks}


def _yes(options: Mapping[str, str], key: str) -> bool:
    given = options.get(key, "no")
    if given not in ("yes", "no"):
        raise UsageError(f"source option {key}: expected yes or no, got {shown(given)}")
    return given == "yes"


def _tell(folder: Traversable, names: list[str], choice: MaskChoice) -> None:
    """Say how the masks are read and what is odd about them, from at most `_SAMPLE` of them.

    Raises `SourceError` if none of them can be read.
    """
    sample = names[:: max(1, len(names) // _SAMPLE)][:_SAMPLE]
    kinds: Counter[str] = Counter()
    odd: dict[str, list[str]] = {}
    refused: list[Rejected] = []
    for name in sample:
        try:
            with options_named("--source-option"):
                read = read_mask(read_file(folder, name, "panoptic"), name, choice=choice)
        except Rejected as error:
            refused.append(error)
            continue
        kinds[read.kind] += 1
        for warning in read.warnings:
            odd.setdefault(re.sub(r"\d+ % of", "most of", warning), []).append(name)
    if len(refused) == len(sample):
        raise SourceError(f"none of the masks in {folder} can be read: {refused[0]}")
    say(f"masks: {', '.join(f'{kind} ({count:,})' for kind, count in kinds.most_common())}")
    turned = "" if choice.invert else ". If black means erase, give --source-option invert=yes"
    for warning, found in odd.items():
        say(f"{len(found):,} of {counted(len(sample), 'mask')}: {warning} (first: {found[0]}){turned}")
    if refused:
        say(f"{len(refused):,} of {counted(len(sample), 'mask')} cannot be read (first: {refused[0]})")


def _write(
    photos: Traversable,
    masks: Traversable,
    photo_names: list[str],
    classes: Mapping[str, str],
    by_folder: bool,
    choice: MaskChoice,
    out: Path,
) -> None:
    matched = match_masks(photo_names, {name: name.partition("/")[2] if by_folder else name for name in classes})
    check_ids((image_id(name), name) for name in photo_names)
    if len(matched.alone) == len(classes):
        raise SourceError(
            f"no mask has the name of a photo: {shown(matched.alone[0])} is a mask in {masks}, {shown(photo_names[0])} "
            f"is a photo in {photos}. Expected NAME.png, NAME_mask.png, NAME_0.png or NAME/*.png for the photo NAME.jpg; "
            "if masks lie in a folder per class, add --source-option class_folders=yes"
        )
    if matched.alone:
        left_out = counted(len(matched.alone), "mask has no photo and is", "masks have no photo and are")
        say(f"{left_out} left out (first: {matched.alone[0]})")
    kinds = {name: number for number, name in enumerate(sorted(set(classes.values())), start=BACKGROUND.id + 1)}
    digest = hashlib.sha256()
    if choice != MaskChoice():
        digest.update(json.dumps([choice.part, choice.invert]).encode())
    with progress_bar("reading masks (once)", len(classes), unit="mask") as bar:
        for name in sorted(classes):
            digest.update(json.dumps([name, classes[name], _hash(masks, name)]).encode())
            bar.update(1)
    metadata = {"fingerprint": digest.hexdigest(), "categories": json.dumps(list(kinds))}
    rows = [
        {
            "image_id": str(image_id(photo)),
            "file_name": photo,
            "masks": files,
            "categories": [kinds[classes[file]] for file in files],
        }
        for photo, files in matched.masks.items()
    ]
    schema = _SCHEMA.with_metadata(metadata)
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema), max_chunksize=1000)


def _hash(folder: Traversable, name: str) -> str:
    """The sha256 of a mask; a text that no file has for one that cannot be read, which its photo reports."""
    try:
        return hashlib.sha256(read_file(folder, name, "panoptic")).hexdigest()
    except Rejected as error:
        return error.code
