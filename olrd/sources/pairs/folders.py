"""Finds the photos, masks and truths of `pairs` in folders."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from olrd.errors import OlrdError, Rejected, SourceError
from olrd.sources.pairs.layouts import LAYOUTS, TRUTH_NAMES, Layout
from olrd.sources.pairs.names import Triple, duplicates, is_mask, with_masks, with_truths
from olrd.storage.files import read_regular
from olrd.trust import counted

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
RARE_SUFFIXES = {".tif", ".tiff"}
"""Suffixes that count only in a folder without a picture of another suffix."""
MOST = 1000
"""Folders in which pictures are counted for a message; a root may be a whole disk."""


class Advice(NamedTuple):
    """What messages advise, in the words of the program that reads the folders.

    Attributes:
        flag: what stands before an option.
        truthless: how a set without truth is read.
        deep: how subfolders are read.
    """

    flag: str = "--data-option"
    truthless: str = "; truth=none scores a set without truth"
    deep: str = ": subfolders=yes reads them"


SCORING = Advice()


class Item(NamedTuple):
    """A sample's files. truth, effect (the mask of shadow and reflection): None if there is none."""

    id: str
    cluster: str
    photo: Path
    mask: Path
    truth: Path | None
    effect: Path | None = None


class Picture(NamedTuple):
    """A picture that is not decoded. name: where it is, for messages."""

    name: str
    data: bytes


class PairFiles(NamedTuple):
    """The samples of a folder. warnings: what a table of results should say about them."""

    items: list[Item]
    warnings: list[str]

    @property
    def ids(self) -> list[str]:
        """The ids of the samples."""
        return [item.id for item in self.items]

    @property
    def clusters(self) -> list[str]:
        """The source photos of the samples."""
        return [item.cluster for item in self.items]

    @property
    def effects(self) -> bool:
        """Whether the samples have masks of shadows and reflections."""
        return any(item.effect for item in self.items)

    def effect(self, index: int) -> Picture | None:
        """The mask of the effect of a sample. Raises `Rejected` if the file cannot be read."""
        path = self.items[index].effect
        return Picture(str(path), bytes_of(path)) if path else None

    def pictures(self, index: int) -> tuple[Picture, Picture, Picture | None]:
        """The photo, the mask and the truth of a sample. Raises `Rejected` if a file cannot be read."""
        item = self.items[index]
        photo, mask = (Picture(str(path), bytes_of(path)) for path in (item.photo, item.mask))
        return photo, mask, Picture(str(item.truth), bytes_of(item.truth)) if item.truth else None

    def hash(self, settings: str) -> str:
        """A hash of all files of all samples, with their names. settings: the options that change the samples."""
        digest = hashlib.sha256(settings.encode())
        items = self.items
        if any(len({item.id, item.photo.stem, item.mask.stem, (item.truth or item.mask).stem}) > 1 for item in items):
            digest.update("".join(f"\n{item.id}\t{item.cluster}" for item in items).encode())
        for column in zip(*((item.photo, item.mask, item.truth, item.effect) for item in items), strict=True):
            for path in dict.fromkeys(path for path in column if path is not None):
                digest.update(path.name.encode() + bytes_of(path, SourceError))
        return digest.hexdigest()[:16]


