"""Recipes as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olrd.config import BLENDS, MASK_STYLES
from olrd.errors import IntegrityError
from olrd.panoptic import Box
from olrd.triplets.recipe import RECIPE_VERSION, Part, PhotoRef, Recipe
from olrd.triplets.user_masks import MaskStyle

words = st.text(max_size=12)
numbers = st.integers(0, 10_000)
positive = st.integers(1, 10_000)
references = st.builds(PhotoRef, words, words, words)
blends = st.sampled_from(BLENDS.names()).map(lambda name: (name, BLENDS.get(name).defaults))
recipes = st.builds(
    Recipe,
    blend=st.just("hard"),
    id=words,
    background=references,
    donor=references,
    segment_id=st.integers(0, 1 << 48),
    size=st.none() | st.integers(16, 4096),
    source_bbox=st.builds(Box, numbers, numbers, positive, positive),
    rle=words,
    scale=st.floats(0.05, 20),
    flip=st.booleans(),
    position=st.tuples(st.integers(-99, 9999), st.integers(-99, 9999)),
    match=st.lists(words, max_size=2).map(tuple),
    pixels_sha256=words,
    more=st.lists(
        st.builds(
            Part,
            st.integers(0, 1 << 48),
            st.builds(Box, numbers, numbers, positive, positive),
            words,
            st.floats(0.05, 20),
            st.booleans(),
            st.tuples(st.integers(-99, 9999), st.integers(-99, 9999)),
        ),
        max_size=2,
    ).map(tuple),
    mask_style=st.none() | st.builds(MaskStyle, st.sampled_from(MASK_STYLES), st.floats(0, 1), st.integers(0, 256)),
)
blended = st.builds(lambda r, b: replace(r, blend=b[0], params=b[1]), recipes, blends)
PLAIN = Recipe(
    id="coco-139-7-0",
    background=PhotoRef("139", "000000000139.jpg", "ab"),
    donor=PhotoRef("139", "000000000139.jpg", "ab"),
    segment_id=7,
    size=None,
    source_bbox=Box(1, 2, 3, 4),
    rle="04",
    scale=1.0,
    flip=False,
    position=(5, 6),
    blend="hard",
    pixels_sha256="cd",
)
OTHER = {"segment_id": 8, "source_bbox": [1, 2, 3, 4], "rle": "04", "scale": 1.0, "flip": True, "position": [7, 8]}


@given(blended)
def test_json_gives_the_recipe_back(recipe: Recipe) -> None:
    text = recipe.to_json()
    back = Recipe.from_json(text)
    assert back == recipe
    assert type(back.source_bbox) is Box
    assert type(back.position) is tuple
    assert back.to_json() == text
    assert "\n" not in text


def test_the_text_is_frozen() -> None:
    """Recipes that people hold must stay readable, and the same recipe the same text."""
    assert PLAIN.to_json() == (
        '{"background":{"file_name":"000000000139.jpg","image_id":"139","sha256":"ab"},'
        '"blend":"hard","donor":{"file_name":"000000000139.jpg","image_id":"139","sha256":"ab"},'
        '"flip":false,"id":"coco-139-7-0","match":[],"params":{},"pixels_sha256":"cd",'
        '"position":[5,6],"rle":"04","scale":1.0,"segment_id":7,"size":null,'
        '"source_bbox":[1,2,3,4],"version":1}'
    )


def test_a_style_of_the_mask_is_version_2() -> None:
    text = replace(PLAIN, mask_style=MaskStyle("hull", 0.25, 3)).to_json()
    assert '"mask_style":{"grow":3,"name":"hull","strength":0.25}' in text and '"version":2' in text
    with pytest.raises(IntegrityError, match="expected recipe version 2"):
        Recipe.from_json(text.replace('"version":2', '"version":1'))


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_version_is_refused(version: Any) -> None:
    raw = json.loads(PLAIN.to_json()) | {"version": version}
    with pytest.raises(IntegrityError, match=f"expected recipe version {RECIPE_VERSION}"):
        Recipe.from_json(json.dumps(raw))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '"x"', '{"version": 1}', "[" * 50_000])
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(IntegrityError):
        Recipe.from_json(text)


@pytest.mark.parametrize("name", sorted(set(json.loads(PLAIN.to_json())) - {"pixels_sha256", "params", "match"}))
def test_a_missing_part_is_refused(name: str) -> None:
    raw = json.loads(PLAIN.to_json())
    del raw[name]
    with pytest.raises(IntegrityError):
        Recipe.from_json(json.dumps(raw))


@pytest.mark.parametrize(
    "change",
    [
        {"unheard_of": 1},
        {"source_bbox": [1, 2, 3]},
        {"source_bbox": 5},
        {"background": "139"},
        {"donor": {"image_id": "1"}},
        {"position": 3},
        {"match": None},
    ],
)
def test_a_wrong_part_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError, match="not a recipe"):
        Recipe.from_json(json.dumps(json.loads(PLAIN.to_json()) | change))


@given(st.text(max_size=60) | st.binary(max_size=40).map(lambda b: b.decode("latin-1")))
def test_no_text_gives_another_error(text: str) -> None:
    with pytest.raises(IntegrityError):
        Recipe.from_json(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("blend", ["hard"]),
        ("blend", 3),
        ("blend", "x" * 1_000_000),
        ("source_bbox", [1, 2, 1 << 31, 4]),
        ("source_bbox", [1, 2, 1 << 70, 4]),
        ("source_bbox", {"x": 1, "y": 2, "w": 3, "h": 4}),
        ("position", [1 << 40, 0]),
        ("segment_id", 1 << 63),
        ("scale", float("nan")),
        ("scale", float("inf")),
        ("scale", True),
        ("params", {"hard": 1}),
        ("match", None),
        ("background", []),
        ("mask_style", {"name": "hul", "strength": 0.5, "grow": 0}),
        ("mask_style", {"name": "hull", "strength": 2.0, "grow": 0}),
        ("mask_style", {"name": "hull", "strength": 0.5, "grow": 1 << 40}),
        ("mask_style", {"name": ["hull"], "strength": 0.5, "grow": 0}),
        ("mask_style", "hull"),
        ("more", {"a": 1}),
        ("more", [{"segment_id": 1}]),
        ("more", [OTHER | {"scale": 0}]),
        ("more", [OTHER | {"position": [1]}]),
        ("more", [OTHER | {"rle": 3}]),
        ("more", [OTHER] * 8),
        ("id", None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_value_that_no_recipe_has_is_refused(name: str, value: object) -> None:
    raw = json.loads(PLAIN.to_json()) | {name: value}
    with pytest.raises(IntegrityError):
        Recipe.from_json(json.dumps(raw))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "1", 10**400])
def test_a_parameter_that_is_no_number_is_refused(value: object) -> None:
    usual = dict(BLENDS.get("feather").defaults)
    raw = json.loads(replace(PLAIN, blend="feather", params=usual).to_json())
    raw["params"] = dict.fromkeys(usual, value)
    with pytest.raises(IntegrityError):
        Recipe.from_json(json.dumps(raw))


@pytest.mark.parametrize(
    "text", [None, 3, "[" * 100_000, '{"version": {"a": 1}}', "[1]", "x" * (1 << 25)], ids=lambda t: str(t)[:9]
)
def test_what_is_no_text_of_a_recipe_is_refused(text: Any) -> None:
    with pytest.raises(IntegrityError, match="recipe") as caught:
        Recipe.from_json(text)
    assert len(str(caught.value)) < 1000
