"""Residual paste: what the model does not change is the initialiser's fill, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from micro_model import box_mask, drawn, write_plain

from magiceraser_ref.erase.canvas import Canvas
from magiceraser_ref.erase.initialization import content_initialization, open_initializer
from magiceraser_ref.erase.pipeline import MagicEraser
from magiceraser_ref.erase.residual import reconstructions, with_residual

CANVAS = Canvas((30, 20), (32, 24))


def test_without_a_change_the_fill_stays_bit_for_bit() -> None:
    fill, picture = drawn(60, 90), drawn(24, 32, 1)
    assert (with_residual(fill, picture, picture, CANVAS) == fill).all()


def test_a_change_is_added_at_the_photos_scale() -> None:
    fill = np.full((40, 60, 3), 100, np.uint8)
    own = np.full((24, 32, 3), 50, np.uint8)
    picture = own.copy()
    picture[:, :15] += 20
    result = with_residual(fill, picture, own, CANVAS).astype(int)
    assert (result[:, :26] == 120).all() and (result[:, 34:] == 100).all()
    assert (with_residual(fill[:20, :30], picture, own, CANVAS)[:, :15] == 120).all()  # of the canvas's own size


def test_a_share_of_the_lost_detail_is_put_back() -> None:
    """A fill with stripes whose reconstruction is flat, and a model that changes nothing."""
    fill = np.full((20, 30, 3), 100, np.uint8)
    fill[:, ::2] += 40
    flat = np.full((24, 32, 3), 120, np.uint8)
    for share, low, high in ((0.0, 120, 120), (0.5, 110, 130), (1.0, 100, 140)):
        result = with_residual(fill, flat, flat, CANVAS, share)
        assert (result[:, ::2] == high).all() and (result[:, 1::2] == low).all()


@pytest.mark.slow
def test_the_reconstruction_is_the_autoencoders(tmp_path: Path) -> None:
    """Against a plain encoding and decoding with diffusers' own classes."""
    torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    eraser = MagicEraser.from_pretrained(write_plain(tmp_path / "micro"), device="cpu", initializer="mean-fill")
    vae, start = eraser.pipeline.vae, drawn(32, 48)
    pixels = torch.from_numpy(start).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        decoded = vae.decode(vae.encode(pixels).latent_dist.mean).sample
    expected = ((decoded[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1) * 255).round().numpy().astype(np.uint8)
    (found,) = reconstructions(eraser.pipeline, [start])
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_a_model_that_changes_nothing_returns_the_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its picture is the autoencoder's own: then the fill is pasted, and without residual paste it is blurred."""
    pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    eraser = MagicEraser.from_pretrained(write_plain(tmp_path / "micro"), device="cpu", initializer="opencv-telea")
    photo, mask = drawn(90, 120), box_mask(90, 120, (40, 30, 40, 30))

    def unchanged(pipeline: Any, jobs: Any, *_: object, **__: object) -> Any:
        return reconstructions(pipeline, [job.start for job in jobs])

    monkeypatch.setattr("magiceraser_ref.erase.method.paint", unchanged)
    (fill,) = content_initialization([photo], [mask], open_initializer("opencv-telea", "", "cpu"))
    results = {word: eraser.erase(photo, mask, seed=0, refocus=None, steps=2, residual=word) for word in (1, 0)}
    off_by = {word: np.abs(result[mask].astype(int) - fill[mask]).mean() for word, result in results.items()}
    assert off_by[1] <= 2 < off_by[0]
    assert all((result[~mask] == photo[~mask]).all() for result in results.values())
