"""How many bytes the crops of a report take in each picture format, and how far their pixels are from the originals.

    python -m perf.crop_formats RUN --root TRIPLETS [--every 8]

RUN is the folder of a run with saved pictures. The table of `docs/decisions.md` is made with it.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from benchmark.crops import crop_box
from benchmark.datasets import open_dataset
from benchmark.runner.outputs import saved_output
from benchmark.runner.results import Run
from benchmark.scoring import prepared
from olrd.arrays import Image

FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"WebP, quality {q}": ("WEBP", {"quality": q, "method": 4}) for q in (80, 90, 95)},
    "JPEG 4:2:0, quality 90": ("JPEG", {"quality": 90, "optimize": True}),
    **{
        f"JPEG 4:4:4, quality {q}": ("JPEG", {"quality": q, "subsampling": 0, "optimize": True, "progressive": True})
        for q in (85, 90, 95)
    },
    "AVIF 4:4:4, quality 80": ("AVIF", {"quality": 80, "subsampling": "4:4:4", "speed": 7}),
    "WebP, lossless": ("WEBP", {"lossless": True, "method": 0, "quality": 20}),
    "PNG": ("PNG", {}),
}


def crops_of(run: Run, root: str, every: int) -> list[Image]:
    """The crops of input, truth and output of every n-th sample."""
    data, hashes = open_dataset(run.summary.request.dataset, root), run.samples().set_index("id").output_sha256
    crops = []
    for number in range(0, len(data.ids()), every):
        sample = prepared(data.sample(number), run.summary.protocol)
        output = saved_output(run, sample.id, hashes[sample.id])
        box = crop_box(sample.mask)
        crops += [p[box.crop()] for p in (sample.image, sample.truth, output) if p is not None]
    return crops


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run with saved pictures")
    parser.add_argument("--root", required=True, metavar="DIR", help="the data of the run")
    parser.add_argument(
        "--every", type=int, default=8, metavar="N", help="take every N-th sample (default %(default)s)"
    )
    args = parser.parse_args()
    crops = crops_of(Run(args.run), args.root, args.every)
    print(f"{len(crops)} crops, {np.mean([c.shape[0] * c.shape[1] for c in crops]):.0f} pixels on average\n")
    print("| format | kB | PSNR, dB | 99.9 % of the errors are below |\n| --- | --- | --- | --- |")
    for name, (kind, options) in FORMATS.items():
        sizes, ratios, errors = [], [], []
        for crop in crops:
            file = io.BytesIO()
            Pillow.fromarray(crop).save(file, kind, **options)
            error = np.abs(np.asarray(Pillow.open(file).convert("RGB")).astype(float) - crop)
            sizes.append(len(file.getvalue()) / 1000)
            errors.append(np.percentile(error, 99.9))
            if error.any():
                ratios.append(10 * np.log10(255**2 / (error**2).mean()))
        ratio = f"{np.mean(ratios):.1f}" if ratios else ""
        print(f"| {name} | {np.mean(sizes):.1f} | {ratio} | {np.mean(errors):.0f} |")


if __name__ == "__main__":
    main()
