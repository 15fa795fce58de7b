"""Calls the eraser on samples: which hints it gets, how long it takes, and what happens when it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from baselines.eraser import Eraser, Hints
from benchmark.datasets import Sample
from olrd.arrays import Image, resize_ids
from olrd.errors import MissingExtraError, SourceError, UsageError
from olrd.masks import grown
from olrd.panoptic import PanopticMap

HOPELESS = (UsageError, MissingExtraError, SourceError)
"""Errors that an eraser would raise for every sample, such as missing or damaged weights. They end the run."""


class Erased(NamedTuple):
    """A sample after the eraser.

    Attributes:
        sample: the sample.
        output: the picture, uint8 [H, W, 3], or the error that the eraser raised.
        seconds: time per image.
        peak_mb: peak memory in MiB, see `Meter.peak_mb`.
    """

    sample: Sample
    output: Image | Exception
    seconds: float
    peak_mb: float


def erase(eraser: Eraser, samples: Sequence[Sample]) -> Iterator[Erased]:
    """Erase samples in one call.

    If the call fails, each sample is tried alone, so that only the samples at fault fail.
    """
    if not samples:
        return
    meter = Meter(eraser.info.device)
    try:
        hints = [hints_for(eraser, sample) for sample in samples]
        outputs = eraser.erase([s.image for s in samples], [s.mask for s in samples], hints)
    except HOPELESS:
        raise
    except Exception as error:
        if len(samples) > 1:
            for sample in samples:
                yield from erase(eraser, [sample])
        else:
            yield Erased(samples[0], error, meter.seconds(), meter.peak_mb())
        return
    seconds, peak_mb = meter.seconds() / len(samples), meter.peak_mb()
    for sample, output in zip(samples, outputs, strict=True):
        yield Erased(sample, output, seconds, peak_mb)


UNCHANGED, FLAT = "unchanged_in_mask", "flat_in_mask"
"""Facts of an output that looks as if the eraser did not work."""
DOUBTS = {
    UNCHANGED: "equal the input inside the mask: nothing was erased there",
    FLAT: "are one flat colour inside the mask, while the photo around it is not",
}
"""What a run's warnings say about such outputs, by fact."""
NEAR = 8
"""Width in pixels of the surroundings that a flat output is compared with."""


def doubt_of(sample: Sample, output: Image) -> str:
    """`UNCHANGED`, `FLAT`, or an empty text for an output that shows no sign of a broken eraser."""
    inside = output[sample.mask]
    if not len(inside):
        return ""
    if np.array_equal(inside, sample.image[sample.mask]):
        return UNCHANGED
    if not _one_colour(inside):
        return ""
    around = sample.image[grown(sample.mask, NEAR, square=True) & ~sample.mask]
    return "" if _one_colour(around) else FLAT


def _one_colour(pixels: np.ndarray) -> bool:
    return not len(pixels) or bool((pixels == pixels[0]).all())


def wants_maps(eraser: Eraser) -> bool:
    """Whether an eraser uses panoptic maps. They cost time to read, so others are not given them."""
    return "panoptic" in eraser.info.wants


def hints_for(eraser: Eraser, sample: Sample) -> Hints:
    """What the eraser may know about a sample. The panoptic map is that of the photo without the object."""
    found = sample.annotated() if wants_maps(eraser) and sample.annotated else None
    panoptic = None
    if found is not None:
        height, width = sample.mask.shape
        ids, segments = found.panoptic
        same = ids.shape == sample.mask.shape
        panoptic = PanopticMap(ids if same else resize_ids(ids, (width, height)), segments)
    return Hints(
        key=sample.id,
        prompt=sample.prompt,
        caption=sample.caption,
        panoptic=panoptic,
        twin=sample.twin,
        truth=sample.truth if eraser.info.control else None,
        categories=found.categories if found else None,
        category=sample.category or None,
    )


class Meter:
    """Measures the time and the peak memory of one call."""

    def __init__(self, device: str) -> None:
        self._cuda = device if device.startswith("cuda") else ""
        if self._cuda:
            import torch

            torch.cuda.synchronize(self._cuda)
            torch.cuda.reset_peak_memory_stats(self._cuda)
        self._started = time.perf_counter()

    def seconds(self) -> float:
        """Seconds since the start. Waits for the GPU to finish."""
        if self._cuda:
            import torch

            torch.cuda.synchronize(self._cuda)
        return time.perf_counter() - self._started

    def peak_mb(self) -> float:
        """MiB. On a GPU, its peak since the start; otherwise the largest resident size of this process so far, or
        NaN on systems that do not report it."""
        if self._cuda:
            import torch

            return torch.cuda.max_memory_allocated(self._cuda) / (1 << 20)
        status = Path("/proc/self/status")  # exists on Linux only
        for line in status.read_text().splitlines() if status.is_file() else ():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        return float("nan")
