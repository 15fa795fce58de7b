"""Reading photos inside zip and tar files without unpacking them.

The members are listed once, into an Arrow file in the cache. After that, each member is read by its offset: opening
an archive takes milliseconds in any number of processes, and only the part of the list that is used occupies memory.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
import zlib
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from olrd.errors import SourceError
from olrd.progress import progress_bar
from olrd.storage.indexes import open_index
from olrd.storage.remote import Remote, Stat
from olrd.trust import MAX_FILE_BYTES, reading

INDEX_VERSION = "1"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_CHUNK = 1 << 20
_LOCAL_HEADER = 30
_HEADER = _LOCAL_HEADER + 512
_SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("offset", pa.int64()),
        ("packed", pa.int64()),
        ("size", pa.int64()),
        ("method", pa.int16()),
        ("crc", pa.int64()),
    ]
)
_TAR = -1
_METHODS = (_TAR, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def is_archive(name: str) -> bool:
    """Whether a file name is that of an archive. Raises `SourceError` for a compressed tar file."""
    if name.lower().endswith(COMPRESSED):
        raise SourceError(
            f"{name} is compressed as a whole, so that a photo in it cannot be read without everything before it: "
            "decompress it once; the .tar that gunzip gives can be read"
        )
    return name.lower().endswith((".zip", ".tar"))


class Archive:
    """An archive as a folder: `archive / name` is a `Member`.

    A top folder that all members share is left out of their names.
    """

    def __init__(self, where: Path | Remote, table: pa.Table) -> None:
        self.where, self._table = where, table
        self._names = table["name"].combine_chunks() if len(table) else pa.array([], pa.string())
        self._file: Any = None

    @classmethod
    def open(cls, where: Path | Remote) -> Archive:
        """Open an archive. The first time its members are listed, with progress. Raises `SourceError` if it is
        damaged."""
        is_archive(where.name)
        key = hashlib.sha256(f"{INDEX_VERSION}|{where}|{_version(where)}".encode()).hexdigest()[:32]

        def make(path: Path) -> None:
            rows = _list_zip(where) if where.name.lower().endswith(".zip") else _list_tar(where)
            with (
                reading(where, "an archive whose members can be listed", SourceError),
                pa.OSFile(str(path), "wb") as sink,
                pa.ipc.new_file(sink, _SCHEMA) as writer,
            ):
                writer.write_table(pa.Table.from_pylist(_without_common_folder(rows), _SCHEMA))

        return cls(where, open_index(f"archive-{key}", make))

    @property
    def name(self) -> str:
        return self.where.name

    def __str__(self) -> str:
        return str(self.where)

    def __truediv__(self, name: str, /) -> Member:
        return Member(self, name)

    def is_file(self) -> bool:
        return False

    def is_dir(self) -> bool:
        return True

    def read_bytes(self) -> bytes:
        raise IsADirectoryError(f"{self} is an archive")

    def names(self) -> list[str]:
        """The names of all members with their folders, sorted."""
        names: list[str] = self._names.to_pylist()
        return names

    def find(self, name: str) -> dict[str, Any]:
        """A member's row of the index. Raises FileNotFoundError."""
        position = bisect_left(range(len(self._names)), name, key=lambda i: self._names[i].as_py())
        if position == len(self._names) or self._names[position].as_py() != name:
            raise FileNotFoundError(f"{name} is not in {self}")
        row: dict[str, Any] = self._table.slice(position, 1).to_pylist()[0]
        return row

    def holds_folder(self, name: str) -> bool:
        """Whether any member lies below that folder."""
        start = bisect_left(range(len(self._names)), f"{name}/", key=lambda i: self._names[i].as_py())
        return start < len(self._names) and self._names[start].as_py().startswith(f"{name}/")

    def read(self, start: int, size: int) -> bytes:
        """Bytes of the archive file."""
        if isinstance(self.where, Remote):
            return self.where.read_range(start, size)
        if self._file is None:
            self._file = self.where.open("rb")
        return os.pread(self._file.fileno(), size, start)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_file": None}  # every process opens the file for itself


