"""Choosing a position: only legal ones, the right one, and a reason when there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from synthetic_coco import make_scene, write_coco

from olrd.config import BuildConfig, CandidateRules
from olrd.errors import Rejected
from olrd.models.coco_categories import coco_categories
from olrd.sources import SourceSpec, open_source
from olrd.triplets.maker import TripletMaker
from olrd.triplets.placements import HEIGHT_LIMIT, Request, centroid, supported, uniform
from olrd.triplets.recipe import Recipe
from olrd.triplets.scene import SEAM, Scene
from olrd.triplets.surfaces import foot_mask, lowest_standing
from olrd.triplets.tally import Tally

Bits = npt.NDArray[np.bool_]
Placement = Callable[[Scene, Request], tuple[int, int]]
NAMES = {1: "sky-other-merged", 2: "grass-merged", 3: "floor-wood", 4: "floor-other-merged", 7: "dog", 8: "chair"}
GRASS = coco_categories()["grass-merged"].id
WOOD = coco_categories()["floor-wood"].id
PLACES = (centroid, uniform, supported)


def request(mask: npt.ArrayLike, **change: Any) -> Request:
    standard = Request(np.asarray(mask, np.bool_), 0.7, GRASS, frozenset(), (0, "sample"), margin=0, frame=0)
    return standard._replace(**change)


def meadow(height: int = 40, width: int = 50) -> npt.NDArray[np.int64]:
    """Sky, grass from the middle on, a dog on the grass."""
    index = np.full((height, width), 1)
    index[height // 2 :] = 2
    index[height // 2 : height // 2 + 8, 6:13] = 7
    return index


def naive_legal(scene: Scene, asked: Request) -> set[tuple[int, int]]:
    """All (x, y) at which no mask pixel is within the margin of a thing, or unlabelled and in no seam."""
    height, width = scene.shape
    kinds, table = scene.categories, scene.panoptic
    free = np.zeros((height, width), np.bool_)
    for number, segment in enumerate(table.segments, start=1):
        if not kinds[segment.category_id].isthing and not segment.iscrowd:
            free |= table.index == number
    void = table.index == 0
    blocked = np.zeros_like(free)
    limit = asked.margin * asked.margin + asked.margin
    for y, x in np.argwhere(~free & ~void):
        v, u = np.ogrid[:height, :width]
        blocked |= (v - y) ** 2 + (u - x) ** 2 <= limit
    for y, x in np.argwhere(void):
        blocked[y, x] |= not naive_seam(free, y, x)
    if not asked.sides:
        inner = np.zeros_like(blocked)
        frame = asked.frame
        inner[frame : height - frame, frame : width - frame] = True
        blocked |= ~inner
    h, w = asked.mask.shape
    return {
        (x, y)
        for y in range(height - h + 1)
        for x in range(width - w + 1)
        if not (blocked[y : y + h, x : x + w] & asked.mask).any()
    }


def naive_seam(stuff: Bits, y: int, x: int, reach: int = SEAM // 2) -> bool:
    """Whether every square that holds the pixel, and is as wide as a seam, holds stuff too."""

    def square(v: int, u: int) -> tuple[slice, slice]:
        return slice(max(v - reach, 0), v + reach + 1), slice(max(u - reach, 0), u + reach + 1)

    rows, columns = square(y, x)
    centres = [(v, u) for v in range(*rows.indices(len(stuff))) for u in range(*columns.indices(stuff.shape[1]))]
    return all(stuff[square(v, u)].any() for v, u in centres)


def many(place: Placement, scene: Scene, asked: Request, count: int = 200) -> set[tuple[int, int]]:
    return {place(scene, asked._replace(key=(0, k))) for k in range(count)}


def test_uniform_reaches_every_legal_position_and_no_other() -> None:
    index = np.full((11, 12), 1)
    index[4, 4] = 7
    index[8, 9] = 0
    scene = make_scene(index, NAMES)
    asked = request(np.ones((3, 4)), margin=1, frame=1)
    legal = naive_legal(scene, asked)
    assert 5 < len(legal) < 40
    assert many(uniform, scene, asked, 600) == legal


@pytest.mark.slow
def test_uniform_is_uniform() -> None:
    scene = make_scene(np.ones((6, 8), int), NAMES)
    drawn = [uniform(scene, request(np.ones((3, 4)), key=(k,))) for k in range(4000)]
    counts = np.array([drawn.count(position) for position in set(drawn)])
    assert len(counts) == 20
    assert ((counts - 200) ** 2 / 200).sum() < 55


def paper_position(region: Bits, mask: Bits) -> tuple[int, int]:
    """The paper's shift: integer means of the coordinates, region minus object."""
    centre = [int(np.mean(axis)) for axis in np.nonzero(region)]
    own = [int(np.mean(axis)) for axis in np.nonzero(mask)]
    return centre[1] - own[1], centre[0] - own[0]


