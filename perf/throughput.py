"""Triplets per second against the codec floor. Run by `make bench`; asserts nothing.

The floor is the time that decoding the inputs and encoding the outputs alone takes, on the same
bytes, on one core, with the fastest codecs available: simplejpeg for photos, OpenCV for panoptic
maps, Pillow for PNG and WebP. What the build must decode is decoded once: the map of every photo
with a candidate, and each photo that gives triplets, however many.

    python -m perf.throughput [--root COCO] [--times 10] [--repeat 3] [--only native] [--json]
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
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import cv2
import simplejpeg

from olrd.arrays import decode_ids, encode_image, encode_mask
from olrd.builder.build import build
from olrd.builder.units import Unit, plan_units
from olrd.builder.worker import UnitBuilder
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset, row_triplet
from olrd.panoptic import Record
from olrd.sources import Source, SourceSpec, open_source
from olrd.sources.coco import DEMO_ROOT
from olrd.triplets.candidates import listed_verdict
from olrd.triplets.tally import Tally

Job = tuple[Callable[[Any], object], Any]


def repeated(root: Path, times: int, target: Path) -> Path:
    """`target` as a COCO folder that lists the photos of `root` several times, under new ids, so that the fixed
    costs of a build (card, sample sheet) weigh as little as they do on a real data set."""
    (json_path,) = root.glob("annotations/panoptic_*.json")
    subset = json_path.stem.removeprefix("panoptic_")
    whole = json.loads(json_path.read_text())
    images, annotations = whole["images"], whole["annotations"]
    whole["images"] = [i | {"id": i["id"] + t * 10**7} for t in range(times) for i in images]
    whole["annotations"] = [a | {"image_id": a["image_id"] + t * 10**7} for t in range(times) for a in annotations]
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


def beside_codecs(config: BuildConfig, out: Path, codecs: list[Job]) -> tuple[float, float]:
    """Seconds for a build in this process, and for the codecs alone.

    After each unit of the build an equal share of the codecs' work runs, with the build's clock
    stopped: machines change speed within seconds, so both must be measured at the same time.
    """
    units = len(plan_units(open_source(config.source), config))
    numbers, alone = count(), 0.0

    build_unit = UnitBuilder.__call__

    def unit_then_codecs(worker: UnitBuilder, unit: Unit) -> tuple[Unit, Tally]:
        nonlocal alone
        built = build_unit(worker, unit)
        started = time.perf_counter()
        for codec, data in codecs[next(numbers) :: units]:
            codec(data)
        alone += time.perf_counter() - started
        return built

    with patch.object(UnitBuilder, "__call__", unit_then_codecs):
        together, _ = pipeline(config, out)
    return together - alone, alone


def codec_jobs(config: BuildConfig, out: Path) -> list[Job]:
    """What the codecs alone have to do for the bytes that the build in `out` read and wrote."""
    source = open_source(config.source)
    by_id = {source.image_id(i): i for i in range(len(source))}
    opened = sorted({row["donor_image_id"] for row in Dataset(out).rows(["donor_image_id"])})
    records = [source.record(by_id[image_id]) for image_id in opened]
    jobs: list[Job] = [(simplejpeg.decode_jpeg, source.photo_bytes(r)) for r in records]
    jobs += [(decode_ids, _map_bytes(source, r)) for r in _with_candidates(source, config)]
    again = {}  # backgrounds that are stored encoded anew, one a photo
    for row in Dataset(out).rows():
        triplet = row_triplet(row)
        jobs += [(encode_image, triplet.image), (encode_mask, triplet.mask)]
        if "-background." in row["background"]["path"]:
            again[row["image_id"]] = triplet.background
    return jobs + [(encode_image, background) for background in again.values()]


def _with_candidates(source: Source, config: BuildConfig) -> Iterator[Record]:
    """The photos with an object that their annotation alone does not rule out: the build must look
    at the map of each."""
    for index in range(len(source)):
        record = source.record(index)
        size, rules = (record.width, record.height), config.rules
        if any(not listed_verdict(s, *size, source.categories, rules) for s in record.segments):
            yield record


def _map_bytes(source: Source, record: Record) -> bytes:
    path: Path = source.png_folder / record.panoptic_name  # type: ignore[attr-defined, operator]
    return path.read_bytes()


def measured(config: BuildConfig, repeat: int, folder: Path) -> dict[str, float | int | None]:
    """Medians over `repeat` builds."""
    out = folder / "out"
    _, triplets = pipeline(config, out)  # warms the caches
    codecs = codec_jobs(config, out) if config.form == "full" else []
    pairs = [beside_codecs(config, out, codecs) for _ in range(repeat)]
    least = median(alone for _, alone in pairs)
    return {
        "triplets": triplets,
        "per_second": triplets / median(seconds for seconds, _ in pairs),
        "floor_per_second": triplets / least if codecs else None,
        "share_of_floor": median(b / a for a, b in pairs) if codecs else None,
    }


def gain_of_two(config: BuildConfig, repeat: int, folder: Path) -> tuple[float, float]:
    """How many times faster two workers are than one, and what the machine allows: two builds beside
    each other that share nothing, against one of them alone. Medians over `repeat` rounds."""
    gains, limits = [], []
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        apart = [folder / "left", folder / "right"]
        for _ in range(repeat):
            alone, _ = pipeline(config, folder / "out")
            gains.append(alone / pipeline(config, folder / "out", workers=2)[0])
            limits.append(2 * alone / max(s for s, _ in pool.map(pipeline, [config] * 2, apart)))
    return median(gains), median(limits)


def worker_memory(root: Path, out: Path) -> float:
    """Peak resident memory, in MB, of a process that builds everything alone."""
    argv = ["--source", "coco", "--root", str(root), "--out", str(out), "--workers", "1"]
    subprocess.run(
        [sys.executable, "-m", "olrd.cli.build", *argv],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", help="a COCO panoptic folder; without it the demo photos")
    parser.add_argument("--times", type=int, default=10, help="list the photos so often")
    parser.add_argument("--repeat", type=int, default=3, help="runs; the median counts")
    parser.add_argument("--only", choices=["native", "512", "recipes"], help="one build, as JSON")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(args.root) if args.root else DEMO_ROOT
        root = repeated(photos, args.times, Path(scratch) / "photos")
        spec = SourceSpec("coco", str(root))
        # First: a process inherits the peak of the one that starts it.
        memory = 0.0 if args.only else worker_memory(root, Path(scratch) / "memory")
        for name, config in (
            ("native", BuildConfig(spec)),
            ("512", BuildConfig(spec, size=512)),
            ("recipes", BuildConfig(spec, form="recipes")),
        ):
            if args.only in (None, name):
                rows.append({"build": name} | measured(config, args.repeat, Path(scratch)))
        if args.only:
            print(json.dumps(rows, indent=1))
            return
        two, limit = gain_of_two(BuildConfig(spec), args.repeat, Path(scratch))
    if args.json:
        figures = {"rows": rows, "two_workers": two, "two_builds": limit, "peak_memory_mb": memory}
        print(json.dumps(figures, indent=1))
        return
    print(f"{'build':<18}{'triplets':>9}{'per second':>12}{'codec floor':>13}{'share':>8}")
    for row in rows:
        reached = f"{row['floor_per_second']:>13.1f}{row['share_of_floor']:>8.2f}" if row["floor_per_second"] else ""
        print(f"{row['build']:<18}{row['triplets']:>9}{row['per_second']:>12.1f}{reached}")
    print(f"one core; peak memory of a build {memory:.0f} MB")
    print(f"two workers: {two:.2f} times one; two builds that share nothing: {limit:.2f}")


if __name__ == "__main__":
    main()
