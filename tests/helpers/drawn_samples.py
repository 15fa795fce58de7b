"""Drawn samples and small metrics of every kind, for tests of scoring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmark.datasets import Sample
from benchmark.metrics import MapMetric, MetricInfo, Score
from benchmark.protocol import Protocol
from olrd.arrays import Image, Mask

PROTOCOL = Protocol("test", 1, ring=2, box_margin=1, outside_margin=1)


def info(name: str, kind: str, needs_truth: bool = True) -> MetricInfo:
    return MetricInfo(name, kind, True, "", "for tests", needs_truth)


class Power:
    """Squared error of the green channel, as decibels of ten."""

    info = info("power", "map")

    def maps(self, outputs: Sequence[Image], truth: Image) -> list[Any]:
        return [((o[..., 1].astype(np.float32) - truth[..., 1]) ** 2) for o in outputs]

    def finish(self, mean: float) -> Score:
        return Score(10 * math.log10(mean)) if mean > 0 else Score(None, "identical")


class Near:
    """How alike, 0 to 1, in every pixel."""

    info = info("near", "map")

    def maps(self, outputs: Sequence[Image], truth: Image) -> list[Any]:
        return [(1 - np.abs(o.astype(np.float32) - truth).mean(axis=2) / 255).astype(np.float32) for o in outputs]

    def finish(self, mean: float) -> Score:
        return Score(mean)


class Whole:
    """The red sum; and whether there was a truth to look at."""

    def __init__(self, needs_truth: bool) -> None:
        self.info = info("whole", "sample", needs_truth)

    def scores(self, outputs: Sequence[Image], mask: Mask, truth: Image | None) -> list[Score]:
        return [Score(float(o[mask][:, 0].sum()) + (truth is None)) for o in outputs]


class Corner:
    """Its features are the first pixel's."""

    info = info("corner", "set")

    def features(self, images: Sequence[Image]) -> Any:
        return np.stack([i[0, 0].astype(np.float64) for i in images])

    def compare(self, outputs: Any, truths: Any) -> Score:
        return Score(float(np.abs(outputs.mean(axis=0) - truths.mean(axis=0)).sum()))


MAPS: list[MapMetric] = [Power(), Near()]


def drawn(seed: int, height: int = 14, width: int = 17) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def hole(height: int = 14, width: int = 17) -> Mask:
    mask = np.zeros((height, width), bool)
    mask[4:9, 6:12] = True
    mask[4, 6] = False
    return mask


def sample(mask: Mask | None = None, truth: bool = True) -> Sample:
    mask = hole() if mask is None else mask
    image = drawn(0, *mask.shape)
    return Sample("a", "b", image, mask, drawn(1, *mask.shape) if truth else None)


def exact(mask: Mask) -> Sample:
    """Input and truth are equal outside the mask, as in a composed triplet."""
    found = sample(mask)
    assert found.truth is not None
    image = np.where(mask[..., None], found.image, found.truth)
    return replace(found, image=image)
