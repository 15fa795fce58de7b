"""Windows of large photos: how they are chosen, prepared for the model, and pasted back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from micro_model import box_mask, drawn

from baselines.levelling import levelled
from magiceraser_ref.erase.canvas import LONGEST, canvas_of, enlarged, padded, seen, whole_cells
from magiceraser_ref.erase.pasting import FEATHER, faded, paste_back
from magiceraser_ref.erase.windows import MAX_WINDOWS, parts_of, window_of
from olrd.masks import mask_box
from olrd.panoptic import Box

# --- where ---------------------------------------------------------------------------------------


def test_a_small_object_gets_a_window_at_the_models_resolution() -> None:
    assert window_of(box_mask(400, 600, (300, 200, 10, 20)), 128) == Box(241, 146, 128, 128)


def test_a_large_object_gets_context_on_every_side() -> None:
    assert window_of(box_mask(1000, 1000, (300, 400, 200, 100)), 128) == Box(200, 250, 400, 400)
    assert window_of(box_mask(1000, 1000, (300, 400, 200, 100)), 128, 0.0) == Box(300, 350, 200, 200)


def test_a_window_is_moved_into_the_photo_and_never_larger_than_it() -> None:
    assert window_of(box_mask(400, 600, (0, 390, 10, 10)), 128) == Box(0, 272, 128, 128)
    assert window_of(box_mask(90, 600, (580, 10, 20, 20)), 128) == Box(472, 0, 128, 90)
    assert window_of(np.ones((5, 7), bool), 128) == Box(0, 0, 7, 5)


def test_masks_far_apart_get_windows_of_their_own() -> None:
    mask = box_mask(600, 900, (10, 10, 20, 20), (800, 500, 30, 30))
    first, second = parts_of(mask, 128)
    assert mask_box(first.mask) == Box(10, 10, 20, 20)
    assert mask_box(second.mask) == Box(800, 500, 30, 30)
    assert np.array_equal(first.mask | second.mask, mask)


@pytest.mark.parametrize("other", [(40, 10, 20, 20), (70, 50, 20, 20)])
def test_near_masks_share_a_window(other: tuple[int, int, int, int]) -> None:
    """The first is within a quarter of the resolution, the second inside the other's window."""
    mask = box_mask(600, 900, (10, 10, 20, 20), other)
    (part,) = parts_of(mask, 128)
    assert np.array_equal(part.mask, mask)


def test_a_mask_like_pepper_gets_no_more_windows_than_allowed() -> None:
    mask = np.zeros((1600, 1600), bool)
    mask[50::100, 50::100] = True
    parts = parts_of(mask, 32)
    assert 1 <= len(parts) <= MAX_WINDOWS
    assert np.array_equal(np.any([part.mask for part in parts], axis=0), mask)


def test_an_empty_mask_needs_no_window() -> None:
    assert parts_of(np.zeros((30, 40), bool), 32) == []


@given(st.data())
def test_parts_are_the_mask_and_lie_in_their_windows(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 200)), data.draw(st.integers(1, 200))
    seed, share = data.draw(st.integers(0, 99)), data.draw(st.sampled_from([0.0005, 0.01, 0.9]))
    mask = np.random.default_rng(seed).random((height, width)) < share
    parts = parts_of(mask, data.draw(st.sampled_from([8, 32, 128])))
    assert sum(part.mask.astype(int) for part in parts).max(initial=0) <= 1 if parts else not mask.any()
    assert np.array_equal(sum((p.mask for p in parts), np.zeros_like(mask)), mask)
    for window, own in parts:
        inside = np.zeros_like(mask)
        inside[window.crop()] = True
        assert window.x >= 0 and window.y >= 0
        assert window.x + window.w <= width and window.y + window.h <= height
        assert not (own & ~inside).any()


# --- what the model is given ---------------------------------------------------------------------


def test_a_canvas_has_its_short_side_at_the_resolution() -> None:
    assert canvas_of(640, 480, 512, 8) == ((683, 512), (688, 512))
    assert canvas_of(30, 20, 128, 4) == ((192, 128), (192, 128))
    assert canvas_of(1, 1, 32, 8) == ((32, 32), (32, 32))


