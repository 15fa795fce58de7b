"""What a third party would write: an eraser, a metric and a dataset for the benchmark."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from baselines.eraser import Eraser, EraserInfo, EraserSpec, Hints
from benchmark.datasets import DataSpec, Sample
from benchmark.metrics import MetricInfo, MetricSpec, Score
from olrd.arrays import Image, Mask
from olrd.draws import draw_integer
from olrd.panoptic import Category
from olrd.registry import checked_options
from olrd.sources import SourceSpec


class Stamp:
    """Paints a grey level drawn by seed and key. TOY_SECONDS: how long that takes. TOY_LOG: a file
    that gets the key of every sample it was asked for."""

    def __init__(self, spec: EraserSpec, options: dict[str, str]) -> None:
        self.seed, self.top = spec.seed, int(options["top"])
        self.info = EraserInfo(spec.name, "toy-1", "MIT", options=options)

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        hints = hints or [Hints()] * len(images)
        outputs = []
        for image, mask, hint in zip(images, masks, hints, strict=True):
            time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
            if log := os.environ.get("TOY_LOG"):
                with Path(log).open("a") as file:
                    file.write(f"{hint.key}\n")
            output = image.copy()
            output[mask] = draw_integer(self.top, self.seed, hint.key)
            outputs.append(output)
        return outputs


def open_stamp(spec: EraserSpec) -> Eraser:
    """Option: top (grey levels are below it)."""
    return Stamp(spec, checked_options(spec, {"top": "256"}))


class Darkness:
    """The mean of 255 - red inside the mask; needs no truth."""

    info = MetricInfo("toy-darkness", "sample", False, "levels", "255 - red in the mask", False)

    def scores(self, outputs: Sequence[Image], mask: Mask, truth: Image | None) -> list[Score]:
        if not mask.any():
            return [Score(None, "empty_region")] * len(outputs)
        return [Score(255 - float(output[mask][:, 0].mean())) for output in outputs]


def open_darkness(spec: MetricSpec) -> Darkness:
    return Darkness()


class Noise:
    """Noise photos with an exact truth; two samples a cluster."""

    name = "toy-noise"
    warnings = ("noise",)

    def __init__(self, count: int) -> None:
        self.count, self.fingerprint = count, f"noise-{count}"

    def ids(self) -> list[str]:
        return [f"noise-{k}" for k in range(self.count)]

    def sample(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        truth = rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)
        mask = np.zeros((24, 30), bool)
        mask[8:16, 10 : 14 + index % 8] = True
        image = np.where(mask[..., None], np.uint8(255) - truth, truth)
        return Sample(f"noise-{index}", f"photo-{index // 2}", image, mask, truth, "noise")


def open_noise(spec: DataSpec) -> Noise:
    """Option: count."""
    return Noise(int(checked_options(spec, {"count": "6"})["count"]))


def open_misnamed_eraser(spec: EraserSpec) -> Eraser:
    """Another name than the registered one, without an option for it, is a slip of its author."""
    return Stamp(replace(spec, name="toy-stamp"), checked_options(spec, {"top": "256"}))


class MisnamedSource:
    name = "coco"
    categories: Mapping[int, Category] = {}


def open_misnamed_source(spec: SourceSpec) -> object:
    return MisnamedSource()


def open_nothing(spec: object) -> object:
    """What a half-written plug-in returns."""
    return object()