def test_centroid_is_the_papers_where_that_is_legal() -> None:
    index = np.full((31, 43), 2)
    index[:4, :9] = 7
    index[20:, 40:] = 0
    scene = make_scene(index, NAMES)
    mask = np.triu(np.ones((5, 8), np.bool_))
    assert centroid(scene, request(mask)) == paper_position(index == 2, mask)


def test_centroid_takes_the_nearest_legal_position_otherwise() -> None:
    index = np.full((31, 43), 2)
    index[10:22, 15:27] = 7
    scene = make_scene(index, NAMES)
    asked = request(np.tri(4, 6), margin=2, frame=1)
    x, y = paper_position(index == 2, asked.mask)
    legal = naive_legal(scene, asked)
    assert (x, y) not in legal
    found = centroid(scene, asked)
    assert found in legal
    distances = {p: (p[0] - x) ** 2 + (p[1] - y) ** 2 for p in legal}
    assert distances[found] == min(distances.values())


def test_centroid_draws_the_region_by_area() -> None:
    index = np.full((40, 50), 1)
    index[30:] = 2
    scene = make_scene(index, NAMES)
    drawn = [centroid(scene, request(np.ones((2, 2)), key=(k,))) for k in range(400)]
    in_grass = sum(y >= 29 for _, y in drawn) / len(drawn)
    assert in_grass == pytest.approx(0.25, abs=0.08)


def test_supported_keeps_the_surface_and_the_height() -> None:
    index = meadow()
    index[20:, 35:] = 3
    scene = make_scene(index, NAMES)
    mask = np.ones((6, 5), np.bool_)
    asked = request(mask, bottom=28 / 40, margin=1)
    legal = naive_legal(scene, asked)
    found = many(supported, scene, asked)
    assert len(found) > 30
    assert found <= legal
    for x, y in found:
        strip = foot_mask(mask)
        assert (index[y : y + 7, x : x + 5][strip] == 2).all()
        assert abs(y + 6 - 28) <= HEIGHT_LIMIT * 40


def test_supported_prefers_the_old_height() -> None:
    index = np.full((80, 60), 2)
    scene = make_scene(index, NAMES)
    drawn = [supported(scene, request(np.ones((6, 5)), bottom=0.5, key=(k,)))[1] + 6 for k in range(600)]
    near = np.mean([abs(bottom - 40) <= 4 for bottom in drawn])
    assert 0.4 < near < 0.85


def test_supported_falls_back_to_the_family() -> None:
    """Stood on a wooden floor; this photo has another floor only."""
    index = np.full((40, 50), 1)
    index[20:] = 4
    scene = make_scene(index, NAMES)
    mask = np.ones((6, 5), np.bool_)
    for x, y in many(supported, scene, request(mask, surface=WOOD), 50):
        assert (index[y : y + 7, x : x + 5][foot_mask(mask)] == 4).all()


def test_supported_takes_the_same_class_before_the_family() -> None:
    index = np.full((40, 50), 1)
    index[20:] = 4
    index[20:, 30:] = 3
    scene = make_scene(index, NAMES)
    found = many(supported, scene, request(np.ones((6, 5)), surface=WOOD), 50)
    assert all(x >= 30 for x, _ in found)


