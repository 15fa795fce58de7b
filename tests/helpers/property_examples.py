"""How many examples a property is tried on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import settings

FULL = 25
"""Examples of a property that says nothing else, in `make test`."""

Test = TypeVar("Test", bound=Callable[..., object])


def examples(count: int) -> Callable[[Test], Test]:
    """`count` examples in a full run; in a quick one (`--hypothesis-profile quick`) as much less as all have."""
    return settings(max_examples=max(1, count * settings.default.max_examples // FULL))
