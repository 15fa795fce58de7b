"""The small model that comes with the package: it is complete, small and quick, and works like other erasers."""

from __future__ import annotations

import doctest
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

import magiceraser_ref
from baselines import open_eraser
from baselines.eraser import Hints, WeightsMissingError, WeightsUnusableError
from benchmark.datasets import open_dataset
from magiceraser_ref import MagicEraser
from magiceraser_ref.cli.main import main
from magiceraser_ref.ffc.eraser import FOLDER as INITIALISER
from magiceraser_ref.model.checkpoint import load
from magiceraser_ref.model.locate import SHIPPED, SHIPPED_FOLDER

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch", reason="pip install '.[magiceraser]'")
pytest.importorskip("diffusers", reason="pip install '.[magiceraser]'")


def test_it_is_whole_and_under_60_mb() -> None:
    files = [path for path in SHIPPED_FOLDER.parent.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 60e6
    assert sum(path.stat().st_size for path in INITIALISER.iterdir()) < 10e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".txt", ".md", ".svg"}
    parts = load(SHIPPED, device="cpu")
    assert parts.token == "R*" and parts.settings.lora and parts.settings.initializer != "lama"
    assert parts.token in parts.pipeline.tokenizer.get_vocab()
    plain = load(SHIPPED, device="cpu", lora=False)
    assert plain.settings.lora is None
    assert not any("lora" in name for name in plain.pipeline.unet.state_dict())


def test_the_example_of_the_package_is_true() -> None:
    found = doctest.testmod(magiceraser_ref)
    assert found.attempted > 5 and found.failed == 0


def test_an_embedded_photo_is_erased_by_one_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = open_dataset("olrd").sample(0)
    Pillow.fromarray(sample.image).save(tmp_path / "photo.png")
    Pillow.fromarray(sample.mask).save(tmp_path / "mask.png")
    photo, mask, out = (str(tmp_path / name) for name in ("photo.png", "mask.png", "out.png"))
    assert main(["erase", photo, mask, "-o", out, "--grow", "0", "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == SHIPPED
    clean = np.asarray(Pillow.open(tmp_path / "out.png"))
    assert np.array_equal(clean[~sample.mask], sample.image[~sample.mask])
    assert not np.array_equal(clean, sample.image)


def test_it_sees_nothing_of_the_object_and_each_part_matters() -> None:
    sample = open_dataset("olrd").sample(1)
    rows, columns = around(sample.mask)
    image, mask = sample.image[rows, columns][::2, ::2], sample.mask[rows, columns][::2, ::2]
    other = image.copy()
    other[mask] = 255 - other[mask]

    def erased(eraser: MagicEraser, picture: np.ndarray, **options: Any) -> np.ndarray:
        return eraser.erase([picture], [mask], prompts=[sample.prompt], keys=["k"], steps=2, strength=0.5, **options)[0]

    eraser = MagicEraser.from_pretrained(SHIPPED, device="cpu")
    first = erased(eraser, image)
    assert np.array_equal(erased(eraser, other), first)
    for part in ("token", "content"):
        assert not np.array_equal(erased(eraser, image, **{part: False}), first)
    assert not np.array_equal(erased(MagicEraser.from_pretrained(SHIPPED, device="cpu", lora=False), image), first)


def around(mask: np.ndarray, margin: int = 40) -> tuple[slice, slice]:
    """The box of a mask, with a margin."""
    ends = [(int(found.min()), int(found.max()) + 1) for found in np.nonzero(mask)]
    rows, columns = (slice(max(0, first - margin), last + margin) for first, last in ends)
    return rows, columns


def test_the_initialiser_beats_the_controls_and_sees_nothing_of_the_object() -> None:
    """On an embedded photo, which it was not trained on, its result is nearer to the truth than the mean colour."""
    sample = open_dataset("olrd").sample(0)
    assert sample.truth is not None
    other = sample.image.copy()
    other[sample.mask] = 255 - other[sample.mask]
    images = {}
    for name in ("ffc-small", "mean-fill", "identity"):
        (images[name],) = open_eraser(name, {}, "cpu").erase([sample.image], [sample.mask], [Hints("k")])
    (again,) = open_eraser("ffc-small", {}, "cpu").erase([other], [sample.mask], [Hints("k")])
    assert np.array_equal(again, images["ffc-small"])
    truth = sample.truth.astype(np.float64)
    errors = {name: np.square(image - truth)[sample.mask].mean() for name, image in images.items()}
    assert errors["ffc-small"] < 0.8 * errors["mean-fill"] < errors["identity"]
    assert np.array_equal(images["ffc-small"][~sample.mask], sample.image[~sample.mask])


def test_damaged_weights_of_the_initialiser_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match=r"config\.json is missing"):
        open_eraser("ffc-small", {"model": str(tmp_path)}, "cpu")
    shutil.copytree(INITIALISER, tmp_path / "bad")
    (tmp_path / "bad" / "model.safetensors").write_bytes(b"no weights")
    eraser = open_eraser("ffc-small", {"model": str(tmp_path / "bad")}, "cpu")
    image, mask = np.zeros((16, 16, 3), np.uint8), np.ones((16, 16), np.bool_)
    with pytest.raises(WeightsUnusableError, match="has no weights of ffc-small"):
        eraser.erase([image], [mask], [Hints("k")])
