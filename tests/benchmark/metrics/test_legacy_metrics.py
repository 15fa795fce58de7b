"""The emulated defects are exactly the published ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmark.metrics import open_metric
from olrd.arrays import Image, Mask


@pytest.fixture
def pictures() -> tuple[Image, Image, Mask]:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    output = np.clip(truth.astype(int) + rng.integers(-20, 21, truth.shape), 0, 255)
    mask = np.zeros((40, 50), np.bool_)
    mask[10:20, 5:30] = True
    return output.astype(np.uint8), truth, mask


def test_brushnet_is_always_the_same_amount_too_low(pictures: tuple[Image, Image, Mask]) -> None:
    output, truth, mask = pictures
    (found,) = open_metric("legacy:brushnet-psnr").scores([output], mask, truth)  # type: ignore[union-attr]
    error = (output.astype(float) - truth.astype(float))[~mask]
    honest = 10 * math.log10(255**2 / (error**2).mean())
    assert found.value == pytest.approx(honest - 10 * math.log10(3), abs=1e-9)
    (same,) = open_metric("legacy:brushnet-psnr").scores([truth], mask, truth)  # type: ignore[union-attr]
    assert same.value == 1000.0


def test_brushnet_needs_pixels_outside_the_mask(pictures: tuple[Image, Image, Mask]) -> None:
    output, truth, mask = pictures
    (none,) = open_metric("legacy:brushnet-psnr").scores([output], np.ones_like(mask), truth)  # type: ignore[union-attr]
    assert none == (None, "empty_region")


def test_the_ssh_peak_is_the_range_of_the_output(pictures: tuple[Image, Image, Mask]) -> None:
    """At 256 x 256 nothing is resized, so the value follows from the pixels; a duller output loses."""
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    output = (truth // 2 + 20).astype(np.uint8)
    mask = np.zeros((256, 256), np.bool_)
    (found,) = open_metric("legacy:ssh-psnr").scores([output], mask, truth)  # type: ignore[union-attr]
    error = (output.astype(float) - truth.astype(float)) ** 2
    peak = int(output.max()) - int(output.min())
    assert found.value == pytest.approx(10 * math.log10(peak**2 / error.mean()), abs=1e-9)
    same, flat = open_metric("legacy:ssh-psnr").scores(  # type: ignore[union-attr]
        [truth, np.full_like(truth, 7)], mask, truth
    )
    assert same == (None, "identical")
    assert flat == (None, "no_range")
