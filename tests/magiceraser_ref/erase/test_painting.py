"""A model whose numbers overflow gives an error that names the sample, never a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from micro_model import box_mask, drawn, write_plain

from baselines.eraser import WeightsUnusableError
from baselines.finite import NotFiniteError
from magiceraser_ref.erase.pipeline import MagicEraser

PHOTO, MASK = drawn(40, 48), box_mask(40, 48, (14, 10, 16, 15))


@pytest.fixture(scope="module")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plain(tmp_path_factory.mktemp("painting") / "micro")


def opened(model: Path | str, dtype: str = "float32") -> MagicEraser:
    return MagicEraser.from_pretrained(model, device="cpu", dtype=dtype, initializer="opencv-telea")


def erased(eraser: MagicEraser, photos: int = 1, **options: Any) -> Any:
    keys = [f"sheep-{number}" for number in range(photos)]
    return eraser.erase([PHOTO] * photos, [MASK] * photos, keys=keys, steps=2, refocus=None, **options)


@pytest.mark.slow
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_latents_that_are_no_numbers_name_the_sample_and_a_remedy(micro: Path, value: float) -> None:
    eraser = opened(micro)
    eraser.pipeline.unet.conv_out.bias.data[:] = value
    with pytest.raises(NotFiniteError, match=r"sheep-0: .*latents.*step 1\..*dtype=float32"):
        erased(eraser)


def test_of_a_batch_the_wrong_sample_is_named(micro: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    eraser = opened(micro)
    unet = type(eraser.pipeline.unet)
    forward = unet.forward

    def second_is_nan(self: Any, sample: Any, *arguments: Any, **options: Any) -> Any:
        (noise,) = forward(self, sample, *arguments, **options)
        noise[1] = float("nan")
        return (noise,)

    monkeypatch.setattr(unet, "forward", second_is_nan)
    with pytest.raises(NotFiniteError, match="sheep-1: "):
        erased(eraser, photos=3, batch_size=3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pixels_that_are_no_numbers_are_no_picture(micro: Path, value: float) -> None:
    eraser = opened(micro)
    eraser.pipeline.vae.decoder.conv_out.bias.data[:] = value
    with pytest.raises(NotFiniteError, match=r"sheep-0: .*VAE"):
        erased(eraser)


def overflowing(eraser: MagicEraser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the VAE overflow in half precision."""
    decoder = eraser.pipeline.vae.decoder
    forward = decoder.forward

    def overflows(sample: Any, *arguments: Any, **options: Any) -> Any:
        found = forward(sample, *arguments, **options)
        return found * (torch.finfo(torch.float16).max if sample.dtype == torch.float16 else 1)

    monkeypatch.setattr(decoder, "forward", overflows)


@pytest.mark.slow
def test_a_vae_that_overflows_in_half_precision_decodes_in_float32(
    micro: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eraser = opened(micro, "float16")
    (wanted,) = erased(eraser)
    overflowing(eraser, monkeypatch)
    (found,) = erased(eraser)
    assert eraser.pipeline.vae.dtype == torch.float16
    assert np.abs(found.astype(int) - wanted)[MASK].mean() < 3


def test_a_configuration_that_does_not_work_is_an_error(micro: Path) -> None:
    eraser = opened(micro)
    eraser.pipeline.vae.register_to_config(scaling_factor="x")
    with pytest.raises(WeightsUnusableError, match="configuration"):
        erased(eraser)
