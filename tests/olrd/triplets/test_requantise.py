"""The photo's own JPEG coding on the pasted pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from olrd.triplets.photo import working_photo
from olrd.triplets.requantise import Coding, coding_of, requantise

Pixels = npt.NDArray[np.uint8]


def photo(height: int = 70, width: int = 90) -> Pixels:
    y, x = np.mgrid[:height, :width]
    smooth = np.dstack([100 + 60 * np.sin(x / 9), 120 + 50 * np.cos(y / 7), 90 + x - y])
    grain = np.random.default_rng(0).normal(0, 6, smooth.shape)
    return np.clip(smooth + grain, 0, 255).astype(np.uint8)


def encoded(pixels: Pixels, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_pasted_pixels_are_those_of_the_saved_composite(subsampling: int) -> None:
    """Oracle: save the whole composite with the photo's tables, and read it."""
    options = {"quality": 60, "subsampling": subsampling}
    data = encoded(photo(), **options)
    coding = coding_of(working_photo(data, "a.jpg", None), ("jpeg",))
    assert coding is not None
    assert coding.subsampling == subsampling
    composite = decoded(data).copy()
    pasted = np.zeros(composite.shape[:2], np.bool_)
    pasted[21:47, 35:66] = True
    composite[pasted] = np.roll(composite, (3, 5), (0, 1))[pasted]
    whole = decoded(encoded(composite, **options))
    before = composite.copy()
    requantise(composite, pasted, coding)
    assert np.array_equal(composite[~pasted], before[~pasted])
    inner = np.zeros_like(pasted)
    inner[22:46, 36:65] = True  # chroma at the window's edge is interpolated without what lies beyond it
    assert np.array_equal(composite[inner], whole[inner])
    assert (composite[pasted] != before[pasted]).any()


def test_an_object_at_the_corner_of_a_frame_that_is_no_multiple_of_the_grid() -> None:
    composite = photo(37, 45)
    pasted = np.zeros((37, 45), np.bool_)
    pasted[30:, 40:] = True
    before = composite.copy()
    requantise(composite, pasted, Coding(((16,) * 64, (17,) * 64), 2))
    assert np.array_equal(composite[~pasted], before[~pasted])
    assert np.abs(composite.astype(int) - before).max() < 60


def test_only_jpegs_at_their_own_size_have_a_coding() -> None:
    pixels = photo()
    jpeg = encoded(pixels, quality=80)
    assert coding_of(working_photo(jpeg, "a.jpg", None), ("noise",)) is None
    assert coding_of(working_photo(jpeg, "a.jpg", 48), ("jpeg",)) is None
    assert coding_of(working_photo(encoded(pixels, "PNG"), "a.png", None), ("jpeg",)) is None
    assert coding_of(working_photo(encoded(pixels[..., 0]), "a.jpg", None), ("jpeg",)) is None
    found = coding_of(working_photo(jpeg, "a.jpg", None), ("noise", "jpeg"))
    assert found is not None
    assert found.tables == tuple(tuple(table) for table in Image.open(io.BytesIO(jpeg)).quantization.values())
