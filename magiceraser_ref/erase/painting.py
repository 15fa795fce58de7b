"""One call of diffusers' inpainting pipeline for a batch of windows of one size, with or without refocusing.

The model sees no pixel of the object: `Job.start` contains none, and diffusers blanks the hole in the channels of the
masked photo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow

from magiceraser_ref.erase.canvas import Canvas
from magiceraser_ref.erase.choices import Choices
from magiceraser_ref.extras import need
from magiceraser_ref.refocus.regions import Regions
from olrd.arrays import Image, Mask


class Job(NamedTuple):
    """One window, prepared for the model.

    Attributes:
        canvas: Its sizes.
        start: uint8 [H, W, 3], the canvas's padded size: the photo with the filled hole.
        hole: bool [H, W], True = erase, made of whole latent cells.
        regions: The regions of refocused attention, bool [H, W] each, or None.
        prompt: Text that describes the background.
        seed: Seed of the window's own noise generator.
    """

    canvas: Canvas
    start: Image
    hole: Mask
    regions: Regions | None
    prompt: str
    seed: int


def paint(
    pipeline: Any, jobs: Sequence[Job], choices: Choices, tick: Callable[[], object] | None = None
) -> list[Image]:
    """Run the model on windows whose canvases have one size.

    Each window has its own noise generator on the CPU, so its noise is the same on every device and in every batch.

    Args:
        pipeline: diffusers' inpainting pipeline.
        jobs: The windows.
        choices: How to erase.
        tick: Called after every step.

    Returns:
        The model's pictures, uint8 [H, W, 3] of the canvas's padded size, one per window.
    """
    torch = need("torch", "MagicEraser")
    width, height = jobs[0].canvas.padded
    with _refocusing(pipeline, jobs, choices):
        result = pipeline(
            prompt=[job.prompt for job in jobs],
            negative_prompt=[choices.negative] * len(jobs),
            image=[Pillow.fromarray(job.start) for job in jobs],
            mask_image=[Pillow.fromarray(job.hole.astype(np.uint8) * 255) for job in jobs],
            height=height,
            width=width,
            strength=choices.start,
            num_inference_steps=choices.steps,
            guidance_scale=choices.guidance,
            generator=[torch.Generator("cpu").manual_seed(job.seed) for job in jobs],
            output_type="np",
            callback_on_step_end=_after_step(tick) if tick else None,
        ).images
    return [np.clip(np.rint(one * 255), 0, 255).astype(np.uint8) for one in result]


def _after_step(tick: Callable[[], object]) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    def after(pipeline: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        tick()
        return tensors

    return after


def _refocusing(pipeline: Any, jobs: Sequence[Job], choices: Choices) -> Any:
    """Return the context of refocused attention, or an empty context if refocusing is off."""
    if choices.refocus is None or all(job.regions is None for job in jobs):
        return nullcontext()
    from magiceraser_ref.refocus.unet import refocused

    scheduler = pipeline.scheduler
    scheduler.set_timesteps(choices.steps, device="cpu")
    timesteps, _ = pipeline.get_timesteps(choices.steps, choices.start, "cpu")
    return refocused(
        pipeline.unet,
        [job.regions for job in jobs],
        choices.refocus,
        timesteps=timesteps,
        train_timesteps=scheduler.config.num_train_timesteps,
        guidance=choices.guidance > 1,
    )


def executed_steps(choices: Choices) -> int:
    """Return the number of steps that are run for a window."""
    return int(choices.steps * choices.start)
