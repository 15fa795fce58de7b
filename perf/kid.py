"""The KID of ground truth, and how KID depends on the number of photos: as published, and as in `kid-alex-box`.

    python -m perf.kid [--root TRIPLETS] [--method NAME]... [--draws 50]

The features are those of `kid-alex-box`: AlexNet's, of the mask's box. Outputs and truths are pairs, and a photo has
several of them. The published convention counts the pairs i = j across the two sets and not within each. It is therefore
below 0 for equal sets and depends on n. `kid-alex-box` leaves out all pairs of one source photo.

For each number of photos, photos are drawn without replacement; the table has the mean over the draws. It asserts that
ground truth has exactly 0.
"""

from __future__ import annotations

import argparse

import numpy as np

from baselines import open_eraser
from benchmark.datasets import open_dataset
from benchmark.metrics import Features, PairedSetMetric, open_metric
from benchmark.metrics.fidelity import kernel_distance
from benchmark.protocol import load_protocol
from benchmark.regions import regions_of
from benchmark.scoring import prepared
from olrd.masks import mask_box
from olrd.progress import say

METHODS = ("ground-truth", "opencv-telea", "blur-fill", "identity")
SHARES = (0.25, 0.5, 1.0)
"""Shares of the photos that are drawn."""


def features_of(methods: list[str], root: str) -> tuple[dict[str, Features], Features, list[str]]:
    """The features of every method's outputs, those of the truths, and the source photo of each sample."""
    data, protocol, metric = open_dataset("olrd", root), load_protocol("native"), open_metric("kid-alex-box", "cpu")
    assert isinstance(metric, PairedSetMetric)
    erasers = {name: open_eraser(name) for name in methods if name not in ("ground-truth", "identity")}
    rows: dict[str, list[Features]] = {name: [] for name in (*methods, "truth")}
    photos = []
    for index in range(len(data.ids())):
        sample = prepared(data.sample(index), protocol)
        assert sample.truth is not None
        window = mask_box(regions_of(sample.mask, protocol)["box"]).crop()
        outputs = {"truth": sample.truth, "ground-truth": sample.truth, "identity": sample.image}
        outputs |= {name: eraser.erase([sample.image], [sample.mask])[0] for name, eraser in erasers.items()}
        for name, found in rows.items():
            found.append(metric.features([np.ascontiguousarray(outputs[name][window])]))
        photos.append(sample.cluster)
    joined = {name: np.concatenate(found) for name, found in rows.items()}
    return joined, joined.pop("truth"), photos


def table(methods: list[str], root: str, draws: int) -> str:
    """The table as Markdown."""
    outputs, truth, photos = features_of(methods, root)
    metric = open_metric("kid-alex-box", "cpu")
    assert isinstance(metric, PairedSetMetric)
    names, photo = np.unique(photos, return_inverse=True)
    generator = np.random.default_rng(0)
    lines = ["| output | photos | as published | without pairs of one photo |", "| --- | ---: | ---: | ---: |"]
    for method, rows in outputs.items():
        for share in SHARES:
            count = max(2, round(share * len(names)))
            found = []
            for _ in range(draws if count < len(names) else 1):
                kept = np.isin(photo, generator.permutation(len(names))[:count])
                paired = metric.compare_paired(rows[kept], truth[kept], [photos[k] for k in np.flatnonzero(kept)])
                assert paired.value is not None
                assert method != "ground-truth" or paired.value == 0
                found.append((kernel_distance(rows[kept], truth[kept]), paired.value))
            published, ours = np.mean(found, axis=0)
            lines.append(f"| `{method}` | {count} | {published:.3f} | {ours:.3f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default="", metavar="DIR", help="triplets (default: of the embedded photos)")
    parser.add_argument("--method", action="append", metavar="NAME", help=f"default: {', '.join(METHODS)}")
    parser.add_argument("--draws", type=int, default=50, metavar="N", help="draws of photos (default %(default)s)")
    args = parser.parse_args()
    say("computing features")
    print(table(args.method or list(METHODS), args.root, args.draws))


if __name__ == "__main__":
    main()
