"""Score one sample. Every metric runs once per picture, and all regions are read from the same maps."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import cv2
import numpy as np

from benchmark.datasets import Sample
from benchmark.metrics import Erasure, ErasureMetric, MapMetric, MetricInfo, SampleMetric, Score, SetMetric, open_metric
from benchmark.protocol import Protocol
from benchmark.regions import EFFECT, MODES, REGIONS, regions_of
from olrd.arrays import Image, Mask, resize_image, working_size
from olrd.errors import IntegrityError, OlrdError, UsageError
from olrd.masks import grown
from olrd.panoptic import Box

CHANGES = ("change", "change-max")
"""Difference between output and *input* in a region, in grey levels: mean and maximum."""


class Metrics(NamedTuple):
    """The open metrics of a protocol, by kind. samples: the erasure metrics too."""

    maps: list[MapMetric]
    samples: list[SampleMetric | ErasureMetric]
    sets: list[SetMetric]

    def infos(self) -> list[MetricInfo]:
        """The description of each metric."""
        return [*(m.info for m in self.maps), *(m.info for m in self.samples), *(m.info for m in self.sets)]


class Scored(NamedTuple):
    """The scores of one output.

    Attributes:
        values: score by column; None if it has none.
        reasons: why a column has no score, or a set metric no features, by column or metric.
        features: float64 [d] by set metric and picture (`raw`, `composited`, `truth`), e.g. `fid/raw`.
        output_sha256: hash of the output's pixels.
    """

    values: dict[str, float | None]
    reasons: dict[str, str]
    features: dict[str, np.ndarray]
    output_sha256: str


def open_metrics(protocol: Protocol, device: str) -> Metrics:
    """Open all metrics of a protocol. Raises an `OlrdError` if one is unknown or lacks what it needs."""
    opened = Metrics([], [], [])
    for name in protocol.metrics:
        metric = open_metric(name, device)
        kinds = {"map": opened.maps, "sample": opened.samples, "erasure": opened.samples, "set": opened.sets}
        if metric.info.kind not in kinds:
            raise UsageError(
                f"the metric {name} has the unknown kind '{metric.info.kind}'; known kinds: {', '.join(kinds)}"
            )
        kinds[metric.info.kind].append(metric)  # type: ignore[attr-defined]
    return opened


def score_columns(metrics: Metrics, effects: bool = False) -> list[str]:
    """The names of the score columns, in order. effects: whether the samples have masks of shadows and reflections."""
    regions = (*REGIONS, EFFECT) if effects else REGIONS
    names = [name for m in metrics.maps for name in _map_columns(m, regions)]
    names += [name for m in metrics.samples for name in _picture_columns(m)]
    return names + [f"{change}/outside/raw" for change in CHANGES]


def _map_columns(metric: MapMetric, regions: Iterable[str]) -> list[str]:
    return [f"{metric.info.name}/{region}/{mode}" for mode in MODES for region in regions]


def _picture_columns(metric: SampleMetric | ErasureMetric) -> list[str]:
    return [f"{metric.info.name}/{metric.info.region}/{mode}" for mode in MODES]


def prepared(sample: Sample, protocol: Protocol) -> Sample:
    """Resize a sample as the protocol says, and threshold and grow its mask.

    Raises:
        IntegrityError: photo, mask and truth differ in size.
    """
    image, truth, mask, effect = sample.image, sample.truth, sample.mask, sample.effect
    height, width = mask.shape
    for what, pixels in (("photo", image), ("truth", truth)):
        if pixels is not None and pixels.shape != (height, width, 3):
            raise IntegrityError(f"{sample.id}: the {what} is {list(pixels.shape)}, the mask {width} x {height} pixels")
    if effect is not None and effect.shape != mask.shape:
        raise IntegrityError(
            f"{sample.id}: the mask of the effect is {list(effect.shape)}, the mask {width} x {height} pixels"
        )
    size = _size(width, height, protocol)
    twin = sample.twin
    if size != (width, height):
        image = resize_image(image, size)
        truth = resize_image(truth, size) if truth is not None else None
        mask = _resized(mask, size, protocol)
        effect = _resized(effect, size, protocol) if effect is not None else None
        twin = twin and _scaled(twin, size[0] / width, size[1] / height)
    mask = grown(mask, protocol.mask_dilate)
    return replace(sample, image=image, mask=mask, truth=truth, twin=twin, effect=effect)


def _resized(mask: Mask, size: tuple[int, int], protocol: Protocol) -> Mask:
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return share >= max(protocol.mask_threshold, 1e-6)


def _scaled(box: Box, across: float, down: float) -> Box:
    """The box in the resized photo. It stays inside and is at least one pixel wide and high."""
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
    """Score one output.

    A metric that raises has no value for this sample, and its reason starts with `failed:`. The other metrics are not
    affected.

    Args:
        sample: the sample, as `prepared` returns it.
        output: the eraser's picture, uint8 [H, W, 3].
        metrics: the open metrics.
        protocol: the protocol that the sample was prepared for.

    Raises:
        OlrdError: an error that concerns every sample, e.g. weights that cannot be read.
    """
    regions = regions_of(sample.mask, protocol, sample.effect)
    composited = np.where(sample.mask[..., None], output, sample.image)
    same = np.array_equal(output, composited)  # true for many methods: then one map serves both modes
    outputs = [output] if same else [output, composited]
    found: dict[str, Score] = {}
    for metric in metrics.maps:
        found |= _or_why(_map_columns(metric, regions), _map_scores, metric, outputs, sample.truth, regions)
    for whole in metrics.samples:
        found |= _or_why(_picture_columns(whole), _picture_scores, whole, outputs, sample, regions)
    for name, change in zip(CHANGES, changes(sample.image, output, regions["outside"]), strict=True):
        found[f"{name}/outside/raw"] = change
    pictures = [output, composited] + ([] if sample.truth is None else [sample.truth])
    features, missing = _features(metrics.sets, pictures, regions["box"])
    found = {column: _finite(result) for column, result in found.items()}
    return Scored(
        {column: result.value for column, result in found.items()},
        {column: result.reason for column, result in found.items() if result.value is None} | missing,
        features,
        hashlib.sha256(np.ascontiguousarray(output).data).hexdigest(),
    )


def _map_scores(
    metric: MapMetric, outputs: Sequence[Image], truth: Image | None, regions: dict[str, Mask]
) -> list[Score]:
    """The scores of a map metric, in the order of `_map_columns`."""
    if truth is None:
        return [Score(None, "no_truth")] * (len(MODES) * len(regions))
    maps = _one_each(metric.maps(outputs, truth), outputs)
    for values in maps:
        if np.shape(values) != truth.shape[:2]:
            raise ValueError(f"expected maps [{truth.shape[0]}, {truth.shape[1]}], got {list(np.shape(values))}")
    found = [
        metric.finish(region_mean(values, where)) if where.any() else Score(None, "empty_region")
        for values in maps
        for where in regions.values()
    ]
    return [*found, *found][: len(MODES) * len(regions)]  # one map serves both modes


def _picture_scores(
    metric: SampleMetric | ErasureMetric, outputs: Sequence[Image], sample: Sample, regions: dict[str, Mask]
) -> list[Score]:
    """The scores of a sample or an erasure metric, in the order of `_picture_columns`."""
    if metric.info.needs_truth and sample.truth is None:
        return [Score(None, "no_truth")] * len(MODES)
    if metric.info.kind == "erasure":
        erasure = Erasure(sample.image, regions, sample.truth, sample.twin)
        found = cast(ErasureMetric, metric).judge(outputs, erasure)
    else:
        found = cast(SampleMetric, metric).scores(outputs, sample.mask, sample.truth)
    results = _one_each(found, outputs)
    return [*results, *results][: len(MODES)]


def _features(
    metrics: Sequence[SetMetric], pictures: Sequence[Image], box: Mask
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The features of the set metrics, and by metric why there are none.

    Metrics with the same network share their features. box: bool [H, W], what metrics of the region `box` see.
    """
    found: dict[str, np.ndarray] = {}
    missing: dict[str, str] = {}
    seen: dict[str, np.ndarray | str] = {}
    for metric in metrics:
        name, network = metric.info.name, metric.info.network or metric.info.name
        if metric.info.region == "box" and not box.any():
            seen[network] = "empty_region"
        if network not in seen:
            try:
                shown = pictures if metric.info.region == "full" else _crops(pictures, box)
                rows = metric.features(shown)
                _one_each(rows, pictures)
                seen[network] = rows if np.isfinite(rows).all() else "not_finite"
            except OlrdError:
                raise
            except Exception as error:
                seen[network] = _what_failed(error)
        rows_or_why = seen[network]
        if isinstance(rows_or_why, str):
            missing[name] = rows_or_why
            continue
        for picture, row in zip((*MODES, "truth"), rows_or_why, strict=False):
            found[f"{name}/{picture}"] = row
    return found, missing


