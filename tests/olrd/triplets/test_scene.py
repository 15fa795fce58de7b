"""The maps that a scene answers with, against plain indexing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from synthetic_coco import make_scene

from olrd.panoptic import SegmentMap

NAMES = {
    1: "sky-other-merged",
    2: "grass-merged",
    3: "road",
    4: "dirt-merged",
    5: "sand",
    6: "sea",
    7: "dog",
    8: "person",
}
MAP = np.random.default_rng(0).integers(0, 9, (11, 17))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@given(chosen=hnp.arrays(np.bool_, 9, elements=st.booleans()))
@pytest.mark.slow
def test_pixels_where_is_a_look_up(kind: type[np.generic], chosen: np.ndarray) -> None:
    """One segment, a few and many are found in different ways."""
    scene = make_scene(MAP, NAMES)
    scene.panoptic = SegmentMap(scene.panoptic.index.astype(kind), scene.panoptic.segments)
    found = scene.pixels_where(chosen)
    assert found.dtype == np.bool_
    assert np.array_equal(found, chosen[MAP])


def test_background_is_labelled_stuff_and_things_are_the_rest_but_void() -> None:
    scene = make_scene(MAP, NAMES, crowds=(8,))
    assert np.array_equal(scene.things, MAP >= 7)
    assert np.array_equal(scene.background, (MAP > 0) & (MAP < 7))
