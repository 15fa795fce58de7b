"""Files that are either complete or absent: atomic writing, hashes, copying."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from olrd.errors import OutputError
from olrd.storage.remote import Remote, staging_folder
from olrd.trust import MAX_FILE_BYTES, MAX_NAME_BYTES


@contextmanager
def disk_errors(path: Path | Remote) -> Iterator[None]:
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


@contextmanager
def atomic_path(path: Path | Remote, durable: bool = True) -> Iterator[Path]:
    """A temporary path, renamed to `path` on success and removed on failure.

    The temporary file lies beside `path`; for a URL it is local and is uploaded.

    durable: sync the file to the disk before renaming. Without it a power cut may leave a damaged file; a killed
    process cannot.
    """
    temporary = staging(path)
    try:
        with disk_errors(path):
            yield temporary
            ordinary_mode(temporary)
            commit_file(temporary, path, durable)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def ordinary_mode(path: Path) -> None:
    """Give a new file the permissions that the umask leaves, if its writer made it readable by its owner alone.

    Safetensors does, through a temporary file. Others on the machine could not read what is shared with them.
    """
    if os.name != "posix" or not path.is_file() or stat.S_IMODE(path.stat().st_mode) != 0o600:
        return
    # A new file shows the umask. Asking for it with os.umask would change it for other threads.
    probe = staging(path)
    os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    mode = stat.S_IMODE(probe.stat().st_mode)
    probe.unlink()
    path.chmod(mode)


def staging(path: Path | Remote) -> Path:
    """The path of a file until it is complete: hidden beside `path`, or local for a URL. The name is unique to this
    call, on this machine and on others."""
    if isinstance(path, Remote):
        return staging_folder() / f"{path.name}.{uuid.uuid4().hex}.tmp"
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def commit_file(temporary: Path, path: Path | Remote, durable: bool = True) -> None:
    """Give a finished temporary file its name, by renaming or uploading it."""
    if isinstance(path, Remote):
        path.upload(temporary)
        temporary.unlink()
        return
    if durable:
        sync(temporary)
    os.replace(temporary, path)


def sync(path: Path) -> None:
    """Wait until the file's bytes are on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_atomic(path: Path | Remote, data: bytes | str, durable: bool = True) -> None:
    """Write a small file atomically."""
    if isinstance(path, Remote):
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return
    with atomic_path(path, durable) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def write_wanted(path: Path, text: str) -> None:
    """Write the file that a user named with `--out`, and the folders above it.

    Raises:
        OutputError: `path` is a folder, or cannot be written.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder; expected a file to write: choose another --out")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)
    except OSError as error:
        # The system names the temporary file, which the user never sees.
        raise OutputError(f"{path} cannot be written: {error.strerror}; choose another --out") from error


def to_json(values: object) -> str:
    """JSON for people and for diffs: sorted keys, indented, one newline at the end."""
    return json.dumps(values, indent=1, sort_keys=True) + "\n"


def link_or_copy(source: Path | Remote, target: Path | Remote) -> None:
    """Give `target` the content of `source`: by a hard link where that is possible, else by a copy."""
    if isinstance(target, Remote):
        if isinstance(source, Path):
            target.upload(source)
        elif type(source.fs) is type(target.fs):
            target.copy_from(source)
        else:
            with atomic_path(target) as temporary:
                source.fetch(temporary)
        return
    if isinstance(source, Remote):
        with atomic_path(target) as temporary:
            source.fetch(temporary)
        return
    temporary = staging(target)
    try:
        os.link(source, temporary)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, temporary)
    commit_file(temporary, target)
    temporary.unlink(missing_ok=True)  # renaming does nothing if both names are links to the same file


def read_regular(path: Path, root: Path | None = None, limit: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of a regular file from a stranger.

    Args:
        path: the file.
        root: the folder that a symbolic link must not leave; None: links are not followed up.
        limit: largest size in bytes.

    Raises:
        OSError: it cannot be read, is a pipe or a device, is too large, or is a link that leaves `root`. The
            message names no folder.
    """
    descriptor = _opened(path, root)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file")
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EPERM, "it is a pipe or a device, not a file")
        if found.st_size > limit:
            raise OSError(errno.EFBIG, f"it has {found.st_size:,} bytes, expected at most {limit:,}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(found.st_size + 1)  # `read` takes as much memory as it is asked for
    finally:
        os.close(descriptor)


def _opened(path: Path, root: Path | None) -> int:
    """A descriptor of a file, opened without waiting for the other end of a pipe. See `read_regular`."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    if root is not None and path.parent == root:  # only the file itself can be a link, and most are none
        try:
            return os.open(path, flags | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
    if root is not None and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise OSError(errno.EPERM, "it is a symbolic link that leaves its folder; copy the file, or link the folder")
    return os.open(path, flags)


def children(folder: Path | Remote) -> list[Path] | list[Remote]:
    """The entries of a folder, sorted; none if it does not exist."""
    if isinstance(folder, Remote):
        return sorted(folder.iterdir())
    return sorted(folder.iterdir()) if folder.is_dir() else []


def sha256_file(path: Path | Remote) -> str:
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
    """The folder for what can be made or downloaded again (indexes, embedded triplets, weights): `$OLRD_CACHE`, or
    `olrd` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("OLRD_CACHE") or Path(home) / "olrd")


def file_name_of(key: str) -> str:
    """The file stem of a sample: its id, with `_` for every character that is not a letter, a digit, `.`, `-` or
    `_`. A stem longer than `MAX_NAME_BYTES` is cut, and a hash of the id keeps it different from others."""
    name = "".join(c if c.isalnum() or c in ".-_" else "_" for c in key)
    if len(name.encode()) <= MAX_NAME_BYTES:
        return name
    return f"{name.encode()[:120].decode(errors='ignore')}-{sha256(key.encode())[:16]}"
