"""Where the JSON and the photos of a set of instances lie: COCO, LVIS and the exports of labelling tools."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from olrd.errors import Rejected, SourceError, UsageError, did_you_mean
from olrd.sources import read_file, safe_path
from olrd.sources.listing import entries
from olrd.storage.roots import Traversable, archive_at, folder_or_archive
from olrd.trust import shown

_ROBOFLOW = "_annotations.coco.json"
_OTHERS = ("panoptic_*", "stuff_*", "captions_*", "person_keypoints_*", "image_info_*")
"""JSON files that lie beside instances and hold something else. They are taken if there is no other."""
_PACKED = ("annotations*.zip", "*.json.zip")
_SOME, _MANY = 8, 500


class FoundJson(NamedTuple):
    """An annotation file: its subset, and the folder that it lies in."""

    subset: str
    path: Traversable
    folder: Traversable


def find_json(root: Traversable, subset: str | None) -> FoundJson:
    """The instances JSON under a root.

    Files with a usual name win: instances_SUBSET.json, lvis_*.json, and Roboflow's _annotations.coco.json in a folder
    per subset. Without one, the only other JSON file is taken (result.json of Label Studio, for example).

    Raises:
        SourceError: there is none.
        UsageError: there are several and `subset` names none of them.
    """
    folders = list(_folders(root))
    named: dict[str, FoundJson] = {}
    others: dict[str, FoundJson] = {}
    last: dict[str, FoundJson] = {}
    for folder in folders:
        for name in entries(folder):
            plain = name.removesuffix(".gz")
            found = _usual(folder, name, plain)
            if found:
                named.setdefault(found.subset, found)
            elif fnmatch(plain, "*.json") and name[0] != ".":
                stem = plain.removesuffix(".json")
                unlikely = any(fnmatch(plain, other) for other in _OTHERS)
                (last if unlikely else others).setdefault(stem, FoundJson(stem, folder / name, folder))
    known = named or others or last
    if not known:
        inside = ", ".join(entries(root)[:8]) or "nothing"
        raise SourceError(
            f"expected annotations/instances_<subset>.json, an _annotations.coco.json or one other JSON file under "
            f"{root}, found {inside}. --source-option json=FILE names it"
        )
    if subset is None and len(known) > 1:
        raise UsageError(
            f"{root} holds several annotation files: choose one with --subset {{{','.join(sorted(known))}}}"
        )
    if subset is not None and subset not in known:
        raise did_you_mean("subset", subset, known)
    return known[subset or next(iter(known))]


def _usual(folder: Traversable, name: str, plain: str) -> FoundJson | None:
    """A file with a usual name. plain: its name without `.gz`."""
    if fnmatch(plain, "instances_*.json"):
        subset = plain.removeprefix("instances_").removesuffix(".json")
    elif fnmatch(plain, "lvis_*.json"):
        subset = plain.removesuffix(".json")
    elif plain == _ROBOFLOW:
        whole = folder.resolve() if isinstance(folder, Path) else folder
        subset = whole.name
    else:
        return None
    return FoundJson(subset, folder / name, folder)


def _folders(root: Traversable) -> Iterator[Traversable]:
    """Where annotations may lie: the root, usual folders in it, archives of annotations, and a folder per subset."""
    usual = [root / "annotations", root, root / "labels"]
    yield from (folder for folder in usual if folder.is_dir())
    for folder in usual[:2]:
        for name in entries(folder):
            if any(fnmatch(name, pattern) for pattern in _PACKED) and (archive := archive_at(folder / name)):
                yield archive
                if (archive / "annotations").is_dir():
                    yield archive / "annotations"
    for name in entries(root):
        if (root / name / _ROBOFLOW).is_file():
            yield root / name


class PhotoFiles:
    """The photos that an annotation file names, wherever a tool put them.

    A name may begin with folders of the machine that exported it. Where the whole name is not found, it is tried
    without its first folder, and by its last part alone. One rule is chosen for all photos of a set.
    """

    def __init__(self, folders: Sequence[Traversable], names: Sequence[str]) -> None:
        """folders: the candidates, in their order. names: of all photos.

        Raises `SourceError` if no folder is given, or if names without their folders are equal.
        """
        if not folders:
            raise SourceError("expected a folder of photos, found none")
        self.folder, self._short = _chosen(folders, names)
        if self._short is not _whole:
            seen: dict[str, str] = {}
            for name in names:
                if (other := seen.setdefault(self._short(name), name)) != name:
                    raise SourceError(
                        f"the photos {shown(other)} and {shown(name)} would both be {shown(self._short(name))} in "
                        f"{self.folder}: keep their folders there"
                    )

    def name_of(self, name: str) -> str:
        """The name of a photo in the folder."""
        return self._short(name)

    def read(self, name: str) -> bytes:
        """The bytes of the photo that `name_of` names. Raises `Rejected`."""
        for spelling in _spellings(name):
            try:
                return read_file(self.folder, spelling, "photo")
            except Rejected as error:
                if error.code != "photo_missing":
                    raise
        raise Rejected("photo_missing", f"{name} is not in the folder of the photos")


def _chosen(folders: Sequence[Traversable], names: Sequence[str]) -> tuple[Traversable, Callable[[str], str]]:
    """The folder and the rule under which most of some photos exist. Raises `SourceError` if none of them does."""
    for count in (_SOME, _MANY):
        sample = names[:: max(1, len(names) // count)][:count]
        best, most = (folders[0], _whole), 0
        for folder in folders:
            for short in (_whole, _without_first, _last):
                hits = sum(_is_there(folder, short(name)) for name in sample)
                if hits == len(sample):
                    return folder, short
                if hits > most:
                    best, most = (folder, short), hits
        if most:
            return best
    looked = "; ".join(f"{folder} (holds {', '.join(entries(folder)[:3]) or 'nothing'})" for folder in folders)
    raise SourceError(
        f"expected photos such as {shown(names[0])}, found none of {len(sample):,} that the JSON names. Looked in "
        f"{looked}. --source-option photos=FOLDER names another folder"
    )


def _is_there(folder: Traversable, name: str) -> bool:
    try:
        return any(safe_path(folder, spelling).is_file() for spelling in _spellings(name))
    except (Rejected, OSError, ValueError):
        return False


def _whole(name: str) -> str:
    return name


def _without_first(name: str) -> str:
    return name.lstrip("/").partition("/")[2] or name


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _spellings(name: str) -> list[str]:
    """A name as other systems write it: with composed or decomposed letters, and in another case of the suffix."""
    suffix = PurePosixPath(name).suffix
    stem = name.removesuffix(suffix)
    written = [stem + s for s in (suffix, suffix.lower(), suffix.upper())]
    forms = [unicodedata.normalize(form, one) for one in written for form in ("NFC", "NFD")]
    return list(dict.fromkeys([name, *written, *forms]))


def photo_folders(root: Traversable, found: FoundJson) -> list[Traversable]:
    """Where the photos of a subset may lie, the most likely first.

    The photos of the subset lvis_v1_train may lie in lvis_v1_train, v1_train or train.
    """
    words = found.subset.split("_")
    ends = ["_".join(words[start:]) for start in range(len(words))]
    parts = [folder_or_archive(root, end, f"images/{end}") for end in ends if end]
    usual = [root / name for name in ("images", "photos", "data")]
    listed = [*parts, *(folder for folder in usual if folder.is_dir()), found.folder, root]
    distinct = {str(folder): folder for folder in listed if folder is not None}
    return list(distinct.values())
