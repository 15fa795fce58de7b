"""Where the time of a build goes: the shares of its parts, and what the codecs leave. It asserts nothing.

A timer looks at the stack of a build with one worker, once per millisecond of CPU time. Each look counts for the
innermost file of olrd that belongs to a part.

    python -m perf.parts [--root COCO] [--times 4] [--form full] [--json]
"""

from __future__ import annotations

import argparse
import json
import signal
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import cv2

import olrd
from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.sources import SourceSpec
from olrd.sources.panoptic.coco import DEMO_ROOT
from perf.throughput import repeated

PARTS = {
    "pictures: decoding and encoding": ("arrays.py",),
    "positions": (
        "triplets/placements.py",
        "triplets/legal.py",
        "triplets/surfaces.py",
        "triplets/scene.py",
        "triplets/perspective.py",
        "triplets/groups.py",
    ),
    "objects: choosing and cutting out": ("triplets/cuts.py", "triplets/candidates.py", "triplets/edges.py"),
    "outlines": ("triplets/outlines.py",),
    "blending": ("triplets/compose.py", "triplets/matching.py", "triplets/light.py"),
    "segments of the maps": ("panoptic.py",),
    "writing and hashing": ("dataset/shards.py", "storage/files.py"),
    "card": ("dataset/card.py", "dataset/sheet.py"),
}
"""The files of each part, under `olrd/`. Helpers such as masks.py count for the part that calls them."""
REST = "the rest"
INTERVAL = 0.001
"""Seconds of CPU time between two looks."""
FOLDER = f"{Path(olrd.__file__).parent}/"


def part_of(frame: FrameType | None) -> str:
    """The part that a stack is in."""
    files = {file: part for part, names in PARTS.items() for file in names}
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(FOLDER) and (part := files.get(name.removeprefix(FOLDER))):
            return part
        frame = frame.f_back
    return REST


def shares(config: BuildConfig, out: Path) -> tuple[dict[str, float], int]:
    """The share of every part of a build, largest first, and the number of looks."""
    looks: Counter[str] = Counter()

    def look(_: int, frame: FrameType | None) -> None:
        looks[part_of(frame)] += 1

    before = signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    try:
        build(config, out)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    total = looks.total()
    return {part: count / total for part, count in looks.most_common()}, total


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", metavar="DIR", help="folder in COCO's panoptic layout (default: the embedded photos)")
    parser.add_argument(
        "--times", type=int, default=4, metavar="N", help="times that each photo is listed (default %(default)s)"
    )
    parser.add_argument("--form", choices=["full", "recipes"], default="full", help="default %(default)s")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as scratch:
        root = repeated(Path(args.root) if args.root else DEMO_ROOT, args.times, Path(scratch) / "photos")
        found, total = shares(BuildConfig(SourceSpec("coco", str(root)), form=args.form), Path(scratch) / "out")
    if args.json:
        figures: dict[str, Any] = {"shares": found, "looks": total}
        print(json.dumps(figures, indent=1))
        return
    for part, share in found.items():
        print(f"{share:>6.1%}  {part}")


if __name__ == "__main__":
    main()
