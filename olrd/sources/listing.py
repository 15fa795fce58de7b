"""The files below a root: its pictures, the names in a folder, and what an option names."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from olrd.errors import SourceError
from olrd.storage.archives import Archive, Member
from olrd.storage.remote import Remote, is_url
from olrd.storage.roots import Traversable, names_in, open_root

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def pictures_under(root: Traversable, suffixes: Collection[str] = SUFFIXES, apart: Path | None = None) -> list[str]:
    """The pictures under `root` as sorted relative POSIX paths, without hidden files and folders.

    Linked folders are not followed.

    Args:
        root: the folder, URL or archive.
        suffixes: of the files to list.
        apart: a folder that is left out.

    Raises:
        SourceError: a name is not valid Unicode.
    """
    found = []
    for name in _all_names(root, apart.resolve() if apart else None):
        if any(part[:1] == "." for part in name.split("/")) or name.startswith("__MACOSX/"):
            continue
        if PurePosixPath(name).suffix.lower() in suffixes:
            try:
                name.encode()
            except UnicodeEncodeError as error:
                raise SourceError(f"{name!r} under {root} is a name that is not valid UTF-8: rename it") from error
            found.append(name)
    return sorted(found)


def _all_names(root: Traversable, apart: Path | None) -> Iterator[str]:
    """The relative names of all files under `root`, in any order."""
    if isinstance(root, Archive | Member):
        yield from root.names()
    elif isinstance(root, Remote):
        yield from root.walk_names()
    else:
        assert isinstance(root, Path)
        for folder, folders, files in os.walk(root):
            here = Path(folder)
            folders[:] = [f for f in folders if f[0] != "." and (apart is None or (here / f).resolve() != apart)]
            yield from ((here / name).relative_to(root).as_posix() for name in files)


def state_of(folder: Traversable, name: str) -> list[int | str]:
    """A file's name, and what changes when somebody replaces it."""
    path = folder / name
    if isinstance(path, Path):
        stat = path.stat()
        return [name, stat.st_size, stat.st_mtime_ns]
    assert isinstance(path, Remote | Member)
    return [name, path.version()]


def entries(folder: Traversable) -> list[str]:
    """The names directly in a folder, sorted. An archive lists the files of its folders too."""
    return sorted({name.partition("/")[0] for name in names_in(folder)})


def named_path(root: Traversable, key: str, text: str) -> Traversable:
    """What the option `key` names: a path below the root, or any other. Raises `SourceError` if nothing is there."""
    inside = None if is_url(text) or Path(text).is_absolute() else root / text
    if inside is not None and (inside.is_file() or inside.is_dir()):
        return inside
    try:
        outside = open_root(str(Path(text).expanduser()) if not is_url(text) else text)
    except SourceError:
        outside = None
    if outside is None or not (outside.is_file() or outside.is_dir()):
        raise SourceError(f"--source-option {key}={text}: there is no such file or folder under {root} or elsewhere")
    return outside
