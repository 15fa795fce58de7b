"""Measures triplets per second of both engines on the same cores. Run by `make perf`; it asserts nothing.

Ray is started before the clock, because on a cluster it runs already. The time of its start is printed separately. The
engines alternate, because a machine's speed changes; the results are medians.

    python -m perf.engines [--root COCO] [--times 10] [--workers 2] [--repeat 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.engines import EngineSpec
from olrd.engines.ray import OBJECT_STORE, QUIET
from olrd.sources import SourceSpec
from olrd.sources.panoptic.coco import DEMO_ROOT
from perf.throughput import repeated


def start_ray(cpus: int) -> float:
    """Start Ray on this machine and return the seconds that it took."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    started = time.perf_counter()
    import ray

    ray.init("local", num_cpus=cpus, object_store_memory=OBJECT_STORE, include_dashboard=False, **QUIET)
    return time.perf_counter() - started


def rate(config: BuildConfig, out: Path, engine: EngineSpec) -> float:
    """Build and return the triplets per second."""
    shutil.rmtree(out, ignore_errors=True)
    started = time.perf_counter()
    triplets: int = build(config, out, engine=engine)["totals"]["triplets"]
    return triplets / (time.perf_counter() - started)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", metavar="DIR", help="folder in COCO's panoptic layout (default: the embedded photos)")
    parser.add_argument(
        "--times", type=int, default=10, metavar="N", help="times that each photo is listed (default %(default)s)"
    )
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N", help="workers of each engine (default %(default)s)"
    )
    parser.add_argument(
        "--repeat",
        type=int,
        default=3,
        metavar="N",
        help="rounds, of which the median is reported (default %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args()
    many = args.workers
    engines = {
        f"{name}, {count}": EngineSpec(name, count) for name, count in (("local", 1), ("local", many), ("ray", many))
    }
    with tempfile.TemporaryDirectory() as scratch:
        photos = Path(args.root) if args.root else DEMO_ROOT
        root = repeated(photos, args.times, Path(scratch) / "photos")
        config, out = BuildConfig(SourceSpec("coco", str(root))), Path(scratch) / "out"
        rate(config, out, EngineSpec())  # warms the caches
        start = start_ray(many)
        rounds = [{n: rate(config, out, e) for n, e in engines.items()} for _ in range(args.repeat)]
    rates = {name: median(found[name] for found in rounds) for name in engines}
    share = median(found[f"ray, {many}"] / found[f"local, {many}"] for found in rounds)
    if args.json:
        figures = {"per_second": rates, "ray_to_local": share, "ray_start_seconds": start}
        print(json.dumps(figures, indent=1))
        return
    print(f"{'engine, workers':<18}{'triplets/s':>11}")
    for name, found in rates.items():
        print(f"{name:<18}{found:>11.1f}")
    print(f"ray is {share:.2f} of local on {many} workers; starting Ray took {start:.1f} s")


if __name__ == "__main__":
    main()
