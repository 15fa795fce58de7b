"""Matching of noise and sharpness."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from olrd.errors import UsageError
from olrd.triplets.matching import acutance, grain, match_patch

Pixels = npt.NDArray[np.uint8]
FULL = np.ones((80, 96), np.bool_)


def smooth(noise: float, seed: int = 0) -> Pixels:
    """A slow shading with white noise, the same in all three channels."""
    y, x = np.mgrid[:80, :96]
    grey = 128 + 25 * np.sin(y / 30) + 20 * np.cos(x / 37)
    grey = grey + np.random.default_rng(seed).normal(0, noise, grey.shape)
    return np.repeat(np.clip(grey + 0.5, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def texture(blur: float, seed: int = 0) -> Pixels:
    """Fine texture, grey on grey, blurred."""
    grey = np.random.default_rng(seed).normal(0, 1, (80, 96))
    grey = cv2.GaussianBlur(grey, (0, 0), blur)
    values = np.clip(128 + 40 * grey / grey.std(), 0, 255).astype(np.uint8)
    return np.repeat(values[..., None], 3, axis=-1)


@pytest.mark.parametrize("deviation", [3, 6, 12, 20])
def test_grain_recovers_added_noise(deviation: float) -> None:
    assert grain(smooth(deviation)) == pytest.approx(deviation, rel=0.15)


def test_grain_ignores_edges() -> None:
    picture = smooth(5)
    picture[:, 40:] = np.clip(picture[:, 40:].astype(int) - 90, 0, 255).astype(np.uint8)
    assert grain(picture) == pytest.approx(5, rel=0.2)


def test_grain_of_a_sliver_is_zero() -> None:
    assert grain(smooth(9)[:2]) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (4, 90), (80, 3)])
def test_the_sharpness_of_a_sliver_is_a_number(shape: tuple[int, int]) -> None:
    assert acutance(texture(1)[: shape[0], : shape[1]]) == 1


def test_missing_noise_is_added() -> None:
    patch, under = smooth(2), smooth(10, seed=1)
    matched = match_patch(patch, FULL, under, ("noise",), "key")
    assert grain(matched) == pytest.approx(grain(under), rel=0.15)
    assert abs(float(matched.mean()) - float(patch.mean())) < 0.5


def test_noise_is_never_taken_away() -> None:
    patch = smooth(10)
    assert np.array_equal(match_patch(patch, FULL, smooth(2), ("noise",), "key"), patch)


def test_a_sharper_object_is_softened() -> None:
    patch, under = texture(0.5), texture(2, seed=1)
    matched = match_patch(patch, FULL, under, ("sharpness",), "key")
    assert acutance(patch) > 1.15 * acutance(under)
    assert acutance(matched) < 0.9 * acutance(patch)
    assert abs(float(matched.mean()) - float(patch.mean())) < 0.5


def test_a_softer_object_is_left_alone() -> None:
    patch = texture(2)
    assert np.array_equal(match_patch(patch, FULL, texture(0.5, seed=1), ("sharpness",), "key"), patch)


def test_nothing_is_matched_unless_asked_for() -> None:
    patch = texture(0.5)
    assert np.array_equal(match_patch(patch, FULL, smooth(10), (), "key"), patch)


def test_matching_depends_on_the_key_alone() -> None:
    patch, under = texture(0.5), smooth(12)
    both = ("noise", "sharpness")
    before = patch.copy(), under.copy()
    one = match_patch(patch, FULL, under, both, "a")
    assert np.array_equal(one, match_patch(patch, FULL, under, both, "a"))
    assert np.array_equal(patch, before[0])
    assert np.array_equal(under, before[1])
    first, second = (match_patch(smooth(1), FULL, smooth(9), ("noise",), key) for key in "ab")
    assert not np.array_equal(first, second)


def test_a_tiny_patch_is_left_alone() -> None:
    tiny = smooth(2)[:7, :30]
    matched = match_patch(tiny, FULL[:7, :30], smooth(20)[:7, :30], ("noise", "sharpness"), "k")
    assert np.array_equal(matched, tiny)


def test_an_unknown_match_is_named() -> None:
    with pytest.raises(UsageError, match="Did you mean 'noise'"):
        match_patch(smooth(1), FULL, smooth(1), ("nose",), "key")
