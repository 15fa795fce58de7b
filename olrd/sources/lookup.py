"""Files under other names than the annotations say.

Archives are unpacked on systems with other rules for names, folders are flattened, suffixes change. A file that is not
where its name says is looked for by the same name in another spelling, and then by its base name, if only one file has
it. The folder is listed once, and only if a file is missing.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath

from olrd.storage.archives import Archive, Member
from olrd.storage.roots import Traversable, names_in

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
LARGEST = 5_000_000
"""Number of files up to which a folder is listed."""


class Listed:
    """The names that annotations list: two of them never mean the same file."""

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names = names

    @cached_property
    def counts(self) -> tuple[Counter[str], Counter[str], Counter[str]]:
        """How often each spelling, each base name and each stem is listed."""
        whole = [_spelled(name.replace("\\", "/")) for name in self._names()]
        return Counter(whole), Counter(name.rpartition("/")[2] for name in whole), Counter(map(_stem, whole))


def other_name(
    root: Traversable, file_name: str, avoid: Traversable | None = None, listed: Listed | None = None
) -> str | None:
    """The name of the file under `root` that `file_name` probably means.

    Args:
        root: the folder that the name is relative to.
        file_name: from the annotations; no file has it.
        avoid: a folder whose files are never meant, such as the maps of photos in the same root.
        listed: all names of the annotations.

    Returns:
        The name, relative to `root`; None if no file fits, or more than one.
    """
    if isinstance(root, Path):
        root = root.resolve()
    found = _found(root, file_name, avoid, listed)
    if found and not (root / found).is_file():  # the folder has changed since it was listed
        _names.cache_clear()
        found = _found(root, file_name, avoid, listed)
    return found


def _found(root: Traversable, file_name: str, avoid: Traversable | None, listed: Listed | None) -> str | None:
    whole, base, stem = _names(str(root), str(avoid), _Held(root, avoid))
    none: Counter[str] = Counter()
    wholes, bases, stems = listed.counts if listed else (none, none, none)
    wanted = _spelled(file_name.replace("\\", "/"))
    folder, _, last = wanted.rpartition("/")
    # cityscapesscripts writes this name for the photo `..._leftImg8bit.png`.
    cityscapes = last.replace("_gtfine_leftimg8bit", "_leftimg8bit")
    for key, table, alike in (
        (wanted, whole, wholes[wanted]),
        (last, base, bases[last]),
        (cityscapes, base, bases[last]),
    ):
        found = table.get(key) if alike < 2 else None
        if found and _same_end(folder, _spelled(found).rpartition("/")[0]):
            return found
    # Another suffix is only taken in the same folder.
    found = stem.get(_stem(wanted)) if stems[_stem(wanted)] < 2 else None
    return found if found and _spelled(found).rpartition("/")[0] == folder else None


def _same_end(one: str, other: str) -> bool:
    """Whether one folder ends with the other, as `city/day` with `day` and with no folder at all. `a/1.jpg` is never
    `b/1.jpg`."""
    first, second = (folder.split("/") if folder else [] for folder in (one, other))
    shorter = min(len(first), len(second))
    return first[len(first) - shorter :] == second[len(second) - shorter :]


class _Held:
    """Carries the folders past the cache, whose key is their names."""

    def __init__(self, root: Traversable, avoid: Traversable | None) -> None:
        self.root, self.avoid = root, avoid

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)

    def __hash__(self) -> int:
        return 0


@lru_cache(8)
def _names(where: str, avoid: str, held: _Held) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """The files below a folder by spelling, by base name and by stem; a key that two files have is left out."""
    whole: dict[str, str] = {}
    base: dict[str, str] = {}
    stem: dict[str, str] = {}
    for name in _listed(held.root, held.avoid):
        if PurePosixPath(name).suffix.lower() in PICTURES and not name.rpartition("/")[2].startswith("."):
            for key, table in (
                (_spelled(name), whole),
                (_spelled(name).rpartition("/")[2], base),
                (_stem(_spelled(name)), stem),
            ):
                table[key] = "" if key in table else name
    return whole, base, stem


def _listed(root: Traversable, avoid: Traversable | None) -> list[str]:
    """The names of all files below, relative to the folder, without those that links lead to and those in `avoid`."""
    if isinstance(root, Archive | Member):
        return names_in(root)
    if not isinstance(root, Path):
        return root.walk_names()  # type: ignore[attr-defined]
    found: list[str] = []
    for folder, _, files in os.walk(root):
        here = Path(folder)
        if isinstance(avoid, Path) and here != root and here.is_relative_to(avoid.resolve()):
            continue
        found += [(here / name).relative_to(root).as_posix() for name in files]
        if len(found) > LARGEST:
            return []
    return found


def _spelled(name: str) -> str:
    """One spelling for names that differ in case or in how accents are written."""
    return unicodedata.normalize("NFC", name).casefold()


def _stem(name: str) -> str:
    return PurePosixPath(name.rpartition("/")[2]).stem