def test_supported_takes_other_open_ground_last() -> None:
    """A dog from a floor may not stand on grass, one from sand may."""
    index = np.full((40, 50), 2)
    mask = np.ones((6, 5), np.bool_)
    grass = make_scene(index, NAMES)
    asked = request(mask, surface=WOOD, ground=frozenset({GRASS}))
    assert many(supported, grass, asked, 20) <= naive_legal(grass, asked)
    with pytest.raises(Rejected, match="no legal position"):
        supported(grass, asked._replace(ground=frozenset()))


def test_reach_limits_the_move() -> None:
    scene = make_scene(np.full((80, 60), 2), NAMES)
    asked = request(np.ones((6, 5)), bottom=0.5, reach=0.03, spread=0.01)
    assert {y + 6 for _, y in many(supported, scene, asked)} <= {38, 39, 40, 41, 42}


def test_an_object_on_a_table_stays_on_a_table() -> None:
    """It may cover the table and what is behind it, but nothing that stands on the floor may."""
    names = {**NAMES, 9: "dining table"}
    index = np.full((40, 50), 1)
    index[18:30, 10:40] = 9
    scene = make_scene(index, names)
    table = coco_categories()["dining table"].id
    mask = np.ones((6, 5), np.bool_)
    for x, y in many(supported, scene, request(mask, surface=table, bottom=0.6), 60):
        assert (index[y : y + 7, x : x + 5][foot_mask(mask)] == 9).all()
    assert not any(index[y : y + 6, x : x + 5].max() == 9 for x, y in many(uniform, scene, request(mask), 60))


def test_nothing_is_placed_on_the_front_of_a_table() -> None:
    """Below the lowest thing that stands on it, and the object's own old row, a table may be seen from the front."""
    names = {**NAMES, 9: "dining table", 10: "cup"}
    index = np.full((60, 50), 1)
    index[18:56, 5:45] = 9
    index[20:27, 8:12] = 10
    table = coco_categories()["dining table"].id
    asked = request(np.ones((6, 5), np.bool_), surface=table, bottom=24 / 60, reach=1.0, spread=1.0)
    assert lowest_standing(make_scene(index, names), table) == 27
    assert max(y + 6 for _, y in many(supported, make_scene(index, names), asked, 60)) == 27
    alone = make_scene(np.where(index == 10, 9, index), names)
    assert lowest_standing(alone, table) == 0
    assert max(y + 6 for _, y in many(supported, alone, asked, 60)) == 24


@pytest.mark.parametrize("sides", [(), ("left",), ("right",), ("bottom",), ("bottom", "left")])
def test_beyond_the_frame_means_partly_inside(sides: tuple[str, ...]) -> None:
    """By one pixel to `beyond`, and at the side that cuts the object already."""
    index = np.full((40, 50), 2)
    index[10:35, 20:30] = 7
    scene = make_scene(index, NAMES)
    mask = np.ones((8, 12), np.bool_)
    asked = request(mask, sides=frozenset(sides), bottom=1.0 if "bottom" in sides else 0.6, margin=1, beyond=7)
    found = many(supported, scene, asked)
    assert {max(-x, x + 12 - 50) for x, _ in found} == set(range(1, 8))
    wanted = {side for side in ("left", "right") if side in sides} or {"left", "right"}
    assert {"left" if x < 0 else "right" for x, _ in found} == wanted


def test_no_surface_has_its_reason() -> None:
    with pytest.raises(Rejected) as caught:
        supported(make_scene(meadow(), NAMES), request(np.ones((3, 3)), surface=None))
    assert caught.value.code == "no_surface"


def test_a_surface_that_is_not_here_has_its_reason() -> None:
    with pytest.raises(Rejected) as caught:
        supported(make_scene(meadow(), NAMES), request(np.ones((3, 3)), surface=WOOD))
    assert caught.value.code == "no_position"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("shape", [(12, 60), (60, 12), (35, 48)])
