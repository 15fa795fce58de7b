"""Where the three parts of a COCO panoptic dataset are: the JSON, the PNGs and the photos.

    annotations/panoptic_SUBSET.json, annotations/panoptic_SUBSET/, SUBSET/     the official layout
    gtFine/cityscapes_panoptic_SUBSET.json, leftImg8bit/SUBSET/CITY/            as cityscapesscripts leaves it
    annotations.json, images/, ...                                              exports of labelling tools

Names are tried in a fixed order. Where that fails, the error names what was tried and what is there, and the options
`json`, `pngs` and `photos` say it.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from olrd.errors import SourceError, UsageError, did_you_mean
from olrd.storage.archives import Member
from olrd.storage.files import children
from olrd.storage.remote import location
from olrd.storage.roots import Traversable, archive_at, folder_or_archive, names_in

_OFFICIAL = re.compile(r"panoptic_(.+)\.json(?:\.gz)?")
_OTHERS = re.compile(
    r"^(?:.*panoptic.*|_?annotations\.coco|annotations|result|export|instances_default)\.json(?:\.gz)?$", re.I
)
_MARK = b'"segments_info"'
_SUFFIX = re.compile(r"\.json(?:\.gz)?$", re.I)
_PHOTOS = ("images", "photos", "leftImg8bit", "JPEGImages", "img", "data")
_PNGS = ("annotations", "panoptic", "panoptic_masks", "masks", "labels", "segmentation_bitmaps", "gtFine")
_MAPS = re.compile("panoptic|mask|label|segm|annot|gt", re.I)
_JPEGS = (".jpg", ".jpeg")
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class Layout(NamedTuple):
    """The parts of a dataset."""

    json: Traversable
    pngs: Traversable
    photos: Traversable


def find_layout(root: Traversable, subset: str | None, options: Mapping[str, str]) -> Layout:
    """Find the three parts under `root`.

    Args:
        root: the folder.
        subset: which subset, if there are several.
        options: `json`, `pngs`, `photos`: paths, relative to the root or absolute, where the user says them.

    Raises:
        SourceError: a part is not there; the message says what was looked for, what is there and what to do.
        UsageError: there are several subsets.
    """
    if "json" in options:
        annotations = _said(root, "json", options["json"], is_file=True)
        name = _subset_of(annotations.name)
    else:
        found = find_annotations(root)
        name = choose_subset(str(root), sorted(found), subset)
        annotations = found[name]
    pngs = _said(root, "pngs", options["pngs"]) if "pngs" in options else _find_png_folder(root, name, annotations)
    photos = _said(root, "photos", options["photos"]) if "photos" in options else _find_photo_folder(root, name, pngs)
    return Layout(annotations, pngs, photos)


def _said(root: Traversable, option: str, path: str, is_file: bool = False) -> Traversable:
    """The part that an option names."""
    if "://" in path or Path(path).is_absolute():
        where: Traversable = location(path)
    else:
        where = root / path.strip("/") if path.strip("/") not in ("", ".") else root
    if is_file and where.is_file():
        return where
    if not is_file:
        if where.is_dir():
            return where
        if archive := archive_at(where):
            return archive
    raise SourceError(
        f"source option {option}={path}: {where} is no {'file' if is_file else 'folder or archive'}. {_there(root)}"
    )


def find_annotations(root: Traversable) -> dict[str, Traversable]:
    """The panoptic JSON of each subset: a file, or inside the official annotation archive.

    Where no file has the official name, a file with another one is taken if it is the only candidate.
    """
    folders: list[Traversable] = [root / "annotations"]
    for folder in (root, root / "annotations"):
        packed = [n for n in names_in(folder) if fnmatch(n, "panoptic_annotations*.zip")]
        folders += [archive for name in packed if (archive := archive_at(folder / name))]
    found: dict[str, Traversable] = {}
    for folder in [*folders, root]:
        for name in names_in(folder):
            if match := _OFFICIAL.fullmatch(name):
                found.setdefault(match[1], folder / name)
    if found:
        return found
    for test in (_OTHERS, _SUFFIX):
        for folder in (root / "gtFine", root / "annotations", root, *_folders(root)):
            others = {_subset_of(n): folder / n for n in names_in(folder) if test.search(n) and not n.startswith(".")}
            panoptic = {subset: path for subset, path in others.items() if _is_panoptic(path)}
            if panoptic:
                return panoptic
            if others and test is _OTHERS:
                return others  # the reader says what it is instead
    parquet = " Parquet files are not read here: write them as JSON and PNGs first (COCONut: download_coconut.py)."
    below = [folder for folder in _folders(root) if (folder / "annotations").is_dir()]
    lower = f" Is it --root {below[0]}?" if below else ""
    has_parquet = any(name.endswith(".parquet") for folder in (root, root / "data") for name in names_in(folder))
    raise SourceError(
        f"expected annotations/panoptic_<subset>.json under {root}, found none. {_there(root)}{lower}{parquet if has_parquet else ''} If one of these is the "
        "panoptic JSON, name it with --source-option json=PATH (and pngs=, photos=). An instances JSON is read with "
        "--source instances. COCO's own is in panoptic_annotations_trainval2017.zip from "
        "https://cocodataset.org/#download"
    )


def _is_panoptic(path: Traversable) -> bool:
    """Whether a JSON on disk holds segments, as only panoptic annotations do."""
    if not isinstance(path, Path) or not path.is_file():
        return False
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            before = b""
            while chunk := file.read(1 << 20):
                if _MARK in before + chunk.replace(b"\0", b""):  # UTF-16 has a zero byte in every letter
                    return True
                before = chunk[-len(_MARK) :]
    except (OSError, EOFError, zlib.error):
        pass
    return False


def _subset_of(name: str) -> str:
    """`val` for `panoptic_val.json` and `cityscapes_panoptic_val.json`, else the stem."""
    stem = _SUFFIX.sub("", name)
    return stem.rpartition("panoptic_")[2] or stem


def _there(folder: Traversable) -> str:
    """What lies in a folder, in words."""
    names = [name for name in names_in(folder) if not name.startswith(".")]
    tops = sorted({name.partition("/")[0] for name in names})
    if not tops:
        return "The folder is empty."
    jsons = [f"annotations/{name}" for name in names_in(folder / "annotations") if name.endswith((".json", ".gz"))]
    return f"There are: {', '.join([*tops[:8], *jsons[:4]])}{', ...' if len(tops) > 8 or len(jsons) > 4 else ''}."


def choose_subset(root: str, found: Sequence[str], wanted: str | None) -> str:
    """The subset to read: `wanted`, or the only one. Raises `UsageError` with the subsets that exist."""
    if wanted is None and len(found) > 1:
        raise UsageError(f"{root} holds several subsets: choose one with --subset {{{','.join(found)}}}")
    if wanted is not None and wanted not in found:
        raise did_you_mean("subset", wanted, found)
    return wanted or found[0]


def _find_png_folder(root: Traversable, subset: str, annotations: Traversable) -> Traversable:
    stem = _SUFFIX.sub("", annotations.name)
    tried = list(dict.fromkeys([f"annotations/{stem}", stem, f"annotations/panoptic_{subset}", f"panoptic_{subset}"]))
    tried += [f"gtFine/{stem}"]
    if folder := folder_or_archive(root, *tried):
        return folder
    # The official annotation archive contains a second archive with the PNGs.
    inside = annotations.archive if isinstance(annotations, Member) else None
    if inside and (folder := folder_or_archive(inside, stem)):
        return folder
    for name in _PNGS:
        for folder in (root / name / subset, root / name):
            if _holds(folder, (".png",)):
                return folder
    holders = [folder for folder in _deep_folders(root) if _holds(folder, (".png",)) and not _holds(folder, _JPEGS)]
    if len(holders) > 1:  # photos may be PNGs too
        holders = [folder for folder in holders if _MAPS.search(folder.name)]
    if len(holders) == 1:
        return holders[0]
    raise SourceError(
        f"expected the panoptic PNGs of {annotations.name} under {root} in {', '.join(tried[:3])} or {', '.join(_PNGS)}, "
        f"as a folder, .zip or .tar; none is there. {_there(root)} --source-option pngs=PATH names it"
    )


def _find_photo_folder(root: Traversable, subset: str, pngs: Traversable) -> Traversable:
    for name in (subset, f"images/{subset}", f"leftImg8bit/{subset}", *_PHOTOS):
        folder = folder_or_archive(root, name)
        if folder and str(folder) != str(pngs):
            return folder
    if _holds(root, _PICTURES):
        return root
    others = [folder for folder in _deep_folders(root) if str(folder) != str(pngs) and _holds(folder, _PICTURES)]
    if len(others) == 1:
        return others[0]
    raise SourceError(
        f"expected the photos under {root} in {subset}, images/{subset} or {', '.join(_PHOTOS)}, as a folder, .zip or "
        f".tar; none is there. {_there(root)} --source-option photos=PATH names it"
    )


def _folders(folder: Traversable) -> list[Path]:
    """The folders in a folder on disk, except hidden ones."""
    entries = children(folder) if isinstance(folder, Path) else []
    return [p for p in entries if isinstance(p, Path) and p.is_dir() and not p.name.startswith(".")]


def _deep_folders(root: Traversable) -> list[Path]:
    """The folders in a folder on disk, and those in them."""
    tops = _folders(root)
    return [*tops, *(folder for top in tops for folder in _folders(top))]


def _holds(folder: Traversable, suffixes: tuple[str, ...]) -> bool:
    """Whether a picture lies directly in a folder."""
    return folder.is_dir() and any(_pictures(folder, suffixes))


def _pictures(folder: Traversable, suffixes: tuple[str, ...]) -> Iterator[str]:
    return (name for name in names_in(folder) if name.lower().endswith(suffixes) and not name.startswith("."))