def test_a_long_photo_has_a_bounded_canvas() -> None:
    content, cells = canvas_of(10_000, 100, 128, 8)
    assert content == (LONGEST * 128, 4) and cells == (384, 8)


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (31, 50), (200, 170), (40, 90)])
def test_nothing_of_the_object_survives_resizing(size: tuple[int, int]) -> None:
    """Bit for bit; and outside the hole every value is what photos without the hole would give."""
    mask = box_mask(60, 80, (20, 10, 13, 17), (70, 50, 1, 1))
    photo, other = drawn(60, 80), drawn(60, 80)
    other[mask] = 255 - other[mask]
    first, second = seen(photo, mask, None, size), seen(other, mask, None, size)
    assert np.array_equal(first.photo, second.photo) and np.array_equal(first.hole, second.hole)
    bright = np.where(mask[..., None], 255, photo).astype(np.uint8)
    whole = seen(bright, np.zeros_like(mask), None, size)
    assert np.array_equal(whole.photo[~first.hole], first.photo[~first.hole])
    assert first.hole.any() and not first.hole.all()


def test_a_line_of_one_pixel_survives_as_whole_cells() -> None:
    """diffusers samples one pixel of each cell: without growing it would miss the line."""
    line = box_mask(512, 512, (100, 0, 1, 512))
    hole = seen(np.zeros((512, 512, 3), np.uint8), line, None, (128, 128)).hole
    assert hole[:, 25].all() and hole.sum() == 128
    cells = whole_cells(hole, 8)
    assert cells[:, 24:32].all() and cells.sum() == 128 * 8
    assert cells[::8, ::8].any() and not hole[::8, ::8].any()


def test_padding_mirrors_and_is_cut_off_again() -> None:
    pixels = drawn(5, 7)
    wide = padded(pixels, (8, 8))
    assert wide.shape == (8, 8, 3)
    assert np.array_equal(wide[:5, :7], pixels) and np.array_equal(wide[5], wide[4])
    assert np.array_equal(enlarged(wide, canvas_of(7, 5, 5, 8), (7, 5)), pixels)
    assert padded(np.ones((1, 1), np.uint32), (8, 8)).sum() == 64


# --- the way back --------------------------------------------------------------------------------


def test_composited_pixels_outside_the_mask_are_the_photos() -> None:
    photo, mask = drawn(50, 60), box_mask(50, 60, (20, 20, 10, 10))
    window = Box(10, 10, 32, 30)
    result = np.full((30, 32, 3), 200, np.uint8)
    out = paste_back(photo, result, window, mask, mask[window.crop()])
    assert np.array_equal(out[~mask], photo[~mask])
    assert not np.array_equal(out[mask], photo[mask])


def test_without_compositing_the_result_fades_out_around_the_mask() -> None:
    photo, mask = np.zeros((100, 100, 3), np.uint8), box_mask(100, 100, (40, 40, 20, 20))
    window = Box(0, 0, 100, 100)
    result = np.full((100, 100, 3), 200, np.uint8)
    out = paste_back(photo, result, window, mask, mask, composite=False)
    row = out[50, :, 0].astype(int)
    assert (row[40:60] == 200).all() and row[39] > row[32] > row[25] > 0
    assert row[40 - FEATHER - 1] == 0 and (row[: 40 - FEATHER - 1] == 0).all()
    assert faded(np.ones((3, 4), bool)).min() == 1


def test_a_lost_tone_is_given_back_inside_the_hole() -> None:
    """A model that darkens everything by a smooth amount leaves no seam."""
    photo = np.full((64, 64, 3), 150, np.uint8)
    hole = box_mask(64, 64, (20, 20, 20, 20))
    loss = np.linspace(5, 15, 64)[None, :, None]
    result = np.rint(photo - loss).astype(np.uint8)
    assert np.abs(levelled(photo, result, hole).astype(int) - photo)[hole].max() <= 2
    assert np.array_equal(levelled(photo, photo, hole), photo)
    assert np.array_equal(levelled(photo, result, np.ones_like(hole)), result)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 3), (7, 1), (33, 65)])
def test_levelling_takes_any_size(shape: tuple[int, int]) -> None:
    hole = np.zeros(shape, bool)
    hole[0, 0] = True
    assert levelled(drawn(*shape), drawn(*shape, 1), hole).shape == (*shape, 3)
