"""Calls the eraser on samples: which hints it gets, how long it takes, and what happens when it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
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
        peak_mb: memory that the method needs, in MiB; see `Meter`.
    """

    sample: Sample
    output: Image | Exception
    seconds: float
    peak_mb: float


def erase(eraser: Eraser, samples: Sequence[Sample], meter: Meter) -> Iterator[Erased]:
    """Erase samples in one call.

    If the call fails, each sample is tried alone: then only the samples at fault fail.

    meter: of this eraser; it measures every call.
    """
    if not samples:
        return
    meter.start()
    try:
        hints = [hints_for(eraser, sample) for sample in samples]
        outputs = eraser.erase([s.image for s in samples], [s.mask for s in samples], hints)
    except HOPELESS:
        raise
    except (Exception, SystemExit) as error:
        if len(samples) > 1:
            for sample in samples:
                yield from erase(eraser, [sample], meter)
        else:
            failure = error if isinstance(error, Exception) else RuntimeError(f"it called sys.exit({error.code!r})")
            yield Erased(samples[0], failure, *meter.stop(failed=True))
        return
    seconds, peak_mb = meter.stop()
    for sample, output in zip(samples, outputs, strict=True):
        yield Erased(sample, output, seconds / len(samples), peak_mb)


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


class Cost(NamedTuple):
    """What one call took: seconds, and memory in MiB (see `Meter`)."""

    seconds: float
    peak_mb: float


class Meter:
    """Measures the time of an eraser's calls, and on an NVIDIA GPU the memory that the eraser needs.

    The memory of a call is the difference to what was allocated before it: the networks of the metrics do not count. What earlier calls left allocated, such as weights that the first call loads, counts as the eraser's own.

    On a CPU the memory is NaN. The process holds torch and the metrics' networks there, and a call takes most of its
    memory from what the process has freed before. So neither the size of the process nor its change says what the
    eraser needs.
    """

    def __init__(self, device: str) -> None:
        self._cuda = device if device.startswith("cuda") else ""
        self._kept = self._before = 0
        self._started = 0.0

    def start(self) -> None:
        """Begin to measure a call."""
        if self._cuda:
            import torch

            torch.cuda.synchronize(self._cuda)
            torch.cuda.reset_peak_memory_stats(self._cuda)
            self._before = torch.cuda.memory_allocated(self._cuda)
        self._started = time.perf_counter()

    def stop(self, failed: bool = False) -> Cost:
        """End the call. Waits for the GPU to finish.

        failed: the call raised. What its error still holds is not counted as the eraser's own.
        """
        if not self._cuda:
            return Cost(time.perf_counter() - self._started, float("nan"))
        import torch

        torch.cuda.synchronize(self._cuda)
        seconds = time.perf_counter() - self._started
        needed = self._kept + torch.cuda.max_memory_allocated(self._cuda) - self._before
        if not failed:
            self._kept = max(0, self._kept + torch.cuda.memory_allocated(self._cuda) - self._before)
        return Cost(seconds, needed / (1 << 20))
