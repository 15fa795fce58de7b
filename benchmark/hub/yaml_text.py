"""YAML for the Hub. All texts are in quotes: no text of a record is taken for a number, a date or a truth value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_ESCAPED = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def to_yaml(value: Any) -> str:
    """Plain JSON values in block style, in the order of the mappings. Texts are quoted as in JSON, which YAML reads."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any, indent: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _entry(f"{indent}{key}:", inner, f"{indent}  ")
    else:
        for inner in value:
            first, *rest = _lines(inner, f"{indent}  ") if _nested(inner) else [f"{indent}  {_scalar(inner)}"]
            yield f"{indent}- {first.strip()}"
            yield from rest


def _entry(start: str, value: Any, indent: str) -> Iterator[str]:
    if _nested(value):
        yield start
        yield from _lines(value, indent)
    else:
        yield f"{start} {_scalar(value)}"


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str))


def _scalar(value: Any) -> str:
    """A text, number or truth value. JSON escapes line breaks; what else YAML does not take as it is, is escaped here."""
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