def find_pairs(
    root: Path, layout: Layout, given: Mapping[str, str], cluster: str, deep: bool, advice: Advice = SCORING
) -> PairFiles:
    """Find the samples below a folder.

    Args:
        root: the folder.
        layout: where photos, masks and truths are.
        given: the options `photos`, `masks`, `truth` and `effects`: folders in place of those of the layout, or empty
            texts. `truth` and `effects` may be `none`.
        cluster: `stem`, `prefix` or `folder`: what is one source photo.
        deep: read the subfolders too. Without it they are read only if a folder itself holds no picture.
        advice: for messages.

    Raises:
        SourceError: a folder or a file is missing; the message says what was found.
    """
    folders = _folders(root, layout, given, advice)
    photos = pictures_in(root, folders.photos, deep, "photos", advice)
    together = (root / folders.masks).samefile(root / folders.photos)
    masks = photos if together else pictures_in(root, folders.masks, deep, "masks", advice)
    beside = layout.beside or together
    if beside:
        photos = {key: path for key, path in photos.items() if not is_mask(key)}
        masks = {key: path for key, path in masks.items() if is_mask(key) or not together}
    if not photos:
        raise SourceError(f"{root / folders.photos} holds no photo, only masks (called ..._mask...)")
    pairs, warnings = with_masks(root / folders.masks, photos, masks, beside)
    truths: dict[str, Path] = {}
    if folders.truth:
        files = pictures_in(root, folders.truth, deep, "truth", advice)
        truths = with_truths(root / folders.truth, photos, files, pairs)
    effects = _effects(root, layout, given, photos, pairs, deep, advice)
    items = [
        Item(name, _cluster(photo, cluster), photos[photo], masks[mask], truths.get(name), effects.get(name))
        for name, photo, mask in pairs
    ]
    if not deep:
        warnings += _unread(root, folders, photos, advice)
    if not folders.truth and not _is_without_truth(layout, given):
        warnings.append(f"there is no truth (no folder {layout.truth}): scores that compare with it are empty")
    return PairFiles(items, warnings)


def _effects(
    root: Path,
    layout: Layout,
    given: Mapping[str, str],
    photos: Mapping[str, Path],
    pairs: Sequence[Triple],
    deep: bool,
    advice: Advice,
) -> dict[str, Path]:
    """The masks of shadow and reflection by sample. A folder that an option names must exist and hold one of each."""
    name = given["effects"] or (layout.effects if (root / layout.effects).is_dir() else "")
    if name in ("", "none"):
        return {}
    if not (root / name).is_dir():
        raise SourceError(f"the folder {root / name} does not exist{_what_is_there(root, 'effects', advice)}")
    return with_truths(root / name, photos, pictures_in(root, name, deep, "effects", advice), pairs, "mask")


def _is_without_truth(layout: Layout, given: Mapping[str, str]) -> bool:
    return given["truth"] == "none" or not (layout.truth or given["truth"])


def _folders(root: Path, layout: Layout, given: Mapping[str, str], advice: Advice) -> Layout:
    """The folders to read. A folder of truths that does not exist is left out, unless an option names it."""
    photos, masks = given["photos"] or layout.photos, given["masks"] or layout.masks
    if layout.beside:
        photos = photos if given["photos"] or (root / photos).is_dir() else "."
        masks = masks if given["masks"] or (root / masks).is_dir() else photos
    for name, option in ((photos, "photos"), (masks, "masks")):
        if not (root / name).is_dir():
            raise SourceError(f"the folder {root / name} does not exist{_what_is_there(root, option, advice)}")
    if _is_without_truth(layout, given):
        return Layout(photos, masks)
    truth = given["truth"] or layout.truth
    if (root / truth).is_dir():
        return Layout(photos, masks, truth)
    optional = not given["truth"] and layout in (LAYOUTS["plain"], LAYOUTS["lama"])
    others = [name for name in _listed(root)[0] if name.lower() in TRUTH_NAMES and name not in (photos, masks)]
    others = [name for name in others if _pictures_below(root / name)]
    if not optional or others:
        raise SourceError(
            f"the folder {root / truth} does not exist{_what_is_there(root, 'truth', advice)}{advice.truthless}"
        )
    return Layout(photos, masks)


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """The subfolders and the pictures of a folder, by name, sorted, without hidden ones; none if it cannot be read."""
    _, folders, names = next(os.walk(folder), ("", [], []))
    return sorted(n for n in folders if not n.startswith(".")), sorted(filter(_is_picture, names))