def test_an_object_that_fits_nowhere_has_its_reason(place: Placement, shape: tuple[int, int]) -> None:
    """Wider than the photo, taller than it, or as large as its background."""
    with pytest.raises(Rejected) as caught:
        place(make_scene(meadow(), NAMES), request(np.ones(shape), margin=2, frame=2))
    assert caught.value.code == "no_position"


@pytest.mark.parametrize("place", PLACES)
def test_a_photo_of_things_alone_has_no_position(place: Placement) -> None:
    with pytest.raises(Rejected) as caught:
        place(make_scene(np.full((20, 20), 7), NAMES), request(np.ones((3, 3))))
    assert caught.value.code == "no_position"


@pytest.mark.parametrize("place", PLACES)
def test_taken_positions_are_avoided(place: Placement) -> None:
    """The second paste overlaps the first by less than half in one direction at least."""
    scene = make_scene(meadow(), NAMES)
    asked = request(np.ones((6, 8)), margin=1)
    first = place(scene, asked)
    for k in range(40):
        x, y = place(scene, asked._replace(key=(1, k), taken=(first,)))
        assert abs(x - first[0]) >= 4 or abs(y - first[1]) >= 3


@pytest.mark.parametrize("place", PLACES)
def test_when_all_is_taken_there_is_no_position(place: Placement) -> None:
    scene = make_scene(np.full((8, 8), 2), NAMES)
    taken = tuple((x, y) for x in range(6) for y in range(6))
    with pytest.raises(Rejected) as caught:
        place(scene, request(np.ones((3, 3)), taken=taken, bottom=0.5))
    assert caught.value.code == "no_position"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_truncated_objects_stay_at_their_side(place: Placement, side: str) -> None:
    index = np.full((40, 50), 2)
    bottom = {"top": 6 / 40, "bottom": 1.0}.get(side, 0.5)
    asked = request(np.ones((6, 8)), sides=frozenset({side}), bottom=bottom, frame=3, margin=1)
    for x, y in many(place, make_scene(index, NAMES), asked, 40):
        at_side = {"left": x == 0, "right": x == 42, "top": y == 0, "bottom": y == 34}
        assert at_side[side]


@pytest.mark.slow
def test_a_mirrored_truncated_object_goes_to_the_other_side(tmp_path: Path) -> None:
    """Its cut edge is now on its other side; there it must meet the frame."""
    root = write_coco(tmp_path, 3)
    spec = SourceSpec("coco", str(root))
    rules = CandidateRules(min_area=0.001, allow_truncated=True)
    mirrored = 0
    for seed in range(8):
        config = BuildConfig(spec, flip=True, rules=rules, seed=seed, blend="hard", margin=0)
        config = replace(config, placement="uniform")
        maker = TripletMaker(open_source(spec), config)
        for index in range(3):
            for row in maker.photo(index, Tally()):
                recipe = Recipe.from_json(row["recipe"])
                if recipe.source_bbox.x + recipe.source_bbox.w == row["width"] and recipe.flip:
                    mirrored += 1
                    assert row["bbox"][0] == 0
    assert mirrored


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Small maps of a few rectangles of stuff, things and void."""
    index = np.full((draw(st.integers(8, 22)), draw(st.integers(8, 22))), draw(st.integers(1, 4)))
    for _ in range(draw(st.integers(0, 5))):
        y, x = draw(st.integers(0, 20)), draw(st.integers(0, 20))
        h, w = draw(st.integers(1, 8)), draw(st.integers(1, 8))
        index[y : y + h, x : x + w] = draw(st.sampled_from([0, 1, 2, 3, 4, 7, 8]))
    return make_scene(index, NAMES)


small_masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 6))).filter(np.any)


@given(scenes(), small_masks, st.integers(0, 3), st.integers(0, 3), st.integers())
def test_every_choice_is_legal_and_none_means_none(scene: Scene, mask: Bits, margin: int, frame: int, key: int) -> None:
    asked = request(mask, margin=margin, frame=frame, key=(key,), bottom=0.6)
    legal = naive_legal(scene, asked)
    for place in PLACES:
        try:
            assert place(scene, asked) in legal
        except Rejected as error:
            assert error.code == "no_position"
            assert not legal or place is supported
