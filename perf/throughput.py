"""Measures triplets per second and compares them with the codec floor. Run by `make perf`; it asserts nothing.

The floor is the time of only decoding the inputs and encoding the outputs, for the same bytes, on one core, with the
fastest codecs: simplejpeg for photos, OpenCV for panoptic maps, Pillow for PNG and WebP. Every input that the build
needs is decoded once: the map of every photo with a candidate, and every photo that has triplets.

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
from olrd.sources.panoptic.coco import DEMO_ROOT
from olrd.storage.files import link_or_copy
from olrd.triplets.candidates import listed_verdict
from olrd.triplets.tally import Tally

Job = tuple[Callable[[Any], object], Any]


def repeated(root: Path, times: int, target: Path, photos: bool = True) -> Path:
    """Write a COCO folder `target` that lists the photos of `root` several times, under new ids and file names.

    With more photos, the fixed costs of a build (card, sample sheet) have the small share that they have on a real
    dataset. The panoptic maps are shared.

    photos: link or copy the photos; without them, the folder serves for indexing and opening.
    """
    (json_path,) = root.glob("annotations/panoptic_*.json")
    subset = json_path.stem.removeprefix("panoptic_")
    whole = json.loads(json_path.read_text())
    images, annotations = whole["images"], whole["annotations"]
    whole["images"] = [
        i | {"id": i["id"] + t * 10**7, "file_name": f"{t}-{i['file_name']}"} for t in range(times) for i in images
    ]
    whole["annotations"] = [a | {"image_id": a["image_id"] + t * 10**7} for t in range(times) for a in annotations]
    (target / "annotations").mkdir(parents=True)
    (target / "annotations" / json_path.name).write_text(json.dumps(whole))
    pngs = json_path.with_suffix("")
    (target / "annotations" / pngs.name).symlink_to(pngs.resolve())
    (target / subset).mkdir()
    for name in [image["file_name"] for image in images if photos]:
        for t in range(times):
            link_or_copy(root / subset / name, target / subset / f"{t}-{name}")
    return target


def pipeline(config: BuildConfig, out: Path, workers: int = 1) -> tuple[float, int]:
    """Build and return the seconds, without the start of the interpreter, and the number of triplets."""
    shutil.rmtree(out, ignore_errors=True)
    started = time.perf_counter()
    triplets = build(config, out, workers)["totals"]["triplets"]
    return time.perf_counter() - started, triplets


def beside_codecs(config: BuildConfig, out: Path, codecs: list[Job]) -> tuple[float, float]:
    """Return the seconds of a build in this process and the seconds of the codecs alone.

    After each unit of the build an equal share of the codecs' work runs while the build's clock is stopped. Both are
    measured at the same time because a machine's speed changes within seconds.
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
    """List the codecs' work for the bytes that the build in `out` read and wrote."""
    source = open_source(config.source)
    by_id = {source.image_id(i): i for i in range(len(source))}
    opened = sorted({row["donor_image_id"] for row in Dataset(out).rows(["donor_image_id"])})
    records = [source.record(by_id[image_id]) for image_id in opened]
    jobs: list[Job] = [(simplejpeg.decode_jpeg, source.photo_bytes(r)) for r in records]
    jobs += [(decode_ids, _map_bytes(source, r)) for r in _with_candidates(source, config)]
    again = {}  # backgrounds that the build encodes again, one per photo
    for row in Dataset(out).rows():
        triplet = row_triplet(row)
        jobs += [(encode_image, triplet.image), (encode_mask, triplet.mask)]
        if "-background." in row["background"]["path"]:
            again[row["image_id"]] = triplet.background
    return jobs + [(encode_image, background) for background in again.values()]


def _with_candidates(source: Source, config: BuildConfig) -> Iterator[Record]:
    """Yield the photos with an object that the annotation alone does not rule out. The build decodes their maps."""
    for index in range(len(source)):
        record = source.record(index)
        size, rules = (record.width, record.height), config.rules
        if any(not listed_verdict(s, *size, source.categories, rules) for s in record.segments):
            yield record


def _map_bytes(source: Source, record: Record) -> bytes:
    path: Path = source.png_folder / record.panoptic_name  # type: ignore[attr-defined, operator]
    return path.read_bytes()


def measured(config: BuildConfig, repeat: int, folder: Path) -> dict[str, float | int | None]:
    """Return the medians over `repeat` builds."""
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
    """Return how many times faster two workers are than one, and the limit of the machine.

    The limit comes from two independent builds at the same time, compared with one of them alone. Both are medians over
    `repeat` rounds.
    """
    gains, limits = [], []
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        apart = [folder / "left", folder / "right"]
        for _ in range(repeat):
            alone, _ = pipeline(config, folder / "out")
            gains.append(alone / pipeline(config, folder / "out", workers=2)[0])
            limits.append(2 * alone / max(s for s, _ in pool.map(pipeline, [config] * 2, apart)))
    return median(gains), median(limits)


def worker_memory(root: Path, out: Path) -> float:
    """Return the peak resident memory in MB of a process that builds everything alone."""
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
    parser.add_argument("--root", metavar="DIR", help="folder in COCO's panoptic layout (default: the embedded photos)")
    parser.add_argument(
        "--times", type=int, default=10, metavar="N", help="times that each photo is listed (default %(default)s)"
    )
    parser.add_argument(
        "--repeat",
        type=int,
        default=3,
        metavar="N",
        help="rounds, of which the median is reported (default %(default)s)",
    )
    parser.add_argument("--only", choices=["native", "512", "recipes"], help="measure one build and print JSON")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(args.root) if args.root else DEMO_ROOT
        root = repeated(photos, args.times, Path(scratch) / "photos")
        spec = SourceSpec("coco", str(root))
        # This comes first, because a process inherits the peak of the process that starts it.
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
