"""Is an object of the erased class found again in the hole? Asked of a panoptic segmenter, Mask2Former."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from benchmark.metrics import Erasure, MetricInfo, MetricSpec, Score
from benchmark.metrics.encoders import check_installed, find_checkpoint, fingerprint
from benchmark.metrics.regrowth import each_fill, pasted
from olrd.arrays import Image, Mask
from olrd.models.mask2former import CHECKPOINT, Mask2FormerSegmenter, Segmentation

MODEL = "Mask2FormerForUniversalSegmentation"
ERASED = 0.5
"""Share of the mask that one class of things must cover in the input to be the erased class."""
AGAIN = 0.2
"""Share of the mask above which the class is found again."""


class ClassRegrowth:
    """1 if the class of the erased object covers over a fifth of the mask again.

    The class is the one of the thing that covers the most of the mask in the input, at least half of it. Where the truth
    has the class in the mask too, as in a crowd, the answer would mean nothing, and there is no value.
    """

    def __init__(self, spec: MetricSpec, folder: Path) -> None:
        self.info = MetricInfo(
            spec.name,
            "erasure",
            higher_is_better=False,
            unit="",
            definition=(
                "1 if Mask2Former finds the class of the erased object (the thing that covers at least half of the mask in "
                f"the input) on over {AGAIN:.0%} of the mask of the result, else 0; no value if the truth has it there"
            ),
            needs_truth=False,
            revision=f"1+{fingerprint(folder)}",
            region="mask",
            needs_image=True,
        )
        self._device, self._folder = spec.device, folder

    @cached_property
    def _segmenter(self) -> Mask2FormerSegmenter:
        return Mask2FormerSegmenter(str(self._folder), device=self._device, local_files_only=True)

    def judge(self, outputs: Sequence[Image], erasure: Erasure) -> list[Score]:
        """1 or 0 per output."""
        mask = erasure.regions["mask"]

        @cache  # input and truth are segmented once, and only if there is an output
        def erased() -> int | Score:
            return self._erased(erasure)

        def judged(fill: Image, _: Erasure) -> Score:
            class_or_why = erased()
            if isinstance(class_or_why, Score):
                return class_or_why
            (found,) = self._segmenter.segment([fill])
            return Score(float(shares(found, mask).get(class_or_why, 0.0) > AGAIN))

        return each_fill(self.info, outputs, erasure, judged)

    def _erased(self, erasure: Erasure) -> int | Score:
        """The number of the erased class, or why there is none."""
        mask = erasure.regions["mask"]
        known = [] if erasure.truth is None else [pasted(erasure.truth, erasure)]
        before, *behind = self._segmenter.segment([erasure.image, *known])
        things = {category.id for category in self._segmenter.categories if category.isthing}
        covered = {number: share for number, share in shares(before, mask).items() if number in things}
        number = max(covered, key=lambda k: (covered[k], -k), default=0)
        if covered.get(number, 0.0) < ERASED:
            return Score(None, "no_class")
        if behind and shares(behind[0], mask).get(number, 0.0) > AGAIN:
            return Score(None, "class_behind")
        return number


def shares(found: Segmentation, mask: Mask) -> dict[int, float]:
    """The share of a mask that is not empty that each category covers."""
    ids, counts = np.unique(found.ids[mask], return_counts=True)
    area = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    total: dict[int, float] = {}
    for segment in found.segments:
        total[segment.category_id] = total.get(segment.category_id, 0.0) + area.get(segment.id, 0) / int(counts.sum())
    return total


def open_regrowth_class(spec: MetricSpec) -> ClassRegrowth:
    """Open `regrowth-class`. It needs a Mask2Former: $REGROWTH_MODEL, or COCO's panoptic Swin-B from the hub's cache."""
    check_installed(spec.name, "torch", "transformers")
    return ClassRegrowth(spec, find_checkpoint(spec.name, "REGROWTH_MODEL", CHECKPOINT, MODEL))
