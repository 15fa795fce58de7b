"""Blends: one conformance suite for all that are registered, then each against its oracle."""

from __future__ import annotations

import warnings
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from property_examples import examples

from olrd.config import BLENDS
from olrd.panoptic import Box
from olrd.triplets.blends import Blend, Pasted, mix
from olrd.triplets.compose import compose
from olrd.triplets.recipe import PhotoRef, Recipe

Bits = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]
NAMES = BLENDS.names()
VARIANTS: list[tuple[str, dict[str, float]]] = [
    *((name, {}) for name in NAMES),
    ("feather", {"radius": 0}),
    ("feather", {"radius": 1}),
    ("feather", {"radius": 5}),
    ("matting", {"band": 0}),
    ("matting", {"band": 1}),
    ("matting", {"band": 6}),
    ("matting", {"trust": 10_000}),
    ("guided", {"band": 0}),
    ("guided", {"band": 1}),
    ("guided", {"band": 6}),
    ("guided", {"trust": 0}),
]


def noise(shape: tuple[int, ...], seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def grown(mask: Bits, reach: int) -> Bits:
    """Every pixel within `reach` rows and columns of the mask."""
    grid = np.zeros(mask.shape, np.bool_)
    for y, x in np.argwhere(mask):
        grid[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1] = True
    return grid


def run(name: str, params: dict[str, float], patch: Pixels, mask: Bits, under: Pixels) -> Pasted:
    """Run a blend on inputs that cannot be written to, and check what holds for all blends."""
    blend: Blend = BLENDS.get(name)
    values = {**blend.defaults, **params}
    inputs = patch.copy(), mask.copy(), under.copy()
    for array in inputs:
        array.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pasted = blend.run(*inputs, dict(values))
        again = blend.run(patch.copy(), mask.copy(), under.copy(), dict(values))
    assert np.array_equal(pasted.pixels, again.pixels)
    assert np.array_equal(pasted.footprint, again.footprint)
    assert pasted.pixels.dtype == np.uint8
    assert pasted.footprint.dtype == np.bool_
    assert set(np.unique(pasted.footprint.view(np.uint8))) <= {0, 1}
    changed = (pasted.pixels != under).any(axis=-1)
    touched = pasted.footprint
    assert np.count_nonzero(changed & ~touched) == 0
    assert np.count_nonzero(mask & ~touched) == 0
    assert np.count_nonzero(touched & ~grown(mask, blend.reach(values))) == 0
    return pasted


masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 14), st.integers(1, 14))).filter(
    lambda mask: mask.any() and not mask.all()
)


@pytest.mark.parametrize(("name", "params"), VARIANTS)
@examples(60)
@given(mask=masks, seed=st.integers(0, 1000))
def test_every_blend_conforms(name: str, params: dict[str, float], mask: Bits, seed: int) -> None:
    run(name, params, noise(mask.shape, seed), mask, noise(mask.shape, seed + 1))


@pytest.mark.parametrize(("name", "params"), VARIANTS)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_colours_conform(name: str, params: dict[str, float], value: int) -> None:
    mask = np.zeros((24, 24), np.bool_)
    mask[8:16, 7:18] = True
    flat = np.full((24, 24, 3), value, np.uint8)
    pasted = run(name, params, flat, mask, flat)
    assert np.array_equal(pasted.pixels, flat)


@pytest.mark.parametrize(("name", "params"), VARIANTS)
def test_an_object_of_one_pixel_conforms(name: str, params: dict[str, float]) -> None:
    mask = np.zeros((15, 15), np.bool_)
    mask[7, 7] = True
    assert run(name, params, noise((15, 15), 0), mask, noise((15, 15), 1)).footprint[7, 7]


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (12, 17)])
@pytest.mark.parametrize("name", NAMES)
def test_an_object_that_fills_the_patch_conforms(name: str, shape: tuple[int, int]) -> None:
    mask = np.ones(shape, np.bool_)
    assert run(name, {}, noise(shape, 0), mask, noise(shape, 1)).footprint.all()


@pytest.mark.parametrize("radius", [8, 20])
def test_a_wide_feather_still_covers_a_thin_object(radius: int) -> None:
    """Every pixel of the annotated object belongs to the footprint, whatever the radius."""
    mask = np.zeros((60, 60), np.bool_)
    mask[30, 30] = True
    run("feather", {"radius": radius}, noise((60, 60), 0), mask, noise((60, 60), 1))


