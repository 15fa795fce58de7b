"""Where input is read from: a local folder, a folder at a URL, or a zip or tar file.

All three have the same few methods of pathlib, so a source reads them in the same way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from olrd.errors import SourceError
from olrd.progress import progress_bar
from olrd.storage.archives import Archive, Member, is_archive
from olrd.storage.files import atomic_path, cache_folder, children
from olrd.storage.remote import Remote, location
from olrd.trust import plain_name

_CHUNK = 1 << 20


class Traversable(Protocol):
    """A file or a folder to read from. Methods raise FileNotFoundError where those of pathlib do."""

    @property
    def name(self) -> str: ...
    def __truediv__(self, name: str, /) -> Traversable: ...
    def is_file(self) -> bool: ...
    def is_dir(self) -> bool: ...
    def read_bytes(self) -> bytes: ...


def open_root(root: Path | Remote | str) -> Traversable:
    """Open what `--root` names: a folder or an archive, local or at a URL."""
    where = location(root)
    return Archive.open(where) if is_archive(where.name) and not where.is_dir() else where


def folder_or_archive(root: Traversable, *names: str) -> Traversable | None:
    """The first of these folders under `root`, as a folder or as an archive; None if there is none."""
    for name in names:
        if (root / name).is_dir():
            return root / name
        for suffix in (".zip", ".tar"):
            if found := archive_at(root / f"{name}{suffix}"):
                return found
    return None


def archive_at(where: Traversable) -> Archive | None:
    """The archive `where`, or None if there is no such file. An archive inside another one is copied to the cache
    once."""
    if not where.is_file():
        return None
    return Archive.open(local_copy(where) if isinstance(where, Member) else where)  # type: ignore[arg-type]


def names_in(folder: Traversable) -> list[str]:
    """The names of the entries of a folder, sorted; none if it does not exist."""
    if isinstance(folder, Archive | Member):
        return folder.names()
    assert isinstance(folder, Path | Remote)
    return [path.name for path in children(folder)]


def folders_in(folder: Traversable) -> list[Traversable]:
    """The folders and archives directly in a folder, sorted."""
    if isinstance(folder, Archive | Member):
        return []
    found: list[Traversable] = []
    for name in names_in(folder):
        if (folder / name).is_dir():
            found.append(folder / name)
        elif name.lower().endswith((".zip", ".tar")) and (archive := archive_at(folder / name)):
            found.append(archive)
    return found


def local_copy(where: Traversable) -> Path:
    """A local copy of a file: the file itself, or a copy in the cache, made once for each of its versions."""
    if isinstance(where, Path):
        return where
    assert isinstance(where, Remote | Member)
    key = hashlib.sha256(f"{where}|{where.version()}".encode()).hexdigest()[:32]
    path = cache_folder() / "fetched" / key / plain_name(where.name, where, SourceError)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            atomic_path(path) as temporary,
            temporary.open("wb") as file,
            progress_bar(f"fetching {where.name}", where.stat().st_size, unit="B") as bar,
        ):
            for chunk in _chunks(where):
                file.write(chunk)
                bar.update(len(chunk))
    return path


def _chunks(where: Remote | Member) -> Iterator[bytes]:
    if isinstance(where, Member):
        yield from where.chunks()
        return
    size = where.stat().st_size
    for start in range(0, size, 16 * _CHUNK):
        yield where.read_range(start, min(16 * _CHUNK, size - start))
