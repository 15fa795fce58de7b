"""Bytes per triplet: with pixels, as recipes, and as a folder of three PNGs. Run by `make bench`.

The naive folder holds the very same pixels, each picture written by Pillow as a PNG at its default
level: composite, mask (8 bits, as such folders have it) and background, once per triplet.

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
    """Builds; the triplets, and the bytes of their Parquet files."""
    found = build(config, out)
    return found["totals"]["triplets"], sum(shard["bytes"] for shard in found["shards"])


def png_bytes(pixels: Any) -> int:
    """As Pillow writes them unless told otherwise."""
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return file.tell()


def naive_bytes(out: Path) -> int:
    """What the triplets in `out` take as a folder of PNGs."""
    total, dataset = 0, Dataset(out)
    with progress_bar("three PNGs each", len(dataset), unit=" triplets") as bar:
        for row in dataset.rows():
            triplet = row_triplet(row)
            mask = triplet.mask.astype(np.uint8) * 255
            total += sum(png_bytes(p) for p in (triplet.image, mask, triplet.background))
            bar.update()
    return total


def measured(spec: SourceSpec, folder: Path) -> list[dict[str, Any]]:
    """One row per form."""
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
    parser.add_argument("--root", help="a COCO panoptic folder; without it the demo photos")
    parser.add_argument("--json", action="store_true")
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
