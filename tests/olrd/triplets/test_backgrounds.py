"""Which other photo an object is pasted into, on drawn photos that differ in one thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_coco import make_scene

from olrd.arrays import Image, encode_image
from olrd.config import BuildConfig, CandidateRules
from olrd.models.coco_categories import coco_categories
from olrd.panoptic import Category, PanopticMap, Record, Segment
from olrd.sources import SourceSpec
from olrd.splits import split_of
from olrd.triplets.backgrounds import UNLISTED, category_shares, likeness
from olrd.triplets.maker import TripletMaker
from olrd.triplets.recipe import Recipe
from olrd.triplets.tally import Tally

NAMES = {1: "sky-other-merged", 2: "grass-merged", 3: "dog", 4: "sea", 5: "house"}
HOME = np.full((160, 200), 1)
HOME[60:] = 2
PLACE = HOME.copy()
HOME[100:130, 60:110] = 3
SPLIT = (("all", 1.0),)


class Drawn:
    """A source of drawn photos."""

    name, background_kind, fingerprint = "drawn", "stuff", "0"

    def __init__(self, photos: list[tuple[np.ndarray, Image]], names: Mapping[int, str] = NAMES) -> None:
        self.categories: Mapping[int, Category] = {kind.id: kind for kind in coco_categories().values()}
        self.photos = [(make_scene(index, names), pixels) for index, pixels in photos]

    def __len__(self) -> int:
        return len(self.photos)

    def image_id(self, index: int) -> str:
        return str(index)

    def record(self, index: int) -> Record:
        return replace(self.photos[index][0].record, image_id=str(index), file_name=f"{index}.webp")

    def photo_bytes(self, record: Record) -> bytes:
        return encode_image(self.photos[int(record.image_id)][1])

    def panoptic(self, record: Record, width: int, height: int) -> PanopticMap:
        found = self.photos[int(record.image_id)][0].panoptic
        ids = np.array([0, *(segment.id for segment in found.segments)], np.uint32)[found.index]
        return PanopticMap(ids, found.segments)


def painted(index: np.ndarray, seed: int) -> Image:
    """Every class in its colour, with some grain."""
    colours = np.array(
        [
            [0, 0, 0],
            [150, 180, 220],
            [90, 140, 60],
            [200, 160, 90],
            [60, 90, 120],
            [150, 120, 110],
            [90, 40, 40],
            [40, 40, 90],
        ]
    )
    grain = np.random.default_rng(seed).normal(0, 6, index.shape)[..., None]
    return np.clip(colours[index] + grain, 0, 255).astype(np.uint8)


RULES = CandidateRules(refine_outlines=False, min_edge=0.0)


def pasted(
    photos: list[tuple[np.ndarray, Image]], names: Mapping[int, str] = NAMES, **options: object
) -> tuple[list[dict[str, object]], Tally]:
    """The triplets of the objects in photo 0."""
    config = BuildConfig(SourceSpec("demo"), form="recipes", donor="other", splits=SPLIT, rules=RULES)
    tally = Tally()
    config = replace(config, **options)  # type: ignore[arg-type]
    return list(TripletMaker(Drawn(photos, names), config).photo(0, tally)), tally  # type: ignore[arg-type]


OWN = (HOME, painted(HOME, 0))
TWIN = (PLACE, painted(PLACE, 1))
CHANGES: dict[str, Callable[[Image], np.ndarray]] = {
    "dark": lambda image: image * 0.4,
    "warm": lambda image: image * np.array([1.2, 1.0, 0.7]),
    "grey": lambda image: image.mean(axis=2, keepdims=True).repeat(3, axis=2),
    "noisy": lambda image: image + np.random.default_rng(5).normal(0, 25, image.shape),
    "blurred": lambda image: (image + np.roll(image, 1, 0) + np.roll(image, 1, 1) + np.roll(image, 2, 1)) / 4,
}


@pytest.mark.parametrize("twin_first", [False, True])
@pytest.mark.parametrize("name", CHANGES)
def test_the_photo_that_looks_more_alike_is_taken(name: str, twin_first: bool) -> None:
    other = (PLACE, np.clip(CHANGES[name](TWIN[1].astype(float)), 0, 255).astype(np.uint8))
    rows, _ = pasted([OWN, TWIN, other] if twin_first else [OWN, other, TWIN], per_object=1)
    assert [row["image_id"] for row in rows] == ["1" if twin_first else "2"]
    assert rows[0]["donor_image_id"] == "0"


def test_the_photo_with_the_nearer_horizon_is_taken() -> None:
    high = np.full((160, 200), 1)
    high[30:] = 2
    rows, _ = pasted([OWN, (high, painted(high, 1)), TWIN], per_object=1)
    assert [row["image_id"] for row in rows] == ["2"]


def test_photos_that_show_something_else_are_not_opened() -> None:
    """No grass to stand on, or hardly anything in common."""
    sea = np.where(PLACE == 2, 4, 1)
    houses = np.full(PLACE.shape, 5)
    houses[150:] = 2
    rows, tally = pasted([OWN, (sea, painted(sea, 1)), (houses, painted(houses, 1))])
    assert rows == [] and dict(tally.objects_rejected)["no_fitting_photo"] == 1
    assert tally.objects_used + sum(tally.objects_rejected.values()) == tally.objects_read


def test_each_triplet_of_an_object_takes_another_photo() -> None:
    places = [(PLACE, painted(PLACE, seed)) for seed in range(1, 5)]
    rows, _ = pasted([OWN, *places], per_object=3)
    assert len({row["image_id"] for row in rows}) == len(rows) == 3
    assert len({row["image_id"] for row in pasted([OWN, *places[:2]], per_object=3)[0]}) == 2


def test_photos_of_other_splits_are_not_taken() -> None:
    splits = (("a", 0.5), ("b", 0.5))
    places = [(PLACE, painted(PLACE, seed)) for seed in range(1, 9)]
    rows, _ = pasted([OWN, *places], splits=splits)
    assert rows and {split_of(str(row["image_id"]), splits) for row in rows} == {split_of("0", splits)}


def test_a_damaged_photo_is_passed_over() -> None:
    class Damaged(Drawn):
        def photo_bytes(self, record: Record) -> bytes:
            return b"no picture" if record.image_id == "1" else super().photo_bytes(record)

    config = BuildConfig(SourceSpec("demo"), form="recipes", donor="other", splits=SPLIT, per_object=1)
    maker = TripletMaker(Damaged([OWN, TWIN, (PLACE, painted(PLACE, 2))]), config)  # type: ignore[arg-type]
    assert [row["image_id"] for row in maker.photo(0, Tally())] == ["2"]


def test_the_size_follows_the_other_photos_ground() -> None:
    """Both show their horizon, so the size is the ratio of the distances from it."""
    low = np.full((200, 200), 1)
    low[90:] = 2
    rows, _ = pasted([OWN, (low, painted(low, 1))])
    assert rows
    for row in rows:
        recipe = Recipe.from_json(str(row["recipe"]))
        foot = recipe.position[1] + round(30 * recipe.scale)
        horizon = [60 + 2 - 0.02 * 160, 90 + 2.2 - 0.02 * 200]  # the upper 2 % of the ground do not count
        assert recipe.scale == pytest.approx((foot - horizon[1]) / (130 - horizon[0]), rel=0.12)


def test_things_of_other_classes_still_tell_the_size() -> None:
    """A room has no horizon but that of the people in it, which --categories leaves out."""
    names = {1: "wall-brick", 2: "floor-wood", 3: "sheep", 6: "person", 7: "person"}
    room = np.full((240, 320), 1)
    room[120:] = 2
    for number, (left, foot) in ((6, (20, 220)), (7, (270, 160))):  # the horizon is row 70
        height = (foot - 70) * 9 // 10
        room[foot - height : foot - height // 4, left : left + height // 3] = number
        room[foot - height // 4 : foot, left : left + height // 6] = number  # legs: a whole figure
    home = room.copy()
    home[170:200, 120:170] = 3
    photos = [(index, painted(index, seed)) for seed, index in enumerate((home, room))]
    everything = pasted(photos, names)[0]
    only_sheep = pasted(photos, names, rules=replace(RULES, categories=("sheep",)))[0]
    sheep = [row["recipe"] for row in everything if row["category"] == "sheep"]
    assert sheep and sheep == [row["recipe"] for row in only_sheep]


SHARES = st.dictionaries(st.integers(1, 9), st.floats(0.01, 1), min_size=1, max_size=6)


@given(SHARES, SHARES)
def test_likeness_is_what_both_have_in_common(one: dict[int, float], other: dict[int, float]) -> None:
    kinds = range(1, 10)
    first, second = (np.array([shares.get(kind, 0.0) for kind in kinds]) for shares in (one, other))
    assert likeness(one, other) == pytest.approx(np.minimum(first, second).sum() / np.maximum(first, second).sum())
    assert likeness(one, other) == likeness(other, one)
    assert likeness(one, one) == 1
    assert likeness(one, {}) == likeness({}, {}) == 0


def test_shares_are_those_of_the_annotation() -> None:
    record = make_scene(HOME, NAMES).record
    grass, dog, sky = (coco_categories()[name].id for name in ("grass-merged", "dog", "sky-other-merged"))
    assert category_shares(record) == pytest.approx({sky: 60 / 160, grass: 100 / 160 - 1500 / 32000, dog: 1500 / 32000})
    unlisted = replace(record, segments=(*record.segments, Segment(9, dog, 0, record.segments[0].bbox, False)))
    assert category_shares(unlisted)[dog] == pytest.approx(1500 / 32000 + UNLISTED)
