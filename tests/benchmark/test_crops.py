"""Where a crop lies: as in reports, and as in thumbnails."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.crops import crop_box


@pytest.mark.parametrize(("context", "margin", "smallest"), [(1.5, 64, 192), (1.8, 0, 96)])
def test_a_crop_contains_the_mask_with_context_and_is_a_square(context: float, margin: int, smallest: int) -> None:
    generator = np.random.Generator(np.random.Philox(1))
    for _ in range(200):
        height, width = (int(n) for n in generator.integers(1, 700, 2))
        x0, x1 = sorted(int(n) for n in generator.integers(0, width, 2))
        y0, y1 = sorted(int(n) for n in generator.integers(0, height, 2))
        mask = np.zeros((height, width), bool)
        mask[y0 : y1 + 1, x0 : x1 + 1] = True
        x, y, w, h = crop_box(mask, context, margin, smallest)
        assert 0 <= x <= x0 and x1 < x + w <= width and 0 <= y <= y0 and y1 < y + h <= height
        longest, short = max(x1 - x0, y1 - y0) + 1, min(width, height)
        if longest <= short:
            assert w == h
            assert w == short or w >= max(smallest, longest + margin)
        else:
            assert short in (w, h)


def test_the_crop_of_an_empty_mask_is_the_photo() -> None:
    assert crop_box(np.zeros((30, 40), bool)) == (0, 0, 40, 30)
