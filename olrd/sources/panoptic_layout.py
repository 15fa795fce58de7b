"""Where the three parts of a COCO panoptic dataset are: the JSON, the PNGs and the photos.

    annotations/panoptic_SUBSET.json, annotations/panoptic_SUBSET/, SUBSET/     the official layout
    gtFine/cityscapes_panoptic_SUBSET.json, leftImg8bit/SUBSET/CITY/            as cityscapesscripts leaves it
    annotations.json, images/, ...                                              exports of labelling tools

Names are tried in a fixed order. Where that fails, the error names what was tried and what is there, and the options
`json`, `pngs` and `photos` say it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from typing import NamedTuple

from olrd.errors import SourceError, UsageError, did_you_mean
from olrd.storage.archives import Member
from olrd.storage.roots import Traversable, archive_at, folder_or_archive, names_in

_OFFICIAL = re.compile(r"panoptic_(.+)\.json(?:\.gz)?")
_OTHERS = re.compile(
    r"(?:.*panoptic.*|_?annotations\.coco|annotations|result|export|instances_default)\.json(?:\.gz)?", re.I
)
_SUFFIX = re.compile(r"\.json(?:\.gz)?$", re.I)
_PHOTOS = ("images", "photos", "leftImg8bit", "JPEGImages", "img", "data")
_PNGS = ("annotations", "panoptic", "panoptic_masks", "masks", "labels", "segmentation_bitmaps", "gtFine")
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
        options: `json`, `pngs`, `photos`: paths relative to the root, where the user says them.

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
    for folder in (root / "gtFine", root / "annotations", root):
        others = [n for n in names_in(folder) if _OTHERS.fullmatch(n) and not n.startswith("._")]
        if others:
            return {_subset_of(name): folder / name for name in others}
    raise SourceError(
        f"expected annotations/panoptic_<subset>.json under {root}, found none. {_there(root)} If one of these is the "
        "panoptic JSON, name it with --source-option json=PATH (and pngs=, photos=). An instances JSON is read with "
        "--source instances. COCO's own is in panoptic_annotations_trainval2017.zip from "
        "https://cocodataset.org/#download"
    )


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
    raise SourceError(
        f"expected the panoptic PNGs of {annotations.name} under {root} in {', '.join(tried[:3])} or {', '.join(_PNGS)}, "
        f"as a folder, .zip or .tar; none is there. {_there(root)} --source-option pngs=PATH names it"
    )


def _find_photo_folder(root: Traversable, subset: str, pngs: Traversable) -> Traversable:
    if folder := folder_or_archive(root, subset, f"images/{subset}", f"leftImg8bit/{subset}"):
        return folder
    for name in _PHOTOS:
        if (root / name).is_dir():
            return root / name
    if _holds(root, _PICTURES):
        return root
    raise SourceError(
        f"expected the photos under {root} in {subset}, images/{subset} or {', '.join(_PHOTOS)}, as a folder, .zip or "
        f".tar; none is there. {_there(root)} --source-option photos=PATH names it"
    )


def _holds(folder: Traversable, suffixes: tuple[str, ...]) -> bool:
    """Whether a picture lies directly in a folder."""
    return folder.is_dir() and any(_pictures(folder, suffixes))


def _pictures(folder: Traversable, suffixes: tuple[str, ...]) -> Iterator[str]:
    return (name for name in names_in(folder) if name.lower().endswith(suffixes) and not name.startswith("."))
