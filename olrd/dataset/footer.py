"""How the columns of a Parquet file are stored, read from its footer without pyarrow.

`RowGroupMetaData.column` of pyarrow ends the whole process if the footer contradicts itself: it declares no C++ exception,
and none can be caught (23.0.1 to 26.0.1). So what is needed of a stranger's footer is read here.

The format: https://parquet.apache.org/docs/file-format/metadata/ and
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from olrd.errors import IntegrityError
from olrd.storage.remote import Remote
from olrd.trust import printable

MAX_FOOTER_BYTES = 1 << 25
"""Largest footer that is read. A build's has about 15 kB per row group, and a shard has a few hundred of these."""
_MAX_DEPTH = 16
"""Deepest nesting of a footer. The format has 7 levels."""
_MAGIC = b"PAR1"
_CODECS = ("UNCOMPRESSED", "SNAPPY", "GZIP", "LZO", "BROTLI", "LZ4", "ZSTD", "LZ4_RAW")
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT, _UUID = range(1, 14)
_FIXED = {_TRUE: 0, _FALSE: 0, _BYTE: 1, _DOUBLE: 8, _UUID: 16}
"""Bytes of the values of fixed size; in a struct, a truth value is in the type."""
_ROW_GROUPS, _COLUMNS, _COLUMN = 4, 1, 3  # fields of FileMetaData, RowGroup and ColumnChunk
_PATH, _CODEC, _VALUES = 3, 4, 5  # fields of ColumnMetaData
_Wanted = dict[int, Any]
_GROUP: _Wanted = {_COLUMNS: {_COLUMN: {_PATH: {}, _CODEC: {}, _VALUES: {}}}}


class StoredColumn(NamedTuple):
    """A column of a row group: its path in the schema, its codec in capitals, and the number of its values."""

    path: str
    codec: str
    values: int


def stored_columns(file: Path | Remote) -> Iterator[list[StoredColumn]]:
    """The columns of each row group. Raises `IntegrityError` if the footer is damaged, OSError if it cannot be read."""
    reader = _Reader(_footer(file))
    try:
        for number, kind in reader.fields():
            if number != _ROW_GROUPS:
                reader.value(kind)
                continue
            for group in reader.items(kind, _GROUP):
                yield [_stored(chunk) for chunk in _inner(group, _COLUMNS, list)]
    except IndexError as error:
        raise IntegrityError("its footer is damaged: it ends too early") from error


def _footer(file: Path | Remote) -> bytes:
    size = file.stat().st_size
    with file.open("rb") as opened:
        opened.seek(max(0, size - 8))
        end = opened.read(8)
        length = int.from_bytes(end[:4], "little")
        if len(end) < 8 or end[4:] != _MAGIC or not 0 < length <= size - 8:
            raise IntegrityError("it does not end like a Parquet file")
        if length > MAX_FOOTER_BYTES:
            raise IntegrityError(f"its footer has {length:,} bytes, expected at most {MAX_FOOTER_BYTES:,}")
        opened.seek(size - 8 - length)
        return opened.read(length)


def _stored(chunk: Any) -> StoredColumn:
    column = _inner(chunk, _COLUMN, dict)
    names, codec, values = _inner(column, _PATH, list), _inner(column, _CODEC, int), _inner(column, _VALUES, int)
    known = _CODECS[codec] if 0 <= codec < len(_CODECS) else f"codec {codec}"
    path = ".".join(name.decode(errors="replace") for name in names if isinstance(name, bytes))
    return StoredColumn(printable(path[:200]), known, values)


def _inner(struct: Any, field: int, kind: type) -> Any:
    """A field of a struct. Raises `IntegrityError` if it is missing or of another type."""
    found = struct.get(field) if isinstance(struct, dict) else None
    if not isinstance(found, kind):
        raise IntegrityError(f"its footer is damaged: field {field} is missing or of another type")
    return found


class _Reader:
    """Reads values of Thrift's compact encoding, one after the other, and keeps only those that are wanted.

    Raises `IntegrityError` for what is no such encoding, IndexError where the data end.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """(number, type) of each field of a struct; the caller reads each value before the next field.

        A field that comes twice is refused: readers differ in which one they take.
        """
        number, seen = 0, set[int]()
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            if number in seen:
                raise IntegrityError(f"its footer is damaged: field {number} comes twice")
            seen.add(number)
            yield number, head & 15

    def items(self, kind: int, wanted: _Wanted | None, depth: int = 0) -> Iterator[Any]:
        """The values of a list or set, whose type is `kind`."""
        if kind not in (_LIST, _SET):
            raise IntegrityError(f"its footer is damaged: expected a list, found type {kind}")
        head = self._byte()
        size = self._unsigned() if head >> 4 == 15 else head >> 4
        for _ in range(size):
            yield self._item(head & 15, wanted, depth)

    def value(self, kind: int, wanted: _Wanted | None = None, depth: int = 0) -> Any:
        """Read a value: a struct as {number: value}, a list, bytes or an int.

        Args:
            kind: its type.
            wanted: the fields to keep of a struct, or of the structs in a list, as {number: what is wanted of it}.
                None: the value is read over, and the result means nothing.
            depth: number of values around it.
        """
        if kind in (_I32, _I64, _I16):
            return self._integer()
        if kind == _BINARY:
            return self._take(self._unsigned())
        if kind in _FIXED:
            return self._take(_FIXED[kind])
        if depth > _MAX_DEPTH:
            raise IntegrityError(f"its footer is damaged: more than {_MAX_DEPTH} levels")
        if kind == _STRUCT:
            return self._struct(wanted or {}, depth)
        if kind in (_LIST, _SET):
            items = self.items(kind, wanted, depth)
            return sum(1 for _ in items) if wanted is None else list(items)
        if kind == _MAP:
            return self._skip_map(depth)
        raise IntegrityError(f"its footer is damaged: there is no type {kind}")

    def _struct(self, wanted: _Wanted, depth: int) -> dict[int, Any]:
        found = {}
        for number, kind in self.fields():
            value = self.value(kind, wanted.get(number), depth + 1)
            if number in wanted:
                found[number] = value
        return found

    def _item(self, kind: int, wanted: _Wanted | None, depth: int) -> Any:
        """A value inside a list or map, where a truth value has a byte."""
        return self._byte() if kind in (_TRUE, _FALSE) else self.value(kind, wanted, depth + 1)

    def _skip_map(self, depth: int) -> None:
        size = self._unsigned()
        kinds = self._byte() if size else 0
        for _ in range(size):
            self._item(kinds >> 4, None, depth)
            self._item(kinds & 15, None, depth)

    def _take(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        if len(found) < count:
            raise IndexError
        self._at += count
        return found

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _unsigned(self) -> int:
        number = 0
        for shift in range(0, 70, 7):  # 64 bits
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise IntegrityError("its footer is damaged: a number has more than 64 bits")

    def _integer(self) -> int:
        number = self._unsigned()
        return number >> 1 ^ -(number & 1)
