"""What is cut out as one object."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from synthetic_coco import make_scene

from olrd.triplets.groups import grouped, joined, singles
from olrd.triplets.scene import Scene

NAMES = {
    1: "grass-merged",
    2: "person",
    3: "handbag",
    4: "motorcycle",
    5: "dining table",
    6: "cup",
    7: "person",
    8: "tie",
}


def scene_of(*parts: tuple[int, slice, slice], crowds: tuple[int, ...] = ()) -> Scene:
    index: npt.NDArray[np.int64] = np.full((60, 80), 1)
    for number, rows, columns in parts:
        index[rows, columns] = number
    return make_scene(index, NAMES, crowds=crowds)


def names(scene: Scene, groups: list[tuple[int, ...]]) -> set[tuple[str, ...]]:
    """The groups of things, by the names of their classes."""
    kinds = [scene.categories[segment.category_id] for segment in scene.panoptic.segments]
    return {tuple(kinds[n - 1].name for n in group) for group in groups if kinds[group[0] - 1].isthing}


def found(scene: Scene, **verdicts: str) -> set[tuple[str, ...]]:
    kinds = [scene.categories[segment.category_id].name for segment in scene.panoptic.segments]
    return names(scene, grouped(scene, [verdicts.get(kind) for kind in kinds]))


PERSON = (2, slice(10, 50), slice(20, 34))
BAG = (3, slice(25, 33), slice(32, 40))


def test_a_bag_belongs_to_who_carries_it() -> None:
    assert found(scene_of(PERSON, (3, slice(25, 33), slice(26, 38)))) == {("person", "handbag")}


def test_what_touches_a_little_does_not_belong() -> None:
    assert found(scene_of(PERSON, (3, slice(25, 33), slice(34, 60)))) == {("person",), ("handbag",)}


def test_a_cup_does_not_belong_to_its_table() -> None:
    table = 5, slice(30, 50), slice(5, 75)
    assert found(scene_of(table, (6, slice(35, 41), slice(20, 26)))) == {("dining table",), ("cup",)}


def test_a_rider_and_a_motorcycle_are_one_object_under_the_name_of_the_larger() -> None:
    motorcycle = 4, slice(35, 50), slice(10, 50)
    rider = 2, slice(15, 40), slice(20, 32)
    assert found(scene_of(rider, motorcycle)) == {("motorcycle", "person")}


def test_what_the_carried_thing_carries_belongs_too() -> None:
    motorcycle = 4, slice(35, 50), slice(10, 50)
    rider = 2, slice(10, 40), slice(20, 32)
    assert found(scene_of(motorcycle, rider, (8, slice(20, 28), slice(24, 27)))) == {("motorcycle", "person", "tie")}


def test_persons_side_by_side_are_two_objects() -> None:
    assert found(scene_of(PERSON, (7, slice(12, 50), slice(34, 46)))) == {("person",)}


def test_nothing_belongs_to_what_is_no_candidate_or_a_crowd() -> None:
    scene = scene_of(PERSON, (3, slice(25, 33), slice(26, 38)))
    assert found(scene, person="too_large") == {("person",), ("handbag",)}
    crowd = scene_of((2, slice(10, 50), slice(20, 34)), (3, slice(25, 33), slice(26, 38)), crowds=(3,))
    assert found(crowd) == {("person",), ("handbag",)}


def test_every_segment_is_in_one_group() -> None:
    scene = scene_of(PERSON, BAG, (4, slice(35, 50), slice(45, 70)))
    numbers = sorted(n for group in grouped(scene, [None] * 4) for n in group)
    assert numbers == [1, 2, 3, 4] == sorted(n for (n,) in singles(scene))


def test_the_mask_of_a_group_is_the_union() -> None:
    scene = scene_of(PERSON, (3, slice(25, 33), slice(26, 38)))
    numbers = next(group for group in grouped(scene, [None] * 3) if len(group) > 1)
    group = joined(scene, numbers)
    whole = np.isin(scene.panoptic.index, numbers)
    assert group.segment.area == whole.sum() == group.mask.sum()
    assert np.array_equal(whole[group.segment.bbox.crop()], group.mask)
    assert scene.categories[group.segment.category_id].name == "person"
