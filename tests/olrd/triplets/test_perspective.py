"""Horizons of scenes with a known one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_coco import make_scene

from olrd.models.coco_categories import coco_categories
from olrd.triplets.perspective import (
    HEIGHTS,
    Horizon,
    Standing,
    View,
    find_horizon,
    ground_edge,
    sizes,
    sizes_elsewhere,
    view_of,
)

NAMES = {1: "sky-other-merged", 2: "grass-merged", 3: "floor-wood", 4: "wall-brick"}
KINDS = coco_categories()
PLAIN = make_scene(np.full((100, 120), 4), NAMES)


def standing(name: str, foot: float, horizon: float, camera: float = 1.6) -> Standing:
    """A thing of the usual height on flat ground, seen from that height in metres."""
    return Standing(KINDS[name], foot, HEIGHTS[name] * (foot - horizon) / camera)


@given(
    st.floats(-40, 60), st.lists(st.tuples(st.sampled_from(sorted(HEIGHTS)), st.floats(64, 99)), min_size=3, max_size=6)
)
def test_exact_things_give_the_exact_horizon(row: float, things: list[tuple[str, float]]) -> None:
    feet = [foot for _, foot in things]
    found = find_horizon(PLAIN, [standing(name, foot, row) for name, foot in things])
    if found.source == "things":
        assert found.row == pytest.approx(row, abs=1e-6)
    else:  # nothing is far enough from anything, or hardly smaller
        ratios = [(a - row) / (b - row) for a in feet for b in feet if a - b >= 6]
        assert all(ratio <= 1.1 for ratio in ratios) or sum(r <= 1.1 for r in ratios) > 0.3 * len(ratios)


def test_things_that_contradict_each_other_give_none() -> None:
    """The farther ones are larger."""
    wrong = [Standing(KINDS["person"], 90, 20), Standing(KINDS["person"], 70, 40), Standing(KINDS["person"], 60, 60)]
    assert find_horizon(PLAIN, wrong).source == "unknown"


def test_classes_of_unknown_height_are_compared_with_their_own_only() -> None:
    bears = [Standing(KINDS["bear"], 90, 40), Standing(KINDS["bear"], 70, 20)]
    assert find_horizon(PLAIN, bears) == Horizon(50.0, "things")
    assert find_horizon(PLAIN, [bears[0], Standing(KINDS["dog"], 70, 20)]).source == "unknown"


def test_outdoors_the_edge_of_the_ground_is_the_horizon() -> None:
    index = np.full((100, 120), 1)
    index[45:] = 2
    scene = make_scene(index, NAMES)
    assert ground_edge(scene) == pytest.approx(46, abs=1)
    found = find_horizon(scene, [])
    assert found.source == "ground" and found.row == pytest.approx(44, abs=1)


@pytest.mark.parametrize(("far", "near"), [(4, 3), (4, 2), (1, 4)])
def test_indoors_and_without_ground_it_is_unknown(far: int, near: int) -> None:
    index = np.full((100, 120), far)
    index[45:] = near
    assert find_horizon(make_scene(index, NAMES), []).source == "unknown"


def test_a_hidden_edge_of_the_ground_tells_nothing() -> None:
    index = np.full((100, 120), 1)
    index[80:] = 2
    assert find_horizon(make_scene(index, NAMES), []).source == "unknown"


@given(st.floats(0, 55), st.floats(61, 100))
def test_sizes_follow_the_ground_plane(row: float, foot: float) -> None:
    found = sizes(Horizon(row, "things"), foot, 100, KINDS["grass-merged"], KINDS["dog"])
    assert found[0].scale == 1 and found[0].bottom == pytest.approx(foot / 100)
    for size in found:
        assert size.bottom * 100 - row == pytest.approx(size.scale * (foot - row))
        assert size.bottom <= 1
        # At the farthest allowed row, the size is wrong by 8 %.
        assert size.reach * 100 <= 0.0801 * size.scale * (foot - row)


@pytest.mark.parametrize("ground", [None, "sky-other-merged", "wall-brick", "grass-merged"])
def test_without_a_horizon_objects_do_not_grow(ground: str | None) -> None:
    found = sizes(Horizon(35.0, "unknown"), 80, 100, KINDS[ground] if ground else None, KINDS["person"])
    assert found[0].scale == 1
    assert [size.scale for size in found] == sorted({size.scale for size in found}, reverse=True)
    assert all(size.bottom <= 0.8 for size in found)


@given(
    st.tuples(st.floats(10, 50), st.floats(0.8, 4)),
    st.tuples(st.floats(10, 100), st.floats(0.8, 4)),
    st.floats(64, 99),
    st.sampled_from(sorted(HEIGHTS)),
)
def test_in_another_photo_a_thing_is_as_large_as_the_camera_would_see_it(
    own: tuple[float, float], there: tuple[float, float], foot: float, name: str
) -> None:
    """Its size is that of a thing of its height under the other camera, at every row that it may stand on."""
    views = [
        View(Horizon(row, "things"), shape, camera) for (row, camera), shape in ((own, (100, 120)), (there, (200, 150)))
    ]
    found = sizes_elsewhere(*views, foot, KINDS["grass-merged"], KINDS[name])
    here = standing(name, foot, own[0], own[1]).height
    for size in found:
        expected = standing(name, 200 * size.bottom, there[0], there[1]).height
        assert size.scale * here == pytest.approx(expected)
        assert size.bottom <= 1 and size.reach * 200 <= 0.0801 * (200 * size.bottom - there[0])


def test_the_camera_is_as_high_as_the_things_tell() -> None:
    things = [standing("person", 90, 40, 1.5), standing("car", 70, 40, 1.5)]
    found = view_of(PLAIN, things)
    assert found.horizon.row == pytest.approx(40) and found.camera == pytest.approx(1.5)
    assert view_of(PLAIN, [Standing(KINDS["dog"], 90, 20)]).camera is None


@pytest.mark.parametrize(
    ("name", "ground", "count"),
    [
        ("person", "grass-merged", 0),
        ("person", None, 0),
        ("dog", "grass-merged", 3),
        ("dog", None, 3),
        ("cup", "wall-brick", 3),
    ],
)
def test_without_horizons_only_things_of_any_height_have_a_size(name: str, ground: str | None, count: int) -> None:
    unknown = [View(Horizon(0.35 * shape[0], "unknown"), shape, None) for shape in ((100, 120), (50, 60))]
    found = sizes_elsewhere(*unknown, 80, KINDS[ground] if ground else None, KINDS[name])
    assert [size.scale for size in found] == pytest.approx([0.5, 0.4, 0.3][:count])
    larger = sizes_elsewhere(*unknown[::-1], 40, KINDS[ground] if ground else None, KINDS[name])
    assert all(size.scale <= 1.25 for size in larger)
