"""The parts of a clean plate, each against an oracle: the mode, motion, tone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from olrd.arrays import Image
from olrd.panoptic import Box
from olrd.sources.seen.alignment import displacement, joined, large_motion, small_motion, undone, warped
from olrd.sources.seen.plate import LEAST_SHARE, SECOND_SHARE, SHARE, plate_of
from olrd.sources.seen.tones import fitted_tone, joined_tones, tone_change, toned
from tools.drawn_clip import HEIGHT, WIDTH, Scene, ground

WHOLE = Box(0, 0, WIDTH, HEIGHT)
TURN = (0.999, -0.02, 3.25, 0.02, 0.999, -1.5, 0.0, 0.0, 1.0)


def naive_pixel(values: Image, tolerance: int) -> tuple[list[int], int, int]:
    """The plate of one pixel: its value, how many layers agree, and how many agree on another value. values: [K, 3]."""
    luma = [(77 * int(r) + 150 * int(g) + 29 * int(b)) >> 8 for r, g, b in values]
    ordered, count = sorted(luma), len(luma)
    held = max(2, round(SHARE * count))
    spans = [(ordered[k + held - 1] - ordered[k], abs(2 * k - (count - held)), k) for k in range(count - held + 1)]
    centre = ordered[min(spans)[2] + held // 2]
    near = [k for k in range(count) if abs(luma[k] - centre) <= tolerance]
    value = [sorted(int(values[k, c]) for k in near)[(len(near) - 1) // 2] for c in range(3)]
    others = sorted(luma[k] for k in range(count) if k not in near)
    middle = others[(len(others) - 1) // 2] if others else 0
    return value, len(near), sum(abs(other - middle) <= tolerance for other in others)


@given(st.integers(0, 2**32 - 1), st.integers(3, 12), st.integers(0, 20))
def test_the_plate_is_that_of_a_naive_loop(seed: int, count: int, tolerance: int) -> None:
    rng = np.random.default_rng(seed)
    layers = rng.choice(rng.integers(0, 256, 6, dtype=np.uint8), (count, 5, 4, 3))
    plate = plate_of(layers, None, tolerance)
    sure = np.empty((5, 4), np.uint8)
    for y in range(5):
        for x in range(4):
            value, near, second = naive_pixel(layers[:, y, x], tolerance)
            assert plate.pixels[y, x].tolist() == value
            sure[y, x] = near >= max(2, LEAST_SHARE * count) and second <= SECOND_SHARE * near
    assert np.array_equal(plate.sure, cv2.medianBlur(sure, 5).view(np.bool_))


def test_a_place_that_is_covered_half_of_the_time_is_seen() -> None:
    rng = np.random.default_rng(0)
    layers = np.full((12, 8, 8, 3), 120, np.uint8)
    for k in range(6):  # six layers show different things
        layers[k] = 5 + 40 * k
    layers = np.clip(layers + rng.normal(0, 2, layers.shape), 0, 255).astype(np.uint8)
    plate = plate_of(layers, None, 8)
    assert plate.sure.all() and np.abs(plate.pixels.astype(int) - 120).max() <= 4
    layers[:6] = 200  # the same thing half of the time: either could be the background
    assert not plate_of(layers, None, 8).sure.any()


def test_layers_that_do_not_reach_a_pixel_do_not_count() -> None:
    layers = np.full((5, 6, 6, 3), 90, np.uint8)
    valid = np.ones((5, 6, 6), np.bool_)
    layers[:4, :, :3], valid[:4, :, :3] = 10, False
    plate = plate_of(layers, valid, 4)
    assert (plate.pixels[:, 3:] == 90).all() and plate.sure[:, 4:].all() and not plate.sure[:, :2].any()


@pytest.mark.parametrize("motion", [None, TURN, (1, 0, -2.5, 0, 1, 1.25, 0, 0, 1), (1, 0, 0, 0, 1, 0, 1e-4, 2e-4, 1)])
def test_a_warp_is_that_of_opencv_and_the_same_in_every_box(motion: tuple[float, ...] | None) -> None:
    picture = Scene().frame(4).pixels
    found, valid = warped(picture, motion, WHOLE)
    matrix = np.eye(3) if motion is None else np.array(motion).reshape(3, 3)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpPerspective(picture, matrix, (WIDTH, HEIGHT), flags=flags)
    inner = cv2.erode(valid.astype(np.uint8), np.ones((3, 3))).astype(bool)
    assert np.abs(found.astype(int) - expected)[inner].max(initial=0) <= 4  # positions are rounded in another way
    assert np.abs(found.astype(int) - expected)[inner].mean() < 0.6
    box = Box(20, 30, 41, 27)
    part, inside = warped(picture, motion, box)
    assert np.array_equal(part, found[box.crop()]) and np.array_equal(inside, valid[box.crop()])


def test_a_motion_that_leads_nowhere_reaches_nothing() -> None:
    _, valid = warped(np.zeros((9, 9, 3), np.uint8), (1, 0, 1e9, 0, 1, -1e9, 0, 0, 1), Box(0, 0, 9, 9))
    assert not valid.any()
    _, valid = warped(np.zeros((9, 9, 3), np.uint8), (0,) * 9, Box(0, 0, 9, 9))
    assert not valid.any()


def test_motions_are_joined_and_undone() -> None:
    assert joined(None, TURN) == TURN == joined(TURN, None)
    assert displacement(joined(TURN, undone(TURN)), (HEIGHT, WIDTH)) < 1e-3
    assert displacement(None, (4, 4)) == 0 and undone(None) is None


@pytest.mark.parametrize("shift", [(0.0, 0.0), (2.5, -1.75), (-4.0, 3.0)])
def test_a_shake_is_measured_although_an_object_passes(shift: tuple[float, float]) -> None:
    """Both pictures show the object, at different places: it is the sharpest thing in them."""
    scene = Scene(noise=1.5)
    still, passing = scene.frame(3).pixels, scene.frame(7).pixels
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    moved = cv2.warpAffine(passing, move, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    found = small_motion(still, moved)
    if shift == (0.0, 0.0):
        assert found is None
        return
    assert found is not None
    assert (found[2], found[5]) == pytest.approx(shift, abs=0.05)


def test_the_motion_of_a_hand_is_measured() -> None:
    still = Scene(noise=1).frame(0).pixels
    true = np.array([[1.01, 0.03, -6], [-0.02, 0.99, 4], [2e-5, 1e-5, 1]])
    flags = cv2.INTER_LINEAR
    moved = cv2.warpPerspective(still, true, (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REFLECT)
    found = large_motion(still, moved)
    error = np.linalg.inv(true) @ np.array(found).reshape(3, 3)
    assert displacement(tuple((error / error[2, 2]).ravel()), still.shape) < 1.0
    with pytest.raises(ValueError, match="features match, expected at least 12"):
        large_motion(still, np.full_like(still, 90))


@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (64, 1), (2, 3000), (1, 5000)])
def test_pictures_that_are_too_thin_to_align_show_no_motion(shape: tuple[int, int]) -> None:
    """OpenCV raised an error of its own, which ended the build of all other clips."""
    still = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert small_motion(still, np.roll(still, 1, 1)) is None
    with pytest.raises(ValueError, match="too thin"):
        large_motion(still, np.roll(still, 1, 1))


def test_a_tone_is_measured_although_an_object_stands_in_the_picture() -> None:
    clean = np.rint(ground()).astype(np.uint8)
    other = Scene(noise=1).frame(5).pixels
    expected = ((0.9, 8.0), (1.05, 2.0), (1.1, -6.0))
    back = tuple((1 / gain, -offset / gain) for gain, offset in expected)
    found = fitted_tone(toned(clean, back), other)
    assert found is not None
    for (gain, offset), (g, o) in zip(found, expected, strict=True):
        assert abs((gain - g) * 128 + offset - o) < 2.0
    assert fitted_tone(clean, clean) is None
    assert tone_change(joined_tones(expected, back)) < 0.1
    assert toned(clean, None) is clean
