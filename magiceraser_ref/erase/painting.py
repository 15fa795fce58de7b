"""One call of diffusers' inpainting pipeline: a batch of windows of one size, refocused or not.

What the model sees is decided before: `start` holds no pixel of the object, and diffusers itself blanks
the hole in the masked-photo channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow

from magiceraser_ref.erase.canvas import Canvas
from magiceraser_ref.erase.windows import MARGIN
from magiceraser_ref.extras import need
from magiceraser_ref.model.settings import Settings
from magiceraser_ref.refocus.regions import VOIDS, Regions
from magiceraser_ref.refocus.settings import Refocus
from olrd.arrays import Image, Mask
from olrd.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Choices:
    """How to erase. Raises `UsageError` for a value that cannot be.

    content: start from the filled hole at `strength`; off starts from pure noise. refocus: None is off.
    rule, void: which regions, see `regions_of`. token: use the learned token, if the model has one.
    composite: keep every pixel outside the mask. steps, guidance, negative: the sampler's. margin:
    context around the mask, see `windows`. dilate: pixels by which the filler's mask is larger.
    """

    content: bool = True
    refocus: Refocus | None = field(default_factory=Refocus)
    rule: str = "similar"
    void: str = "neutral"
    token: bool = True
    composite: bool = True
    strength: float = 0.9
    steps: int = 50
    guidance: float = 7.5
    negative: str = ""
    margin: float = MARGIN
    dilate: int = 0

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("region rule", self.rule, ("similar", "rest")),
            ("treatment of void", self.void, VOIDS),
        ):
            if name not in known:
                raise did_you_mean(kind, name, known)
        for option, value, low, high in (
            ("strength", self.strength, 0.01, 1),
            ("steps", self.steps, 1, 1000),
            ("guidance", self.guidance, 0, 50),
            ("margin", self.margin, 0, 10),
            ("dilate", self.dilate, 0, 1000),
        ):
            if not low <= value <= high:
                raise UsageError(f"{option} is a number from {low} to {high}, not {value}")
        if int(self.steps * self.start) < 1:
            raise UsageError(f"{self.steps} steps at strength {self.strength} leave none to run: take more steps")

    @property
    def start(self) -> float:
        """The strength that is run: 1, pure noise, without content initialisation (section 3)."""
        return self.strength if self.content else 1.0

    @classmethod
    def of(cls, settings: Settings) -> Choices:
        """The model's own."""
        return cls(
            refocus=settings.refocus,
            strength=settings.strength,
            steps=settings.steps,
            guidance=settings.guidance,
            negative=settings.negative,
        )


class Job(NamedTuple):
    """One window for the model. start: uint8 [H, W, 3] of the canvas's padded size, the filled hole in
    the photo. hole: bool [H, W], in whole latent cells. regions: bool [H, W] each, or None. seed: of the
    sample's own generator."""

    canvas: Canvas
    start: Image
    hole: Mask
    regions: Regions | None
    prompt: str
    seed: int


def paint(
    pipeline: Any, jobs: Sequence[Job], choices: Choices, tick: Callable[[], object] | None = None
) -> list[Image]:
    """The model's pictures, uint8 [H, W, 3] of the padded size, one per job; all of one size.

    tick: called after every step. Generators live on the CPU and belong to one sample each, so the
    noise is the same on every device and in every batch.
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
    """The context of refocused attention; of ordinary attention where it is off."""
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
    """How many steps a window takes."""
    return int(choices.steps * choices.start)
