"""Long lists of cases of one property."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest


def every(step: int, cases: Mapping[str, Any]) -> list[Any]:
    """Named cases for `parametrize`: each `step`-th is fast, the others are marked slow."""
    return [
        pytest.param(
            *(values if isinstance(values, tuple) else (values,)),
            id=name,
            marks=() if number % step == 0 else pytest.mark.slow,
        )
        for number, (name, values) in enumerate(cases.items())
    ]
