"""PatchMatch against the library itself and against textures whose continuation is known."""

from __future__ import annotations

import tracemalloc
from typing import Any

import cv2
import numpy as np
import patchmatch as library
import pytest
from hypothesis import given
from hypothesis import strategies as st
from property_examples import examples

from baselines import open_eraser
from baselines.eraser import Hints
from baselines.examples import PATCH, _known, _most_similar, _patches, _wanted, enlarged_by_example
from baselines.fill import mean_fill
from baselines.patchmatch import Search, fill_by_patches, windows
from olrd.arrays import Image, Mask
from olrd.draws import digest
from olrd.errors import UsageError


def checkerboard(height: int, width: int, cell: int = 8) -> Image:
    rows, columns = np.mgrid[:height, :width] // cell
    dark = ((rows + columns) % 2).astype(bool)
    return np.where(dark[..., None], np.uint8([40, 90, 60]), np.uint8([200, 190, 170])).astype(np.uint8)


def square(height: int, width: int, top: int, left: int, side: int) -> Mask:
    mask = np.zeros((height, width), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def filled(image: Image, mask: Mask, key: str = "", seed: int = 0, **options: str) -> Image:
    return open_eraser("patchmatch", options, "cpu", seed).erase(image, mask, Hints(key=key))


def error(one: Image, other: Image, where: Mask) -> float:
    return float(np.abs(one[where].astype(int) - other[where]).mean())


def test_a_small_photo_is_filled_as_the_library_fills_it() -> None:
    image, mask = checkerboard(96, 110), square(96, 110, 30, 40, 24)  # the window is the photo
    library.set_random_seed(digest(5, "a/b", "patchmatch") % (1 << 32))
    expected = library.inpaint(mean_fill(image, mask, Hints()), mask, patch_size=3)
    assert (filled(image, mask, "a/b", seed=5) == expected).all()


def test_a_pattern_continues_and_a_smooth_fill_does_not() -> None:
    image, mask = checkerboard(160, 160), square(160, 160, 60, 60, 40)
    damaged = np.where(mask[..., None], np.uint8([255, 0, 0]), image).astype(np.uint8)
    smooth = open_eraser("opencv-telea", device="cpu").erase(damaged, mask)
    assert error(filled(damaged, mask), image, mask) < 0.25 * error(smooth, image, mask)


@pytest.mark.slow
def test_the_object_is_never_seen() -> None:
    image, mask = checkerboard(80, 90), square(80, 90, 20, 30, 30)
    other = image.copy()
    other[mask] = np.random.default_rng(1).integers(0, 256, (mask.sum(), 3))
    for options in ({}, {"hole": "200"}):
        assert (filled(image, mask, **options) == filled(other, mask, **options))[mask].all()


@pytest.mark.slow
def test_other_seeds_and_keys_give_other_fills_and_equal_ones_the_same() -> None:
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (70, 70, 3), dtype=np.uint8), square(70, 70, 20, 20, 30)
    first = filled(image, mask, "a")
    assert (filled(image, mask, "a") == first).all()
    assert (filled(image, mask, "b") != first).any()
    assert (filled(image, mask, "a", seed=1) != first).any()


def test_far_pieces_are_filled_in_windows_of_their_own() -> None:
    mask = square(900, 900, 10, 10, 20) | square(900, 900, 800, 800, 20) | square(900, 900, 40, 10, 8)
    found = windows(mask, 1.0)
    assert sorted(found) == [(0, 0, 78, 96), (752, 752, 116, 116)]
    image = checkerboard(900, 900)
    calls: list[tuple[int, ...]] = []
    real = library.inpaint

    def counted(pixels: Image, *given: Any, **options: Any) -> Image:
        calls.append(pixels.shape)
        return real(pixels, *given, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "inpaint", counted)
        assert error(filled(image, mask), image, mask) < 20
    assert sorted(calls) == [(96, 78, 3), (116, 116, 3)]