class Member:
    """A file, or a folder, inside an archive."""

    def __init__(self, archive: Archive, path: str) -> None:
        self.archive, self.path = archive, path

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.archive}/{self.path}"

    def __truediv__(self, name: str, /) -> Member:
        return Member(self.archive, f"{self.path}/{name}")

    def is_file(self) -> bool:
        try:
            self.archive.find(self.path)
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        return self.archive.holds_folder(self.path)

    def names(self) -> list[str]:
        """The names of all members below, with their folders."""
        inside = f"{self.path}/"
        names = self.archive.names()
        return [name.removeprefix(inside) for name in names if name.startswith(inside)]

    def stat(self) -> Stat:
        return Stat(self.archive.find(self.path)["size"])

    def version(self) -> str:
        """A text that changes with the archive."""
        return _version(self.archive.where)

    def read_bytes(self) -> bytes:
        """The content. Raises OSError if it is damaged or larger than `MAX_FILE_BYTES`."""
        if (size := self.stat().st_size) > MAX_FILE_BYTES:
            raise OSError(f"{self} claims {size} bytes, expected at most {MAX_FILE_BYTES}")
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """The content, piece by piece. Raises OSError if it is damaged."""
        row = self.archive.find(self.path)
        if row["method"] not in _METHODS:
            raise OSError(f"{self} is packed by method {row['method']}: expected stored or deflated")
        start, packed = row["offset"], row["packed"]
        # One read for the header and the member, because each read may be a request to a server.
        ahead = 0 if row["method"] == _TAR else _HEADER
        data = self.archive.read(start, ahead + min(packed, _CHUNK))
        if ahead:
            if data[:4] != b"PK\3\4" or len(data) < _LOCAL_HEADER:
                raise OSError(f"{self}: no member begins at byte {start}")
            names = int.from_bytes(data[26:28], "little") + int.from_bytes(data[28:30], "little")
            start += _LOCAL_HEADER + names
            data = data[_LOCAL_HEADER + names :][:packed]
        unpack = zlib.decompressobj(-15) if row["method"] == zipfile.ZIP_DEFLATED else None
        crc = size = done = 0
        while done < packed and size <= row["size"]:
            data = data or self.archive.read(start + done, min(_CHUNK, packed - done))
            if not data:
                break
            done += len(data)
            try:
                # One byte more than the index says is enough to know that the member is damaged.
                plain = unpack.decompress(data, row["size"] - size + 1) if unpack else data
            except zlib.error as error:
                raise OSError(f"{self} is damaged: {error}") from error
            crc, size, data = zlib.crc32(plain, crc), size + len(plain), b""
            yield plain
        if size != row["size"] or (ahead and crc != row["crc"]):
            raise OSError(f"{self} is damaged: {size} bytes, {row['size']} promised, or another CRC")


def _version(where: Path | Remote) -> str:
    if isinstance(where, Remote):
        return where.version()
    stat = where.stat()
    return f"{where.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"


def _list_zip(where: Path | Remote) -> list[dict[str, Any]]:
    try:
        with reading(where, "a whole zip file", SourceError), where.open("rb") as file, zipfile.ZipFile(file) as opened:
            members = [m for m in opened.infolist() if not m.is_dir()]
    except OSError as error:
        raise SourceError(f"{where} is not a whole zip file: {error}") from error
    if locked := [m.filename for m in members if m.flag_bits & 1]:
        raise SourceError(f"{where} is encrypted ({locked[0]}): unpack it first")
    return [
        {
            "name": m.filename,
            "offset": m.header_offset,
            "packed": m.compress_size,
            "size": m.file_size,
            "method": m.compress_type,
            "crc": m.CRC,
        }
        for m in members
    ]


def _list_tar(where: Path | Remote) -> list[dict[str, Any]]:
    rows = []
    try:
        with (
            reading(where, "a whole, uncompressed tar file", SourceError),
            where.open("rb") as file,
            tarfile.open(fileobj=file, mode="r:") as opened,
            progress_bar(f"listing {where.name}", where.stat().st_size, unit="B") as bar,
        ):
            while (m := opened.next()) is not None:
                opened.members.clear()  # type: ignore[attr-defined]  # it would keep every one
                bar.update(m.offset_data + m.size - bar.n)
                if m.isreg() and not m.issparse():
                    rows.append(
                        {
                            "name": m.name,
                            "offset": m.offset_data,
                            "packed": m.size,
                            "size": m.size,
                            "method": _TAR,
                            "crc": 0,
                        }
                    )
    except OSError as error:
        raise SourceError(f"{where} is not a whole, uncompressed tar file: {error}") from error
    return rows


def _without_common_folder(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows sorted by name, without the folder that all share, hidden files, and the files that macOS adds.

    Of two members with the same name the later one counts, as when unpacking.
    """
    named = {}
    for row in rows:
        name = row["name"].replace("\\", "/").removeprefix("./")
        if not name.startswith("__MACOSX/") and not name.rpartition("/")[2].startswith("."):
            named[name] = row
    folders = [name.split("/")[:-1] for name in named] or [[]]
    low, high = min(folders), max(folders)
    shared = 0
    while shared < min(len(low), len(high)) and low[shared] == high[shared]:
        shared += 1
    short = {"/".join(name.split("/")[shared:]): row for name, row in named.items()}
    return [row | {"name": name} for name, row in sorted(short.items())]
