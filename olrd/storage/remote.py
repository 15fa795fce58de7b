"""A file or folder at a URL, through fsspec, with the part of pathlib's interface that olrd uses.

An object store shows a file whole or not at all. So a file is written locally, uploaded, and its size is compared.
Listings may be out of date. Where the answer must be certain, olrd asks for each file by its name.
"""

from __future__ import annotations

import errno
import io
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from olrd.errors import MissingExtraError, OlrdError, OutputError, SourceError, UsageError, did_you_mean
from olrd.trust import one_line, shown

Result = TypeVar("Result")
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "oss", "oci", "memory"}
"""Schemes of stores where an upload appears whole or not at all. On others (sftp, smb) a file can be seen
half-written."""
PAUSES = (0.2, 0.6, 1.8)
"""Seconds before each retry. The library of the file system has made its own retries before."""
_BLOCK = 4 << 20
_FINAL = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    ImportError,
    TypeError,
    ValueError,
)


class Stat(NamedTuple):
    """What `Remote.stat` knows: the size in bytes."""

    st_size: int


class Remote:
    """One file or folder at a URL. Methods do what the methods of `pathlib.Path` with the same names do.

    A call that fails is repeated. After the last try it raises `SourceError` (reading) or `OutputError` (writing), so
    that a lost connection never looks like a missing file. Credentials and endpoints are configured in fsspec.
    """

    def __init__(self, url: str, fs: Any, path: str) -> None:
        self.url, self.fs, self.path = url, fs, path

    @classmethod
    def parse(cls, url: str) -> Remote:
        """Raises `UsageError` for an unknown scheme, `MissingExtraError` if its package is not installed, `SourceError`
        if the store cannot be reached."""
        from fsspec.core import url_to_fs
        from fsspec.registry import known_implementations

        scheme = url.partition("://")[0]
        try:
            fs, path = url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            if scheme in EXTRAS:
                raise MissingExtraError(f"{scheme}://", EXTRAS[scheme]) from error
            raise UsageError(f"{url} cannot be opened: {error}") from error
        except ValueError as error:
            if scheme in known_implementations:
                raise UsageError(f"{url} cannot be opened: {error}") from error
            raise did_you_mean("URL scheme", scheme, ["s3", "gs", "abfs", "hf", "https"]) from error
        except Exception as error:  # a library may ask its server here, and raise its own errors
            raise SourceError(f"{url} cannot be opened: {type(error).__name__}: {one_line(str(error))}") from error
        return cls(url.rstrip("/"), fs, path.rstrip("/"))

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0]

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    def __truediv__(self, name: str, /) -> Remote:
        return Remote(f"{self.url}/{name}", self.fs, f"{self.path}/{name}")

    def __str__(self) -> str:
        return self.url

    def __repr__(self) -> str:
        return f"Remote({self.url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and self.url == other.url

    def __lt__(self, other: Remote) -> bool:
        return self.url < other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def info(self) -> dict[str, Any]:
        """What the store says about this name now. Raises FileNotFoundError."""
        self._forget()
        return self._read(lambda: self.fs.info(self.path))

    def stat(self) -> Stat:
        return Stat(int(self.info()["size"]))

    def version(self) -> str:
        """A text that changes with the content: the size, and the tag or time that the store keeps."""
        return f"{self.stat().st_size}|{self._read(lambda: self.fs.ukey(self.path))}"

    def exists(self) -> bool:
        try:
            self.info()
        except FileNotFoundError:
            return False
        return True

    def is_file(self) -> bool:
        try:
            return bool(self.info()["type"] == "file")
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        try:
            return bool(self.info()["type"] == "directory")
        except FileNotFoundError:
            return False

    def read_bytes(self) -> bytes:
        return self._content(lambda: self.fs.cat_file(self.path))

    def read_text(self) -> str:
        """The text as it is now, even if this process has read an older one."""
        self._forget()
        return self._read(lambda: self.fs.cat_file(self.path)).decode()

    def read_range(self, start: int, size: int) -> bytes:
        """Up to `size` bytes from `start` on."""
        return self._content(lambda: self.fs.cat_file(self.path, start=start, end=start + size))

    def open(self, mode: str = "rb") -> io.BufferedIOBase:
        """Open for reading. A few megabytes are fetched at a time."""
        assert mode == "rb"
        return self._content(lambda: self.fs.open(self.path, "rb", block_size=_BLOCK, cache_type="readahead"))

    def fetch(self, target: Path) -> None:
        """Download to a local file."""
        self._content(lambda: self.fs.get_file(self.path, str(target)))

    def iterdir(self) -> Iterator[Remote]:
        """The entries of a listing, which may be out of date; none for a folder that does not exist."""
        for name in self._list(lambda: self.fs.ls(self.path, detail=False)):
            yield self / name

    def walk_names(self) -> list[str]:
        """The names of all files below, relative to this folder, from a listing."""
        return self._list(lambda: self.fs.find(self.path))

    def _list(self, call: Callable[[], Any]) -> list[str]:
        try:
            self._forget()
            found = self._read(call)
        except FileNotFoundError:
            return []
        inside = f"{self.path}/"
        paths = (path.rstrip("/") for path in found)
        return sorted(path.removeprefix(inside) for path in paths if path.startswith(inside))

    def mkdir(self, **_: bool) -> None:
        """Does nothing: a folder exists as soon as it holds a file."""

    def upload(self, local: Path) -> None:
        """Upload a local file and compare its size. Raises `OutputError`."""
        size = local.stat().st_size

        def put() -> None:
            self.fs.put_file(str(local), self.path)
            self._expect(size)

        self._write(put)

    def write_bytes(self, data: bytes, new: bool = False) -> None:
        """Write a small file. new: raise FileExistsError if it exists already (see `olrd.storage.locks`)."""

        def pipe() -> None:
            if new:
                self.fs.pipe_file(self.path, data, mode="create")
            else:
                self.fs.pipe_file(self.path, data)
                self._expect(len(data))

        self._write(pipe)

    def copy_from(self, source: Remote) -> None:
        """Copy within one store, without a download."""
        size = source.stat().st_size

        def copy() -> None:
            self.fs.cp_file(source.path, self.path)
            self._expect(size)

        self._write(copy)

    def _expect(self, size: int) -> None:
        self.fs.invalidate_cache(self.path)
        if (found := self.fs.info(self.path)["size"]) != size:
            raise OSError(f"{found} bytes arrived, {size} were sent")

    def unlink(self, missing_ok: bool = False) -> None:
        def remove() -> None:
            try:
                self.fs.rm_file(self.path)
            except FileNotFoundError:
                if not missing_ok:
                    raise

        self._write(remove)

    def rmtree(self) -> None:
        """Remove every file that a listing shows. A file that is too new for the listing stays."""
        many(lambda name: (self / name).unlink(missing_ok=True), self.walk_names())

    def _content(self, call: Callable[[], Result]) -> Result:
        """`_read`, with a second try for a missing file: some file systems look it up in a cached listing that is older
        than what another process wrote."""
        try:
            return self._read(call)
        except FileNotFoundError:
            self._forget()
            return self._read(call)

    def _forget(self) -> None:
        """Drop what the library remembers of this name. For some stores it asks the server first."""
        self._read(lambda: self.fs.invalidate_cache(self.path))

    def _read(self, call: Callable[[], Result]) -> Result:
        return self._tried(call, "be read", SourceError, (FileNotFoundError,))

    def _write(self, call: Callable[[], Result]) -> Result:
        return self._tried(call, "be written", OutputError, (FileExistsError,))

    def _tried(
        self, call: Callable[[], Result], what: str, failure: type[OlrdError], answers: tuple[type[Exception], ...]
    ) -> Result:
        """The call, with a few retries. `answers`: exceptions that are an answer and are not retried.

        Libraries raise many kinds of errors for a lost connection. Every error is retried, except those that a retry
        cannot change.
        """
        for pause in (*PAUSES, None):
            try:
                return call()
            except answers:
                raise
            except Exception as error:
                if pause is None or isinstance(error, _FINAL):
                    raise failure(
                        f"{self.url} cannot {what}: {type(error).__name__}: {error}. Check the name, the "
                        "credentials and the connection, then run the same command again: what is "
                        "finished is kept"
                    ) from error
                time.sleep(pause)
        raise AssertionError


