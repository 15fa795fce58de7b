"""Apply the faults and print the table of docs/reliability.md."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from perf.faults.count import FAULTS, Count, count_fault
from perf.faults.scene import prepare


def table(counts: list[Count]) -> str:
    """Format the counts as a Markdown table."""
    lines = ["| fault | times tried | times recovered | rows lost |", "| --- | --- | --- | --- |"]
    for c in counts:
        tried = c.tried or "not possible here"
        lines.append(f"| {c.fault} | {tried} | {c.recovered} | {c.rows_lost} |")
    return "\n".join(lines)


def main() -> int:
    """Run the command. The exit code is 1 if any build did not recover."""
    parser = argparse.ArgumentParser(prog="python -m perf.faults", description=__doc__)
    parser.add_argument(
        "--times", type=int, default=20, metavar="N", help="times that each fault is applied (default %(default)s)"
    )
    parser.add_argument("--only", action="append", choices=sorted(FAULTS), help="apply this fault only; repeatable")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of every draw (default 0)")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    args = parser.parse_args()
    counts = []
    with tempfile.TemporaryDirectory(prefix="olrd-faults-") as folder:
        scene = prepare(Path(folder))
        shards = sum(name.endswith(".parquet") for name in scene.whole)
        print(
            f"one build: {len(scene.rows)} triplets in {shards} shards, {scene.seconds:.1f} s",
            file=sys.stderr,
            flush=True,
        )
        for name in args.only or FAULTS:
            counts.append(count_fault(name, scene, args.times, args.seed))
            print(counts[-1], file=sys.stderr, flush=True)
    print(json.dumps([asdict(c) for c in counts], indent=1) if args.json else table(counts))
    return 0 if all(c.tried == c.recovered and not c.rows_lost for c in counts) else 1


if __name__ == "__main__":
    raise SystemExit(main())
