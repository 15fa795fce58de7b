"""Seven small pairs, and runs over them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow

from baselines import open_eraser
from baselines.checked import CheckedEraser
from baselines.eraser import Eraser, Hints
from benchmark.runner.request import Request
from benchmark.runner.results import TIMES
from olrd.arrays import Image, Mask, encode_mask

STEMS = tuple(f"scene{k // 2}_{k}" for k in range(7))


def drawn(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (24, 30, 3), dtype=np.uint8)


def write_seven(root: Path) -> Path:
    """Seven pairs, one with an empty mask, and the protocol small.json. Returns `root`."""
    for folder in ("image", "mask", "gt"):
        (root / folder).mkdir()
    for number, stem in enumerate(STEMS):
        mask = np.zeros((24, 30), bool)
        mask[4:12, 5 + number : 15 + number] = number != 3
        Pillow.fromarray(drawn(number)).save(root / "image" / f"{stem}.png")
        Pillow.fromarray(drawn(50 + number)).save(root / "gt" / f"{stem}.png")
        (root / "mask" / f"{stem}.png").write_bytes(encode_mask(mask))
    protocol = {"name": "small", "version": 1, "metrics": ["psnr", "ssim"], "bootstrap": 30}
    (root / "small.json").write_text(json.dumps(protocol))
    return root


def request(root: Path, method: str = "opencv-telea", **more: Any) -> Request:
    data = {"dataset": "pairs", "root": str(root), "data_options": {"cluster": "prefix"}}
    return Request(method=method, **data, protocol=str(root / "small.json"), device="cpu", **more)


def samples(out: Path) -> pd.DataFrame:
    """The rows without what may differ between two runs of the same thing."""
    return pd.read_parquet(out / "samples.parquet").drop(columns=list(TIMES))


def same(out: Path, plain: Path) -> None:
    pd.testing.assert_frame_equal(samples(out), samples(plain), check_exact=True)


class Scripted:
    """OpenCV's eraser, but for what `acts` does on some samples: hint -> picture, or raise."""

    def __init__(self, acts: dict[str, Callable[[Image], Any]]) -> None:
        self.acts, self.inner = acts, open_eraser("opencv-telea", {}, "cpu")
        self.info = self.inner.info
        self.seen: list[Hints] = []

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        assert hints is not None
        self.seen += hints
        outputs = self.inner.erase(images, masks)
        for k, hint in enumerate(hints):
            if hint.key in self.acts:
                outputs[k] = self.acts[hint.key](outputs[k])
        return [o for o in outputs if o is not None]


def raising(error: BaseException) -> Callable[[Image], Any]:
    def act(output: Image) -> Any:
        raise error

    return act


def use(monkeypatch: pytest.MonkeyPatch, eraser: Eraser) -> None:
    monkeypatch.setattr("benchmark.runner.inputs.open_eraser", lambda *_: CheckedEraser(eraser))
