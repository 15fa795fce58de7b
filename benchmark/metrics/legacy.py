"""Published protocols with known defects, emulated so that their tables can be told from real
differences. Never defaults; every definition names the defect.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image as Pillow

from benchmark.metrics import MetricInfo, MetricSpec, Score
from benchmark.metrics.pictures import check_pairs
from olrd.arrays import Image, Mask


class BrushNetPsnr:
    """PSNR of the part that was *not* erased, with the squared error summed over three channels but
    divided by a one-channel pixel count: always 10 log10(3) = 4.77 dB too low; 1000 for equal pictures."""

    info = MetricInfo(
        "legacy:brushnet-psnr", "sample", True, "dB",
        "BrushNet's evaluation: outside the mask, error summed over 3 channels over a 1-channel count "
        "(-4.77 dB), 1000 for equal pictures",
    )  # fmt: skip

    def scores(self, outputs: Sequence[Image], mask: Mask, truth: Image | None) -> list[Score]:
        """See `SampleMetric.scores`."""
        truth = check_pairs(self.info.name, outputs, truth)
        kept = np.count_nonzero(~mask)
        if not kept:
            return [Score(None, "empty_region")] * len(outputs)
        found = []
        for output in outputs:
            error = output[~mask].astype(np.float64) - truth[~mask].astype(np.float64)
            mean = float((error**2).sum() / kept) / 255**2
            found.append(Score(1000.0 if mean == 0 else 20 * math.log10(1 / math.sqrt(mean))))
        return found


class SshPsnr:
    """The PSNR of RealHM's authors: both pictures at 256 x 256, and the *output's* own range (largest
    minus smallest value) as the peak."""

    info = MetricInfo(
        "legacy:ssh-psnr", "sample", True, "dB",
        "RealHM's authors: resized to 256 x 256, data range = max - min of the output",
    )  # fmt: skip
    size = 256

    def scores(self, outputs: Sequence[Image], mask: Mask, truth: Image | None) -> list[Score]:
        """See `SampleMetric.scores`."""
        truth = check_pairs(self.info.name, outputs, truth)
        small = self._small(truth)
        found = []
        for output in outputs:
            other = self._small(output)
            mean = float(((other - small) ** 2).mean())
            peak = float(other.max() - other.min())
            if mean == 0:
                found.append(Score(None, "identical"))
            elif peak == 0:
                found.append(Score(None, "no_range"))
            else:
                found.append(Score(10 * math.log10(peak**2 / mean)))
        return found

    def _small(self, pixels: Image) -> np.ndarray:
        resized = Pillow.fromarray(pixels).resize((self.size,) * 2, Pillow.Resampling.BICUBIC)
        return np.asarray(resized).astype(np.float64)


def open_brushnet_psnr(spec: MetricSpec) -> BrushNetPsnr:
    """See `BrushNetPsnr`."""
    return BrushNetPsnr()


def open_ssh_psnr(spec: MetricSpec) -> SshPsnr:
    """See `SshPsnr`."""
    return SshPsnr()
