"""Measures the edge leak of every blend on the same photos. The table shows why `matting` is the default.

python -m perf.blends --root COCO
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from olrd.audit.edge_leak import edge_leak, leak_pairs
from olrd.builder.build import build
from olrd.config import BLENDS, BuildConfig
from olrd.dataset.folder import Dataset
from olrd.sources import SourceSpec


def main() -> None:
    """Print a Markdown table: AUC per patch and per object with 95 % intervals, by blend."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True, metavar="DIR", help="folder in COCO's panoptic layout")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the builds (default %(default)s)")
    args = parser.parse_args()
    print("| blend | AUC, patch | AUC, object | context alone | objects | photos |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in BLENDS.builtin:
        with tempfile.TemporaryDirectory() as folder:
            config = BuildConfig(SourceSpec("coco", args.root), seed=args.seed, blend=name)
            build(config, Path(folder) / "out")
            leak = edge_leak(leak_pairs(Dataset(Path(folder) / "out")))
        cells = [
            "-" if i is None else f"{i.value:.3f} ({i.low:.3f} to {i.high:.3f})"
            for i in (leak.auc, leak.auc_objects, leak.context)
        ]
        print(f"| `{name}` | {' | '.join(cells)} | {leak.objects} | {leak.photos} |")


if __name__ == "__main__":
    main()
