"""Measures the edge leak of every blend on the same photos, with the audit's classifier and with a small network. The
table shows why the default blend is the default.

    python -m perf.blends --root COCO
    python -m perf.blends --root COCO --held-out demo --held-out openimages=OPENIMAGES

With --held-out, both are trained on the photos of COCO and tested on those of the other sources.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from olrd.audit.edge_leak import Interval, LeakPair, edge_leak, held_out_leak, leak_pairs
from olrd.audit.network import collect, network_leak
from olrd.audit.network import held_out_leak as network_held_out
from olrd.builder.build import build
from olrd.config import BLENDS, BuildConfig
from olrd.dataset.folder import Dataset
from olrd.sources import SourceSpec


def main() -> None:
    """Print a Markdown table: AUC per patch and per object with 95 % intervals, by blend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, metavar="DIR", help="folder in COCO's panoptic layout")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the builds (default %(default)s)")
    parser.add_argument(
        "--held-out", action="append", default=[], metavar="SOURCE[=DIR]", help="test on this source instead"
    )
    parser.add_argument("--blend", choices=BLENDS.builtin, help="measure only this blend")
    args = parser.parse_args()
    plain: list[tuple[str, tuple[str, ...]]] = [(name, ()) for name in BLENDS.builtin]
    coded = (BuildConfig(SourceSpec("demo")).blend, ("jpeg",))
    rows = [row for row in [*plain, coded] if args.blend in (None, row[0])]
    print("| blend | classifier: patch | object | context alone | network: patch | object | objects | photos |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    sources = [name.partition("=")[::2] for name in args.held_out]
    for name, match in rows:
        pairs = _pairs([("coco", args.root)], name, match, args.seed)
        rims = collect(pairs)
        if sources:
            others = _pairs(sources, name, match, args.seed)
            classifier, context = held_out_leak(pairs, others), None
            network = network_held_out(rims, collect(others))
            auc, objects, photos = classifier.auc, classifier.auc_objects, classifier.photos
            count = classifier.objects
        else:
            leak = edge_leak(pairs)
            auc, objects, context, photos, count = leak.auc, leak.auc_objects, leak.context, leak.photos, leak.objects
            network = network_leak(rims)
        cells = [_cell(i) for i in (auc, objects, context, network.auc, network.auc_objects)]
        title = f"`{name}`" + (f" with `--match {','.join(match)}`" if match else "")
        print(f"| {title} | {' | '.join(cells)} | {count} | {photos} |", flush=True)


def _pairs(sources: Sequence[tuple[str, str]], blend: str, match: tuple[str, ...], seed: int) -> list[LeakPair]:
    """The pairs of a build of every source."""
    pairs: list[LeakPair] = []
    for name, root in sources:
        with tempfile.TemporaryDirectory() as folder:
            config = BuildConfig(SourceSpec(name, root or None), seed=seed, blend=blend, match=match)
            build(config, Path(folder) / "out")
            pairs += leak_pairs(Dataset(Path(folder) / "out"))
    return pairs


def _cell(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


if __name__ == "__main__":
    main()