def is_url(text: object) -> bool:
    """Whether it starts with a scheme such as `s3://`."""
    return isinstance(text, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def location(where: os.PathLike[str] | Remote | str) -> Path | Remote:
    """A local path, or a `Remote` for a URL (`file://` is local).

    Raises `UsageError` for what is neither a path nor a text, and for a name that no file can have.
    """
    if isinstance(where, Remote):
        return where
    if is_url(where) and not str(where).startswith("file://"):
        return Remote.parse(str(where))
    if not isinstance(where, str | os.PathLike):
        raise UsageError(f"expected a folder or a URL, got {shown(where)}")
    path = Path(str(where).removeprefix("file://") if is_url(where) else where)
    try:
        os.lstat(path)
    except ValueError as error:  # a NUL, or a character that is no Unicode
        raise UsageError(f"{shown(str(path))} is not the name of a folder: {error}") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(f"{shown(str(path))} is not the name of a folder: it is too long") from error
    return path


def many(call: Callable[[Any], Result], values: Iterable[Any]) -> list[Result]:
    """The call for each value, in order. Several run at a time, because each waits for the network."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(call, values))


@cache
def staging_folder() -> Path:
    """A local folder of this process for files that wait for their upload; under `TMPDIR`."""
    import shutil
    import tempfile
    from multiprocessing.util import Finalize

    folder = tempfile.mkdtemp(prefix="olrd-")
    Finalize(None, shutil.rmtree, (folder, True), exitpriority=0)  # also in a worker process
    return Path(folder)
