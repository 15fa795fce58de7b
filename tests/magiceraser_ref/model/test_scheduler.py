"""A checkpoint whose scheduler_config.json does not mention clipping gives the same pictures as one that switches it off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from micro_model import box_mask, drawn, write_plain

from baselines import open_eraser
from magiceraser_ref.model.checkpoint import load

PHOTO, MASK = drawn(40, 48), box_mask(40, 48, (14, 10, 16, 15))
OPTIONS: dict[str, dict[str, str]] = {
    "magiceraser": {"steps": "4", "initializer": "mean-fill", "segmenter": "none"},
    "sd-inpainting": {"steps": "4", "size": "32"},
}
CLIPPING = ("clip_sample", "thresholding")


def with_scheduler(folder: Path, **changes: Any) -> Path:
    """Write a micro checkpoint whose scheduler's configuration mentions of the clipping only what `changes` says."""
    path = write_plain(folder) / "scheduler" / "scheduler_config.json"
    config = {name: value for name, value in json.loads(path.read_text()).items() if name not in CLIPPING}
    path.write_text(json.dumps(config | changes))
    return folder


def painted(eraser: str, folder: Path) -> bytes:
    option = "model" if eraser == "magiceraser" else "checkpoint"
    opened = open_eraser(eraser, {option: str(folder)} | OPTIONS[eraser], "cpu")
    return opened.erase([PHOTO], [MASK])[0].tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("eraser", OPTIONS)
def test_latents_are_never_clipped(tmp_path: Path, eraser: str) -> None:
    off = painted(eraser, with_scheduler(tmp_path / "off", clip_sample=False, thresholding=False))
    assert painted(eraser, with_scheduler(tmp_path / "unsaid")) == off
    assert painted(eraser, with_scheduler(tmp_path / "on", clip_sample=True, thresholding=True)) == off


@pytest.mark.parametrize("kind", ["PNDMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_a_scheduler_that_knows_no_clipping_becomes_one_that_does_not_clip(tmp_path: Path, kind: str) -> None:
    folder = with_scheduler(tmp_path / "m", _class_name=kind)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"scheduler": ["diffusers", kind]}))
    scheduler = load(folder, device="cpu").pipeline.scheduler
    assert type(scheduler).__name__ == "DDIMScheduler"
    assert not scheduler.config.clip_sample and not scheduler.config.thresholding
    assert scheduler.config.beta_schedule == "scaled_linear"
