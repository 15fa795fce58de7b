"""Compares the benchmark's time for scoring with that of torchmetrics and `lpips`, used well.

Both score the same outputs at 512 x 512 with PSNR, SSIM and LPIPS-alex in five regions and two modes, on one core. The
other side computes one map per metric and mode, and averages it over every region: torchmetrics' SSIM, and the map of
`lpips` with the same weights. Its LPIPS map is enlarged bilinearly, so only its scores of PSNR and SSIM are compared.

Outputs keep the input outside the mask and have a blurred fill inside it. The masks are ellipses of the given shares
of the picture, on the embedded photos. The eraser's time is not included. Run by `make perf`; it asserts nothing.

    python -m perf.harness [--samples 6] [--shares 0.005,0.02,0.1,0.3] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from benchmark.datasets import Sample, open_dataset
from benchmark.metrics.encoders import load_tensors
from benchmark.metrics.lpips import ALEX_WEIGHTS
from benchmark.protocol import Protocol
from benchmark.regions import MODES, regions_of
from benchmark.scoring import open_metrics, prepared, score
from olrd.arrays import Image, Mask

PROTOCOL = Protocol("bench", 1, "stretch", 512, metrics=("psnr", "ssim", "lpips-alex"))


class Result(NamedTuple):
    """The times of one mask share. seconds: of each sample. apart: largest difference of two scores."""

    share: float
    ours: list[float]
    theirs: list[float]
    apart: float


def other_lpips() -> Any:
    """The network of `lpips`, with the weights that ship with the benchmark."""
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torchvision, about how it is called
        network = lpips.LPIPS(pnet_rand=True, net="alex", spatial=True, verbose=False).eval()
    tensors = load_tensors(ALEX_WEIGHTS)
    for name, parameter in network.net.named_parameters():
        number, part = name.split(".")[-2:]
        parameter.data.copy_(tensors[f"features.{number}.{part}"].float())
    return network


def others(sample: Sample, output: Image, network: Any) -> dict[str, float]:
    """Every score from one map per metric and mode."""
    assert sample.truth is not None
    regions = {name: torch.from_numpy(where) for name, where in regions_of(sample.mask, PROTOCOL).items()}
    truth = torch.from_numpy(sample.truth.transpose(2, 0, 1)[None].astype(np.float32))
    scores = {}
    for mode in MODES:
        shown = output if mode == "raw" else np.where(sample.mask[..., None], output, sample.image)
        picture = torch.from_numpy(shown.transpose(2, 0, 1)[None].astype(np.float32))
        with torch.inference_mode():
            error = ((picture - truth) ** 2).mean(dim=1)[0]
            _, full = structural_similarity_index_measure(picture, truth, data_range=255.0, return_full_image=True)
            distance = network(picture / 127.5 - 1, truth / 127.5 - 1)[0, 0]
        for region, inside in regions.items():
            mean = float(error[inside].double().mean())
            scores[f"psnr/{region}/{mode}"] = 10 * np.log10(255**2 / mean) if mean else np.nan
            scores[f"ssim/{region}/{mode}"] = float(full.mean(dim=1)[0][inside].double().mean())
            scores[f"lpips-alex/{region}/{mode}"] = float(distance[inside].double().mean())
    return scores


def drawn(truth: Image, share: float, seed: int) -> tuple[Sample, Image]:
    """A sample with an ellipse of this share of the picture as its mask, and an output that is blurred inside it."""
    rng = np.random.default_rng(seed)
    height, width = truth.shape[:2]
    aspect = rng.uniform(0.6, 1.6)
    radii = [np.sqrt(share * height * width / np.pi * factor) for factor in (aspect, 1 / aspect)]
    centre = [rng.uniform(radius, max(radius, n - radius)) for radius, n in zip(radii, (width, height), strict=True)]
    y, x = np.mgrid[:height, :width]
    mask: Mask = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 <= 1
    image = np.where(mask[..., None], np.uint8(255) - truth, truth)
    output = np.where(mask[..., None], cv2.GaussianBlur(truth, (0, 0), 8), image)
    return Sample("", "", image, mask, truth), output


def measured(share: float, photos: list[Image], metrics: Any, network: Any) -> Result:
    """Score every photo both ways, in turns."""
    found = Result(share, [], [], 0.0)
    for seed, truth in enumerate(photos):
        sample, output = drawn(truth, share, seed)
        started = time.perf_counter()
        ours = score(sample, output, metrics, PROTOCOL)
        between = time.perf_counter()
        expected = others(sample, output, network)
        found.theirs.append(time.perf_counter() - between)
        found.ours.append(between - started)
        for name, value in expected.items():
            if not np.isnan(value) and not name.startswith("lpips"):
                got = ours.values[name]
                found = found._replace(apart=max(found.apart, abs(value - got) if got is not None else np.inf))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=6, metavar="N", help="number of photos (default %(default)s)")
    parser.add_argument(
        "--shares", default="0.005,0.02,0.1,0.3", metavar="A,B", help="areas of the masks (default %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    data, metrics, network = open_dataset("olrd"), open_metrics(PROTOCOL, "cpu"), other_lpips()
    truths = [prepared(data.sample(k), PROTOCOL).truth for k in range(args.samples)]
    photos = [truth for truth in truths if truth is not None]
    measured(0.02, photos[:1], metrics, network)  # loads the networks before the clock starts
    rows = []
    for share in (float(text) for text in args.shares.split(",")):
        found = measured(share, photos, metrics, network)
        ours, theirs = (float(np.median(seconds)) * 1e3 for seconds in (found.ours, found.theirs))
        rows.append(
            {
                "share": share,
                "samples": len(photos),
                "ours_ms": ours,
                "others_ms": theirs,
                "times_faster": theirs / ours,
                "largest_difference": found.apart,
            }
        )
    if args.json:
        json.dump(rows, sys.stdout, indent=1)
        return
    print("512 x 512, 3 metrics x 5 regions x 2 modes, one core; median ms an image\n")
    print("| mask | ours | torchmetrics and lpips | times faster | largest difference (PSNR, SSIM) |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row['share']:.1%} | {row['ours_ms']:.0f} | {row['others_ms']:.0f} | {row['times_faster']:.1f} | "
            f"{row['largest_difference']:.1e} |"
        )


if __name__ == "__main__":
    main()
