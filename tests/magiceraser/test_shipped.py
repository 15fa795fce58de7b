"""The small model that comes with the package: whole, small, quick, and an eraser like any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from baselines import open_eraser
from baselines.eraser import Hints
from benchmark.datasets import open_dataset
from magiceraser_ref.checkpoint import load
from magiceraser_ref.checkpoint_files import SHIPPED, SHIPPED_FOLDER
from magiceraser_ref.cli import main

torch = pytest.importorskip("torch", reason="pip install '.[magiceraser]'")
pytest.importorskip("diffusers", reason="pip install '.[magiceraser]'")


def test_it_is_whole_and_under_60_mb() -> None:
    files = [path for path in SHIPPED_FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 60e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".txt", ".md", ".svg"}
    parts = load(SHIPPED, device="cpu")
    assert parts.token == "R*" and parts.settings.lora and parts.settings.initializer != "lama"
    assert parts.token in parts.pipeline.tokenizer.get_vocab()
    plain = load(SHIPPED, device="cpu", lora=False)
    assert plain.settings.lora is None
    assert not any("lora" in name for name in plain.pipeline.unet.state_dict())


def test_an_embedded_photo_is_erased_by_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = open_dataset("olrd").sample(0)
    Pillow.fromarray(sample.image).save(tmp_path / "photo.png")
    Pillow.fromarray(sample.mask).save(tmp_path / "mask.png")
    photo, mask, out = (str(tmp_path / name) for name in ("photo.png", "mask.png", "out.png"))
    assert main(["erase", photo, mask, "-o", out, "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == SHIPPED
    clean = np.asarray(Pillow.open(tmp_path / "out.png"))
    assert np.array_equal(clean[~sample.mask], sample.image[~sample.mask])
    assert not np.array_equal(clean, sample.image)


def test_it_sees_nothing_of_the_object_and_each_part_matters() -> None:
    sample = open_dataset("olrd").sample(1)
    other = sample.image.copy()
    other[sample.mask] = 255 - other[sample.mask]

    def erased(image: np.ndarray, **options: str) -> bytes:
        eraser = open_eraser("magiceraser", {"steps": "8", **options}, "cpu")
        (clean,) = eraser.erase([image], [sample.mask], [Hints("k", prompt=sample.prompt)])
        return clean.tobytes()

    first = erased(sample.image)
    assert erased(other) == first
    for part in ("lora", "token", "content"):
        assert erased(sample.image, **{part: "off"}) != first
