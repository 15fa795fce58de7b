"""Compares the definitions of `regrowth` on results of known content: the object itself, moved, mirrored, cut, and fills.

    python -m perf.regrowth [--root TRIPLETS] [--size 288] [--limit N]

Each result is pasted into the mask of the input. The table has the share of samples that each metric calls regrown. Run
when a definition changes; it asserts nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from baselines import open_eraser
from benchmark.datasets import Sample, open_dataset
from benchmark.metrics import Erasure, open_metric
from benchmark.protocol import Protocol
from benchmark.regions import regions_of
from benchmark.scoring import prepared
from olrd.arrays import Image
from olrd.masks import mask_box
from olrd.progress import say

METRICS = ("regrowth", "regrowth-ring", "regrowth-colour", "regrowth-lpips")
FILLS = ("mean-fill", "blur-fill", "patchmatch")


def moved(sample: Sample) -> Image:
    """The object, moved right and down by a sixth of its size. What it uncovers is the truth."""
    box = mask_box(sample.mask)
    shift = np.array([[1, 0, box.w / 6], [0, 1, box.h / 6]])
    size = sample.mask.shape[::-1]
    there = cv2.warpAffine(sample.mask.astype(np.uint8), shift, size) > 0
    return np.where(there[..., None], cv2.warpAffine(sample.image, shift, size), sample.truth)


def mirrored(sample: Sample) -> Image:
    """The object, mirrored in its box."""
    result, cut = sample.image.copy(), mask_box(sample.mask).crop()
    result[cut] = result[cut][:, ::-1]
    return result


def lower_half(sample: Sample) -> Image:
    """The object below the middle of its box, the truth above."""
    box = mask_box(sample.mask)
    result = sample.image.copy()
    result[: box.y + box.h // 2] = sample.truth[: box.y + box.h // 2]  # type: ignore[index]
    return result


def results() -> dict[str, Callable[[Sample], Any]]:
    """How each result is made, by its name."""

    def filled(name: str) -> Callable[[Sample], Any]:
        eraser = open_eraser(name, device="cpu")
        return lambda sample: eraser.erase([sample.image], [sample.mask])[0]

    return {
        "the object itself": lambda sample: sample.image,
        "the object mirrored": mirrored,
        "the object moved by a sixth of its size": moved,
        "its lower half": lower_half,
        **{f"`{name}`": filled(name) for name in FILLS},
        "the truth": lambda sample: sample.truth,
    }


def table(root: str, size: int, limit: int | None) -> str:
    """The table as Markdown, with the number of samples."""
    data, protocol = open_dataset("olrd", root), Protocol("regrowth", 1, "short", size)
    metrics: dict[str, Any] = {name: open_metric(name, "cpu") for name in METRICS}
    makers = results()
    found: dict[tuple[str, str], list[float]] = {(result, name): [] for result in makers for name in METRICS}
    count = len(data.ids()[:limit])
    for index in range(count):
        sample = prepared(data.sample(index), protocol)
        asked = Erasure(sample.image, regions_of(sample.mask, protocol), sample.truth, sample.twin)
        outputs = [make(sample) for make in makers.values()]
        for name, metric in metrics.items():
            for result, score in zip(makers, metric.judge(outputs, asked), strict=True):
                found[result, name] += [] if score.value is None else [score.value]
    lines = [f"{count} samples", "", f"| result | {' | '.join(f'`{name}`' for name in METRICS)} |"]
    lines.append("| --- " * (1 + len(METRICS)) + "|")
    for result in makers:
        shares = (found[result, name] for name in METRICS)
        lines.append(f"| {result} | {' | '.join(f'{np.mean(one):.2f}' if one else '-' for one in shares)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default="", metavar="DIR", help="triplets (default: of the embedded photos)")
    parser.add_argument("--size", type=int, default=288, metavar="PX", help="short side (default %(default)s)")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N samples only")
    args = parser.parse_args()
    say("judging results")
    print(table(args.root, args.size, args.limit))


if __name__ == "__main__":
    main()