@pytest.mark.parametrize("value", [0, 255])
def test_matting_without_trust_survives_equal_colours(value: int) -> None:
    """--blend-param trust=0 is allowed; where F equals B nothing can be projected."""
    mask = np.zeros((24, 24), np.bool_)
    mask[8:16, 7:18] = True
    flat = np.full((24, 24, 3), value, np.uint8)
    run("matting", {"trust": 0}, flat, mask, noise((24, 24), 1))


@given(hnp.arrays(np.uint8, (3, 4, 3)), hnp.arrays(np.uint8, (3, 4, 3)), hnp.arrays(np.uint8, (3, 4)))
def test_mix_is_the_rounded_formula(front: Pixels, back: Pixels, alpha: Any) -> None:
    share = alpha[..., None] / 255
    expected = share * front + (1 - share) * back
    assert np.abs(mix(front.astype(np.int32), back, alpha) - expected).max() <= 0.5 + 1e-6


@given(masks, st.integers(0, 1000))
def test_hard_is_the_papers_formula(mask: Bits, seed: int) -> None:
    """I~ = I (1 - m~) + o~."""
    patch, under = noise(mask.shape, seed), noise(mask.shape, seed + 1)
    m = mask[..., None].astype(int)
    pasted = run("hard", {}, patch, mask, under)
    assert np.array_equal(pasted.pixels, under * (1 - m) + patch * m)
    assert np.array_equal(pasted.footprint, mask)