def _crops(pictures: Sequence[Image], box: Mask) -> list[Image]:
    """The pictures cropped to a box, bool [H, W], not empty."""
    x, y, w, h = cv2.boundingRect(box.view(np.uint8))
    return [np.ascontiguousarray(picture[y : y + h, x : x + w]) for picture in pictures]


def _or_why(columns: list[str], compute: Callable[..., list[Score]], *given: Any) -> dict[str, Score]:
    """The scores of one metric by column. If it raises, every column has the reason instead."""
    try:
        return dict(zip(columns, compute(*given), strict=True))
    except OlrdError:
        raise
    except Exception as error:
        return dict.fromkeys(columns, Score(None, _what_failed(error)))


def _what_failed(error: Exception) -> str:
    return " ".join(f"failed: {type(error).__name__}: {error}".split())[:200]


def _one_each(results: Any, pictures: Sequence[Image]) -> Any:
    if len(results) != len(pictures):
        raise ValueError(f"expected {len(pictures)} results, one per picture, got {len(results)}")
    return results


def _finite(result: Score) -> Score:
    """The score, or None for NaN and infinity."""
    known = result.value is None or math.isfinite(result.value)
    return result if known else Score(None, "not_finite")


def region_mean(values: np.ndarray, where: Mask) -> float:
    """The mean of a float32 map over a region that is not empty, summed in float64."""
    return float(cv2.mean(values, where.view(np.uint8))[0])


def changes(image: Image, output: Image, where: Mask) -> tuple[Score, Score]:
    """Mean and maximum of the absolute difference between output and input in a region, in grey levels."""
    if not where.any():
        return Score(None, "empty_region"), Score(None, "empty_region")
    difference = cv2.absdiff(image, output)
    mask = where.view(np.uint8)
    mean = float(np.mean(cv2.mean(difference, mask)[:3]))
    return Score(mean), Score(float(cv2.norm(image, output, cv2.NORM_INF, mask)))
