"""Measures bytes per triplet: with pixels, as recipes, and as a folder of three PNGs. Run by `make perf`.

The naive folder has the same pixels. Pillow writes each picture as a PNG with its default compression: the composite,
the mask (8 bits, as usual in such folders) and the background, once per triplet.

    python -m perf.storage [--root COCO] [--json]
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset, row_triplet
from olrd.progress import progress_bar
from olrd.sources import SourceSpec


def stored(config: BuildConfig, out: Path) -> tuple[int, int]:
    """Build and return the number of triplets and the bytes of their Parquet files."""
    found = build(config, out)
    return found["totals"]["triplets"], sum(shard["bytes"] for shard in found["shards"])


def png_bytes(pixels: Any) -> int:
    """Return the size of a PNG with Pillow's defaults."""
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return file.tell()


def naive_bytes(out: Path) -> int:
    """Return the bytes of the triplets in `out` as a folder of PNGs."""
    total, dataset = 0, Dataset(out)
    with progress_bar("three PNGs each", len(dataset), unit=" triplets") as bar:
        for row in dataset.rows():
            triplet = row_triplet(row)
            mask = triplet.mask.astype(np.uint8) * 255
            total += sum(png_bytes(p) for p in (triplet.image, mask, triplet.background))
            bar.update()
    return total


def measured(spec: SourceSpec, folder: Path) -> list[dict[str, Any]]:
    """Build every form and return one row for each."""
    triplets, full = stored(BuildConfig(spec), folder / "full")
    _, recipes = stored(BuildConfig(spec, form="recipes"), folder / "recipes")
    naive = naive_bytes(folder / "full")
    return [
        {
            "form": name,
            "triplets": triplets,
            "bytes_per_triplet": round(total / triplets),
            "share_of_naive": round(total / naive, 4),
        }
        for name, total in (("full", full), ("recipes", recipes), ("three PNGs", naive))
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", metavar="DIR", help="folder in COCO's panoptic layout (default: the embedded photos)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = measured(SourceSpec("coco", args.root), Path(scratch))
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{'form':<12}{'triplets':>9}{'bytes each':>12}{'of naive':>10}")
    for row in rows:
        print(f"{row['form']:<12}{row['triplets']:>9}{row['bytes_per_triplet']:>12,}{row['share_of_naive']:>10.2%}")


if __name__ == "__main__":
    main()
