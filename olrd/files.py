"""Files that are either whole or not there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from olrd.errors import OutputError


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk into an `OutputError` that says what to do; let other errors through."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"the disk is full while writing {path}; free some space and run the same command "
                "again: what is finished is kept"
            ) from error
        raise


def temporary_beside(path: Path) -> Path:
    """A hidden name beside `path` that no other process uses, on this machine or on another."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


@contextmanager
def atomic_path(path: Path, durable: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it on success, removed on failure.

    durable: synced to the disk first. Without, a power cut (no kill) may leave a damaged file.
    """
    temporary = temporary_beside(path)
    try:
        with disk_errors(path):
            yield temporary
            if durable:
                sync(temporary)
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Wait until the file's bytes are on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_atomic(path: Path, data: bytes | str, durable: bool = True) -> None:
    """Write a whole small file atomically."""
    with atomic_path(path, durable) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def to_json(values: object) -> str:
    """JSON for people and for diffs: sorted keys, indented, one newline at the end."""
    return json.dumps(values, indent=1, sort_keys=True) + "\n"


def sha256_file(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256(*parts: bytes | memoryview) -> str:
    """The sha256 of the parts, one after the other."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where what can be made or fetched again lives (indexes, demo triplets, weights): `$OLRD_CACHE`, else `olrd` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("OLRD_CACHE") or Path(home) / "olrd")
