"""Which steps and which parts of the batch are refocused, with diffusers' few-step samplers and kinds of guidance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from micro_model import CATEGORIES, PLAIN, box_mask, drawn, meadow

from magiceraser_ref.erase.pipeline import MagicEraser
from magiceraser_ref.model.checkpoint import Parts
from magiceraser_ref.refocus.processor import Refocusing
from magiceraser_ref.refocus.settings import Refocus
from magiceraser_ref.small.architecture import MICRO, build_pipeline
from olrd.progress import say_once

PHOTO, MASK = drawn(40, 48), box_mask(40, 48, (14, 10, 16, 15))
Run = list[tuple[int, bool, list[bool]]]


def eraser_of(pipeline: Any) -> MagicEraser:
    pipeline.set_progress_bar_config(disable=True)
    return MagicEraser(Parts(pipeline, PLAIN, None), initializer="mean-fill")


def erased(eraser: MagicEraser, **options: Any) -> Any:
    given = {"panoptic": meadow(40, 48), "categories": CATEGORIES} | options
    return eraser.erase(PHOTO, MASK, **given)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """For every call of the UNet: its batch, whether it is in the window, and which entries have regions."""
    seen: Run = []
    begin = Refocusing.begin

    def watched(self: Any, unet: Any, args: Any, kwargs: Any) -> None:
        begin(self, unet, args, kwargs)
        batch = len(args[0] if args else kwargs["sample"])
        active = self.active
        seen.append((batch, active, [regions is not None for regions in self._per_row()] if active else []))

    monkeypatch.setattr(Refocusing, "begin", watched)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["LCMScheduler", "TCDScheduler"])
@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_few_step_samplers_refocus_their_first_step(run: Run, kind: str, strength: float) -> None:
    pipeline = build_pipeline(MICRO)
    pipeline.scheduler = getattr(diffusers, kind).from_config(pipeline.scheduler.config)
    eraser = eraser_of(pipeline)
    on = erased(eraser, steps=4, strength=strength, guidance=1.0)
    assert [active for _, active, _ in run] == [True, False, False, False][: int(4 * strength)]
    assert not np.array_equal(on, erased(eraser, steps=4, strength=strength, guidance=1.0, refocus=None))


def test_a_window_without_a_step_is_said_once(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    say_once.cache_clear()
    eraser = eraser_of(build_pipeline(MICRO))
    for _ in range(2):
        erased(eraser, steps=4, strength=0.5, refocus=Refocus(window="time"))
    said = capsys.readouterr().err
    assert said.count("none of the 2 steps that were run lies in its window (time, share 0.3)") == 1
    assert not any(active for _, active, _ in run)
    erased(eraser, steps=4, strength=0.5, refocus=Refocus(share=0))
    assert "lies in its window" not in capsys.readouterr().err


def with_embedded_guidance() -> Any:
    """A pipeline as of LCM: its UNet takes the guidance weight as an input, so there is no unconditional half."""
    pipeline = build_pipeline(MICRO)
    torch.manual_seed(0)
    pipeline.unet = diffusers.UNet2DConditionModel.from_config(pipeline.unet.config, time_cond_proj_dim=8)
    return pipeline


def perturbed(pipeline: Any) -> Any:
    parts = {name: part for name, part in pipeline.components.items() if name != "image_encoder"}
    kind = diffusers.StableDiffusionPAGInpaintPipeline
    return kind(**parts, requires_safety_checker=False, pag_applied_layers=["mid"])


PIPELINES: dict[str, tuple[Callable[[], Any], float, list[bool]]] = {
    "classifier-free": (lambda: build_pipeline(MICRO), 5.0, [False, True]),
    "none": (lambda: build_pipeline(MICRO), 1.0, [True]),
    "embedded": (with_embedded_guidance, 5.0, [True]),
    "perturbed": (lambda: perturbed(build_pipeline(MICRO)), 5.0, [False, True, True]),
    "perturbed alone": (lambda: perturbed(build_pipeline(MICRO)), 1.0, [True, True]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PIPELINES)
def test_the_pipeline_says_which_parts_are_conditional(run: Run, name: str) -> None:
    build, guidance, parts = PIPELINES[name]
    eraser = eraser_of(build())
    processors = dict(eraser.pipeline.unet.attn_processors)
    on = erased(eraser, steps=3, strength=1.0, guidance=guidance)
    assert [batch for batch, _, _ in run] == [len(parts)] * 3
    assert run[0][1:] == (True, parts)
    assert eraser.pipeline.unet.attn_processors == processors
    assert not np.array_equal(on, erased(eraser, steps=3, strength=1.0, guidance=guidance, refocus=None))


def test_guidance_that_ends_early_is_followed(run: Run) -> None:
    """A common callback of diffusers' users: after some steps, no unconditional half."""
    eraser = eraser_of(build_pipeline(MICRO))

    def cut(pipe: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if step == 0:
            tensors["prompt_embeds"] = tensors["prompt_embeds"].chunk(2)[-1]
            tensors["mask"] = tensors["mask"].chunk(2)[-1]
            tensors["masked_image_latents"] = tensors["masked_image_latents"].chunk(2)[-1]
            pipe._guidance_scale = 0.0
        return tensors

    eraser(
        PHOTO,
        MASK,
        num_inference_steps=2,
        strength=1.0,
        guidance_scale=5.0,
        refocus=Refocus(share=1.0),
        callback_on_step_end=cut,
        callback_on_step_end_tensor_inputs=["prompt_embeds", "mask", "masked_image_latents"],
    )
    assert [(batch, rows) for batch, _, rows in run] == [(2, [False, True]), (1, [True])]
