"""What may be trusted in a file that a stranger wrote: names, JSON, pictures, paths in texts.

Every package reads files from others with these functions, so that a limit is written once. `docs/security.md` lists
the limits and how to raise them.
"""

from __future__ import annotations

import codecs
import html
import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from olrd.errors import IntegrityError, OlrdError, Rejected

PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
"""The formats that are read, by the content of a file and not by its name. Others (EPS, for example) can start other
programs, or have decoders that are rarely tested."""
MAX_SCANS = 100
"""Largest number of scans of a JPEG. Encoders write up to 20, and each takes as long as the whole picture."""
MAX_FILE_BYTES = 1 << 29
"""Largest photo, map or member of an archive. Photos are far smaller; larger files are taken for an attack."""
MAX_JSON_BYTES = 1 << 28
"""Largest JSON file that is read at once. Annotation files are read as a stream and may be larger."""
MAX_DEPTH = 64
"""Deepest nesting of JSON. COCO's files have 5 levels."""
MAX_NUMBER = 2.0**64
"""Largest number in a result or a setting. Larger ones, NaN and infinity break what is computed from them."""
MAX_NAME_BYTES = 200
"""Longest name of a file that is made from an id: file systems allow 255 bytes, and some are left for a suffix."""

_NAME = re.compile(r"[^\x00-\x1f\x7f/\\:]+")
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_SCAN, _END = 0xDA, 0xD9
_NOT_MARKS = bytes(set(range(256)) - set(b'"[]{}'))
_MARKDOWN = re.compile(r"([\\`*_\[\]|~#])")
_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@]")  # some spreadsheets leave out blanks before a formula
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# A part of a path ends at a slash, so words after a path stay. A blank may be inside a part.
_PART = r"(?:[^\s/\\:;,'\"()<>|]+(?: [^\s/\\:;,'\"()<>|]+)*)"
_ABSOLUTE = re.compile(r"(?:file:/{2,3}|[A-Za-z]:[\\/]|\\\\|~/|/(?!/))")
_FOLDERS = re.compile(
    rf"(?:file:/{{2,3}}|(?<![\w/.\\])(?:[A-Za-z]:[\\/]+|\\\\|~/|/(?!/)))(?:{_PART}[\\/]+)+"
    rf"|file:/{{2,3}}(?={_PART})|(?<![\w/.\\])[A-Za-z]:\\(?={_PART})"
)


def plain_name(name: object, where: object, kind: type[OlrdError] = IntegrityError) -> str:
    """A name out of a file that may be joined to a folder: it names something directly in it.

    Args:
        name: what the file says.
        where: the file, for the message.
        kind: the error to raise.

    Raises:
        IntegrityError: or `kind`, if it is not a text, is empty, hidden, longer than `MAX_NAME_BYTES`, or contains
            a separator or a control character.
    """
    if (
        isinstance(name, str)
        and _NAME.fullmatch(name)
        and name[0] not in ". "
        and len(name.encode(errors="replace")) <= MAX_NAME_BYTES
    ):
        return name
    raise kind(f"{where}: {shown(name)} is not a plain file name; a name must not lead out of its folder")


def shown(value: object, limit: int = 80) -> str:
    """A value from a file as one quoted line for a message: shortened, without control characters."""
    text = value if isinstance(value, str) else repr(value)[: limit + 1]
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    return repr(text) if isinstance(value, str) else printable(one_line(text))


def printable(text: str) -> str:
    """Text for a terminal: control characters, which can move the cursor or rename the window, become `?`."""
    return _CONTROL.sub("?", text)


def parse_json(data: str | bytes, where: object, kind: type[OlrdError] = IntegrityError) -> Any:
    """Parse JSON. Raises `IntegrityError`, or `kind`, for anything that is not JSON of at most `MAX_JSON_BYTES`.

    where: the file, for the message.
    """
    if len(data) > MAX_JSON_BYTES:
        raise kind(f"{where}: {len(data):,} bytes of JSON, expected at most {MAX_JSON_BYTES:,}")
    try:
        if isinstance(data, bytes):
            wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            data = data.decode("utf-16" if wide else "utf-8-sig")
        return json.loads(data)
    except RecursionError:
        raise kind(f"{where} is not JSON that can be read: it is nested too deeply") from None
    except ValueError as error:
        raise kind(f"{where} is not valid JSON: {error}") from error


class DepthGuard:
    """Refuses a stream of JSON whose nesting is deeper than `MAX_DEPTH`, before a parser sees it.

    The memory of a streaming parser grows with the square of the depth. Feed every chunk before the parser.
    """

    def __init__(self, where: object, kind: type[OlrdError] = IntegrityError) -> None:
        self._where, self._kind = where, kind
        self._depth, self._in_string, self._cut = 0, False, b""

    def feed(self, chunk: bytes) -> None:
        """Check the next bytes of the file."""
        import numpy as np

        if b"\\" in chunk or self._cut:
            chunk = self._without_escapes(self._cut + chunk)
        marks = np.frombuffer(chunk.translate(None, _NOT_MARKS), np.uint8)
        if not marks.size:
            return
        quotes = np.cumsum(marks == ord('"'), dtype=np.uint8) + np.uint8(self._in_string)
        opened = ((marks == ord("[")) | (marks == ord("{"))).view(np.int8)
        closed = ((marks == ord("]")) | (marks == ord("}"))).view(np.int8)
        outside = (1 - (quotes & 1)).view(np.int8)
        depth = np.cumsum((opened - closed) * outside, dtype=np.int32) + self._depth
        if depth.max() > MAX_DEPTH:
            raise self._kind(f"{self._where} is nested more than {MAX_DEPTH} levels deep: no annotation file is")
        self._depth, self._in_string = int(depth[-1]), bool(quotes[-1] & 1)

    def _without_escapes(self, chunk: bytes) -> bytes:
        """The chunk without escaped characters. A last backslash waits for the next chunk."""
        chunk = chunk.replace(b"\\\\", b"")
        self._cut = b"\\" if chunk.endswith(b"\\") else b""
        return chunk.removesuffix(b"\\").replace(b'\\"', b"")


