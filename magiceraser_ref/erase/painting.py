"""One call of diffusers' inpainting pipeline for a batch of windows of one size, with or without refocusing.

The model sees no pixel of the object: `Job.start` contains none, and diffusers blanks the hole in the channels of the
masked photo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow

from baselines.eraser import WeightsUnusableError
from baselines.finite import NotFiniteError, to_uint8
from magiceraser_ref.erase.canvas import Canvas
from magiceraser_ref.erase.choices import Choices
from magiceraser_ref.extras import need
from magiceraser_ref.refocus.regions import Regions
from olrd.arrays import Image, Mask
from olrd.errors import UsageError
from olrd.trust import one_line, shown

REMEDY = "give dtype=float32, a model with another VAE, or other weights"


class Job(NamedTuple):
    """One window, prepared for the model.

    Attributes:
        canvas: Its sizes.
        start: uint8 [H, W, 3], the canvas's padded size: the photo with the filled hole.
        hole: bool [H, W], True = erase, made of whole latent cells.
        regions: The regions of refocused attention, bool [H, W] each, or None.
        prompt: Text that describes the background.
        seed: Seed of the window's own noise generator.
        key: Name of the sample, for messages.
        fill: uint8 [h, w, 3], the initialiser's fill at the photo's scale, for residual paste; or None.
    """

    canvas: Canvas
    start: Image
    hole: Mask
    regions: Regions | None
    prompt: str
    seed: int
    key: str = ""
    fill: Image | None = None


class Watch(NamedTuple):
    """What the caller wants to be told while a batch is painted.

    Attributes:
        tick: Called after every step without arguments.
        callback: diffusers' `callback_on_step_end`: called after every step with the pipeline, the step's number, its
            time and a dict of tensors. It returns a dict of the tensors to replace.
        tensors: Names of the tensors that the callback gets.
    """

    tick: Callable[[], object] | None = None
    callback: Callable[[Any, int, Any, dict[str, Any]], Any] | None = None
    tensors: tuple[str, ...] = ("latents",)


def paint(pipeline: Any, jobs: Sequence[Job], choices: Choices, watch: Watch | None = None) -> list[Image]:
    """Run the model on windows whose canvases have one size.

    Each window has its own noise generator on the CPU, so its noise is the same on every device and in every batch.

    Args:
        pipeline: diffusers' inpainting pipeline.
        jobs: The windows.
        choices: How to erase.
        watch: Whom to tell while it runs.

    Returns:
        The model's pictures, uint8 [H, W, 3] of the canvas's padded size, one per window.

    Raises:
        NotFiniteError: If the latents or the pixels of a window are NaN or infinite.
        WeightsUnusableError: If the model's configuration does not work.
    """
    torch = need("torch", "MagicEraser")
    watch = watch or Watch()
    width, height = jobs[0].canvas.padded
    names = [f"magiceraser, {job.key or 'the photo'}" for job in jobs]
    with refocusing(pipeline, jobs, choices), _named(names):
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
            callback_on_step_end=_after_step(names, watch),
            callback_on_step_end_tensor_inputs=list(dict.fromkeys(("latents", *watch.tensors))),
        ).images
    return [to_uint8(one * 255, name, REMEDY) for one, name in zip(result, names, strict=True)]


@contextmanager
def _named(names: Sequence[str]) -> Iterator[None]:
    """Name the samples in an error of the decoder, and turn errors of a model's configuration into ours."""
    try:
        yield
    except NotFiniteError as error:
        text = str(error)
        raise error if text.startswith(tuple(names)) else NotFiniteError(f"{' and '.join(names)}: {text}") from error
    except _OfTheCallback as error:
        raise error.error from None
    except (TypeError, KeyError, AttributeError, ZeroDivisionError) as error:
        raise WeightsUnusableError(
            f"the model cannot be run: expected the configuration of an inpainting model, got {type(error).__name__} "
            f"({one_line(str(error))})"
        ) from error


class _OfTheCallback(Exception):
    """Carries an error of the caller's own callback, which is not one of the model."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _after_step(names: Sequence[str], watch: Watch) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]:
    """Return a callback that checks the latents, so that a broken model stops at once."""

    def after(pipeline: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        finite = tensors["latents"].isfinite().flatten(1).all(1).tolist()
        if False in finite:
            wrong = names[finite.index(False) % len(names)]
            raise NotFiniteError(
                f"{wrong}: the model's latents are NaN or infinite after denoising step {step + 1}. Nothing is written "
                f"for it; {REMEDY}"
            )
        if watch.tick is not None:
            watch.tick()
        return tensors if watch.callback is None else _told(watch, pipeline, step, time, tensors)

    return after


def _told(watch: Watch, pipeline: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    """Call the caller's callback with the tensors that it asked for, and return those that it changes."""
    assert watch.callback is not None
    try:
        found = watch.callback(pipeline, step, time, {name: tensors[name] for name in watch.tensors})
    except Exception as error:
        raise _OfTheCallback(error) from error
    if not isinstance(found, dict):
        raise UsageError(
            f"callback_on_step_end: expected it to return a dict of tensors (callback_kwargs), found {shown(found)}"
        )
    return tensors | found


def refocusing(pipeline: Any, jobs: Sequence[Job], choices: Choices) -> Any:
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
        guidance=lambda: parts_of_batch(pipeline),
    )


def parts_of_batch(pipeline: Any) -> tuple[bool, ...]:
    """Return, for each equal part of the batch that a running pipeline gives its UNet, whether it is conditional.

    The pipeline knows: a UNet that takes the guidance as an input (`time_cond_proj_dim`) gets no unconditional part
    whatever the weight is, and perturbed attention guidance adds a second conditional part.
    """
    unconditional = (False,) if pipeline.do_classifier_free_guidance else ()
    perturbed = (True,) if getattr(pipeline, "do_perturbed_attention_guidance", False) else ()
    return *unconditional, True, *perturbed


def executed_steps(choices: Choices) -> int:
    """Return the number of steps that are run for a window."""
    return int(choices.steps * choices.start)
