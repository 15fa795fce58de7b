"""Metrics: three small protocols, one table.

A map metric gives one value per pixel; its mean over any region is finished into a score, so one map
serves all regions. A sample metric gives one score per picture. A set metric compares the features
of all outputs with those of all truths. To add one: write one file, add one line to `METRICS` (or,
from another distribution, one entry point in the group `benchmark.metrics`). The suite in
tests/benchmark/metrics/test_metrics.py runs on everything registered.

A metric that raises costs one sample's value of that metric. An `OlrdError` stops the run: it is for
what no sample can do without, such as weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask
from olrd.registry import Registry

METRICS = Registry(
    "metric",
    "benchmark.metrics",
    {
        "cmmd": "benchmark.metrics.cmmd:open_cmmd",
        "dists": "benchmark.metrics.dists:open_dists",
        "fid": "benchmark.metrics.inception:open_fid",
        "fid-box": "benchmark.metrics.inception:open_fid_box",
        "kid": "benchmark.metrics.inception:open_kid",
        "kid-alex-box": "benchmark.metrics.alex:open_kid_alex_box",
        "kid-box": "benchmark.metrics.inception:open_kid_box",
        "legacy:attentive-fid": "benchmark.metrics.legacy:open_attentive_fid",
        "legacy:brushnet-psnr": "benchmark.metrics.legacy:open_brushnet_psnr",
        "legacy:remove-64": "benchmark.metrics.legacy:open_remove_64",
        "legacy:ssh-psnr": "benchmark.metrics.legacy:open_ssh_psnr",
        "lpips-alex": "benchmark.metrics.lpips:open_lpips_alex",
        "lpips-vgg": "benchmark.metrics.lpips:open_lpips_vgg",
        "psnr": "benchmark.metrics.pixels:open_psnr",
        "remove": "benchmark.metrics.remove:open_remove",
        "ssim": "benchmark.metrics.pixels:open_ssim",
    },
)

FloatMap = npt.NDArray[np.float32]
Features = npt.NDArray[np.float64]


class Score(NamedTuple):
    """A value, or None with the reason why there is none (`identical`, `empty_region`, ...)."""

    value: float | None
    reason: str = ""


REASONS = {
    "identical": "the output equals the truth",
    "empty_region": "the region is empty",
    "full_region": "the mask covers the whole picture",
    "no_truth": "there is no truth to compare with",
    "no_cell": "the mask is too thin for the network's grid",
    "no_range": "the output has one colour only",
    "too_small": "the picture is smaller than the network accepts",
    "too_few": "fewer than two samples have features",
    "not_finite": "the value is infinite or not a number",
}
"""Why a score has no value, in words. A metric that raised has the reason `failed: ...` instead."""


@dataclass(frozen=True)
class MetricInfo:
    """name: as registered. kind: `map`, `sample` or `set`. higher_is_better. unit: e.g. "dB".
    definition: one line: net, ranges, windows and the source. needs_truth: whether it compares with a
    truth (a set without truth refuses it). revision: of weights and definition together. network: set
    metrics that name the same one have the same features, which are computed once for all of them;
    empty: features of its own. region: what of a picture a set metric sees, `full` or `box` (the mask's,
    grown as the protocol says: in the full picture, what was erased is a small part)."""

    name: str
    kind: str
    higher_is_better: bool
    unit: str
    definition: str
    needs_truth: bool = True
    revision: str = "1"
    network: str = ""
    region: str = "full"


class MapMetric(Protocol):
    """One value per pixel."""

    info: MetricInfo

    def maps(self, outputs: Sequence[Image], truth: Image) -> list[FloatMap]:
        """One float32 [H, W] per output (its raw and composited forms, all of the truth's size). What
        depends on the truth alone is computed once. Independent of batch and order."""

    def finish(self, mean: float) -> Score:
        """The score of a region from the mean of its map over the region (float64)."""


class SampleMetric(Protocol):
    """One score per picture."""

    info: MetricInfo

    def scores(self, outputs: Sequence[Image], mask: Mask, truth: Image | None) -> list[Score]:
        """One per output. mask: bool [H, W], True = erased."""


class SetMetric(Protocol):
    """One score per set."""

    info: MetricInfo

    def features(self, images: Sequence[Image]) -> Features:
        """float64 [n, d]. A row depends on its image alone."""

    def compare(self, outputs: Features, truths: Features) -> Score:
        """The score of two sets of features (rows in any order); n is printed beside it."""


@dataclass(frozen=True)
class MetricSpec:
    """What a metric is opened with. device: `auto`, `cpu`, `cuda`."""

    name: str
    device: str = "auto"


def open_metric(name: str, device: str = "auto") -> MapMetric | SampleMetric | SetMetric:
    """Open a metric by name; cheap: networks are loaded when first used. Raises `UsageError`,
    `MissingExtraError` or `baselines.eraser.WeightsMissingError` with what to do."""
    metric: MapMetric | SampleMetric | SetMetric = METRICS.get(name)(MetricSpec(name, device))
    return metric
