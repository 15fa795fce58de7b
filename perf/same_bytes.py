"""Records the hashes of results that must not change when code is only moved or renamed.

    python -m perf.same_bytes --coco COCO --openimages OPENIMAGES --out before.json
    python -m perf.same_bytes --coco COCO --openimages OPENIMAGES --out after.json --against before.json

The file contains the sha256 of every shard of a list of builds, and the sha256 of every score and every output picture
of two erasers on the embedded triplets. Everything runs through the installed commands, so the script works with two
versions of the code. With --against, the exit code is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

COMMANDS = Path(sys.executable).parent
METHODS = {"opencv-telea": [], "magiceraser": ["--limit", "6"]}
BLENDS = ("hard", "feather", "matting", "guided", "poisson")
NOT_SCORES = {"seconds", "peak_mb"}  # these differ from run to run


def builds(coco: Path | None, openimages: Path | None) -> dict[str, list[str]]:
    """Return the options of every build by its name, without builds whose input is not given."""
    found = {
        "demo-full": ["--source", "demo"],
        "demo-recipes": ["--source", "demo", "--form", "recipes"],
        "synthetic": ["--source", "synthetic", "--source-option", "count=40"],
    }
    if coco:
        sample = ["--source", "coco", "--root", str(coco)]
        found["coco-full"] = sample
        found["coco-recipes"] = [*sample, "--form", "recipes"]
        found["coco-donor-other"] = [*sample, "--donor", "other"]
        found["coco-size-512"] = [*sample, "--size", "512"]
        found["coco-all-options"] = [
            *[*sample, "--flip", "--scale", "0.8,1.2", "--match", "noise,sharpness"],
            *["--placement", "uniform", "--allow-truncated", "--seed", "7"],
        ]
        for blend in BLENDS:
            found[f"coco-blend-{blend}"] = [*sample, "--blend", blend]
    if openimages:
        found["openimages"] = ["--source", "openimages", "--root", str(openimages)]
    return found


def run(*words: str) -> None:
    """Run an installed command. Its progress goes to stderr."""
    subprocess.run([str(COMMANDS / words[0]), *words[1:]], check=True, stdout=subprocess.DEVNULL)


def shard_hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of every shard in a built folder."""
    shards = sorted((folder / "data").glob("*.parquet"))
    return {shard.name: hashlib.sha256(shard.read_bytes()).hexdigest() for shard in shards}


def score_hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of each column of a run's samples, except times and memory."""
    table = pq.read_table(folder / "samples.parquet")
    columns = {name: table[name].to_pylist() for name in table.column_names if name not in NOT_SCORES}
    return {name: hashlib.sha256(repr(values).encode()).hexdigest() for name, values in columns.items()}


def measure(coco: Path | None, openimages: Path | None) -> dict[str, Any]:
    """Do every build and run, and hash the files that they write."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, options in builds(coco, openimages).items():
            run("olrd-build", *options, "--out", f"{scratch}/{name}")
            found[name] = shard_hashes(Path(scratch, name))
        if coco:
            photos = str(coco / "train2017")
            run("olrd", "rebuild", f"{scratch}/coco-recipes", "--root", photos, "--out", f"{scratch}/rebuilt")
            found["coco-rebuilt"] = shard_hashes(Path(scratch, "rebuilt"))
        for method, options in METHODS.items():
            words = ["--method", method, "--root", f"{scratch}/demo-full", "--out", f"{scratch}/{method}"]
            run("benchmark", "run", *words, *options)
            found[f"scores-{method}"] = score_hashes(Path(scratch, method))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m perf.same_bytes", description=__doc__.split("\n")[0])
    parser.add_argument("--coco", type=Path, metavar="DIR", help="a folder in COCO's panoptic layout")
    parser.add_argument("--openimages", type=Path, metavar="DIR", help="a folder in Open Images' layout")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JSON file to write")
    parser.add_argument("--against", type=Path, metavar="FILE", help="an earlier file to compare with")
    options = parser.parse_args()
    found = measure(options.coco, options.openimages)
    options.out.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    if not options.against:
        return 0
    before = json.loads(options.against.read_text())
    different = [name for name in sorted(before.keys() | found.keys()) if before.get(name) != found.get(name)]
    for name in different:
        print(f"different: {name}")
    print(f"{len(found) - len(different)} of {len(found)} the same")
    return bool(different)


if __name__ == "__main__":
    raise SystemExit(main())
