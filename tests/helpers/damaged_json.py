"""Damaged JSON: every way in which a stranger's file may differ from an honest one, drawn by hypothesis."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

from olrd.storage.files import to_json

WRONG: tuple[Any, ...] = (
    None,
    "",
    [],
    {},
    -1,
    float("inf"),
    float("nan"),
    10**30,
    10**400,
    5e-324,
    1e308,
    True,
    "x" * 10_000,
)
WRONG += ("\0", "\ud800", "=1\n#", [[]], {"": None}, "/home/a/b", 0, 0.5, "-")


def paths_in(value: Any) -> list[tuple[Any, ...]]:
    """The paths to all values inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for name, one in inner for path in [(name,), *((name, *rest) for rest in paths_in(one))]]


@st.composite
def damaged(draw: st.DrawFn, honest: Any, most: int = 2) -> bytes:
    """The text of an honest JSON value in which some values are replaced or left out, or whose end is missing."""
    value = copy.deepcopy(honest)
    for _ in range(draw(st.integers(1, most))):
        paths = paths_in(value)
        if not paths:
            break
        *way, last = draw(st.sampled_from(paths))
        holder = value
        for step in way:
            holder = holder[step]
        if draw(st.booleans()) and isinstance(holder, dict):
            del holder[last]
        else:
            holder[last] = draw(st.sampled_from(WRONG))
    text = to_json(value).encode()
    return text[: draw(st.integers(0, len(text)))] if draw(st.integers(0, 9)) == 0 else text
