"""A network's output becomes a picture only if every value is finite."""

from __future__ import annotations

import numpy as np
import pytest

from baselines.finite import NotFiniteError, to_uint8
from olrd.errors import OlrdError


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_an_error_with_sample_and_remedy(wrong: float) -> None:
    levels = np.zeros((4, 5, 3), np.float32)
    levels[1, 2, 0] = wrong
    with pytest.raises(NotFiniteError, match=r"lama: sample a: .* 1 of 60 values .* try float32") as caught:
        to_uint8(levels, "lama: sample a", "try float32")
    assert isinstance(caught.value, OlrdError)


def test_levels_are_clipped_and_rounded_or_truncated() -> None:
    levels = np.array([-3.0, 0.4, 0.6, 1.5, 254.9, 300.0])
    assert to_uint8(levels, "x").tolist() == [0, 0, 1, 2, 255, 255]
    assert to_uint8(levels, "x", truncate=True).tolist() == [0, 0, 0, 1, 254, 255]
