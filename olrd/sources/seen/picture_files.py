"""Reading a picture by its reference: a file, a frame of a video, or a cell of a Parquet file, below one root."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from olrd.arrays import MAX_PIXELS, Image, decode_photo, encode_image, resize_image, working_size
from olrd.errors import Rejected
from olrd.sources import read_file, safe_path
from olrd.sources.seen.video import Video
from olrd.storage.files import sha256, sha256_file
from olrd.storage.remote import Remote
from olrd.storage.roots import Traversable, local_copy
from olrd.trust import printable, shown

_PART = re.compile(r"|frame:(\d{1,9})|row:(\d{1,12}):(.{1,100})", re.DOTALL)

MOST_COLUMNS = 4
"""Columns of a row group that are kept: photo, mask, effect and truth."""
MAX_GROUP = 1 << 31
"""Bytes of a row group. A larger one is not read."""


def is_part(text: object) -> bool:
    """Whether a text is the part of a reference (see `olrd.sources.seen.PictureRef`)."""
    return isinstance(text, str) and _PART.fullmatch(text) is not None


def working_pixels(data: bytes, name: str, size: int | None, max_pixels: int) -> Image:
    """A picture at working size. Raises `Rejected`."""
    pixels = decode_photo(data, name, max_pixels).pixels
    if size is None or min(pixels.shape[:2]) == size:
        return pixels
    return resize_image(pixels, working_size(pixels.shape[1], pixels.shape[0], size))


class PictureFiles:
    """Pictures below a folder. The last video and the last table stay open, so that neighbours are read quickly."""

    def __init__(self, root: Traversable, max_pixels: int = MAX_PIXELS) -> None:
        self.root, self.max_pixels = root, max_pixels
        self._hashes: dict[str, str] = {}
        self._video: tuple[str, Video] | None = None
        self._table: tuple[str, Any] | None = None
        self._columns: dict[tuple[str, int, str], Any] = {}

    def read(self, file_name: str, part: str = "") -> bytes:
        """The bytes of a picture; of a frame, a lossless copy. Raises `Rejected`."""
        found = _PART.fullmatch(part)
        if found is None:
            raise Rejected("photo_missing", f"{shown(part)} is no part of a file")
        if found[1]:
            return encode_image(self.video(file_name).frame(int(found[1])))
        if found[2]:
            return self._cell(file_name, int(found[2]), found[3])
        return read_file(self.root, file_name, "photo")

    def sha256(self, file_name: str, part: str = "") -> str:
        """The hash of a reference: of the whole file, or of the bytes of a cell. Raises `Rejected`."""
        if not part.startswith("frame:"):
            return sha256(self.read(file_name, part))
        if file_name not in self._hashes:
            self._hashes[file_name] = sha256_file(self.local(file_name))
        return self._hashes[file_name]

    def local(self, file_name: str) -> Path:
        """The path of a file that is opened by name; files elsewhere are copied to the cache. Raises `Rejected`."""
        path = safe_path(self.root, file_name)
        try:
            if isinstance(path, Path):
                if not path.resolve().is_relative_to(Path(str(self.root)).resolve()) or not path.is_file():
                    raise FileNotFoundError(file_name)
                return path
            return local_copy(path)
        except OSError as error:
            raise Rejected("photo_missing", f"{file_name} is not there") from error

    def video(self, file_name: str) -> Video:
        """A video, opened once."""
        if self._video is None or self._video[0] != file_name:
            self._video = file_name, Video(self.local(file_name), file_name, self.max_pixels)
        return self._video[1]

    def _cell(self, file_name: str, row: int, column: str) -> bytes:
        import pyarrow as pa
        import pyarrow.parquet as pq

        where = f"{file_name}, row {row}, {printable(column)}"
        try:
            if self._table is None or self._table[0] != file_name:
                path = safe_path(self.root, file_name)
                opened = path.open() if isinstance(path, Remote) else self.local(file_name)
                self._table = file_name, pq.ParquetFile(opened, pre_buffer=False)
            group, line = self._group_of(row, where)
            key = file_name, group, column
            if key not in self._columns:
                if len(self._columns) >= MOST_COLUMNS:
                    self._columns.clear()
                self._columns[key] = self._table[1].read_row_group(group, columns=[column])[column]
            value = self._columns[key][line].as_py()
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise Rejected("photo_unreadable", f"{where}: {printable(str(error))}") from error
        data = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(data, bytes):
            raise Rejected("photo_missing", f"{where} is empty")
        return data

    def _group_of(self, row: int, where: str) -> tuple[int, int]:
        """The row group of the open table that holds a row, and the row's number in it. where: for messages."""
        assert self._table is not None
        metadata = self._table[1].metadata
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            if row < group.num_rows:
                if group.total_byte_size > MAX_GROUP:
                    raise Rejected("photo_too_large", f"{where}: its row group is larger than {MAX_GROUP >> 30} GB")
                return number, row
            row -= group.num_rows
        raise Rejected("photo_missing", f"{where}: there is no such row")
