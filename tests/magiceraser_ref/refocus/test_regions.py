"""Regions m, p, n: every rule on a drawn scene, and down-sampling that loses nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from property_examples import examples

from magiceraser_ref.refocus.regions import NEUTRAL, M, N, P, Regions, at_resolution, halved, regions_of
from olrd.errors import Rejected, UsageError
from olrd.models.coco_categories import coco_categories
from olrd.panoptic import Box, PanopticMap, Segment

CATEGORIES = {category.id: category for category in coco_categories().values()}
NAMES = {name: category.id for name, category in coco_categories().items()}

# One row: each letter is a segment of that category, eight columns wide.
SCENE = {"s": "sky-other-merged", "g": "grass-merged", "d": "dog", "k": "cat", "c": "car"}
ROW = "sgdkc."
"""Sky, grass, dog, cat, car, void."""


def scene(row: str = ROW, crowd: str = "", width: int = 8) -> PanopticMap:
    """A map of height 4. Segment ids go down from 900, out of the order of the columns."""
    ids = np.zeros((4, len(row) * width), np.uint32)
    segments = []
    for place, letter in enumerate(row):
        if letter != ".":
            number = 900 - 7 * place
            ids[:, place * width : (place + 1) * width] = number
            box = Box(place * width, 0, width, 4)
            segments.append(Segment(number, NAMES[SCENE[letter]], 4 * width, box, letter in crowd))
    return PanopticMap(ids, tuple(segments))


def mask_on(*columns: int, width: int = 48) -> npt.NDArray[np.bool_]:
    mask = np.zeros((4, width), bool)
    mask[:, list(columns)] = True
    return mask


def found(regions: Regions) -> str:
    """The class in the last column of each segment: the masks below touch only the first ones."""
    return "".join("mpn-"[code] for code in regions.classes[0, 7::8])


DOG = mask_on(16, 17)


def test_similar_takes_category_and_supercategory() -> None:
    regions = regions_of(DOG, scene(), CATEGORIES)
    assert found(regions) == "ppnn--"  # the dog's rest and the cat are animals; the car is not
    assert regions.m.sum() == DOG.sum() and (regions.m == DOG).all()
    assert {r.dtype for r in regions} == {np.dtype(bool)}


def test_other_rules_and_void() -> None:
    def classes(**options: Any) -> str:
        return found(regions_of(DOG, scene(), CATEGORIES, **options))

    assert classes(rule="rest") == "ppnnn-"
    assert classes(rule="rest", void="n") == "ppnnnn"
    assert classes(void="n") == "ppnn-n"
    assert classes(erased="car") == "pp--n-"
    assert classes(erased="truck") == "pp--n-"  # also a vehicle
    assert classes(erased="person") == "pp----"
    assert classes(erased="sky-other-merged") == "pp----"  # stuff: nothing here is like it


def test_crowds_are_things() -> None:
    assert found(regions_of(DOG, scene(crowd="k"), CATEGORIES)) == "ppnn--"


def test_text_rule_compares_embeddings() -> None:
    vectors = {"dog": (1.0, 0.0), "cat": (3.0, 3.0), "car": (0.0, 2.0)}

    def embed(names: Sequence[str]) -> npt.NDArray[np.float64]:
        return np.array([vectors.get(name, (0.0, 0.0)) for name in names])

    def classes(threshold: float) -> str:
        return found(regions_of(DOG, scene(), CATEGORIES, rule="text", embed=embed, threshold=threshold))

    assert classes(0.8) == "ppn---"
    assert classes(0.7) == "ppnn--"
    assert classes(1.0) == "ppn---"  # a name is like itself, whatever the rounding
    assert classes(0.0) == "ppnnn-"


def test_without_a_panoptic_map_all_else_is_background() -> None:
    regions = regions_of(DOG, None, CATEGORIES)
    assert (regions.p == ~DOG).all() and not regions.n.any()


def test_the_erased_category_is_what_the_mask_covers_most() -> None:
    more_car = mask_on(16, 32, 33)
    assert found(regions_of(more_car, scene(), CATEGORIES)) == "pp--n-"
    tie = mask_on(16, 32)  # dog and car: the smaller id wins, so that runs repeat
    assert NAMES["car"] < NAMES["dog"]
    assert found(regions_of(tie, scene(), CATEGORIES)) == "pp--n-"
    mostly_sky = mask_on(0, 1, 2, 3, 24)
    assert found(regions_of(mostly_sky, scene(), CATEGORIES)) == "ppnn--"


def test_nothing_under_the_mask_leaves_n_empty() -> None:
    for rule in ("similar", "text"):
        regions = regions_of(mask_on(0, 40), scene(), CATEGORIES, rule=rule, embed=lambda names: np.eye(len(names)))
        assert found(regions) == "pp----"
    assert found(regions_of(mask_on(), scene(), CATEGORIES)) == "pp----"
    assert found(regions_of(mask_on(0), scene(), CATEGORIES, rule="rest")) == "ppnnn-"


def test_label_sets_without_supercategories_match_by_category_alone() -> None:
    bare = {number: c._replace(supercategory="") for number, c in CATEGORIES.items()}
    assert found(regions_of(DOG, scene(), bare)) == "ppn---"


def test_ids_without_a_segment_are_void() -> None:
    ids, segments = scene()
    kept = tuple(s for s in segments if s.category_id != NAMES["cat"])
    assert found(regions_of(DOG, PanopticMap(ids, kept), CATEGORIES)) == "ppn---"
    assert found(regions_of(DOG, PanopticMap(ids, ()), CATEGORIES, void="n")) == "nnnnnn"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rule": "similer"}, "Did you mean 'similar'"),
        ({"void": "nn"}, "treatment of void"),
        ({"erased": "dgo"}, "Did you mean 'dog'"),
        ({"rule": "text"}, "give embed"),
        ({"rule": "text", "embed": lambda names: np.eye(2)}, r"\[81, d\]; got \[2, 2\]"),
        ({"mask": DOG[:, :-1]}, "47 x 4 pixels, the panoptic map 48 x 4"),
        ({"mask": DOG.astype(np.uint8)}, "must be bool"),
    ],
)
def test_errors_say_what_to_do(changes: dict[str, Any], words: str) -> None:
    given = {"mask": DOG, "panoptic": scene(), "categories": CATEGORIES} | changes
    with pytest.raises(UsageError, match=words):
        regions_of(**given)


def test_unknown_category_is_rejected() -> None:
    with pytest.raises(Rejected, match="not in the category list"):
        regions_of(DOG, scene(), {NAMES["dog"]: CATEGORIES[NAMES["dog"]]})


def test_regions_are_disjoint_and_classes_name_them() -> None:
    regions = regions_of(DOG, scene(), CATEGORIES)
    assert (sum(r.astype(int) for r in regions) <= 1).all()
    for code, region in zip((M, P, N), regions, strict=True):
        assert ((regions.classes == code) == region).all()
    assert (regions.classes == NEUTRAL).any()


def regions_from(codes: npt.NDArray[np.uint8]) -> Regions:
    return Regions(codes == M, codes == P, codes == N)


@examples(60)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 13), st.integers(1, 13)), elements=st.integers(0, 3)),
    st.integers(1, 13),
    st.integers(1, 13),
)
def test_no_region_is_lost(codes: npt.NDArray[np.uint8], height: int, width: int) -> None:
    """The oracle: every cell by itself, the strongest class of all pixels that overlap it."""
    strength = {M: 3, N: 2, P: 1, NEUTRAL: 0}
    small = at_resolution(regions_from(codes), (height, width)).classes
    assert small.shape == (height, width)
    rows, columns = codes.shape
    for i in range(height):
        for j in range(width):
            inside = [
                int(codes[y, x])
                for y in range(rows)
                for x in range(columns)
                if y * height < (i + 1) * rows and (y + 1) * height > i * rows
                if x * width < (j + 1) * columns and (x + 1) * width > j * columns
            ]
            assert small[i, j] == max(inside, key=lambda code: strength[code])


def test_a_line_of_one_pixel_survives_every_size() -> None:
    codes = np.full((97, 61), P, np.uint8)
    codes[40, :] = M
    codes[:, 30] = np.where(codes[:, 30] == M, M, N)
    for size in [(48, 31), (13, 8), (7, 3), (1, 1)]:
        small = at_resolution(regions_from(codes), size)
        assert small.m.any(axis=0).all()
        assert small.n.any() or size == (1, 1)


def test_halving_rounds_up_and_keeps_pairs_together() -> None:
    codes = np.array([[P, P, M, P, N]] * 3, np.uint8)
    small = halved(regions_from(codes))
    assert small.classes.tolist() == [[P, M, N]] * 2
    even = regions_from(np.random.default_rng(0).integers(0, 4, (6, 8)).astype(np.uint8))
    assert (halved(even).classes == at_resolution(even, (3, 4)).classes).all()
