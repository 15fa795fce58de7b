"""Disturbed masks, compared with plain loops."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from benchmark.datasets import Sample
from benchmark.disturbances import KINDS, EmptiedMaskError, disturbed, masks, parsed
from benchmark.disturbances.masks import direction
from olrd.arrays import Mask
from olrd.errors import UsageError

KEY = 0, "a"


def drawn(seed: int = 0, height: int = 19, width: int = 26) -> Mask:
    """A few blobs and specks, some at the frame."""
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < 0.03
    for _ in range(3):
        y, x = int(rng.integers(0, height)), int(rng.integers(0, width))
        mask[y : y + 7, x : x + 9] = True
    return mask


def sample_of(mask: Mask, name: str = "a") -> Sample:
    return Sample(name, name, np.zeros((*mask.shape, 3), np.uint8), mask, None)


@pytest.mark.parametrize("level", (1, 2, 4))
@pytest.mark.parametrize("seed", range(3))
def test_dilation_and_erosion_are_those_of_a_loop_over_pixels(level: int, seed: int) -> None:
    mask = drawn(seed)
    height, width = mask.shape
    near = level * level + level  # the disc of olrd.masks.disc
    dilated, eroded = np.zeros_like(mask), np.ones_like(mask)
    for y in range(height):
        for x in range(width):
            for v in range(height):
                for u in range(width):
                    if (y - v) ** 2 + (x - u) ** 2 <= near:
                        dilated[y, x] |= mask[v, u]
                        eroded[y, x] &= mask[v, u]
    assert np.array_equal(masks.dilate(mask, level, KEY), dilated)
    assert np.array_equal(masks.erode(mask, level, KEY), eroded)


@pytest.mark.parametrize(("right", "down"), ((0, 0), (3, 0), (0, -4), (-5, 2), (40, 0), (0, -30)))
def test_a_move_is_that_of_a_loop_over_pixels(right: int, down: int) -> None:
    mask = drawn()
    height, width = mask.shape
    expected = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                expected[y, x] = mask[y - down, x - right]
    assert np.array_equal(masks.moved(mask, right, down), expected)


def test_directions_are_drawn_from_seed_and_sample_and_have_the_levels_length() -> None:
    found = {name: direction(16, (0, name)) for name in map(str, range(200))}
    assert {direction(16, (0, name)) for name in ("3",)} == {found["3"]}
    assert direction(16, (1, "3")) != found["3"]
    assert all(abs(np.hypot(*vector) - 16) <= 0.71 for vector in found.values())
    mean = np.mean(list(found.values()), axis=0)
    assert np.hypot(*mean) < 16 * 3 / np.sqrt(200)  # no direction is preferred


def test_blur_is_a_sum_over_a_gaussian_kernel_cut_at_one_half() -> None:
    mask, sigma = drawn(1), 2
    y, x = np.mgrid[-10:11, -10:11]
    kernel = np.exp(-(x * x + y * y) / (2 * sigma * sigma))
    kernel /= kernel.sum()
    padded = np.pad(mask.astype(float), 10, mode="symmetric")
    height, width = mask.shape
    soft = np.array([[(padded[v : v + 21, u : u + 21] * kernel).sum() for u in range(width)] for v in range(height)])
    sure = np.abs(soft - 0.5) > 1e-3
    assert sure.mean() > 0.9
    assert np.array_equal(masks.blur(mask, sigma, KEY)[sure], (soft >= 0.5)[sure])


def test_jpeg_is_what_pillow_reads_back() -> None:
    mask = drawn(2, 48, 64)
    for level in (95, 20):
        file = io.BytesIO()
        Pillow.fromarray(mask.view(np.uint8) * np.uint8(255)).save(file, "JPEG", quality=level)
        grey = np.asarray(Pillow.open(file))
        assert np.mean(masks.jpeg(mask, level, KEY) != (grey >= 128)) < 0.005
        assert np.mean(masks.jpeg_nonzero(mask, level, KEY) != (grey > 0)) < 0.005


def test_a_jpeg_with_every_grey_level_taken_grows_the_mask() -> None:
    mask = drawn(2, 48, 64)
    assert np.count_nonzero(masks.jpeg_nonzero(mask, 50, KEY)) > np.count_nonzero(mask)


def overlap(mask: Mask, other: Mask) -> float:
    return np.count_nonzero(mask & other) / np.count_nonzero(mask | other)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.mask])
def test_levels_go_from_weak_to_strong(name: str) -> None:
    y, x = np.mgrid[:160, :200]
    mask = (y - 75) ** 2 + (x - 95) ** 2 < 40**2
    mask[60:90, 130:160] = True
    kind = KINDS[name]
    assert kind.mask
    found = [overlap(mask, kind.mask(mask, level, KEY)) for level in kind.levels]
    assert len(kind.levels) >= 3
    assert found[-1] < 1  # a mask cut at one half survives most JPEGs without a change
    if name != "jpeg-nonzero":  # coarse quantisation rounds the faintest halos to 0 again
        assert found == sorted(found, reverse=True)
    assert kind.levels == tuple(sorted(kind.levels, reverse=kind.falling))


def test_the_given_mask_is_disturbed_and_the_scored_one_is_not() -> None:
    mask = np.zeros((30, 40), bool)
    mask[10:20, 10:20] = True
    scored, given = disturbed(sample_of(mask), parsed("erode:1"), 0)
    assert scored.mask is mask
    assert np.array_equal(given.mask, masks.erode(mask, 1, KEY))
    assert scored.facts == {"mask_iou": 0.64}  # 8 x 8 of 10 x 10 pixels
    assert given.facts == {}


def test_an_emptied_mask_has_one_reason_and_an_empty_one_stays() -> None:
    mask = np.zeros((30, 40), bool)
    both = disturbed(sample_of(mask), parsed("erode:4"), 0)
    assert not both.given.mask.any()
    assert both.scored.facts == {"mask_iou": 1.0}
    mask[10:14, 10:14] = True
    with pytest.raises(EmptiedMaskError, match=r"^erode:4 leaves no pixel of the mask$"):
        disturbed(sample_of(mask), parsed("erode:4"), 0)


def test_a_disturbance_is_read_as_it_is_written() -> None:
    for name, kind in KINDS.items():
        for level in kind.levels:
            text = f"{name}:{level}" if kind.unit else name
            assert parsed(text).spelled == text
    assert parsed("erode:4").text == "mask eroded by 4 px"
    assert parsed("map-none").of_map


@pytest.mark.parametrize(
    ("text", "message"),
    (
        ("erod:4", "Did you mean 'erode'"),
        ("erode", "whole level of 1 to 256 .px., got 'erode': write e.g. erode:1"),
        ("erode:0", "whole level"),
        ("erode:257", "whole level"),
        ("erode:-1", "whole level"),
        ("erode:1.5", "whole level"),
        ("erode:" + "9" * 5000, "whole level"),
        ("erode:²", "whole level"),
        ("jpeg:101", "of 1 to 100 .quality."),
        ("map-none:2", "has no level"),
        ("", "no disturbance"),
    ),
)
def test_a_wrong_disturbance_is_refused_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parsed(text)
