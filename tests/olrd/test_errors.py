"""The nearest known name, and the lists of names."""

from __future__ import annotations

import pytest

from olrd.errors import did_you_mean
from olrd.models.coco_categories import coco_categories

THINGS = [category for category in coco_categories().values() if category.isthing]
NAMES = {name for category in THINGS for name in (category.name, category.supercategory)}


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("people", "person"),  # not "apple", which has more of its letters
        ("persons", "person"),
        ("Person", "person"),
        ("buses", "bus"),
        ("knives", "knife"),
        ("animals", "animal"),
        ("bycicle", "bicycle"),
        ("dgo", "dog"),
        ("motorbike", "motorcycle"),
        ("hotdog", "hot dog"),
    ],
)
def test_the_nearest_name_is_suggested(given: str, near: str) -> None:
    assert f"no class is called '{given}'. Did you mean '{near}'? Known: " in str(did_you_mean("class", given, NAMES))


def test_plurals_are_only_compared_and_never_suggested() -> None:
    error = str(did_you_mean("class", "cherries", ["cherry", "chair"]))
    assert error == "no class is called 'cherries'. Did you mean 'cherry'? Known: chair, cherry"


@pytest.mark.parametrize("given", ["xyzzy", "", "x" * 300])
def test_nothing_is_suggested_for_what_resembles_nothing(given: str) -> None:
    assert "Did you mean" not in str(did_you_mean("class", given, NAMES))


def test_lists_have_a_line_each_and_empty_ones_none() -> None:
    lists = {"Families": ["vehicle", "animal"], "Others": [], "Classes": ["dog", "car"]}
    known = ["vehicle", "animal", "dog", "car"]
    expected = "no class is called 'qqq'.\nFamilies: animal, vehicle\nClasses: car, dog"
    assert str(did_you_mean("class", "qqq", known, lists)) == expected
    assert str(did_you_mean("class", "qqq", [], {"Families": []})) == "no class is called 'qqq'. There are none"
