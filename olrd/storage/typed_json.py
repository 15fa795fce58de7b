"""JSON values as dataclasses, checked field by field."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from olrd.errors import IntegrityError

T = TypeVar("T")
WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
NOTHING: Mapping[str, Any] = {}
_LARGEST = 1 << 63
DAMAGED = "it is damaged or was edited"


def typed(kind: type[T], value: Any, file: Path | str, known: Mapping[str, Any] | None = None) -> T:
    """Read a JSON value as `kind`.

    Fields that the dataclass does not have are ignored. Fields with a default may be missing.

    Args:
        kind: a dataclass, with fields of `int`, `float`, `str`, `bool`, `X | None`, `tuple[X, ...]`, `tuple[X, Y]`,
            `Mapping[str, X]`, `dict[str, X]` and such dataclasses.
        value: the parsed JSON.
        file: where it stands, for messages.
        known: fields of `kind` that the caller has read already, by name.

    Raises:
        IntegrityError: a field is missing or of another type, or a whole number has more than 63 bits. The message
            names the file and the field.
    """
    found: T = _read_fields(kind, _expected(dict, value, "an object", str(file), ""), str(file), "", known or {})
    return found


def _read(kind: Any, value: Any, file: str, field: str) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        kinds = [one for one in inner if one is not type(None)]
        return None if value is None else _read(kinds[0], value, file, field)
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, _expected(dict, value, "an object", file, field), file, field)
    if origin is tuple:
        items = _expected(list, value, "a list", file, field)
        kinds = [inner[0]] * len(items) if inner[1] is Ellipsis else list(inner)
        if len(items) != len(kinds):
            _expected((), value, f"a list of {len(kinds)}", file, field)
        return tuple(
            _read(kind, item, file, f"{field}[{k}]") for k, (kind, item) in enumerate(zip(kinds, items, strict=True))
        )
    if origin in (Mapping, dict):
        items = _expected(dict, value, "an object", file, field)
        return {name: _read(inner[1], item, file, f"{field}.{name}") for name, item in items.items()}
    accepted = (int, float) if kind is float else kind
    if isinstance(value, bool) and kind is not bool:
        accepted = ()  # in Python, True is an int
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        accepted = ()
    return _expected(accepted, value, WORDS[kind], file, field)


def _read_fields(kind: Any, values: dict[str, Any], file: str, field: str, known: Mapping[str, Any] = NOTHING) -> Any:
    hints, found = _hints(kind), dict(known)
    for one in dataclasses.fields(kind):
        name = f"{field}.{one.name}" if field else one.name
        if one.name in known:
            continue
        if one.name in values:
            found[one.name] = _read(hints[one.name], values[one.name], file, name)
        elif one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            raise IntegrityError(f"{file} lacks {name}: {DAMAGED}")
    return kind(**found)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _expected(kind: Any, value: Any, words: str, file: str, field: str) -> Any:
    if isinstance(value, kind):
        return value
    where = f"{file}: {field}" if field else file
    raise IntegrityError(f"{where} is {str(value)[:60]!r}, expected {words}: {DAMAGED}")
