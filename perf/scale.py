"""Measures time and memory of builds of growing size: generated images, and an annotation file of COCO's size.

    python -m perf.scale photos [--counts 1000,10000,100000] [--form recipes] [--workers 1]
    python -m perf.scale annotations --root COCO [--images 118287]
    python -m perf.scale units [--counts 200,1000,118287]

`photos` builds the source `synthetic` at every size, each in its own process. `annotations` lists the photos of a COCO
folder repeatedly under new ids until their number is reached, indexes that file, and opens it as a worker does. Memory
is the largest resident size of any process. `units` builds nothing: it counts units and tasks, and how much later than
by a perfect division the last worker ends if every photo takes the same time. It asserts nothing.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from olrd.builder.units import Piece, Task, in_pieces, plan_units
from olrd.config import BuildConfig
from olrd.sources import SourceSpec, open_source
from perf.throughput import repeated

IMPORTS = (
    "import olrd.builder.worker, olrd.triplets.maker, olrd.sources.panoptic.coco, cv2, pyarrow.parquet, scipy.ndimage"
)
OPEN = """
from pathlib import Path
from olrd.config import BuildConfig
from olrd.sources import SourceSpec
from olrd.builder.worker import UnitBuilder
UnitBuilder(BuildConfig(SourceSpec("coco", {root!r})), {parts!r}).start()
"""
INDEX = """
from pathlib import Path
from olrd.sources.panoptic.index import panoptic_index
print(panoptic_index(Path({file!r})).num_rows)
"""
REPORT = """
import time
{setup}
started = time.perf_counter()
{code}
taken = time.perf_counter() - started
status = open("/proc/self/status").read()
print(taken, int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""
"""Runs code and prints its seconds and its peak memory in MB. `ru_maxrss` does not work here: a process inherits it."""


def watched(argv: list[str], environment: dict[str, str] | None = None) -> tuple[float, float, str]:
    """Run a command and return its seconds, the memory of its largest process in MB, and its stdout."""
    started = time.perf_counter()
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | (environment or {})
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(argv)} failed; run it in a shell to see its error")
    return time.perf_counter() - started, usage.ru_maxrss / 1024, output


def photos(counts: list[int], side: int, form: str, workers: int, scratch: Path) -> list[dict[str, Any]]:
    """Build every number of photos and return one row for each."""
    rows = []
    for count in counts:
        out = scratch / f"{form}-{count}"
        argv = [sys.executable, "-m", "olrd.cli.build", "--source", "synthetic", "--json"]
        for option in (f"count={count}", f"width={side}", f"height={side * 3 // 4}"):
            argv += ["--source-option", option]
        argv += ["--form", form, "--workers", str(workers), "--out", str(out)]
        seconds, memory, output = watched(argv)
        triplets = json.loads(output)["totals"]["triplets"]
        stored = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        shutil.rmtree(out)
        rows.append(
            {
                "photos": count,
                "width": side,
                "form": form,
                "workers": workers,
                "triplets": triplets,
                "seconds": round(seconds, 1),
                "triplets_per_second": round(triplets / seconds, 1),
                "peak_mb": round(memory),
                "megabytes": round(stored / 1e6, 1),
            }
        )
        print(json.dumps(rows[-1]), file=sys.stderr)
    return rows


def annotations(root: Path, images: int, scratch: Path) -> dict[str, Any]:
    """Measure time and memory of indexing, and of a worker's start in addition to its imports."""
    (listed,) = root.glob("annotations/panoptic_*.json")
    whole = json.loads(listed.read_text())
    sample = len(whole["images"])
    segments = sum(len(annotation["segments_info"]) for annotation in whole["annotations"])
    times = -(-images // sample)
    large = repeated(root, times, scratch / "photos", photos=False)
    (file,) = large.glob("annotations/panoptic_*.json")
    cache = {"OLRD_CACHE": str(scratch / "cache")}
    indexing = _reported("import ijson, olrd.sources.panoptic.index", INDEX.format(file=str(file)), cache)
    start = OPEN.format(root=str(large), parts=str(scratch))
    imports, opened = _reported("", IMPORTS, cache), _reported(IMPORTS, start, cache)
    return {
        "images": int(indexing["output"]),
        "segments": times * segments,
        "file_mb": round(file.stat().st_size / 1e6),
        "indexing_seconds": round(indexing["seconds"], 1),
        "indexing_mb": round(indexing["peak_mb"]),
        "start_seconds": round(opened["seconds"], 3),
        "start_mb_above_imports": round(opened["peak_mb"] - imports["peak_mb"], 1),
        "imports_mb": round(imports["peak_mb"]),
        "imports_seconds": round(imports["seconds"], 2),
    }


def longest(tasks: Sequence[Task], workers: int) -> int:
    """The photos of the worker that ends last, if each takes the next task when it is free."""
    free = [0] * workers
    for task in tasks:
        heapq.heapreplace(free, free[0] + len(task.photos))
    return max(free)


def units(counts: list[int]) -> list[dict[str, Any]]:
    """Divide every number of photos among several numbers of workers, and return one row for each."""
    rows = []
    for count in counts:
        config = BuildConfig(SourceSpec("synthetic", options={"count": str(count)}))
        whole = plan_units(open_source(config.source), config)
        for workers in (2, 8, 64, 500):
            tasks, perfect = in_pieces(whole, workers), count / workers
            cut = sum(len(task.photos) for task in tasks if isinstance(task, Piece))
            rows.append(
                {
                    "photos": count,
                    "workers": workers,
                    "units": len(whole),
                    "tasks": len(tasks),
                    "photos_in_pieces": round(cut / count, 3),
                    "last_worker": round(longest(tasks, workers) / perfect, 2),
                    "last_worker_with_whole_units": round(longest(whole, workers) / perfect, 2),
                }
            )
    return rows


def _reported(setup: str, code: str, environment: dict[str, str]) -> dict[str, Any]:
    """Run both in a new Python process. Returns the code's seconds and the process's peak memory in MB."""
    _, _, output = watched([sys.executable, "-c", REPORT.format(setup=setup, code=code)], environment)
    *printed, last = output.strip().splitlines()
    seconds, peak = map(float, last.split())
    return {"seconds": seconds, "peak_mb": peak, "output": printed[-1] if printed else "0"}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["photos", "annotations", "units"])
    parser.add_argument(
        "--counts",
        metavar="LIST",
        help="numbers of photos (default 1000,10000,100000; with units 200,1000,10000,118287)",
    )
    parser.add_argument(
        "--width",
        type=int,
        default=640,
        metavar="PX",
        help="width of a photo; its height is 3/4 of it (default %(default)s)",
    )
    parser.add_argument("--form", default="recipes", choices=["recipes", "full"])
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default %(default)s)")
    parser.add_argument("--root", metavar="DIR", help="folder in COCO's panoptic layout")
    parser.add_argument(
        "--images", type=int, default=118_287, metavar="N", help="number of photos to list (default %(default)s)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if args.what == "photos":
            counts = [int(count) for count in (args.counts or "1000,10000,100000").split(",")]
            found: Any = photos(counts, args.width, args.form, args.workers, Path(scratch))
        elif args.what == "units":
            found = units([int(count) for count in (args.counts or "200,1000,10000,118287").split(",")])
        elif args.root:
            found = annotations(Path(args.root), args.images, Path(scratch))
        else:
            parser.error("annotations needs --root, a COCO folder")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
