"""Metrics, of four kinds.

- A map metric computes one value per pixel. Its mean over a region becomes the score of the region, so one map serves
  all regions.
- A sample metric computes one score per picture, from the picture, the mask and the truth.
- An erasure metric does so too, and also sees the photo with the object and the regions.
- A set metric compares the features of all outputs with those of all truths. Outputs and truths are pairs, and several
  pairs may be of one source photo; a `PairedSetMetric` takes this into account.

To add a metric, write one file and add one line to `METRICS`, or, in another distribution, one entry point in the group
`benchmark.metrics`. The tests in tests/benchmark/metrics/test_metrics.py run on every registered metric.

If a metric raises an exception, the sample has no value of that metric. An `OlrdError` stops the run: raise it for what
every sample needs, such as weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask
from olrd.panoptic import Box
from olrd.registry import Registry, check_named, check_opened

METRICS = Registry(
    "metric",
    "benchmark.metrics",
    {
        "cmmd": "benchmark.metrics.cmmd:open_cmmd",
        "dists": "benchmark.metrics.dists:open_dists",
        "dreamsim": "benchmark.metrics.dreamsim:open_dreamsim",
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
        "mind": "benchmark.metrics.inception:open_mind",
        "mind-box": "benchmark.metrics.inception:open_mind_box",
        "psnr": "benchmark.metrics.pixels:open_psnr",
        "rc-s": "benchmark.metrics.rcs:open_rcs",
        "regrowth": "benchmark.metrics.regrowth:open_regrowth",
        "regrowth-class": "benchmark.metrics.regrown_class:open_regrowth_class",
        "regrowth-colour": "benchmark.metrics.regrowth:open_regrowth_colour",
        "regrowth-lpips": "benchmark.metrics.regrowth:open_regrowth_lpips",
        "regrowth-ring": "benchmark.metrics.regrowth:open_regrowth_ring",
        "remove": "benchmark.metrics.remove:open_remove",
        "seam": "benchmark.metrics.surroundings:open_seam",
        "smoothness": "benchmark.metrics.surroundings:open_smoothness",
        "ssim": "benchmark.metrics.pixels:open_ssim",
        "tone": "benchmark.metrics.surroundings:open_tone",
    },
)

FloatMap = npt.NDArray[np.float32]
Features = npt.NDArray[np.float64]


class Score(NamedTuple):
    """A value, or None and the reason why there is none: a key of `REASONS`, or `failed: ...`."""

    value: float | None
    reason: str = ""


REASONS = {
    "identical": "the output equals the truth",
    "empty_region": "the region is empty",
    "full_region": "the mask covers the whole picture",
    "no_truth": "there is no truth to compare with",
    "no_object": "input and truth are equal in the mask",
    "no_class": "the segmenter finds no object in the mask of the input",
    "class_behind": "the truth has the erased class in the mask too",
    "no_cell": "the mask is too thin for the network's grid",
    "no_range": "the output has one colour only",
    "too_small": "the picture is smaller than the network accepts",
    "too_few": "fewer than two samples have features",
    "one_photo": "all samples are of one source photo",
    "not_finite": "the value is infinite or not a number",
}
"""Why a score has no value, in words. A metric that raised has the reason `failed: ...` instead."""


@dataclass(frozen=True)
class MetricInfo:
    """The description of a metric.

    Attributes:
        name: as registered.
        kind: `map`, `sample`, `erasure` or `set`.
        higher_is_better: the direction.
        unit: e.g. "dB"; empty if it has none.
        definition: one line: network, ranges, windows and the source.
        needs_truth: whether it compares with a truth. Samples without a truth have no value of it.
        revision: of weights and definition together.
        network: set metrics with the same network share their features, which are computed once. Empty: its own.
        region: what a set metric sees of a picture: `full`, or `box` (the bounding box of the mask, grown as the
            protocol says), because what was erased is a small part of the full picture. For a sample or an erasure
            metric it is the region in the name of its columns.
        needs_image: whether an erasure metric compares with the photo with the object.
    """

    name: str
    kind: str
    higher_is_better: bool
    unit: str
    definition: str
    needs_truth: bool = True
    revision: str = "1"
    network: str = ""
    region: str = "full"
    needs_image: bool = False


class MapMetric(Protocol):
    """One value per pixel."""

    info: MetricInfo

    def maps(self, outputs: Sequence[Image], truth: Image) -> list[FloatMap]:
        """One map per output, float32 [H, W]. A map does not depend on the other outputs.

        Args:
            outputs: the raw and the composited output, uint8 [H, W, 3] of the truth's size.
            truth: the photo without the object. What depends on it only should be computed once.
        """

    def finish(self, mean: float) -> Score:
        """The score of a region. mean: of the map over the region, float64."""


class SampleMetric(Protocol):
    """One score per picture."""

    info: MetricInfo

    def scores(self, outputs: Sequence[Image], mask: Mask, truth: Image | None) -> list[Score]:
        """One score per output. mask: bool [H, W], True = erased."""


@dataclass(frozen=True)
class Erasure:
    """What was asked of the eraser.

    Attributes:
        image: the photo with the object, uint8 [H, W, 3].
        regions: bool [H, W] by name (see `benchmark.regions.regions_of`); `mask` is what was erased.
        truth: the photo without the object, or None.
        twin: the box of the object's untouched original in the same photo, or None.
    """

    image: Image
    regions: Mapping[str, Mask]
    truth: Image | None = None
    twin: Box | None = None


class ErasureMetric(Protocol):
    """One score per picture, by all that is known of what was erased."""

    info: MetricInfo

    def judge(self, outputs: Sequence[Image], erasure: Erasure) -> list[Score]:
        """One score per output: the raw and the composited one, or one if they are equal."""


class SetMetric(Protocol):
    """One score per set."""

    info: MetricInfo

    def features(self, images: Sequence[Image]) -> Features:
        """Features, float64 [n, d]. A row depends on its image only."""

    def compare(self, outputs: Features, truths: Features) -> Score:
        """The score of two sets of features. The order of rows has no effect."""


@runtime_checkable
class PairedSetMetric(SetMetric, Protocol):
    """A set metric that knows which rows of the two sets belong together. The benchmark calls `compare_paired` of it."""

    def compare_paired(self, outputs: Features, truths: Features, photos: Sequence[str]) -> Score:
        """The score of two sets of features. Row k of both is of sample k. photos: the source photo of each sample."""


@dataclass(frozen=True)
class MetricSpec:
    """What a metric is opened with. device: `auto`, `cpu`, `cuda`, `cuda:1`, ..."""

    name: str
    device: str = "auto"


def open_metric(name: str, device: str = "auto") -> MapMetric | SampleMetric | ErasureMetric | SetMetric:
    """Open a metric by name. This is cheap: a network is loaded when it is first used.

    Raises:
        UsageError: there is no such metric.
        PluginError: it is no metric, or its `MetricInfo` has another name.
        MissingExtraError: a library is not installed.
        WeightsMissingError: weights are not on this machine; the message says how to get them.
    """
    metric: MapMetric | SampleMetric | ErasureMetric | SetMetric = METRICS.get(name)(MetricSpec(name, device))
    check_opened("metric", name, metric, info=MetricInfo)
    check_named("metric", name, metric.info.name, "its MetricInfo is called")
    return metric
