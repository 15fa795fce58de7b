"""What an object stands on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from synthetic_coco import make_scene

from olrd.models.coco_categories import coco_categories
from olrd.triplets.scene import Scene
from olrd.triplets.surfaces import find_foot, foot_mask, same_kind, surface_under

NAMES = {1: "sky-other-merged", 2: "grass-merged", 3: "road", 7: "dog", 8: "chair", 9: "person"}
KINDS = {category.id: category for category in coco_categories().values()}
DOG = (slice(14, 24), slice(10, 20))


def field_with_dog(**parts: tuple[slice, slice]) -> npt.NDArray[np.int64]:
    """A 40 x 30 map: sky, grass from row 12 on, a dog of 10 x 10, then `parts` on top."""
    index = np.full((30, 40), 1)
    index[12:] = 2
    index[DOG] = 7
    for name, where in parts.items():
        index[where] = {"void": 0, "road": 3, "chair": 8, "crowd": 9}[name]
    return index


def under(index: npt.NDArray[np.int64]) -> int | None:
    scene = make_scene(index, NAMES, crowds=(9,))
    return surface_of(scene, 7)


def surface_of(scene: Scene, number: int) -> int | None:
    place = [segment.id for segment in scene.panoptic.segments].index(number)
    segment = scene.panoptic.segments[place]
    mask = scene.panoptic.index[segment.bbox.crop()] == place + 1
    return surface_under(scene, segment, (place + 1,), mask)


def kind(name: str) -> int:
    return coco_categories()[name].id


def test_the_class_right_below_is_the_surface() -> None:
    assert under(field_with_dog()) == kind("grass-merged")


def test_a_seam_of_void_does_not_matter() -> None:
    seam = slice(24, 27), slice(10, 20)
    assert under(field_with_dog(void=seam)) == kind("grass-merged")


def test_the_majority_of_the_contact_line_wins() -> None:
    assert under(field_with_dog(road=(slice(24, 30), slice(10, 14)))) == kind("grass-merged")
    assert under(field_with_dog(road=(slice(24, 30), slice(10, 16)))) == kind("road")


@pytest.mark.parametrize("what", ["chair", "crowd"])
def test_an_object_on_a_thing_has_no_surface(what: str) -> None:
    assert under(field_with_dog(**{what: (slice(24, 28), slice(8, 22))})) is None


def test_void_all_the_way_down_is_no_surface() -> None:
    assert under(field_with_dog(void=(slice(24, 30), slice(0, 40)))) is None


def test_an_object_at_the_lower_edge_has_no_surface() -> None:
    index = np.full((30, 40), 2)
    index[20:, 10:20] = 7
    assert under(index) is None


def test_an_overhang_does_not_vote() -> None:
    """A mushroom: the cap is over road, the stem stands on grass."""
    index = np.full((40, 40), 3)
    index[30:, 17:24] = 2
    index[10:16, 5:36] = 7
    index[10:32, 18:23] = 7
    assert under(index) == kind("grass-merged")


@given(hnp.arrays(np.int8, (12, 6), elements=st.sampled_from([0, 2, 2, 3, 3, 7, 8])))
def test_the_vote_equals_the_walk_down(below: npt.NDArray[np.int8]) -> None:
    """Under each contact pixel the first label within reach that is not the object's own counts."""
    index = np.full((30, 10), 1)
    index[6:18, 2:8] = 7
    index[18:, 2:8] = below
    votes: list[int] = []
    scene = make_scene(index, NAMES)
    place = [segment.id for segment in scene.panoptic.segments].index(7)
    box = scene.panoptic.segments[place].bbox
    foot = find_foot(index[box.crop()] == 7)
    for y, x in zip((foot.rows + box.y).tolist(), (foot.columns + box.x).tolist(), strict=True):
        reach = index[y + 1 : y + 1 + max(6, box.h // 12), x]
        votes += [v for v in reach.tolist() if v not in (0, 7)][:1]
    counts = {v: votes.count(v) for v in votes}
    best = [v for v, count in counts.items() if count == max(counts.values())]
    if len(best) == 1:
        expected = None if best == [8] else kind(NAMES[best[0]])
        assert surface_of(scene, 7) == expected
    elif not votes:
        assert surface_of(scene, 7) is None


def naive_foot(mask: npt.NDArray[np.bool_], share: float = 0.08) -> set[tuple[int, int]]:
    """The lowest pixel of each column, if it is low enough."""
    lowest = {x: max(y for y in range(mask.shape[0]) if mask[y, x]) for x in range(mask.shape[1]) if mask[:, x].any()}
    limit = max(lowest.values()) - max(3, int(share * mask.shape[0]))
    return {(y, x) for x, y in lowest.items() if y >= limit}


masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 70), st.integers(1, 8)), elements=st.booleans()).filter(np.any)


