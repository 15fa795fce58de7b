"""Triplets per second against the codec floor. Run by `make bench`; asserts nothing.

The floor is the time that decoding the inputs and encoding the outputs alone takes, on the same
bytes, on one core, with the fastest codecs available: simplejpeg for photos, Pillow for PNG and WebP.
Every photo that the build opens is decoded once, however many triplets it gives.

    python -m bench.throughput [--root COCO] [--repeat 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import simplejpeg

from olrd.arrays import decode_ids, encode_image, encode_mask
from olrd.build import build
from olrd.config import BuildConfig
from olrd.dataset import Dataset, row_triplet
from olrd.sources import SourceSpec, open_source
from olrd.sources.demo import DEMO_ROOT


def repeated(root: Path, times: int, target: Path) -> Path:
    """`target` as a COCO folder that lists the photos of `root` several times, under new ids, so that the fixed
    costs of a build (card, sample sheet) weigh as little as they do on a real data set."""
    (json_path,) = root.glob("annotations/panoptic_*.json")
    subset = json_path.stem.removeprefix("panoptic_")
    whole = json.loads(json_path.read_text())
    images, annotations = whole["images"], whole["annotations"]
    whole["images"] = [i | {"id": i["id"] + t * 10**7} for t in range(times) for i in images]
    whole["annotations"] = [
        a | {"image_id": a["image_id"] + t * 10**7} for t in range(times) for a in annotations
    ]
    (target / "annotations").mkdir(parents=True)
    (target / "annotations" / json_path.name).write_text(json.dumps(whole))
    pngs = json_path.with_suffix("")
    (target / "annotations" / pngs.name).symlink_to(pngs.resolve())
    (target / subset).symlink_to((root / subset).resolve())
    return target


def pipeline(config: BuildConfig, out: Path, workers: int = 1) -> tuple[float, int]:
    """Seconds for a whole build, start-up of this interpreter not counted, and the number of
    triplets."""
    shutil.rmtree(out, ignore_errors=True)
    started = time.perf_counter()
    triplets = build(config, out, workers)["totals"]["triplets"]
    return time.perf_counter() - started, triplets


def floor(config: BuildConfig, out: Path) -> Callable[[], float]:
    """A function that gives the seconds for the codecs alone on what the build read and wrote."""
    source = open_source(config.source)
    by_id = {source.image_id(i): i for i in range(len(source))}
    opened = {row["donor_image_id"] for row in Dataset(out).rows(["donor_image_id"])}
    photos, maps = [], []
    for image_id in sorted(opened):
        record = source.record(by_id[image_id])
        photos.append(source.photo_bytes(record))
        maps.append((source.png_folder / record.panoptic_name).read_bytes())  # type: ignore[attr-defined, operator]
    triplets, again = [], {}  # again: backgrounds that are stored encoded anew, one a photo
    for row in Dataset(out).rows():
        triplets.append(row_triplet(row))
        if "-background." in row["background"]["path"]:
            again[row["image_id"]] = triplets[-1].background

    def codecs() -> float:
        started = time.perf_counter()
        for photo in photos:
            simplejpeg.decode_jpeg(photo)
        for png in maps:
            decode_ids(png)
        for triplet in triplets:
            encode_image(triplet.image)
            encode_mask(triplet.mask)
        for background in again.values():
            encode_image(background)
        return time.perf_counter() - started

    return codecs


def measured(config: BuildConfig, repeat: int, folder: Path) -> dict[str, float | int | None]:
    """Medians over `repeat` builds. The codecs run right before and right after each build, so that
    both see the same machine; the share is of their mean."""
    out = folder / "out"
    pipeline(config, out)  # warms the caches
    codecs = floor(config, out) if config.form == "full" else None
    seconds, least, triplets = [], [], 0
    for _ in range(repeat):
        before = codecs() if codecs else 0.0
        taken, triplets = pipeline(config, out)
        seconds.append(taken)
        if codecs:
            least.append((before + codecs()) / 2)
    shares = [a / b for a, b in zip(least, seconds, strict=False)]
    return {
        "triplets": triplets,
        "per_second": triplets / median(seconds),
        "floor_per_second": triplets / median(least) if least else None,
        "share_of_floor": median(shares) if least else None,
    }


def gain_of_two(config: BuildConfig, repeat: int, out: Path) -> float:
    """How many times faster two workers are than one: the median over `repeat` pairs of builds."""
    return median(
        pipeline(config, out, workers=1)[0] / pipeline(config, out, workers=2)[0]
        for _ in range(repeat)
    )


def worker_memory(root: Path, out: Path) -> float:
    """Peak resident memory, in MB, of a process that builds everything alone."""
    argv = ["--source", "coco", "--root", str(root), "--out", str(out), "--workers", "1"]
    subprocess.run(
        [sys.executable, "-m", "olrd.cli.build", *argv],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", help="a COCO panoptic folder; without it the demo photos")
    parser.add_argument("--times", type=int, default=6, help="list the photos so often")
    parser.add_argument("--repeat", type=int, default=3, help="runs; the median counts")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(args.root) if args.root else DEMO_ROOT
        root = repeated(photos, args.times, Path(scratch) / "photos")
        spec = SourceSpec("coco", str(root))
        memory = worker_memory(root, Path(scratch) / "memory")
        for name, config in (
            ("full, native", BuildConfig(spec)),
            ("full, 512", BuildConfig(spec, size=512)),
            ("recipes, native", BuildConfig(spec, form="recipes")),
        ):
            rows.append({"build": name} | measured(config, args.repeat, Path(scratch)))
        two = gain_of_two(BuildConfig(spec), args.repeat, Path(scratch) / "out")
    if args.json:
        figures = {"rows": rows, "two_workers": two, "peak_memory_mb": memory}
        print(json.dumps(figures, indent=1))
        return
    print(f"{'build':<18}{'triplets':>9}{'per second':>12}{'codec floor':>13}{'share':>8}")
    for row in rows:
        reached = (
            f"{row['floor_per_second']:>13.1f}{row['share_of_floor']:>8.2f}"
            if row["floor_per_second"]
            else ""
        )
        print(f"{row['build']:<18}{row['triplets']:>9}{row['per_second']:>12.1f}{reached}")
    print(f"one core; peak memory of a build {memory:.0f} MB; two workers: {two:.2f} times one")


if __name__ == "__main__":
    main()
