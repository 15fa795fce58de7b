"""Companions: near to things of their class, apart or touching, never over one another."""

from __future__ import annotations

import numpy as np
import pytest

from olrd.arrays import Mask
from olrd.draws import draw_integer
from olrd.errors import Rejected
from olrd.panoptic import Box, Category, Record, Segment, SegmentMap
from olrd.triplets.photo import WorkingPhoto
from olrd.triplets.placements import Request, uniform
from olrd.triplets.scene import Scene
from olrd.triplets.several import LOOKS, Companion, Cut, Pasting, beside_like, companions, count_of, drawn_shape, gap

FLOOR, DOG, CAT = (
    Category(1, "floor", "ground", False),
    Category(2, "dog", "animal", True),
    Category(3, "cat", "animal", True),
)
HEIGHT, WIDTH = 120, 240


def scene() -> Scene:
    """A floor with a dog on the left and a cat on the right."""
    index = np.ones((HEIGHT, WIDTH), np.uint8)
    index[50:70, 20:40], index[50:70, 200:220] = 2, 3
    segments = (
        Segment(11, FLOOR.id, HEIGHT * WIDTH - 800, Box(0, 0, WIDTH, HEIGHT)),
        Segment(12, DOG.id, 400, Box(20, 50, 20, 20)),
        Segment(13, CAT.id, 400, Box(200, 50, 20, 20)),
    )
    record = Record("1", "1.jpg", WIDTH, HEIGHT, "unknown", "", "", "", "1.png", segments)
    photo = WorkingPhoto(b"", "1.jpg", None, True, (WIDTH, HEIGHT), (HEIGHT, WIDTH), 1 << 20)
    return Scene(record, photo, SegmentMap(index, segments, 0, 0), {c.id: c for c in (FLOOR, DOG, CAT)})


def cut(number: int) -> Cut:
    y, x = np.mgrid[:20, :20]
    return Cut(scene().panoptic.segments[number - 1], number, (x - 10) ** 2 + (y - 10) ** 2 < 100, FLOOR.id)


def request(one: Cut, scale: float, flip: bool, key: tuple[object, ...]) -> Request:
    return Request(one.mask, 0.6, one.surface, frozenset(), key, margin=3, frame=1)


HOW = Pasting(uniform, request, (1.0, 1.0), False)


def placed(one: Companion) -> Mask:
    found = np.zeros((HEIGHT, WIDTH), np.bool_)
    x, y = one.position
    found[y : y + 20, x : x + 20] = one.cut.mask
    return found


def test_the_gap_of_boxes() -> None:
    box = Box(10, 10, 5, 5)
    assert gap(box, Box(12, 12, 1, 1)) == gap(box, Box(15, 10, 5, 5)) == 0
    assert gap(box, Box(18, 10, 5, 5)) == gap(Box(18, 10, 5, 5), box) == 3
    assert gap(box, Box(18, 24, 5, 5)) == 9


def test_the_nearest_look_to_a_like_thing_is_taken() -> None:
    ground = scene()
    for sample in range(8):
        asked = request(cut(2), 1.0, False, (0, sample))
        looks = [uniform(ground, asked._replace(key=(0, sample, "look", k))) for k in range(LOOKS)]
        for kind, home in ((DOG, Box(20, 50, 20, 20)), (CAT, Box(200, 50, 20, 20))):
            x, y = beside_like(ground, uniform, asked, kind.id)
            best = min(gap(Box(*look, 20, 20), home) for look in looks)  # type: ignore[call-arg]
            assert gap(Box(x, y, 20, 20), home) == best


def test_companions_never_overlap_and_some_touch() -> None:
    ground, gaps, kinds = scene(), [], set()
    for sample in range(12):
        first = Companion(cut(2), uniform(ground, request(cut(2), 1.0, False, (sample,))), 1.0, False)
        found = companions(ground, first, [cut(2), cut(3)], 2, HOW, sample)
        again = companions(ground, first, [cut(2), cut(3)], 2, HOW, sample)
        assert [one.position for one in again] == [one.position for one in found]
        masks = [placed(one) for one in (first, *found)]
        assert np.sum(masks, axis=0).max() == 1
        assert not (np.any(masks, axis=0) & ground.things).any()
        kinds |= {one.cut.segment.category_id for one in found}
        boxes = [Box(one.position[0], one.position[1], 20, 20) for one in (first, *found)]
        gaps += [min(gap(box, other) for other in boxes[:k]) for k, box in enumerate(boxes) if k]
    assert kinds == {DOG.id, CAT.id}
    assert sum(one == 0 for one in gaps) >= 4 and sum(one > 3 for one in gaps) >= 4


def test_the_scene_itself_keeps_its_room() -> None:
    ground = scene()
    before = uniform(ground, request(cut(2), 1.0, False, ("a",)))
    with pytest.raises(Rejected):
        uniform(ground.without(np.ones((HEIGHT, WIDTH), np.bool_)), request(cut(2), 1.0, False, ("a",)))
    assert uniform(ground, request(cut(2), 1.0, False, ("a",))) == before


def test_no_room_gives_fewer_companions() -> None:
    def nowhere(scene: Scene, asked: Request) -> tuple[int, int]:
        raise Rejected("no_position", "full")

    first = Companion(cut(2), (100, 20), 1.0, False)
    assert companions(scene(), first, [cut(2)], 2, HOW._replace(place=nowhere), "a") == []


def test_numbers_and_shapes_are_drawn_from_the_key() -> None:
    assert {count_of((1, 3), 0, sample) for sample in range(40)} == {1, 2, 3}
    assert {count_of((2, 2), 0, sample) for sample in range(9)} == {2}
    assert drawn_shape((1.0, 1.0), False, "a") == (1.0, False)
    scale, flip = drawn_shape((0.5, 2.0), True, "a")
    assert 0.5 <= scale < 2 and flip == (draw_integer(2, "a", "flip") == 1)
