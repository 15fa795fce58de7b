"""Masks as users draw them: what each style may and may not take."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.morphology import convex_hull_image

from olrd.arrays import Mask
from olrd.config import MASK_STYLES
from olrd.masks import largest_piece, mask_box
from olrd.triplets import user_masks
from olrd.triplets.user_masks import DIRECTIONS, MaskStyle, user_mask


def figure(height: int = 160, width: int = 200) -> Mask:
    """A figure with a head, two arms and two legs apart: not convex, with gaps."""
    y, x = np.mgrid[:height, :width]
    head = (x - 100) ** 2 + (y - 40) ** 2 < 14**2
    body = (abs(x - 100) < 12) & (abs(y - 75) < 25)
    arms = (abs(x - 100) < 34) & (abs(y - 62) < 5)
    legs = ((abs(x - 92) < 4) | (abs(x - 112) < 4)) & (abs(y - 115) < 20)
    return np.asarray(head | body | arms | legs)


FIGURE = figure()
SIZE = math.isqrt(int(FIGURE.sum()))


def far(mask: Mask) -> np.ndarray:
    """The distance of every pixel to the nearest one of a mask, by comparing all with all."""
    points = np.argwhere(mask)
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    squares = np.full(mask.shape, mask.size**2)
    for b, a in points:
        np.minimum(squares, (y - b) ** 2 + (x - a) ** 2, out=squares)
    return np.sqrt(squares)


@pytest.mark.parametrize("strength", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("name", MASK_STYLES)
def test_every_style_covers_the_footprint_and_stays_near(name: str, strength: float) -> None:
    found = user_mask(FIGURE, MaskStyle(name, strength), "sample")
    assert found.dtype == np.bool_ and found.shape == FIGURE.shape
    assert not (FIGURE & ~found).any()
    assert (found == FIGURE).all() == (name == "exact")
    box, outer = mask_box(FIGURE), mask_box(found)
    reach = 0.36 * SIZE + 2
    assert box.x - outer.x <= reach and box.y - outer.y <= reach
    assert outer.x + outer.w - box.x - box.w <= reach and outer.y + outer.h - box.y - box.h <= reach
    assert largest_piece(found) == 1.0


@pytest.mark.parametrize("name", sorted(set(MASK_STYLES) - {"exact"}))
def test_a_stronger_style_takes_more(name: str) -> None:
    areas = [user_mask(FIGURE, MaskStyle(name, strength), "sample").sum() for strength in (0.0, 0.5, 0.999)]
    assert areas[0] <= areas[1] <= areas[2] and areas[0] < areas[2]


@pytest.mark.parametrize("name", ["box", "brush", "loose"])
def test_draws_follow_from_the_key(name: str) -> None:
    style = MaskStyle(name, 0.7)
    one, again, other = (user_mask(FIGURE, style, key) for key in ("a", "a", "b"))
    assert (one == again).all() and (one != other).any()


def test_no_style_is_the_footprint() -> None:
    assert user_mask(FIGURE, None, "a") is FIGURE


def test_grown_is_all_within_its_radius() -> None:
    found = user_mask(FIGURE, MaskStyle("grown", 0.5), "a")
    radius = 1 + int(0.5 * SIZE * 0.12)
    distance = far(FIGURE)
    assert (distance[found] <= radius + 0.5).all() and found[distance <= radius].all()


def test_hull_is_the_convex_hull() -> None:
    found = user_mask(FIGURE, MaskStyle("hull", 0.0), "a")
    reference = convex_hull_image(FIGURE, offset_coordinates=False)
    assert not (reference & ~found).any()
    assert (far(reference)[found] <= 1).all()  # pixels that an edge of the polygon crosses


def test_box_is_a_filled_rectangle() -> None:
    found = user_mask(FIGURE, MaskStyle("box", 0.8), "a")
    assert found[mask_box(found).crop()].all()
    assert mask_box(user_mask(FIGURE, MaskStyle("box", 0.0), "a")) == mask_box(FIGURE)


@pytest.mark.parametrize("key", range(6))
@pytest.mark.parametrize("strength", [0.0, 0.9])
def test_strokes_alone_cover_the_object(strength: float, key: int) -> None:
    """The footprint is added to the strokes; a rim where only it is mask would give the object away."""
    drawn = user_masks._brush(FIGURE, strength, SIZE, (key,))
    assert (FIGURE & ~drawn).sum() < 0.01 * FIGURE.sum()


def test_loose_is_convex_and_has_its_sides() -> None:
    found = user_mask(FIGURE, MaskStyle("loose", 0.6), "a")
    reference = convex_hull_image(found, offset_coordinates=False)
    assert (reference != found).sum() <= 0.002 * found.sum()
    assert len(DIRECTIONS) == 48
    assert all(abs(math.hypot(dx, dy) - 1024) < 1 for dx, dy in DIRECTIONS)
    assert DIRECTIONS[1] == (1015, 134) and DIRECTIONS[29] == (-812, -623)


def test_grow_is_added_to_any_style() -> None:
    plain, wider = (user_mask(FIGURE, MaskStyle("hull", 0.2, grow), "a") for grow in (0, 5))
    distance = far(plain)
    assert (distance[wider] <= 5.5).all() and wider[distance <= 5].all()
    assert user_mask(FIGURE, MaskStyle("exact", 0.0, 3), "a").sum() > FIGURE.sum()


@pytest.mark.parametrize("name", MASK_STYLES)
def test_a_mask_never_covers_the_whole_picture(name: str) -> None:
    """Nothing would be left to fill with, and the proof refuses such a mask."""
    most = np.ones((40, 50), np.bool_)
    most[0, 0] = most[-1, -1] = False
    found = user_mask(most, MaskStyle(name, 0.9, 9), "a")
    assert (found == most).all()


@pytest.mark.parametrize("name", MASK_STYLES)
@pytest.mark.parametrize("place", [(0, 0), (0, 49), (39, 0), (39, 49), (20, 25)])
def test_a_single_pixel_at_the_frame(name: str, place: tuple[int, int]) -> None:
    dot = np.zeros((40, 50), np.bool_)
    dot[place] = True
    found = user_mask(dot, MaskStyle(name, 0.99, 2), "a")
    assert found[place] and found.sum() < 200
