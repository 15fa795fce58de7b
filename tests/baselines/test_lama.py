"""LaMa through its library and directly: the same network, the same pictures, the input's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_networks import write_lama

from baselines import open_eraser
from baselines.eraser import Hints, WeightsUnknownError
from baselines.finite import NotFiniteError
from baselines.lama import padded
from baselines.weights import TRUST
from olrd.errors import SourceError, UsageError
from olrd.storage.files import sha256_file


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = write_lama(tmp_path / "big-lama.pt")
    monkeypatch.setenv("LAMA_MODEL", str(path))
    monkeypatch.setenv(TRUST, sha256_file(path))
    return path


@pytest.mark.parametrize("size", [(40, 48), (33, 65), (7, 5)])
def test_the_library_gives_the_same_bytes_cut_to_size(size: tuple[int, int], weights: Path) -> None:
    library = pytest.importorskip("simple_lama_inpainting", reason="pip install --no-deps it")
    from PIL import Image as Pillow

    image = np.random.default_rng(4).integers(0, 256, (*size, 3), dtype=np.uint8)
    mask = np.zeros(size, np.bool_)
    mask[2:5, 1:4] = True
    (direct,) = open_eraser("lama", {"runtime": "direct"}, "cpu").erase([image], [mask])
    (through,) = open_eraser("lama", {"runtime": "library"}, "cpu").erase([image], [mask])
    assert np.array_equal(direct, through)
    own = library.SimpleLama()(Pillow.fromarray(image), Pillow.fromarray(mask).convert("L"))
    assert np.array_equal(np.asarray(own)[: size[0], : size[1]], direct)


def test_the_padding_mirrors(weights: Path) -> None:
    pixels = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    grown = padded(pixels)
    assert grown.shape == (8, 8, 3)
    assert np.array_equal(grown[5:], grown[2:5][::-1])
    assert np.array_equal(grown[:, 6:], grown[:, 4:6][:, ::-1])


def test_without_the_library_its_runtime_says_what_to_type(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baselines.lama._library", lambda: None)
    eraser = open_eraser("lama", {"runtime": "library"}, "cpu")
    image, mask = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.bool_)
    with pytest.raises(UsageError, match="pip install --no-deps simple-lama-inpainting"):
        eraser.erase([image], [mask])


def test_a_file_that_is_no_torchscript_is_named(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights.write_bytes(b"PK no model")
    monkeypatch.setenv(TRUST, sha256_file(weights))
    image, mask = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.bool_)
    with pytest.raises(SourceError, match=r"big-lama\.pt is not a TorchScript file"):
        open_eraser("lama", {"runtime": "direct"}, "cpu").erase([image], [mask])


def test_a_program_at_lamas_place_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TorchScript can write files. It is refused when it is named, found in the weights folder, or swapped in later."""
    torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    target = tmp_path / "precious.txt"
    target.write_text("precious")

    class Evil(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self, target: str) -> None:
            super().__init__()
            self.target = target

        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
            torch.from_file(self.target, True, 8, dtype=torch.uint8).fill_(65)
            return image * (1 - mask)

    monkeypatch.setenv("OLRD_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("LAMA_MODEL", raising=False)
    path = tmp_path / "big-lama.pt"
    tiny = write_lama(path).read_bytes()
    monkeypatch.setenv(TRUST, sha256_file(path))
    swapped = open_eraser("lama", {"runtime": "direct"}, "cpu")
    torch.jit.script(Evil(str(target))).save(str(path))
    assert path.read_bytes() != tiny
    image, mask = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.bool_)
    with pytest.raises(WeightsUnknownError, match="can contain code"):
        swapped.erase([image], [mask])
    for options in ({}, {"weights": str(path)}):
        with pytest.raises(WeightsUnknownError, match=r"big-lama\.pt is an unknown file"):
            open_eraser("lama", options, "cpu")
    assert target.read_text() == "precious"


@pytest.mark.parametrize("wrong", ["nan", "inf"])
def test_numbers_that_are_not_finite_are_no_picture(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lama(tmp_path / "big-lama.pt", fill=float(wrong))
    monkeypatch.setenv(TRUST, sha256_file(path))
    image, mask = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.bool_)
    eraser = open_eraser("lama", {"weights": str(path), "runtime": "direct"}, "cpu")
    with pytest.raises(NotFiniteError, match=r"lama, set/7: .*NaN or infinite"):
        eraser.erase([image], [mask], [Hints("set/7")])
