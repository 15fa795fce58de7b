"""Seam, tone and smoothness: against plain loops, and on pictures with a known seam."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmark.metrics import Erasure, Score, open_metric
from benchmark.protocol import Protocol
from benchmark.regions import regions_of
from olrd.arrays import Image, Mask


def value(name: str, output: Image, mask: Mask) -> float:
    metric: Any = open_metric(name)
    (score,) = metric.judge([output], Erasure(output, regions_of(mask, Protocol("test", 1, ring=5))))
    assert score.value is not None, score
    return float(score.value)


def hole() -> Mask:
    mask = np.zeros((40, 50), bool)
    mask[12:27, 15:33] = True
    mask[12, 15] = False
    return mask


def noise(seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(90, 130, (40, 50, 3), dtype=np.uint8)


def pairs(shape: tuple[int, ...]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    height, width = shape[:2]
    sideways = [((y, x), (y, x + 1)) for y in range(height) for x in range(width - 1)]
    return sideways + [((y, x), (y + 1, x)) for y in range(height - 1) for x in range(width)]


def step(image: Image, a: tuple[int, int], b: tuple[int, int]) -> float:
    return float(np.mean([abs(int(image[a][c]) - int(image[b][c])) for c in range(3)]))


def near(mask: Mask, at: tuple[int, int]) -> bool:
    """Whether a pixel of the other side lies in the disc of radius 8 (see `olrd.masks.disc`)."""
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    return bool((((y - at[0]) ** 2 + (x - at[1]) ** 2 <= 72) & (mask != mask[at])).any())


@pytest.mark.slow
def test_seam_is_the_excess_of_a_plain_loop() -> None:
    mask, output = hole(), noise()
    output[mask] += 25
    across, beside = [], []
    for a, b in pairs(output.shape):
        if mask[a] != mask[b]:
            across.append(step(output, a, b))
        elif near(mask, a) and near(mask, b):
            beside.append(step(output, a, b))
    found = value("seam", output, mask)
    assert found == pytest.approx(np.mean(across) - np.mean(beside), abs=1e-4)
    assert found > 8 and abs(value("seam", noise(), mask)) < 1.5


def test_tone_is_the_difference_of_local_means_of_a_plain_loop() -> None:
    mask, output = hole(), noise()
    output[mask] += 25
    found = []
    for y, x in zip(*np.nonzero(mask), strict=True):
        if mask[y - 1 : y + 2, x - 1 : x + 2][[0, 1, 1, 2, 0, 0, 2, 2], [1, 0, 2, 1, 0, 2, 0, 2]].all():
            continue
        window = (slice(max(0, y - 8), y + 9), slice(max(0, x - 8), x + 9))
        inside = output[window][mask[window]].astype(float).mean(0)
        found.append(np.abs(inside - output[window][~mask[window]].astype(float).mean(0)).mean())
    assert value("tone", output, mask) == pytest.approx(np.mean(found), abs=1e-6)
    assert value("tone", output, mask) == pytest.approx(25, abs=2)
    flat = np.full((40, 50, 3), 77, np.uint8)
    assert value("tone", flat, mask) == value("seam", flat, mask) == value("smoothness", flat, mask) == 0


def test_smoothness_is_the_ratio_of_detail_and_never_negative() -> None:
    mask, output = hole(), noise()
    ring = regions_of(mask, Protocol("test", 1, ring=5))["ring"]
    output[mask] = 110 + (output[mask] - 110.0) / 4
    detail = [
        np.mean([step(output, a, b) for a, b in pairs(output.shape) if region[a] and region[b]])
        for region in (ring, mask)
    ]
    found = value("smoothness", output, mask)
    assert found == pytest.approx(np.log2((detail[0] + 1) / (detail[1] + 1)), abs=1e-5) and found > 1
    rough = noise()
    rough[mask] = np.random.default_rng(3).integers(0, 256, (mask.sum(), 3))
    assert value("smoothness", rough, mask) == 0


@pytest.mark.parametrize("name", ["seam", "tone", "smoothness"])
def test_a_mask_of_nothing_or_everything_has_no_surroundings(name: str) -> None:
    metric: Any = open_metric(name)
    for mask, why in ((hole() & False, "empty_region"), (hole() | True, "full_region")):
        assert metric.judge([noise()], Erasure(noise(), regions_of(mask, Protocol("test", 1)))) == [Score(None, why)]
    one = np.zeros((40, 50), bool)
    one[20, 20] = True
    (score,) = metric.judge([noise()], Erasure(noise(), regions_of(one, Protocol("test", 1))))
    assert score.reason == ("empty_region" if name == "smoothness" else "")
