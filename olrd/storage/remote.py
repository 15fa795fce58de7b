"""A file or folder at a URL, by fsspec, with the part of pathlib's interface that olrd uses.

An object store shows a file whole or not at all, so writing is: write here, upload, compare the size.
Nothing is believed that a listing says: what must be known is asked of each file by its name.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from olrd.errors import MissingExtraError, OlrdError, OutputError, SourceError, UsageError, did_you_mean

Result = TypeVar("Result")
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "hf", "oss", "oci", "memory"}
"""Where an upload appears whole or not at all. On others (sftp, smb) it can be seen half-written."""
PAUSES = (0.2, 0.6, 1.8)
"""Seconds before each new try, after those that the file system's own library makes."""
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
    """One file or folder at a URL. Methods do what those of `pathlib.Path` with their names do.

    A try that fails is repeated; `SourceError` (reading) or `OutputError` (writing) comes after the
    last, never a file that merely seems to be missing. Credentials and endpoints are fsspec's matter.
    """

    def __init__(self, url: str, fs: Any, path: str) -> None:
        self.url, self.fs, self.path = url, fs, path

    @classmethod
    def parse(cls, url: str) -> Remote:
        """Raises `UsageError` for an unknown scheme, `MissingExtraError` for one without its package."""
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
        """What the store says of this name, asked anew. Raises FileNotFoundError."""
        self.fs.invalidate_cache(self.path)
        return self._read(lambda: self.fs.info(self.path))

    def stat(self) -> Stat:
        return Stat(int(self.info()["size"]))

    def version(self) -> str:
        """Changes when the content does: the size, and the tag or time that the store keeps."""
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
        """As it is now, even if this process knew an older one."""
        self.fs.invalidate_cache(self.path)
        return self._read(lambda: self.fs.cat_file(self.path)).decode()

    def read_range(self, start: int, size: int) -> bytes:
        """Up to `size` bytes from `start` on."""
        return self._content(lambda: self.fs.cat_file(self.path, start=start, end=start + size))

    def open(self, mode: str = "rb") -> io.BufferedIOBase:
        """For reading alone; a few megabytes are fetched at a time."""
        assert mode == "rb"
        return self._content(lambda: self.fs.open(self.path, "rb", block_size=_BLOCK, cache_type="readahead"))

    def fetch(self, target: Path) -> None:
        """Download to a local file."""
        self._content(lambda: self.fs.get_file(self.path, str(target)))

    def iterdir(self) -> Iterator[Remote]:
        """What a listing shows, perhaps late. Nothing for a folder that is not there."""
        for name in self._list(lambda: self.fs.ls(self.path, detail=False)):
            yield self / name

    def walk_names(self) -> list[str]:
        """The names of all files below, relative to this folder, as a listing shows them."""
        return self._list(lambda: self.fs.find(self.path))

    def _list(self, call: Callable[[], Any]) -> list[str]:
        self.fs.invalidate_cache(self.path)
        try:
            found = self._read(call)
        except FileNotFoundError:
            return []
        inside = f"{self.path}/"
        paths = (path.rstrip("/") for path in found)
        return sorted(path.removeprefix(inside) for path in paths if path.startswith(inside))

    def mkdir(self, **_: bool) -> None:
        """Nothing: a folder is there once something lies in it."""

    def upload(self, local: Path) -> None:
        """Put a local file here: whole, or not at all. Its size here is compared afterwards."""
        size = local.stat().st_size

        def put() -> None:
            self.fs.put_file(str(local), self.path)
            self._expect(size)

        self._write(put)

    def write_bytes(self, data: bytes, new: bool = False) -> None:
        """Put a small file here. new: FileExistsError if there is one (see `olrd.storage.locks`)."""

        def pipe() -> None:
            if new:
                self.fs.pipe_file(self.path, data, mode="create")
            else:
                self.fs.pipe_file(self.path, data)
                self._expect(len(data))

        self._write(pipe)

    def copy_from(self, source: Remote) -> None:
        """Copy within one store; the bytes do not come here."""
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
        """Remove what a listing shows; what it does not show yet stays behind."""
        many(lambda name: (self / name).unlink(missing_ok=True), self.walk_names())

    def _content(self, call: Callable[[], Result]) -> Result:
        """`_read`, and a second look for what is missing: some file systems search listings of their
        own, older than what another process wrote."""
        try:
            return self._read(call)
        except FileNotFoundError:
            self.fs.invalidate_cache(self.path)
            return self._read(call)

    def _read(self, call: Callable[[], Result]) -> Result:
        return self._tried(call, "be read", SourceError, (FileNotFoundError,))

    def _write(self, call: Callable[[], Result]) -> Result:
        return self._tried(call, "be written", OutputError, (FileExistsError,))

    def _tried(
        self, call: Callable[[], Result], what: str, failure: type[OlrdError], answers: tuple[type[Exception], ...]
    ) -> Result:
        """The call, tried again a few times; `answers` are exceptions that are an answer.

        Libraries raise errors of many kinds for a lost connection: all but those that trying again
        cannot change are taken for one.
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


def is_url(text: Path | str) -> bool:
    """Whether it starts with a scheme such as `s3://`."""
    return isinstance(text, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def location(where: Path | Remote | str) -> Path | Remote:
    """A local path, or a `Remote` for a URL (`file://` is local)."""
    if isinstance(where, Remote):
        return where
    if not is_url(where):
        return Path(where)
    if str(where).startswith("file://"):
        return Path(str(where).removeprefix("file://"))
    return Remote.parse(str(where))


def many(call: Callable[[Any], Result], values: Iterable[Any]) -> list[Result]:
    """The call for each value, in order; several at a time, since each waits for a store."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(call, values))


@cache
def staging_folder() -> Path:
    """A local folder of this process, for what is not uploaded yet; `TMPDIR` says where."""
    import shutil
    import tempfile
    from multiprocessing.util import Finalize

    folder = tempfile.mkdtemp(prefix="olrd-")
    Finalize(None, shutil.rmtree, (folder, True), exitpriority=0)  # also in a worker process
    return Path(folder)