@contextmanager
def decoding(code: str, name: str) -> Iterator[None]:
    """Turn whatever a decoder raises for damaged bytes into `Rejected` with the reason `code`.

    Decoders raise many types (`struct.error`, `KeyError`, `cv2.error`, ...). Lack of memory is not the file's fault.
    """
    try:
        with warnings.catch_warnings():  # Pillow warns of damaged metadata, which is read past
            warnings.simplefilter("ignore")
            yield
    except (OlrdError, MemoryError):
        raise
    except Exception as error:
        raise Rejected(code, f"{name}: truncated or corrupt ({one_line(str(error))})") from error


@contextmanager
def reading(where: object, expected: str, kind: type[OlrdError] = IntegrityError) -> Iterator[None]:
    """Turn whatever a reader raises for an odd or damaged file into `IntegrityError`, or `kind`.

    Errors of the disk pass: they say nothing about the content.

    Args:
        where: the file, for the message.
        expected: what it should be, e.g. "a COCO panoptic JSON".
        kind: the error to raise.
    """
    try:
        yield
    except (OlrdError, MemoryError, OSError):
        raise
    except Exception as error:
        raise kind(f"{where} is not {expected}: {type(error).__name__} {one_line(str(error))[:300]}") from error


def jpeg_scans(data: bytes) -> int:
    """The number of scans of a JPEG, up to `MAX_SCANS + 1`. The pictures inside its metadata do not count."""
    if (most := data.count(b"\xff\xda")) <= MAX_SCANS:  # fast, and never too small
        return most
    at, scans = 2, 0
    while at + 4 <= len(data) and scans <= MAX_SCANS:
        if data[at] != 0xFF or data[at + 1] == 0xFF:
            at += 1
            continue
        mark = data[at + 1]
        if mark == _END:
            break
        if mark in _ALONE:
            at += 2
            continue
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if mark == _SCAN:
            scans += 1
            found = _AFTER_SCAN.search(data, at)
            if found is None:
                break
            at = found.start()
    return scans


def one_line(text: str) -> str:
    """Text in one line: every run of white space becomes one blank."""
    return " ".join(text.split())


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: 1 and "photo" give `1 photo`, 1200 and "photo" give `1,200 photos`.

    plural: the noun for all numbers but 1, if it is not `noun` with an s. Both may hold a verb: "mask has", "masks have".
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def escape_markdown(text: str) -> str:
    """Escape text for Markdown, also inside tables: it starts no heading, link, picture or tag."""
    return html.escape(_MARKDOWN.sub(r"\\\1", one_line(text)), quote=False)


def escape_csv(text: str) -> str:
    """Text that spreadsheets show and do not calculate: a `'` stands before what would start a formula."""
    if not _FORMULA.match(text) or _is_number(text):
        return text
    return f"'{text}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def without_folders(value: Any) -> Any:
    """Cut absolute paths in a text, or in all texts of JSON values, to their last name.

    `/home/a/My Docs/model`, `C:\\data\\model` and `file:///data/model` become `model`. Other addresses stay.
    """
    if isinstance(value, dict):
        cleaned: dict[str, Any] = {}
        for name, inner in value.items():
            short = without_folders(name)
            if short in cleaned and isinstance(inner, int):  # two reasons of failure that are now equal
                inner += cleaned[short]
            cleaned[short] = without_folders(inner)
        return cleaned
    if isinstance(value, list | tuple):
        return [without_folders(inner) for inner in value]
    if not isinstance(value, str):
        return value
    if _ABSOLUTE.match(value) and ": " not in value:  # the text is a path, whatever characters its folders have
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1]
    return _FOLDERS.sub("", value)


def check_values(value: Any, where: object, kind: type[OlrdError] = IntegrityError) -> None:
    """Refuse JSON values that cannot be computed with or written: NaN, infinity, numbers above `MAX_NUMBER`, texts that
    are not Unicode, and nesting deeper than `MAX_DEPTH`.

    where: the file, for the message. Raises `IntegrityError`, or `kind`.
    """
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise kind(f"{where} is nested more than {MAX_DEPTH} levels deep")
        inside: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inside += [*one, *one.values()]
            elif isinstance(one, list | tuple):
                inside += one
            elif isinstance(one, int | float) and not abs(one) <= MAX_NUMBER:  # also true for NaN
                raise kind(f"{where}: {shown(one)} is not a number that can be used")
            elif isinstance(one, str) and not _is_unicode(one):
                raise kind(f"{where}: {shown(one)} is not valid Unicode")
        level = inside


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
