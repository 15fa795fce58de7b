"""DreamSim: what the metric does around the authors' network, on a small one in place of the package; and beside the
package itself where it is installed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from baselines.eraser import WeightsMissingError
from benchmark.metrics import open_metric
from olrd.errors import MissingExtraError, UsageError

torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
from small_encoders import dreamsim_folder, one_thread  # noqa: E402

PICTURES = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
MASK = np.zeros((40, 60), bool)


def unpacked(folder: Path, branch: str) -> Path:
    """A folder with the files of a branch, which hold nothing."""
    (folder / f"{branch}_single_lora").mkdir(parents=True)
    for name in (f"{branch}_pretrain.pth.tar", "adapter_config.json", "adapter_model.safetensors"):
        (folder / (name if "pretrain" in name else f"{branch}_single_lora/{name}")).write_bytes(name.encode())
    return folder


class Small:
    """A network in the place of DreamSim's: colours of a grid of 2 x 2."""

    def embed(self, x: Any) -> Any:
        return torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1) - 0.5


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A package `dreamsim` with the small network; what it was called with."""
    calls: list[dict[str, Any]] = []

    def prepare(picture: Pillow.Image) -> Any:
        small = np.asarray(picture.resize((8, 8), Pillow.Resampling.BICUBIC), np.float32)
        return torch.from_numpy(small / 255).permute(2, 0, 1)[None]

    def dreamsim(**given: Any) -> tuple[Small, Callable[[Pillow.Image], Any]]:
        print("Using cached weights")
        calls.append(given)
        return Small(), prepare

    package = ModuleType("dreamsim")
    package.__spec__, package.dreamsim = ModuleSpec("dreamsim", None), dreamsim  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dreamsim", package)
    return calls


def test_the_score_is_one_minus_the_cosine_of_the_embeddings(
    opened: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DREAMSIM_MODEL", str(unpacked(tmp_path, "clip_vitb32")))
    metric: Any = open_metric("dreamsim", "cpu")
    assert "clip_vitb32" in metric.info.definition and opened == []
    truth, *others = PICTURES
    found = [score.value for score in metric.scores([*others, truth], MASK, truth)]
    small = [np.asarray(Pillow.fromarray(p).resize((8, 8), Pillow.Resampling.BICUBIC), float) / 255 for p in PICTURES]
    t, a, b = (one.reshape(2, 4, 2, 4, 3).mean((1, 3)).transpose(2, 0, 1).ravel() - 0.5 for one in small)
    expected = [1 - x @ t / np.linalg.norm(x) / np.linalg.norm(t) for x in (a, b)]
    assert found == pytest.approx([*expected, 0], abs=1e-5) and found[2] == 0
    assert metric.scores([], MASK, truth) == []
    assert [call["dreamsim_type"] for call in opened] == ["clip_vitb32"]  # once
    assert opened[0]["cache_dir"] == str(tmp_path) and capsys.readouterr().out == ""
    with pytest.raises(UsageError, match="has none"):
        metric.scores(others, MASK, None)


def test_the_better_branch_comes_first_and_both_are_part_of_the_revision(
    opened: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DREAMSIM_MODEL", str(unpacked(tmp_path, "clip_vitb32")))
    found = [open_metric("dreamsim").info.revision]
    unpacked(tmp_path, "open_clip_vitb32")
    assert "branch open_clip_vitb32" in open_metric("dreamsim").info.definition
    found.append(open_metric("dreamsim").info.revision)
    (tmp_path / "open_clip_vitb32_single_lora" / "adapter_model.safetensors").write_bytes(b"other")
    found.append(open_metric("dreamsim").info.revision)
    assert len(set(found)) == 3


def test_missing_weights_are_never_downloaded_by_the_package(
    opened: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package would download whatever it does not find, and for the ensemble also code."""
    monkeypatch.delenv("DREAMSIM_MODEL", raising=False)
    with pytest.raises(WeightsMissingError, match="DREAMSIM_MODEL names no folder"):
        open_metric("dreamsim")
    (tmp_path / "ensemble_lora").mkdir()
    monkeypatch.setenv("DREAMSIM_MODEL", str(tmp_path))
    with pytest.raises(WeightsMissingError, match=r"open_clip_vitb32_single_lora/\. To get them, unpack"):
        open_metric("dreamsim")
    (unpacked(tmp_path, "clip_vitb32") / "clip_vitb32_single_lora" / "adapter_config.json").unlink()
    with pytest.raises(WeightsMissingError):
        open_metric("dreamsim")
    assert opened == []


def test_without_the_package_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'olrd\[dreamsim\]'"):
        open_metric("dreamsim")


@pytest.mark.slow
def test_scores_are_those_of_the_authors_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Called as its README says, on drawn weights."""
    package = pytest.importorskip("dreamsim", reason="pip install '.[dreamsim]'")
    folder = dreamsim_folder(tmp_path)
    monkeypatch.setenv("DREAMSIM_MODEL", str(folder))
    with one_thread():
        model, prepare = package.dreamsim(
            pretrained=True, device="cpu", cache_dir=str(folder), dreamsim_type="open_clip_vitb32"
        )
        a, b, c = (prepare(Pillow.fromarray(picture)) for picture in PICTURES)
        with torch.no_grad():
            expected = [float(model(a, b)), float(model(a, c)), 0.0]
        metric: Any = open_metric("dreamsim", "cpu")
        found = metric.scores([PICTURES[1], PICTURES[2], PICTURES[0]], MASK, PICTURES[0])
    assert min(expected[:2]) > 1e-3
    assert [score.value for score in found] == pytest.approx(expected, abs=1e-6)
