"""Compares the benchmark's time for scoring with that of calling torchmetrics once per region and mode.

Both score the same outputs of `identity` at 512 x 512 with PSNR, SSIM and LPIPS-alex in five regions and two modes, on
one core. The eraser's time is not included. The scores of both are compared as well. Run by `make perf`; it asserts
nothing.

    python -m perf.harness [--samples 6] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import cv2
import numpy as np
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from baselines import open_eraser
from benchmark.datasets import Sample, open_dataset
from benchmark.metrics import open_metric
from benchmark.protocol import Protocol
from benchmark.regions import MODES, regions_of
from benchmark.scoring import open_metrics, prepared, score
from olrd.arrays import Image

PROTOCOL = Protocol("bench", 1, "stretch", 512, metrics=("psnr", "ssim", "lpips-alex"))


def naive(sample: Sample, output: Image) -> dict[str, float]:
    """Compute every score separately, as scripts of papers do: pictures to tensors, metric, region, mean."""
    lpips: Any = open_metric("lpips-alex", "cpu")
    assert sample.truth is not None
    scores = {}
    for mode in MODES:
        shown = output
        if mode == "composited":
            shown = np.where(sample.mask[..., None], output, sample.image)
        for region, where in regions_of(sample.mask, PROTOCOL).items():
            a, b = (torch.from_numpy(p.transpose(2, 0, 1)[None].astype(np.float32)) for p in (shown, sample.truth))
            inside = torch.from_numpy(where)
            error = float(((a - b) ** 2).mean(dim=1)[0][inside].double().mean())
            scores[f"psnr/{region}/{mode}"] = 10 * np.log10(255**2 / error) if error else np.nan
            _, full = structural_similarity_index_measure(a, b, data_range=255.0, return_full_image=True)
            scores[f"ssim/{region}/{mode}"] = float(full.mean(dim=1)[0][inside].double().mean())
            (distance,) = lpips.maps([shown], sample.truth)
            scores[f"lpips-alex/{region}/{mode}"] = float(distance[where].mean(dtype=np.float64))
    return scores


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=6, metavar="N", help="number of samples (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    data, eraser = open_dataset("olrd"), open_eraser("identity")
    samples = [prepared(data.sample(k), PROTOCOL) for k in range(args.samples)]
    outputs = [eraser.erase([s.image], [s.mask])[0] for s in samples]
    metrics = open_metrics(PROTOCOL, "cpu")
    score(samples[0], outputs[0], metrics, PROTOCOL)  # so that the network is loaded before the clock starts
    ours, theirs, apart = 0.0, 0.0, 0.0
    for sample, output in zip(samples, outputs, strict=True):
        started = time.perf_counter()
        found = score(sample, output, metrics, PROTOCOL)
        between = time.perf_counter()
        expected = naive(sample, output)
        theirs += time.perf_counter() - between
        ours += between - started
        for name, value in expected.items():
            if not np.isnan(value):
                got = found.values[name]
                apart = max(apart, abs(value - got) if got is not None else np.inf)
    result = {
        "samples": args.samples,
        "ours_ms": ours / args.samples * 1e3,
        "naive_ms": theirs / args.samples * 1e3,
        "times_faster": theirs / ours,
        "largest_difference": apart,
    }
    if args.json:
        json.dump(result, sys.stdout, indent=1)
        return
    print(
        f"{args.samples} samples, 512 x 512, 3 metrics x 5 regions x 2 modes, one core\n"
        f"harness {result['ours_ms']:.0f} ms an image, naive {result['naive_ms']:.0f} ms: "
        f"{result['times_faster']:.1f} times faster; largest difference {apart:.1e}"
    )


if __name__ == "__main__":
    main()
