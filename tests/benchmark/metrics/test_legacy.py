"""The emulated defects are exactly the published ones."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from benchmark.metrics import Score, open_metric
from olrd.arrays import Image, Mask


@pytest.fixture
def pictures() -> tuple[Image, Image, Mask]:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    output = np.clip(truth.astype(int) + rng.integers(-20, 21, truth.shape), 0, 255)
    mask = np.zeros((40, 50), np.bool_)
    mask[10:20, 5:30] = True
    return output.astype(np.uint8), truth, mask


def test_brushnet_is_always_the_same_amount_too_low(pictures: tuple[Image, Image, Mask]) -> None:
    output, truth, mask = pictures
    (found,) = open_metric("legacy:brushnet-psnr").scores([output], mask, truth)  # type: ignore[union-attr]
    error = (output.astype(float) - truth.astype(float))[~mask]
    honest = 10 * math.log10(255**2 / (error**2).mean())
    assert found.value == pytest.approx(honest - 10 * math.log10(3), abs=1e-9)
    (same,) = open_metric("legacy:brushnet-psnr").scores([truth], mask, truth)  # type: ignore[union-attr]
    assert same.value == 1000.0


def test_brushnet_needs_pixels_outside_the_mask(pictures: tuple[Image, Image, Mask]) -> None:
    output, truth, mask = pictures
    (none,) = open_metric("legacy:brushnet-psnr").scores([output], np.ones_like(mask), truth)  # type: ignore[union-attr]
    assert none == (None, "empty_region")


def test_the_ssh_peak_is_the_range_of_the_output(pictures: tuple[Image, Image, Mask]) -> None:
    """At 256 x 256 nothing is resized, so the value follows from the pixels; a duller output loses."""
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    output = (truth // 2 + 20).astype(np.uint8)
    mask = np.zeros((256, 256), np.bool_)
    (found,) = open_metric("legacy:ssh-psnr").scores([output], mask, truth)  # type: ignore[union-attr]
    error = (output.astype(float) - truth.astype(float)) ** 2
    peak = int(output.max()) - int(output.min())
    assert found.value == pytest.approx(10 * math.log10(peak**2 / error.mean()), abs=1e-9)
    same, flat = open_metric("legacy:ssh-psnr").scores(  # type: ignore[union-attr]
        [truth, np.full_like(truth, 7)], mask, truth
    )
    assert same == (None, "identical")
    assert flat == (None, "no_range")


def test_only_wholly_white_cells_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    pytest.importorskip("transformers", reason="pip install '.[models]'")
    from small_encoders import sam_folder

    monkeypatch.setenv("REMOVE_MODEL", str(sam_folder(tmp_path)))
    metric = open_metric("legacy:remove-64")
    mask = np.zeros((64, 64), np.bool_)
    mask[16:48, 16:48] = True
    inside, outside = metric.regions(mask, 8)  # type: ignore[union-attr]
    assert set(np.unique(inside)) == {0, 1} and (inside + outside == 1).all()
    assert inside[3:5, 3:5].all() and not inside[:2].any()
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    honest = open_metric("remove").scores([image], mask, None)[0]  # type: ignore[union-attr]
    found = metric.scores([image], mask, None)[0]  # type: ignore[union-attr]
    assert found.value is not None and -1 <= found.value <= 1
    assert found.value != honest.value
    thin = np.zeros((64, 64), np.bool_)
    thin[30:32] = True
    assert metric.scores([image], thin, None) == [Score(None, "no_cell")]  # type: ignore[union-attr]
    assert open_metric("remove").scores([image], thin, None)[0].value is not None  # type: ignore[union-attr]


@pytest.mark.slow
def test_attentive_features_are_those_of_its_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bicubic stretch, 0..1, the network's own input step on top, no last layer; one by one."""
    torch, torchvision = (
        pytest.importorskip("torch", reason="pip install '.[benchmark]'"),
        pytest.importorskip("torchvision", reason="pip install '.[models]'"),
    )
    from small_encoders import imagenet_inception_file

    path = imagenet_inception_file(tmp_path)
    monkeypatch.setenv("IMAGENET_INCEPTION", str(path))
    metric = open_metric("legacy:attentive-fid")
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)]
    network = torchvision.models.Inception3(1000, aux_logits=True, transform_input=True, init_weights=False)
    network.load_state_dict(torch.load(path, weights_only=True))
    network.fc = torch.nn.Identity()
    network.eval()
    stretched = [Pillow.fromarray(i).resize((512, 512), Pillow.Resampling.BICUBIC) for i in images]
    batch = np.stack([np.asarray(s, dtype=float) / 255 for s in stretched]).transpose(0, 3, 1, 2)
    with torch.no_grad():
        expected = network(torch.tensor(batch).float()).numpy()
    found = metric.features(images)  # type: ignore[union-attr]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert metric.compare(found[:1], found[:1]) == (None, "too_few")  # type: ignore[union-attr]