def _what_is_there(root: Path, option: str, advice: Advice) -> str:
    """What a folder holds in place of the one that was expected, for a message."""
    if not root.is_dir():
        return f". {root} is no folder; sets of the hub are read with {advice.flag} columns=image:NAME,mask:NAME"
    folders, here = _listed(root)
    held = {name: count for name in folders if (count := _pictures_below(root / name))}
    if held:
        shown = ", ".join(f"{name}/ ({counted(count, 'picture')})" for name, count in list(held.items())[:6])
        said = f". {root} holds {shown}: name the one to read with {advice.flag} {option}=FOLDER"
        below = [name for name in held if not _listed(root / name)[1]]
        where = f"{below[0]}/{_listed(root / below[0])[0][0]}/" if below and _listed(root / below[0])[0] else ""
        return said + (
            f". Pictures lie one level down, e.g. in {where}: perhaps --root {root / below[0]}" if where else ""
        )
    if any(is_mask(Path(name).stem) for name in here):
        return f". {root} holds photos with masks called ..._mask... beside them: {advice.flag} layout=lama reads them"
    return (
        f". {root} itself holds {counted(len(here), 'picture')}: {advice.flag} {option}=. reads that folder"
        if here
        else ""
    )


def _pictures_below(folder: Path) -> int:
    return sum(_is_picture(name) for _, _, names in islice(os.walk(folder), MOST) for name in names)


def _is_picture(name: str) -> bool:
    """Whether a file is called like a picture. Hidden files are not: macOS writes `._1.png` beside `1.png`."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES | RARE_SUFFIXES


def pictures_in(root: Path, name: str, deep: bool, option: str, advice: Advice) -> dict[str, Path]:
    """The pictures of a folder by their path without suffix, relative to the folder. Hidden files are left out.

    Names are compared as composed Unicode, because macOS stores accents as separate characters. option: the option that
    names the folder, and advice, for messages.
    """
    folder = root / name
    try:
        paths = [p for p in sorted(folder.iterdir()) if _is_picture(p.name)]
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror or error}") from error
    if deep or not paths:
        paths = sorted(_walk(folder))
    if not paths:
        raise SourceError(
            f"{folder} holds no picture ({', '.join(sorted(SUFFIXES))}){_what_is_there(root, option, advice)}"
        )
    paths = [p for p in paths if p.suffix.lower() in SUFFIXES] or paths
    if strange := [p for p in paths if not p.is_file()]:  # opening a pipe would block
        raise SourceError(f"{strange[0]} is called like a picture, but it is not a file: remove it")
    keys = [unicodedata.normalize("NFC", p.relative_to(folder).with_suffix("").as_posix()) for p in paths]
    if again := duplicates(keys):
        raise SourceError(f"{folder} holds several pictures called {again[0]}; keep one of them")
    return dict(zip(keys, paths, strict=True))


def _walk(folder: Path) -> Iterable[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if _is_picture(name))


def _unread(root: Path, folders: Layout, photos: Mapping[str, Path], advice: Advice) -> list[str]:
    """A warning if a folder holds pictures itself and, with their masks, in subfolders, which are not read."""
    if any("/" in key for key in photos):
        return []
    below = [p.relative_to(root / folders.photos).with_suffix("") for p in _walk(root / folders.photos)]
    lost = [p for p in below if len(p.parts) > 1 and (root / folders.masks / p.parent).is_dir()]
    if not lost or folders.masks == folders.photos:
        return []
    are = "is" if len(lost) == 1 else "are"
    return [f"{counted(len(lost), 'photo')} in subfolders of {folders.photos} {are} not read{advice.deep}"]


def _cluster(key: str, kind: str) -> str:
    if kind == "prefix":
        return key.replace("-", "_").rpartition("_")[0] or key
    return (key.rpartition("/")[0] if kind == "folder" else "") or key


def bytes_of(path: Path, kind: type[OlrdError] = Rejected) -> bytes:
    """The bytes of a picture's file. Raises `Rejected`, or `kind`, if it is not a regular file that can be read."""
    try:
        return read_regular(path)
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror or error}"
        raise (Rejected("photo_unreadable", text) if kind is Rejected else kind(text)) from error
