"""Polygons and run lengths: the COCO API as oracle, and whatever JSON can hold instead of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drawn_instances import packed, runs
from hypothesis import given
from hypothesis import strategies as st
from property_examples import examples
from pycocotools.coco import COCO

from olrd.arrays import MAX_PIXELS
from olrd.errors import Rejected
from olrd.sources.instances.shapes import MAX_OUTLINE, draw_shape, parse_shape

WIDTH, HEIGHT = 31, 23

near = st.floats(-20, 60, allow_nan=False, width=32) | st.integers(-20, 60)
polygons = st.lists(st.lists(near, min_size=3, max_size=20).map(lambda xs: xs + xs[::-1]), min_size=1, max_size=4)
masks = st.lists(st.booleans(), min_size=WIDTH * HEIGHT, max_size=WIDTH * HEIGHT).map(
    lambda bits: np.array(bits).reshape(HEIGHT, WIDTH)
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.sampled_from(["size", "counts", "x"]), inner, max_size=3)
        | st.fixed_dictionaries({"size": st.just([HEIGHT, WIDTH]), "counts": inner})
    ),
    max_leaves=12,
)


def drawn(segmentation: Any) -> np.ndarray:
    return draw_shape(parse_shape(segmentation), WIDTH, HEIGHT, "photo", MAX_PIXELS)


def reference(segmentation: Any) -> np.ndarray:
    """The mask that the COCO API draws."""
    api = COCO()
    api.imgs = {1: {"height": HEIGHT, "width": WIDTH}}
    return api.annToMask({"image_id": 1, "segmentation": segmentation}).astype(bool)


@examples(80)
@given(polygons)
def test_polygons_are_those_of_the_coco_api(segmentation: list[list[float]]) -> None:
    assert np.array_equal(drawn(segmentation), reference([[float(v) for v in polygon] for polygon in segmentation]))


@examples(30)
@given(masks)
def test_run_lengths_give_back_their_mask(mask: np.ndarray) -> None:
    assert np.array_equal(drawn(runs(mask)), mask)
    assert np.array_equal(drawn(packed(mask)), mask)
    assert np.array_equal(reference(runs(mask)), mask)


@examples(80)
@given(anything)
def test_whatever_json_holds_is_a_mask_or_a_refusal(segmentation: Any) -> None:
    """Nothing else is raised, and pycocotools writes nowhere that it should not."""
    shape = parse_shape(segmentation)
    if shape.is_empty:
        return
    try:
        mask = draw_shape(shape, WIDTH, HEIGHT, "photo", MAX_PIXELS)
    except Rejected as error:
        assert str(error).startswith("photo: ")
        return
    assert mask.shape == (HEIGHT, WIDTH) and mask.dtype == bool


def test_the_longest_outline_is_bounded() -> None:
    zigzag = [0.0, 0.0, WIDTH - 1.0, HEIGHT - 1.0] * (MAX_OUTLINE // WIDTH)
    with pytest.raises(Rejected, match="pixels long, expected at most"):
        drawn([zigzag])
    drawn([zigzag[:400]])
