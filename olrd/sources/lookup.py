"""Files under other names than the annotations say.

Archives are unpacked on systems with other rules for names, folders are flattened, suffixes change. A file that is not
where its name says is looked for by the same name in another spelling, and then by its base name, if only one file has
it. The folder is listed once, and only if a file is missing.
"""

from __future__ import annotations

import os
import unicodedata
from functools import lru_cache
from pathlib import Path, PurePosixPath

from olrd.storage.archives import Archive, Member
from olrd.storage.roots import Traversable, names_in

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
LARGEST = 5_000_000
"""Number of files up to which a folder is listed."""


def other_name(root: Traversable, file_name: str) -> str | None:
    """The name under `root`, relative to it, of the file that `file_name` probably means; None if there is none or
    more than one."""
    whole, base, stem = _names(str(root), _Held(root))
    wanted = _spelled(file_name.replace("\\", "/"))
    for key, table in (
        (wanted, whole),
        (wanted.rpartition("/")[2], base),
        (_stem(wanted), stem),
        # cityscapesscripts writes this name for the photo `..._leftImg8bit.png`.
        (_stem(wanted).replace("_gtfine_leftimg8bit", "_leftimg8bit"), stem),
    ):
        if found := table.get(key):
            return found
    return None


class _Held:
    """Carries the folder past the cache, whose key is its name."""

    def __init__(self, root: Traversable) -> None:
        self.root = root

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)

    def __hash__(self) -> int:
        return 0


@lru_cache(8)
def _names(where: str, held: _Held) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """The files below a folder by spelling, by base name and by stem; a key that two files have is left out."""
    whole: dict[str, str] = {}
    base: dict[str, str] = {}
    stem: dict[str, str] = {}
    for name in _listed(held.root):
        if PurePosixPath(name).suffix.lower() in PICTURES and not name.rpartition("/")[2].startswith("."):
            for key, table in (
                (_spelled(name), whole),
                (_spelled(name).rpartition("/")[2], base),
                (_stem(_spelled(name)), stem),
            ):
                table[key] = "" if key in table else name
    return whole, base, stem


def _listed(root: Traversable) -> list[str]:
    """The names of all files below, relative to the folder, without those that links lead to."""
    if isinstance(root, Archive | Member):
        return names_in(root)
    if not isinstance(root, Path):
        return root.walk_names()  # type: ignore[attr-defined]
    found: list[str] = []
    for folder, _, files in os.walk(root):
        here = Path(folder)
        found += [(here / name).relative_to(root).as_posix() for name in files]
        if len(found) > LARGEST:
            return []
    return found


def _spelled(name: str) -> str:
    """One spelling for names that differ in case or in how accents are written."""
    return unicodedata.normalize("NFC", name).casefold()


def _stem(name: str) -> str:
    return PurePosixPath(name.rpartition("/")[2]).stem
