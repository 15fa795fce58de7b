"""The stage that starts from the initialiser's fill: its holes, its pool, its loss, at a toy size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_sets import DrawnSets
from places import REPOSITORY

from baselines import open_eraser
from magiceraser_ref.small.architecture import MICRO, build_pipeline
from magiceraser_ref.small.loop import Schedule, Session
from magiceraser_ref.small.perceptual import perceptual_loss
from magiceraser_ref.small.photos import TrainingPhotos
from magiceraser_ref.small.silhouettes import LARGEST, Silhouettes

torch = pytest.importorskip("torch", reason="pip install '.[magiceraser]'")
pytest.importorskip("diffusers", reason="pip install '.[magiceraser]'")
pytest.importorskip("lpips", reason="pip install '.[dev]'")

from magiceraser_ref.small import fill_stage  # noqa: E402
from magiceraser_ref.small.fill_pool import Filled, FilledHoles, filled_pool  # noqa: E402
from magiceraser_ref.small.fill_stage import FillLoss, train_fill  # noqa: E402
from magiceraser_ref.small.latents import Encoder  # noqa: E402

LPIPS = REPOSITORY / "benchmark" / "weights" / "lpips_v0.1_alex.safetensors"
SIDE, CELL = 32, 4


class Drawn(TrainingPhotos):
    """Five drawn photos in memory."""

    def __init__(self) -> None:
        self.side, self.labels, self._large = SIDE, ["sky"] * 5, []
        self.photos = [np.random.default_rng(k).integers(0, 256, (40, 48, 3), dtype=np.uint8) for k in range(5)]


def drawn_holes() -> FilledHoles:
    filler = open_eraser("opencv-telea", device="cpu")
    return FilledHoles(Drawn(), Silhouettes(None), filler, build_pipeline(MICRO), SIDE, "cpu", seed=1)


@pytest.mark.slow
def test_the_holes_of_a_dataset_are_outlines_of_its_training_objects(drawn: DrawnSets) -> None:
    from olrd.config import BuildConfig
    from olrd.sources import SourceSpec

    shapes = Silhouettes(drawn.built(BuildConfig(SourceSpec("coco", str(drawn.photos())), per_object=1)))
    assert shapes.shapes
    holes = [shapes.hole(SIDE, "k", n) for n in range(40)]
    assert all(hole.shape == (SIDE, SIDE) and hole.dtype == np.bool_ and hole.any() for hole in holes)
    assert np.array_equal(holes[3], shapes.hole(SIDE, "k", 3))
    assert len({hole.tobytes() for hole in holes}) > 35
    extents = [np.ptp(np.nonzero(hole)[0]) for hole in holes]
    assert min(extents) < LARGEST * SIDE


def test_without_a_dataset_holes_are_strokes_and_boxes() -> None:
    from magiceraser_ref.training.masks import random_mask

    assert np.array_equal(Silhouettes(None).hole(SIDE, 3), random_mask(SIDE, SIDE, 3))


def test_a_pool_holds_the_photo_its_fill_and_their_latents(tmp_path: Path) -> None:
    holes = drawn_holes()
    pool, encoder = filled_pool(holes, 4, tmp_path), Encoder(holes.pipeline.vae, "cpu")
    for k in range(4):
        hole = pool["hole"][k, 0].repeat(CELL, 0).repeat(CELL, 1)
        truth, fill = pool["truth"][k], pool["fill"][k]
        assert np.array_equal(truth[~hole], fill[~hole])
        assert not np.array_equal(truth[hole], fill[hole])
        pixels = torch.from_numpy(fill.transpose(2, 0, 1).copy()).float()[None] / 127.5 - 1
        start, _ = encoder(pixels, torch.from_numpy(pool["hole"][k][None]).float())
        assert torch.allclose(start[0], torch.from_numpy(pool["start"][k]).float(), atol=0.02)  # bfloat16
    (file,) = tmp_path.glob("filled-*.npz")
    made = file.stat().st_mtime_ns
    again = filled_pool(drawn_holes(), 4, tmp_path)
    assert file.stat().st_mtime_ns == made
    assert all(np.array_equal(again[name], pool[name]) for name in pool)


@pytest.mark.slow
def test_a_guess_that_changes_nothing_gives_the_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The UNet that finds the very noise in the noisy fill leaves the fill as it is, whatever the strength."""
    monkeypatch.setattr(fill_stage, "FILL", 1.0)
    holes = drawn_holes()
    loss = FillLoss(holes.pipeline, perceptual_loss(LPIPS, "cpu"), "cpu", seed=0)
    samples = Filled(holes, 4, tmp_path)
    batch = torch.utils.data.default_collate([samples[n] for n in range(3)])
    noise = torch.randn(batch["clean"].shape, generator=torch.Generator().manual_seed(7))
    monkeypatch.setattr(loss, "unet", lambda *_: type("Output", (), {"sample": noise}))
    with torch.no_grad():
        found = loss(batch, 7)
    hole = batch["hole"].repeat_interleave(CELL, -1).repeat_interleave(CELL, -2)
    naive = [
        float(((fill - truth).abs() * one).sum() / (3 * one.sum()))
        for fill, truth, one in zip(batch["fill"], batch["truth"], hole, strict=True)
    ]
    assert float(found["l1"]) == pytest.approx(np.mean(naive), abs=0.02)  # the reconstruction is kept in 8 bits
    assert float(found["lpips"]) == pytest.approx(float(found["fill_lpips"]), rel=0.1)


@pytest.mark.slow
def test_training_changes_the_unet_and_never_the_autoencoder(tmp_path: Path) -> None:
    holes, before = drawn_holes(), build_pipeline(MICRO)
    schedule, session = Schedule(2, 2, 1e-3, warmup=1), Session(tmp_path, "cpu")
    pipeline = train_fill(holes, 3, schedule, session, perceptual_loss(LPIPS, "cpu"))
    same = [
        all(torch.equal(a, b) for a, b in zip(x.state_dict().values(), y.state_dict().values(), strict=True))
        for x, y in ((pipeline.vae, before.vae), (pipeline.unet, before.unet))
    ]
    assert same == [True, False]
