"""Three runs with saved pictures on a few drawn pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow

from benchmark.datasets import DataSet, open_dataset
from benchmark.protocol import load_protocol
from benchmark.runner.request import Request
from benchmark.runner.results import Run
from benchmark.runner.run import run
from benchmark.scoring import prepared
from olrd.storage.files import file_name_of

COUNT, WIDTH, HEIGHT = 7, 120, 80
NAMES = [f"photo {k}" for k in range(COUNT - 1)] + ["é & <b>"]
"""Samples; the names are not safe in a URL or in HTML."""


class World(NamedTuple):
    """A small set of pairs, three runs on it (the last one fails on two samples) and its protocol."""

    root: Path
    data: DataSet
    protocol: Path
    runs: list[Run]


def make_world(root: Path) -> World:
    """Draw the photos and make the runs."""
    protocol = root / "p.json"
    settings = {"name": "t", "version": 1, "resize": "short", "size": 64}
    protocol.write_text(json.dumps(settings | {"metrics": ["psnr"], "bootstrap": 50}))
    made = root / "made"
    made.mkdir()
    for part in ("image", "mask", "gt"):
        (root / part).mkdir()
    generator = np.random.Generator(np.random.Philox(0))
    for k, name in enumerate(NAMES):
        truth = np.linspace(40, 200, WIDTH)[None, :, None] + generator.normal(0, 3 * k + 1, (HEIGHT, WIDTH, 3))
        truth = truth.clip(0, 255).astype(np.uint8)
        mask = np.zeros((HEIGHT, WIDTH), np.bool_)
        mask[20:50, 70:100] = True
        image = np.where(mask[..., None], np.array([250, 10, 10], np.uint8), truth)
        for part, pixels in (("image", image), ("mask", mask), ("gt", truth)):
            Pillow.fromarray(pixels).save(root / part / f"{name}.png")
    data = open_dataset("pairs", str(root))
    for k, name in enumerate(data.ids()):
        if k not in (1, 4):
            sample = prepared(data.sample(k), load_protocol(str(protocol)))
            noisy = np.where(sample.mask[..., None], sample.truth, sample.image)
            noisy = noisy if k == 2 else noisy ^ np.uint8(1)  # sample 2 equals the truth
            Pillow.fromarray(noisy).save(made / f"{file_name_of(name)}.png")
    runs = []
    for method, options in (
        ("opencv-telea", {}),
        ("mean-fill", {}),
        ("folder", {"path": str(made), "name": "<i>made</i>"}),
    ):
        out = root / "runs" / method
        request = Request(
            method=method, dataset="pairs", root=str(root), protocol=str(protocol), options=options, save=True
        )
        run(request, out)
        runs.append(Run(out))
    return World(root, data, protocol, runs)