def naive_alpha(mask: Bits, radius: int) -> npt.NDArray[np.int64]:
    """The mean of the mask over a square, nothing beyond the patch, as 0..255 rounded down."""
    size = 2 * radius + 1
    wide = np.pad(mask, radius).astype(int)
    return np.array(
        [
            [wide[y : y + size, x : x + size].sum() * 255 // size**2 for x in range(mask.shape[1])]
            for y in range(mask.shape[0])
        ]
    )


def feather_alpha(mask: Bits, radius: int) -> Pixels:
    white, black = np.full((*mask.shape, 3), 255, np.uint8), np.zeros((*mask.shape, 3), np.uint8)
    return run("feather", {"radius": radius}, white, mask, black).pixels[..., 0]


@given(masks, st.integers(0, 4))
def test_feather_is_the_mean_over_a_square(mask: Bits, radius: int) -> None:
    wide = np.pad(mask, 2 * radius + 1)
    assert np.array_equal(feather_alpha(wide, radius), naive_alpha(wide, radius))


@given(masks, st.integers(1, 4))
def test_feather_is_the_mean_with_the_surroundings_it_is_given(mask: Bits, radius: int) -> None:
    """A cut-out comes with `reach` pixels around it and no more: the mean is the same."""
    tight = np.pad(mask, radius)
    assert np.array_equal(feather_alpha(tight, radius), naive_alpha(tight, radius))


FRONT, OLD, NEW = np.array([200, 40, 40]), np.array([30, 40, 220]), np.array([30, 200, 40])


def soft_object(sigma: float = 1.2, grain: float = 2.0) -> tuple[Pixels, Bits, Any]:
    """A red disc with a soft outline before blue: (patch, annotated mask, true alpha)."""
    y, x = np.mgrid[:60, :60]
    solid = ((y - 30) ** 2 + (x - 30) ** 2 <= 18**2).astype(np.float64)
    alpha = cv2.GaussianBlur(solid, (0, 0), sigma)[..., None]
    observed = alpha * FRONT + (1 - alpha) * OLD
    observed += np.random.default_rng(0).normal(0, grain, observed.shape)
    return np.clip(observed + 0.5, 0, 255).astype(np.uint8), alpha[..., 0] >= 0.5, alpha


def flat(colour: npt.ArrayLike) -> Pixels:
    return np.broadcast_to(np.asarray(colour, np.uint8), (60, 60, 3)).copy()


def test_matting_recovers_alpha_and_colour() -> None:
    """Over black and over white one sees alpha and alpha F apart."""
    patch, mask, alpha = soft_object()
    over_black = run("matting", {}, patch, mask, flat([0, 0, 0])).pixels.astype(float)
    over_white = run("matting", {}, patch, mask, flat([255, 255, 255])).pixels.astype(float)
    found = 1 - (over_white - over_black).mean(axis=-1) / 255
    rim = (alpha[..., 0] > 0.02) & (alpha[..., 0] < 0.98)
    assert np.abs(found - alpha[..., 0])[rim].mean() < 0.05
    assert np.abs(found - alpha[..., 0])[~rim].max() < 0.05
    seen = found > 0.2
    colour = over_black[seen] / found[seen][:, None]
    assert np.abs(colour - FRONT).mean() < 8


def test_matting_brings_no_rim_of_the_old_background() -> None:
    """Blue is in the old background alone: what of it remains came along with the object."""
    patch, mask, alpha = soft_object()
    truth = alpha * FRONT + (1 - alpha) * NEW
    blue, wrong = {}, {}
    rim = (alpha[..., 0] > 0.02) & (alpha[..., 0] < 0.98)
    for name in ("hard", "matting"):
        pixels = run(name, {}, patch, mask, flat(NEW)).pixels.astype(float)
        blue[name] = np.maximum(pixels[..., 2] - 40, 0)[rim].mean()
        wrong[name] = np.abs(pixels - truth)[rim].mean()
    assert blue["matting"] < 0.3 * blue["hard"]
    assert wrong["matting"] < 0.5 * wrong["hard"]


def test_matting_leaves_the_inside_alone() -> None:
    patch, mask, _ = soft_object()
    inside = cv2.erode(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    pasted = run("matting", {}, patch, mask, flat(NEW))
    assert np.array_equal(pasted.pixels[inside], patch[inside])


def dense_poisson(patch: Pixels, mask: Bits, under: Pixels) -> npt.NDArray[np.float64]:
    """Sum over the neighbours q of p in the picture: f(p) - f(q) = g(p) - g(q)."""
    spots = [(int(y), int(x)) for y, x in np.argwhere(mask)]
    number = {spot: k for k, spot in enumerate(spots)}
    matrix, right = np.zeros((len(spots), len(spots))), np.zeros((len(spots), 3))
    for (y, x), k in number.items():
        for near in [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]:
            if not (0 <= near[0] < mask.shape[0] and 0 <= near[1] < mask.shape[1]):
                continue
            matrix[k, k] += 1
            right[k] += patch[y, x].astype(float) - patch[near]
            if near in number:
                matrix[k, number[near]] -= 1
            else:
                right[k] += under[near]
    solved = under.astype(float)
    solved[mask] = np.clip(np.linalg.solve(matrix, right), 0, 255)
    return solved


@examples(40)
@given(masks, st.integers(0, 1000))
def test_poisson_equals_a_dense_solve(mask: Bits, seed: int) -> None:
    patch, under = noise(mask.shape, seed), noise(mask.shape, seed + 1)
    pasted = run("poisson", {}, patch, mask, under)
    worst = float(np.abs(pasted.pixels - dense_poisson(patch, mask, under)).max())
    assert worst <= 0.5 + 1e-6


@given(masks, st.integers(0, 1000))
def test_poisson_of_the_background_itself_is_the_background(mask: Bits, seed: int) -> None:
    under = noise(mask.shape, seed)
    assert np.array_equal(run("poisson", {}, under, mask, under).pixels, under)


@pytest.mark.parametrize("solid", [True, False])
def test_poisson_meets_the_background_all_around(solid: bool) -> None:
    """In a composite the boundary value is the background around the whole outline, also where the
    object reaches the sides of its own box."""
    y, x = np.mgrid[:40, :50]
    background = np.stack([60 + 2 * y, 200 - 3 * x, 90 + y + x], axis=-1).astype(np.uint8)
    donor = np.full((40, 50, 3), 90, np.uint8)
    donor[5:15, 5:17] = [150, 120, 70]
    box = Box(5, 5, 12, 10)
    mask = np.ones((10, 12), np.bool_)
    if not solid:
        mask[:4, :4] = False
    whole, patch = np.zeros((40, 50), np.bool_), background.copy()
    whole[20:30, 30:42] = mask
    patch[19:31, 29:43] = donor[4:16, 4:18]
    recipe = Recipe(
        id="x",
        background=PhotoRef("1", "a.jpg", ""),
        donor=PhotoRef("2", "b.jpg", ""),
        segment_id=1,
        size=None,
        source_bbox=box,
        rle="",
        scale=1.0,
        flip=False,
        position=(30, 20),
        blend="poisson",
    )
    made = compose(background, donor, mask, recipe).image
    worst = float(np.abs(made - dense_poisson(patch, whole, background)).max())
    assert worst <= 0.5 + 1e-6
