"""The light of a drawn photo: found where its things cast shadows, and not where they do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from olrd.arrays import Image
from olrd.panoptic import Box, Category, Record, Segment, SegmentMap
from olrd.triplets.light import Lights, light_of, shadow_of, takes_shadow
from olrd.triplets.scene import Scene
from olrd.triplets.shadow import Caster, Shadow, silhouette

GROUND, SKY, THING = 1, 2, 3
CATEGORIES = {
    GROUND: Category(GROUND, "grass-merged", "ground", False),
    SKY: Category(SKY, "sky-other-merged", "sky", False),
    THING: Category(THING, "dog", "animal", True),
}
SHAPE = 160, 220


class Photo:
    """What a scene needs of a photo."""

    def __init__(self, pixels: Image) -> None:
        self.pixels, self.shape = pixels, pixels.shape[:2]


def things(count: int = 2) -> list[Caster]:
    y, x = np.mgrid[:40, :20]
    shape = np.asarray((abs(x - 10) < 8) & ((y > 12) | ((x - 10) ** 2 + (y - 8) ** 2 < 60)))
    return [Caster(shape, (40 + 80 * number, 70 + 10 * number)) for number in range(count)]


def scene(lean: tuple[int, int] | None, count: int = 2, opposed: bool = False) -> Scene:
    """Grass with grain below a sky, and things on it with hard shadows."""
    rng = np.random.default_rng(3)
    pixels = np.empty((*SHAPE, 3))
    pixels[:50], pixels[50:] = (180, 200, 230), (120, 150, 90)
    pixels += rng.normal(0, 5, pixels.shape)
    index = np.where(np.arange(SHAPE[0])[:, None] < 50, 2, 1) * np.ones(SHAPE, int)
    segments = [Segment(1, GROUND, 1, Box(0, 50, SHAPE[1], SHAPE[0] - 50)), Segment(2, SKY, 1, Box(0, 0, SHAPE[1], 50))]
    for number, one in enumerate(things(count)):
        if lean:
            own = (-lean[0], lean[1]) if opposed and number else lean
            pixels[silhouette(one, own, Box(0, 0, SHAPE[1], SHAPE[0]))[0] & (index == 1)] *= 0.5
    for number, one in enumerate(things(count)):
        height, width = one.mask.shape
        box = Box(*one.position, width, height)
        pixels[box.crop()][one.mask] = (150, 60, 40)
        index[box.crop()][one.mask] = 3 + number
        segments.append(Segment(3 + number, THING, int(one.mask.sum()), box))
    photo: Any = Photo(np.clip(pixels, 0, 255).astype(np.uint8))
    record = Record("a", "a.jpg", SHAPE[1], SHAPE[0], "", "", "", "", "a.png", tuple(segments))
    return Scene(record, photo, SegmentMap(index.astype(np.uint8), tuple(segments), 0, 0), CATEGORIES)


@pytest.mark.parametrize("lean", [(921, 307), (-921, 307), (1331, -205), (-614, 512)])
def test_the_direction_of_the_shadows_is_found(lean: tuple[int, int]) -> None:
    found = light_of(scene(lean))
    assert found is not None
    ours, theirs = np.array(found.lean), np.array(lean)
    assert ours @ theirs > 0.9 * np.linalg.norm(ours) * np.linalg.norm(theirs)
    assert 90 <= found.cast <= 150 and found.softness <= 100


def test_without_shadows_there_is_no_light() -> None:
    assert light_of(scene(None)) is None
    assert light_of(scene(None, count=0)) is None


def test_things_that_disagree_show_no_light() -> None:
    assert light_of(scene((921, 307), opposed=True)) is None


def test_pasted_objects_follow_the_light_of_the_photo() -> None:
    place, lights = scene((921, 307)), Lights()
    one = things(1)[0]._replace(position=(80, 105))
    light = lights.of(place)
    shadow = shadow_of(place, lights, [one], [CATEGORIES[THING]], "cast", 0, "a")
    assert light is not None and shadow.lean == light.lean and shadow.cast == light.cast and shadow.contact
    assert not shadow.region(SHAPE)[:50].any()
    flat = shadow_of(place, lights, [one], [CATEGORIES[THING]], "contact", 0, "a")
    assert flat.lean == (0, 0) and flat.cast == 0 and flat.region(SHAPE).sum() < shadow.region(SHAPE).sum()


def test_shadows_are_drawn_by_key_where_the_photo_shows_none() -> None:
    place, lights = scene(None), Lights()
    one = things(1)[0]._replace(position=(80, 105))
    drawn = [shadow_of(place, lights, [one], [CATEGORIES[THING]], "cast", 0, key) for key in ("a", "b", "c", "a")]
    assert drawn[0] == drawn[3] and len({shadow.lean for shadow in drawn}) == 3
    assert all(shadow.cast and shadow.region(SHAPE).any() for shadow in drawn)


def test_what_stands_on_nothing_casts_no_shadow() -> None:
    place, lights = scene((921, 307)), Lights()
    dog, hanging = CATEGORIES[THING], Category(9, "traffic light", "outdoor", True)
    one = things(1)[0]
    for at, kind in (((80, 2), dog), ((80, 120), dog), ((80, 105), hanging)):
        assert shadow_of(place, lights, [one._replace(position=at)], [kind], "cast", 0) == Shadow()
    assert takes_shadow(CATEGORIES[GROUND]) and not takes_shadow(CATEGORIES[SKY])
