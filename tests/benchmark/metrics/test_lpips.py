"""LPIPS and DISTS: published values, the authors' own code with our weights, regions."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import REPOSITORY

from baselines.eraser import WeightsMissingError
from benchmark.metrics import open_metric
from benchmark.metrics.grid import overlap
from olrd.errors import SourceError

torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
from small_encoders import VGG, one_thread, vgg16_file  # noqa: E402

ALEX = REPOSITORY / "benchmark/weights/lpips_v0.1_alex.safetensors"
real_vgg = pytest.mark.skipif(not VGG.is_file(), reason=f"{VGG.name} is not here")


def synthetic() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures by formula, whose scores were computed with the authors' weights."""
    y, x, c = np.mgrid[:64, :64, :3]
    a = (3 * x + 2 * y + 40 * c + 5 * ((x * y) % 7)) % 256
    b = (2 * x + 3 * y + 40 * c + 5 * ((x * y) % 7)) % 256
    d = a.copy()
    d[16:48, 16:48] = 128
    assert (a.sum(), b.sum(), d.sum()) == (1682434, 1682434, 1575738)
    return a.astype(np.uint8), b.astype(np.uint8), d.astype(np.uint8)


@pytest.fixture(scope="module", autouse=True)
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with one_thread(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("LPIPS_VGG_MODEL", str(vgg16_file(tmp_path_factory.mktemp("vgg"))))
        yield


def whole(name: str, output: np.ndarray, truth: np.ndarray) -> float:
    return float(open_metric(name, "cpu").maps([output], truth)[0].mean(dtype=np.float64))


@pytest.mark.parametrize(
    ("name", "ab", "ad"),
    [("lpips-alex", 0.15492, 0.31546), pytest.param("lpips-vgg", 0.33716, 0.36956, marks=real_vgg)],
)
def test_published_weights_give_the_published_scores(name: str, ab: float, ad: float) -> None:
    a, b, d = synthetic()
    assert whole(name, b, a) == pytest.approx(ab, abs=5e-5)
    assert whole(name, d, a) == pytest.approx(ad, abs=5e-5)
    assert (open_metric(name, "cpu").maps([a], a)[0] == 0).all()


@pytest.mark.parametrize("net", ["alex", "vgg"])
@pytest.mark.slow
def test_the_mean_of_the_map_is_the_score_of_the_authors_code(net: str) -> None:
    """Sizes that no layer divides, so that cells and pixels never line up."""
    lpips = pytest.importorskip("lpips", reason="pip install '.[dev]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torchvision, about how it is called
        theirs = lpips.LPIPS(pnet_rand=True, net=net, verbose=False).eval()
    file = ALEX if net == "alex" else Path(os.environ["LPIPS_VGG_MODEL"])
    put_backbone(theirs.net, file)
    rng = np.random.default_rng(0)
    for size in ((64, 64), (61, 97), (130, 75)):
        truth, output = rng.integers(0, 256, (2, *size, 3), dtype=np.uint8)
        output = (0.7 * truth + 0.3 * output).astype(np.uint8)
        with torch.inference_mode():
            scaled = (torch.from_numpy(i).permute(2, 0, 1)[None] / 127.5 - 1 for i in (output, truth))
            expected = float(theirs(*scaled))
        assert whole(f"lpips-{net}", output, truth) == pytest.approx(expected, abs=1e-6)


def tensors_of(file: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    tensors = load_file(file) if file.suffix == ".safetensors" else torch.load(file)
    return {k: v.float() for k, v in tensors.items()}


def put_backbone(network: Any, file: Path) -> None:
    """Our convolutions in the slices of the authors' network, whose layers keep torchvision's numbers."""
    tensors = tensors_of(file)
    for name, parameter in network.named_parameters():
        number, part = name.split(".")[-2:]
        parameter.data.copy_(tensors[f"features.{number}.{part}"])


def test_a_region_takes_what_it_covers_of_each_cell() -> None:
    """Two halves weigh up to the whole, and an untouched half scores nearly nothing."""
    a, _, d = synthetic()
    map_ = open_metric("lpips-alex", "cpu").maps([d], a)[0].astype(np.float64)
    mask = np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    inside, outside = map_[mask].mean(), map_[~mask].mean()
    assert inside * 0.25 + outside * 0.75 == pytest.approx(map_.mean(), abs=1e-9)
    assert inside > 2 * outside


@pytest.mark.parametrize(("pixels", "cells"), [(7, 7), (64, 15), (61, 14), (129, 32), (5, 1)])
def test_overlap_is_that_of_a_plain_loop(pixels: int, cells: int) -> None:
    from fractions import Fraction

    width = Fraction(pixels, cells)
    expected = [
        [
            float(max(Fraction(0), min(Fraction(i + 1), (j + 1) * width) - max(Fraction(i), j * width)))
            for j in range(cells)
        ]
        for i in range(pixels)
    ]
    shared = overlap(pixels, cells)
    np.testing.assert_allclose(shared, expected, atol=1e-12)
    np.testing.assert_allclose(shared.sum(1), 1)
    np.testing.assert_allclose(shared.sum(0), pixels / cells)


@pytest.mark.parametrize(("name", "smallest"), [("lpips-alex", 31), ("lpips-vgg", 16)])
def test_pictures_below_the_smallest_size_have_no_score(name: str, smallest: int) -> None:
    metric = open_metric(name, "cpu")
    for side, reason in ((smallest, ""), (smallest - 1, "too_small")):
        picture = np.random.default_rng(0).integers(0, 256, (side, 80, 3), dtype=np.uint8)
        score = metric.finish(float(metric.maps([picture // 2], picture)[0].mean()))
        assert score.reason == reason and (score.value is None) == bool(reason)


@pytest.mark.slow
def test_dists_is_that_of_torchmetrics() -> None:
    module = pytest.importorskip("torchmetrics.functional.image.dists", reason="pip install '.[dev]'")
    from torchvision.models import vgg16

    network = vgg16(weights=None, init_weights=False)
    tensors = tensors_of(Path(os.environ["LPIPS_VGG_MODEL"]))
    features = {k: v for k, v in tensors.items() if k.startswith("features")}
    network.load_state_dict(features, strict=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "vgg16", lambda weights: network)
        theirs = module.DISTSNetwork().eval()
    metric = open_metric("dists", "cpu")
    a, b, d = synthetic()
    for truth, outputs in ((a, [b, d, a]), (a[:61, :50], [b[:61, :50]])):
        ours = metric.scores(outputs, np.zeros(truth.shape[:2], bool), truth)
        for output, score in zip(outputs, ours, strict=True):
            pair = [torch.from_numpy(i / np.float32(255)).permute(2, 0, 1)[None] for i in (output, truth)]
            assert score.value == pytest.approx(float(theirs(*pair).detach()), abs=2e-6)


def test_missing_and_wrong_weights_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLRD_WEIGHTS", str(tmp_path))
    for name in ("lpips-vgg", "dists"):
        monkeypatch.setenv("LPIPS_VGG_MODEL", "")
        with pytest.raises(WeightsMissingError, match="LPIPS_VGG_MODEL"):
            open_metric(name)
    wrong = tmp_path / "wrong.pth"
    picture = np.zeros((40, 40, 3), np.uint8)
    monkeypatch.setenv("LPIPS_VGG_MODEL", str(wrong))
    wrong.write_bytes(b"no weights")
    with pytest.raises(SourceError, match=r"wrong\.pth"):
        open_metric("lpips-vgg", "cpu").maps([picture], picture)
    torch.save({"features.0.weight": torch.zeros(1)}, wrong)
    with pytest.raises(SourceError, match=r"features\.0"):
        open_metric("lpips-vgg", "cpu").maps([picture], picture)
