"""The bytes of a large JSON file piece by piece, as UTF-8, however it is packed or encoded."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from olrd.errors import SourceError
from olrd.progress import progress_bar

_CHUNK = 1 << 20
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def json_chunks(path: Path, label: str) -> Iterator[bytes]:
    """The content of a JSON file as UTF-8 without a byte order mark, with a progress bar.

    A file packed by gzip is unpacked, and one in UTF-16 is converted, both as a stream. Raises `SourceError` if it is
    damaged.
    """
    decoder: codecs.IncrementalDecoder | None = None
    first = True
    try:
        with path.open("rb") as raw, progress_bar(label, path.stat().st_size, unit="B") as bar:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            file = gzip.GzipFile(fileobj=raw) if packed else raw
            while chunk := file.read(_CHUNK):
                if first:
                    encoding = next((name for mark, name in _MARKS.items() if chunk.startswith(mark)), None)
                    decoder = codecs.getincrementaldecoder(encoding)() if encoding else None
                    first = False
                bar.update(raw.tell() - bar.n)
                # A parser takes an empty piece for the end of the file.
                if data := decoder.decode(chunk).encode() if decoder else chunk:
                    yield data
            if decoder and (data := decoder.decode(b"", final=True).encode()):
                yield data
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeError) as error:
        raise SourceError(f"{path} is truncated or damaged: {error}") from error