@examples(60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.floats(0.1, 2))
def test_windows_do_not_overlap_and_hold_every_masked_pixel(seed: int, pieces: int, context: float) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((300, 400), bool)
    for _ in range(pieces):
        top, left, side = (int(rng.integers(high)) for high in (280, 380, 20))
        mask[top : top + side + 1, left : left + side + 1] = True
    count = np.zeros(mask.shape, int)
    for window in windows(mask, context):
        count[window.crop()] += 1
    assert count.max() == 1
    assert count[mask].min() == 1


def test_a_noisy_mask_is_filled_in_one_window() -> None:
    mask = np.zeros((256, 256), bool)
    mask[::4, ::4] = True
    assert len(windows(mask, 1.0)) == 1


@pytest.mark.slow
def test_a_large_hole_keeps_the_detail_of_the_photo() -> None:
    """A fill that is only enlarged loses fine texture; by example it has as much as the photo around it."""
    rng = np.random.default_rng(3)
    image = np.clip(128 + 40 * rng.standard_normal((360, 480, 1)) + [20, 0, -20], 0, 255).astype(np.uint8)
    mask = square(360, 480, 90, 140, 180)
    clean = filled(image, mask, hole="2000")
    sharpness = cv2.Laplacian(clean, cv2.CV_64F).std(axis=2)
    assert sharpness[mask].mean() > 0.6 * sharpness[~mask].mean()
    assert (clean[~mask] == image[~mask]).all()


def test_examples_copy_the_detail_of_the_most_similar_patch() -> None:
    """Two textures of different mean: each part of the hole gets the detail of its own texture."""
    rng = np.random.default_rng(0)
    fine = 60 * (rng.random((240, 240)) - 0.5)
    stripes = 60 * ((np.arange(240) // 2 % 2) - 0.5)[None, :] + np.zeros((240, 1))
    grey = np.where(np.arange(240)[:, None] < 120, 80 + fine, 170 + stripes)
    image = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    mask = square(240, 240, 60, 80, 120)
    hole = cv2.resize(mask.astype(np.float32), (60, 60), interpolation=cv2.INTER_AREA) > 0
    small = cv2.resize(image, (60, 60), interpolation=cv2.INTER_AREA)  # the truth: only detail is missing
    result = enlarged_by_example(image, mask, small, hole)
    inner = result[140:170, 100:180, 0].astype(float)  # in the striped half
    assert np.abs(np.diff(inner, axis=0)).mean() < 0.2 * np.abs(np.diff(inner, axis=1)).mean()


@given(st.integers(0, 2**32 - 1))
@examples(20)
def test_the_most_similar_patch_is_that_of_a_naive_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (26, 31, 3), dtype=np.uint8)
    hole = square(26, 31, 9, 10, int(rng.integers(1, 9)))
    wanted, known = _wanted(hole), _known(hole)
    assert {tuple(p) for p in known} == {
        (r, c) for r in range(19) for c in range(24) if not hole[r : r + PATCH, c : c + PATCH].any()
    }
    features = {tuple(p): _patches(small, p[None])[0].astype(np.int64) for p in np.concatenate([wanted, known])}
    for place, chosen in zip(wanted, _most_similar(small, wanted, known), strict=True):
        distances = [int(((features[tuple(place)] - features[tuple(k)]) ** 2).sum()) for k in known]
        assert distances[[tuple(k) for k in known].index(tuple(chosen))] == min(distances)


@pytest.mark.parametrize(
    ("key", "value"), [("patch", "0"), ("patch", "2.5"), ("context", "nan"), ("hole", "many"), ("window", "1")]
)
def test_options_out_of_their_limits_are_refused(key: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"patchmatch: {key} is a (whole )?number from"):
        open_eraser("patchmatch", {key: value})


@pytest.mark.slow
def test_memory_for_a_thin_hole_across_a_large_photo_is_a_small_multiple_of_the_photo() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (150, 200, 3), np.uint8).repeat(10, axis=0).repeat(10, axis=1)
    mask = np.eye(*photo.shape[:2], dtype=bool)
    search = Search(patch=3, context=1, hole=6000, window=30_000, seed=0)
    tracemalloc.start()
    filled = fill_by_patches(photo, mask, search)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (filled[~mask] == photo[~mask]).all()
    assert peak < 10 * photo.nbytes
