"""Shadows: where they fall, by a naive loop over pixels, and that they only take light."""

from __future__ import annotations

import math

import numpy as np
import pytest

from olrd.arrays import Mask
from olrd.panoptic import Box, encode_rle
from olrd.triplets.shadow import UNIT, Caster, Shadow, _blurred, darkened, light_taken, silhouette, with_region

SHAPE = 90, 120
LEANS = [(700, 300), (-900, 250), (400, -350), (0, 800), (-1500, -160)]


def figure() -> Mask:
    """A body with a head and two legs."""
    y, x = np.mgrid[:30, :17]
    return np.asarray(
        ((x - 8) ** 2 + (y - 5) ** 2 < 20) | ((abs(x - 8) < 4) & (y > 8) & (y < 22)) | (x % 11 == 4) & (y > 20)
    )


ONE = Caster(figure(), (50, 30))


@pytest.mark.parametrize("lean", LEANS)
def test_a_silhouette_is_the_object_laid_flat(lean: tuple[int, int]) -> None:
    flat, _ = silhouette(ONE, lean, Box(0, 0, SHAPE[1], SHAPE[0]))
    foot = ONE.position[1] + ONE.mask.shape[0]
    for y in range(SHAPE[0]):
        for x in range(SHAPE[1]):
            high = math.floor((y + 0.5 - foot) * UNIT / lean[1])
            row, column = ONE.mask.shape[0] - 1 - high, x - ONE.position[0] - math.floor(high * lean[0] / UNIT)
            inside = 0 <= row < ONE.mask.shape[0] and 0 <= column < ONE.mask.shape[1]
            assert flat[y, x] == (inside and ONE.mask[row, column])


def test_a_filter_is_three_rounded_means() -> None:
    values = np.random.default_rng(0).integers(0, 256, (9, 14), dtype=np.uint8)
    expected = values.astype(int)
    for _ in range(3):
        wide = np.pad(expected, ((1, 1), (3, 3)))
        sums = np.array([[wide[y : y + 3, x : x + 7].sum() for x in range(14)] for y in range(9)])
        expected = (sums + 10) // 21
    assert np.array_equal(_blurred(values, 3, 1), expected)


@pytest.mark.parametrize("lean", LEANS)
def test_the_window_does_not_change_the_light(lean: tuple[int, int]) -> None:
    """The same object in a wider photo loses the same light at the same places."""
    shadow = Shadow(lean, cast=120, contact=140, softness=3)
    big = SHAPE[0] + 400, SHAPE[1] + 400
    whole, wide = np.zeros(SHAPE, int), np.zeros(big, int)
    box, taken = light_taken([ONE], shadow, SHAPE)
    whole[box.crop()] = taken
    box, taken = light_taken([ONE._replace(position=(250, 230))], shadow, big)
    wide[box.crop()] = taken
    assert np.array_equal(whole, wide[200:-200, 200:-200]) and whole.max() > 100
    assert taken.max() <= 255 and set(np.unique(taken)).isdisjoint({1, 2, 3})


@pytest.mark.parametrize("kind", ["contact", "cast"])
def test_a_shadow_darkens_its_region_only(kind: str) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    ground = np.zeros(SHAPE, np.bool_)
    ground[50:, :100] = True
    shadow, off = with_region([ONE], Shadow((700, 300), 120 * (kind == "cast"), 130, 4), ground)
    region = shadow.region(SHAPE)
    shaded = darkened(photo, [ONE], shadow)
    assert region.any() and not (region & ~ground).any() and 0 <= off < 0.5
    assert np.array_equal(shaded[~region], photo[~region])
    assert (shaded <= photo).all() and (shaded[region].sum(axis=1) < photo[region].sum(axis=1)).mean() > 0.9
    box, taken = light_taken([ONE], shadow, SHAPE)
    for y, x in np.argwhere(region)[::7]:
        kept = 256 - int(taken[y - box.y, x - box.x])
        assert shaded[y, x].tolist() == [(int(value) * kept + 128) // 256 for value in photo[y, x]]


def test_two_objects_have_two_shadows_and_where_they_meet_the_cast_ones_do_not_add() -> None:
    shadow = Shadow((900, 300), cast=100, contact=0, softness=2)
    other = ONE._replace(position=(66, 30))
    single = []
    for one in (ONE, other):
        light, (box, taken) = np.zeros(SHAPE, int), light_taken([one], shadow, SHAPE)
        light[box.crop()] = taken
        single.append(light)
    both, (box, taken) = np.zeros(SHAPE, int), light_taken([ONE, other], shadow, SHAPE)
    both[box.crop()] = taken
    assert np.array_equal(both, np.maximum(*single)) and (np.minimum(*single) > 0).any()


def test_without_ground_there_is_no_shadow() -> None:
    shadow, off = with_region([ONE], Shadow((700, 300), 120, 130, 4), np.zeros(SHAPE, np.bool_))
    assert shadow == Shadow() and off == 1.0
    photo = np.full((*SHAPE, 3), 99, np.uint8)
    assert np.array_equal(darkened(photo, [ONE], shadow), photo)


def test_a_shadow_never_covers_the_whole_photo() -> None:
    tiny = Caster(np.ones((6, 6), np.bool_), (0, 0))
    shadow, _ = with_region([tiny], Shadow((1024, 1024), 200, 200, 64), np.ones((8, 8), np.bool_))
    assert not shadow.region((8, 8)).all()


def test_the_region_is_stored_as_counts() -> None:
    region = np.zeros((4, 5), np.bool_)
    region[1:3, 2:] = True
    shadow = Shadow(contact=9, box=Box(2, 1, 3, 2), rle=encode_rle(region[1:3, 2:]))
    assert np.array_equal(shadow.region((4, 5)), region)
    assert shadow.fits((3, 5)) and not shadow.fits((2, 5))