@given(masks)
def test_foot_equals_the_plain_loop(mask: npt.NDArray[np.bool_]) -> None:
    foot = find_foot(mask)
    found = list(zip(foot.rows.tolist(), foot.columns.tolist(), strict=True))
    assert set(found) == naive_foot(mask)
    assert len(found) == len(set(found))


@given(masks)
def test_strip_is_the_foot_and_the_pixel_below(mask: npt.NDArray[np.bool_]) -> None:
    strip = foot_mask(mask)
    expected = np.zeros((mask.shape[0] + 1, mask.shape[1]), np.bool_)
    for y, x in naive_foot(mask):
        expected[y : y + 2, x] = True
    assert np.array_equal(strip, expected)


def test_same_kind_is_the_family_without_things() -> None:
    floors = same_kind(kind("floor-wood"), KINDS)
    assert floors == {kind("floor-wood"), kind("floor-other-merged")}
    assert kind("grass-merged") in same_kind(kind("flower"), KINDS)
    assert same_kind(kind("sky-other-merged"), KINDS) == {kind("sky-other-merged")}
    assert not any(KINDS[number].isthing for number in same_kind(kind("road"), KINDS))


def standing(ground: str, thing: str, mask: npt.NDArray[np.bool_]) -> int | None:
    """The surface of a `thing` of that shape, 4 columns from the left, its lowest row 30 of 40, all over `ground`."""
    index = np.full((40, 40), 1)
    height, width = mask.shape
    index[30 - height : 30, 4 : 4 + width][mask] = 2
    return surface_of(make_scene(index, {1: ground, 2: thing}), 2)


@pytest.mark.parametrize("thing", ["traffic light", "stop sign"])
def test_what_hangs_on_a_pole_has_no_surface(thing: str) -> None:
    """Whatever is behind it does not carry it; a clock on the same wall keeps its wall."""
    shape = np.ones((10, 10), np.bool_)
    assert standing("wall-brick", thing, shape) is None
    assert standing("wall-brick", "clock", shape) == kind("wall-brick")


@pytest.mark.parametrize(
    "ground", ["net", "fence-merged", "curtain", "wall-brick", "counter", "shelf", "table-merged", "cabinet-merged"]
)
def test_who_is_behind_something_does_not_stand_on_it(ground: str) -> None:
    legs = np.ones((20, 10), np.bool_)
    legs[12:, 3:7] = False
    assert standing(ground, "person", legs) is None
    for open_ground in ("grass-merged", "stairs"):
        assert standing(open_ground, "person", legs) == kind(open_ground)


def test_what_stands_on_furniture_does_not_hang_on_its_front() -> None:
    shape = np.ones((10, 14), np.bool_)
    assert standing("counter", "microwave", shape) == kind("counter")
    assert standing("cabinet-merged", "microwave", shape) is None
    assert standing("cabinet-merged", "clock", shape) == kind("cabinet-merged")


def test_a_figure_cut_at_the_waist_has_no_surface() -> None:
    bust = np.ones((20, 10), np.bool_)
    bust[:5, :3] = bust[:5, 7:] = False
    assert standing("grass-merged", "person", bust) is None
    assert standing("grass-merged", "dog", bust) == kind("grass-merged")
    lying = np.ones((8, 24), np.bool_)
    assert standing("grass-merged", "person", lying) == kind("grass-merged")


def test_classes_without_a_supercategory_are_no_family() -> None:
    """Otherwise a person on grass could stand on the sky where a tool writes no supercategories."""
    plain = {c.id: c._replace(supercategory="") for c in KINDS.values()}
    assert same_kind(kind("floor-wood"), plain) == {kind("floor-wood")}
