"""Proposals of shadows and reflections, against rendered scenes whose effects are known."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from baselines.photos.effects import LONGEST, Effects, propose_effects
from baselines.photos.reflections import reflection_of
from baselines.photos.shadows import shadow_of
from olrd.arrays import Mask
from olrd.errors import UsageError
from perf.effect_scenes import Scene, plain_scene, reflection_scene, shadow_scene


def overlap(found: Mask, truth: Mask) -> float:
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.slow
@pytest.mark.parametrize("draw", [shadow_scene, reflection_scene])
def test_effects_are_found(draw: Callable[[int], Scene]) -> None:
    scores = []
    for number in range(10):
        scene = draw(number)
        found = propose_effects(scene.image, scene.mask)
        assert not (found.mask & scene.mask).any()
        assert not (found.shadow & found.reflection).any()
        scores.append(overlap(found.mask, scene.shadow | scene.reflection))
    assert np.mean(scores) >= 0.6
    assert np.mean(np.array(scores) >= 0.5) >= 0.7


@pytest.mark.slow
def test_scenes_without_an_effect_stay_untouched() -> None:
    """Among them: a dark patch apart, a dark object beside, a dark strip of ground behind, strong texture, water."""
    assert [k for k in range(25) if propose_effects(plain_scene(k).image, plain_scene(k).mask).mask.any()] == []


@pytest.mark.slow
def test_each_kind_is_told_apart() -> None:
    cast, mirrored = shadow_scene(8), reflection_scene(1)
    found = propose_effects(cast.image, cast.mask)
    assert overlap(found.shadow, cast.shadow) > 0.8
    assert not found.reflection.any()
    found = propose_effects(mirrored.image, mirrored.mask)
    assert overlap(found.reflection, mirrored.reflection) > 0.7
    assert not found.shadow.any()
    assert np.array_equal(found.mask, found.reflection)


@pytest.mark.slow
def test_the_same_input_gives_the_same_proposal() -> None:
    scene = shadow_scene(5)
    first, second = (propose_effects(scene.image.copy(), scene.mask.copy()) for _ in range(2))
    assert first.mask.any()
    assert np.array_equal(first.shadow, second.shadow)


@pytest.mark.slow
def test_a_large_photo_is_searched_on_a_small_copy() -> None:
    scene, times = shadow_scene(5), 6
    assert max(scene.mask.shape) * times > 3 * LONGEST
    large = cv2.resize(scene.image, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    mask, shadow = (
        cv2.resize(m.astype(np.uint8), None, fx=times, fy=times, interpolation=cv2.INTER_NEAREST) > 0
        for m in (scene.mask, scene.shadow)
    )
    found = propose_effects(large, mask)
    assert found.shadow.shape == mask.shape
    assert overlap(found.shadow, shadow) > 0.75
    assert not (found.mask & mask).any()


def test_the_seam_to_the_object_is_closed() -> None:
    """No lit or half dark line is left between the object and its shadow, where an eraser would copy from it."""
    scene = shadow_scene(6)
    found = propose_effects(scene.image, scene.mask).shadow
    touching = cv2.dilate(scene.mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert np.count_nonzero(found & touching) >= 20


def test_a_shadow_that_is_already_in_the_mask_is_not_found_again() -> None:
    scene = shadow_scene(8)
    whole = cv2.dilate((scene.mask | scene.shadow).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert not propose_effects(scene.image, whole).mask.any()


def test_a_coloured_region_is_no_shadow() -> None:
    """What only darkens is a shadow; the same region in another colour is a thing."""
    scene = shadow_scene(8)
    assert shadow_of(scene.image, scene.mask).any()
    painted = scene.image.copy()
    painted[scene.shadow] = np.clip(painted[scene.shadow] * np.array([1.3, 0.8, 0.6]), 0, 255).astype(np.uint8)
    assert not shadow_of(painted, scene.mask).any()


def test_an_unmirrored_copy_below_is_no_reflection() -> None:
    scene = reflection_scene(1)
    assert reflection_of(scene.image, scene.mask).any()
    rows = np.nonzero(scene.mask.any(axis=1))[0]
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    count = min(bottom - top, scene.mask.shape[0] - bottom)
    copied = scene.image.copy()
    copied[bottom : bottom + count] = scene.image[top : top + count]
    assert not reflection_of(copied, scene.mask).any()


@pytest.mark.parametrize("fill", [0, 90, 255])
@pytest.mark.parametrize("size", [(1, 1), (3, 400), (400, 3), (64, 64)])
def test_photos_with_nothing_in_them(fill: int, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), fill, np.uint8)
    for mask in (np.zeros(size, np.bool_), np.ones(size, np.bool_), np.indices(size).sum(axis=0) % 2 == 0):
        found = propose_effects(image, mask)
        assert isinstance(found, Effects)
        assert not found.mask.any()


@pytest.mark.parametrize("where", [(0, 0), (0, 140), (140, 0), (140, 140)])
def test_objects_in_the_corners(where: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (200, 200, 3), np.uint8)
    mask = np.zeros((200, 200), np.bool_)
    mask[where[0] : where[0] + 60, where[1] : where[1] + 60] = True
    assert not propose_effects(image, mask).mask.any()


def test_what_is_no_photo_with_its_mask_is_refused() -> None:
    image, mask = np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), np.bool_)
    with pytest.raises(UsageError, match=r"expected a photo uint8 \[H, W, 3\], got float64 \[20, 30, 3\]"):
        propose_effects(image.astype(float), mask)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"mask bool \[20, 30\], got bool \[30, 20\]"):
        propose_effects(image, mask.T)
    with pytest.raises(UsageError, match="got uint8"):
        propose_effects(image, mask.astype(np.uint8))  # type: ignore[arg-type]
