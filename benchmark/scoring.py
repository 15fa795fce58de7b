"""Scoring one sample: every metric once per picture, every region from the same maps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from benchmark.datasets import Sample
from benchmark.metrics import MapMetric, MetricInfo, SampleMetric, Score, SetMetric, open_metric
from benchmark.protocol import Protocol
from benchmark.regions import MODES, REGIONS, dilated, regions_of
from olrd.arrays import Image, Mask, resize_image
from olrd.errors import UsageError
from olrd.panoptic import Box
from olrd.working import working_size

CHANGES = ("change", "change-max")
"""How far the output differs from the *input* in a region, in grey levels: mean and largest."""


class Metrics(NamedTuple):
    """The opened metrics of a protocol, by kind."""

    maps: list[MapMetric]
    samples: list[SampleMetric]
    sets: list[SetMetric]

    def infos(self) -> list[MetricInfo]:
        """What each metric says of itself."""
        return [
            *(m.info for m in self.maps),
            *(m.info for m in self.samples),
            *(m.info for m in self.sets),
        ]


class Scored(NamedTuple):
    """values: column -> score. reasons: column -> why there is none. features: per set metric and
    picture (`raw`, `composited`, `truth`), float64 [d]."""

    values: dict[str, float | None]
    reasons: dict[str, str]
    features: dict[str, np.ndarray]
    output_sha256: str


def open_metrics(protocol: Protocol, device: str) -> Metrics:
    """Open all metrics of a protocol; raises before anything is erased."""
    opened = Metrics([], [], [])
    for name in protocol.metrics:
        metric = open_metric(name, device)
        kinds = {"map": opened.maps, "sample": opened.samples, "set": opened.sets}
        if metric.info.kind not in kinds:
            raise UsageError(
                f"the metric {name} says it is of kind '{metric.info.kind}'; known: {', '.join(kinds)}"
            )
        kinds[metric.info.kind].append(metric)  # type: ignore[attr-defined]
    return opened


def score_columns(metrics: Metrics) -> list[str]:
    """The score columns in order."""
    names = [f"{m.info.name}/{r}/{mode}" for m in metrics.maps for mode in MODES for r in REGIONS]
    names += [f"{m.info.name}/full/{mode}" for m in metrics.samples for mode in MODES]
    return names + [f"{change}/outside/raw" for change in CHANGES]


def prepared(sample: Sample, protocol: Protocol) -> Sample:
    """The sample at the protocol's size, its mask thresholded and grown."""
    image, truth, mask = sample.image, sample.truth, sample.mask
    height, width = mask.shape
    size = _size(width, height, protocol)
    twin = sample.twin
    if size != (width, height):
        image = resize_image(image, size)
        truth = resize_image(truth, size) if truth is not None else None
        share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        mask = share >= max(protocol.mask_threshold, 1e-6)
        twin = twin and _scaled(twin, size[0] / width, size[1] / height)
    mask = dilated(np.ascontiguousarray(mask), protocol.mask_dilate)
    return replace(sample, image=image, mask=mask, truth=truth, twin=twin)


def _scaled(box: Box, across: float, down: float) -> Box:
    """The box in a resized photo; it stays inside and at least a pixel wide."""
    left, top = int(box.x * across), int(box.y * down)
    right, bottom = round((box.x + box.w) * across), round((box.y + box.h) * down)
    return Box(left, top, max(1, right - left), max(1, bottom - top))


def _size(width: int, height: int, protocol: Protocol) -> tuple[int, int]:
    if protocol.resize == "none":
        return width, height
    if protocol.resize == "stretch":
        return protocol.size, protocol.size
    return working_size(width, height, protocol.size)


def score(sample: Sample, output: Image, metrics: Metrics, protocol: Protocol) -> Scored:
    """All scores of one output. sample: as `prepared` gave it."""
    regions = regions_of(sample.mask, protocol)
    composited = np.where(sample.mask[..., None], output, sample.image)
    same = np.array_equal(output, composited)  # many methods composite: then one map serves both
    outputs = [output] if same else [output, composited]
    values: dict[str, float | None] = {}
    reasons: dict[str, str] = {}

    def put(column: str, result: Score) -> None:
        values[column] = result.value
        if result.value is None:
            reasons[column] = result.reason

    for metric in metrics.maps:
        name = metric.info.name
        maps = metric.maps(outputs, sample.truth) if sample.truth is not None else None
        for k, mode in enumerate(MODES):
            for region, where in regions.items():
                column = f"{name}/{region}/{mode}"
                if maps is None:
                    put(column, Score(None, "no_truth"))
                elif not where.any():
                    put(column, Score(None, "empty_region"))
                else:
                    put(column, metric.finish(region_mean(maps[k % len(maps)], where)))
    for whole in metrics.samples:
        if whole.info.needs_truth and sample.truth is None:
            results: Sequence[Score] = [Score(None, "no_truth")] * len(MODES)
        else:
            results = whole.scores(outputs, sample.mask, sample.truth)
            results = [*results, *results][: len(MODES)]
        for mode, result in zip(MODES, results, strict=True):
            put(f"{whole.info.name}/full/{mode}", result)
    for name, result in zip(
        CHANGES, changes(sample.image, output, regions["outside"]), strict=True
    ):
        put(f"{name}/outside/raw", result)
    pictures = [output, composited] + ([] if sample.truth is None else [sample.truth])
    features: dict[str, np.ndarray] = {}
    seen: dict[tuple[type, str], np.ndarray] = {}  # FID and KID share a network and its features
    for of_sets in metrics.sets:
        network = type(of_sets), of_sets.info.revision
        if network not in seen:
            seen[network] = of_sets.features(pictures)
        for picture, row in zip((*MODES, "truth"), seen[network], strict=False):
            features[f"{of_sets.info.name}/{picture}"] = row
    digest = hashlib.sha256(np.ascontiguousarray(output).data).hexdigest()
    return Scored(values, reasons, features, digest)


def region_mean(values: np.ndarray, where: Mask) -> float:
    """The mean of a float32 map over a non-empty region, summed in float64."""
    return float(cv2.mean(values, where.view(np.uint8))[0])


def changes(image: Image, output: Image, where: Mask) -> tuple[Score, Score]:
    """Mean and largest absolute difference of output and input in a region, in grey levels."""
    if not where.any():
        return Score(None, "empty_region"), Score(None, "empty_region")
    difference = cv2.absdiff(image, output)
    mask = where.view(np.uint8)
    mean = float(np.mean(cv2.mean(difference, mask)[:3]))
    return Score(mean), Score(float(cv2.norm(image, output, cv2.NORM_INF, mask)))
