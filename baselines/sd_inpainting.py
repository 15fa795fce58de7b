"""Stable Diffusion Inpainting through diffusers: SD 1.5 by default, or any other inpainting checkpoint.

Each sample is erased alone and with its own random generator, so that its result depends neither on the batch nor on
the order. The result is the pipeline's own output: outside the mask it differs from the photo by the loss of the VAE.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from baselines.checkpoints import CHECKPOINT, checkpoint_folder, content_hash, license_of
from baselines.eraser import Eraser, EraserInfo, EraserSpec, Hints, WeightsUnusableError, WrongOutputError
from baselines.finite import NotFiniteError, to_uint8
from olrd.arrays import Image, Mask, resize_image
from olrd.draws import digest
from olrd.errors import MissingExtraError, UsageError
from olrd.models.checkpoints import check_model_folder, choose_device
from olrd.progress import say
from olrd.registry import checked_options
from olrd.trust import one_line

DEFAULTS = {
    "checkpoint": CHECKPOINT,
    "revision": "",
    "prompt": "short",
    "negative": "",
    "steps": "50",
    "guidance": "7.5",
    "strength": "1.0",
    "size": "512",
    "dtype": "auto",
}
PROMPTS = ("empty", "short", "caption")
DTYPES = ("auto", "float16", "float32")
REMEDY = "give --option dtype=float32, or another checkpoint"
MODULUS = 8
"""Sides are multiples of this, because the VAE halves its input three times."""


def open_sd_inpainting(spec: EraserSpec) -> Eraser:
    """Open a Stable Diffusion inpainting pipeline.

    Options:
        checkpoint: A folder, or the id of a model in the hub's cache.
        revision: Commit of a model from the hub.
        prompt: `short` (default; the sample's short background prompt without R*), `caption` (the sample's caption) or
            `empty`.
        negative: Negative prompt.
        steps: Sampling steps, from 1 to 1000.
        guidance: Weight of classifier-free guidance, from 0 to 50.
        strength: Where denoising starts, from 0.01 to 1.
        size: Short side in pixels at which the pipeline works.
        dtype: `auto` (default), `float16` or `float32`.
    """
    try:
        import diffusers  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("the eraser sd-inpainting", "sd") from error
    options = checked_options(spec, DEFAULTS)
    if options["prompt"] not in PROMPTS:
        raise UsageError(f"sd-inpainting: prompt is one of {PROMPTS}, not '{options['prompt']}'")
    if options["dtype"] not in DTYPES:
        raise UsageError(f"sd-inpainting: dtype is one of {DTYPES}, not '{options['dtype']}'")
    numbers = _numbers(options)
    folder = checkpoint_folder(options["checkpoint"], options["revision"])
    return SDInpainting(spec, options, numbers, folder)


def _numbers(options: dict[str, str]) -> dict[str, float]:
    limits = {"steps": (1, 1000), "guidance": (0, 50), "strength": (0.01, 1), "size": (16, 4096)}
    numbers = {}
    for name, (low, high) in limits.items():
        try:
            numbers[name] = float(options[name])
        except ValueError:
            numbers[name] = float("nan")
        if not low <= numbers[name] <= high:
            raise UsageError(f"sd-inpainting: {name} is a number from {low} to {high}, not '{options[name]}'")
    return numbers


class SDInpainting:
    """Erases with the diffusers pipeline in `folder`."""

    def __init__(self, spec: EraserSpec, options: dict[str, str], numbers: dict[str, float], folder: Path) -> None:
        self.folder, self.seed, self._options, self._numbers = folder, spec.seed, options, numbers
        self.device = choose_device(spec.device, "the eraser sd-inpainting")

    @cached_property
    def info(self) -> EraserInfo:
        """The revision is the hub's commit, or a hash of a local folder."""
        name = self.folder.name
        revision = name[:12] if len(name) == 40 else f"local-{content_hash(self.folder)}"
        return EraserInfo(
            "sd-inpainting",
            revision,
            license_of(self._options["checkpoint"], self.folder),
            "an inpainting checkpoint of diffusers",
            self._options | {"seed": str(self.seed)},
            device=self.device,
        )

    @cached_property
    def _pipeline(self) -> Any:
        import torch
        from diffusers import AutoPipelineForInpainting

        half = self._options["dtype"] == "float16" or (self._options["dtype"] == "auto" and self.device != "cpu")
        load: Any = AutoPipelineForInpainting.from_pretrained
        check_model_folder(self.folder, WeightsUnusableError)
        try:
            # diffusers prefers safetensors files and reads .bin files with weights_only
            pipeline = load(
                self.folder,
                torch_dtype=torch.float16 if half else torch.float32,
                local_files_only=True,
                safety_checker=None,
            )
        except Exception as error:  # diffusers, transformers and safetensors raise many kinds of errors
            raise WeightsUnusableError(
                f"{self.folder} is not a diffusers inpainting pipeline that can be loaded: {one_line(str(error))}"
            ) from error
        guard_decoder(pipeline)
        leave_unclipped(pipeline.scheduler)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self.device)

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        """See `Eraser.erase`."""
        hints = hints or [Hints()] * len(images)
        return [
            self._one(image, mask, hint) if mask.any() else image.copy()
            for image, mask, hint in zip(images, masks, hints, strict=True)
        ]

    def _one(self, image: Image, mask: Mask, hint: Hints) -> Image:
        height, width = mask.shape
        size = working_size(width, height, int(self._numbers["size"]))
        photo = resize_image(image, size) if size != (width, height) else image
        hole = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        what = f"sd-inpainting, {hint.key or 'the photo'}"
        try:
            result = self._painted(photo, hole, hint, size)
        except NotFiniteError as error:
            raise NotFiniteError(f"{what}: {error}") from error
        if any(getattr(result, "nsfw_content_detected", None) or ()):
            say(f"{what}: the checkpoint's safety checker replaced the picture by a black one; it is not used")
            raise WrongOutputError(
                f"{what}: expected a picture, found a black one of the checkpoint's safety checker, which took the "
                "result for unsafe. Try another seed, or a checkpoint without a safety checker"
            )
        pixels = to_uint8(result.images[0] * 255, what, REMEDY)
        return pixels if size == (width, height) else resize_image(pixels, (width, height))

    def _painted(self, photo: Image, hole: Mask, hint: Hints, size: tuple[int, int]) -> Any:
        import torch
        from PIL import Image as Pillow

        seed = digest(self.seed, hint.key, "sd-inpainting") % (1 << 63)
        return self._pipeline(
            prompt=prompt_of(hint, self._options["prompt"]),
            negative_prompt=self._options["negative"] or None,
            image=Pillow.fromarray(photo),
            mask_image=Pillow.fromarray(hole.astype(np.uint8) * 255),
            width=size[0],
            height=size[1],
            num_inference_steps=int(self._numbers["steps"]),
            guidance_scale=self._numbers["guidance"],
            strength=self._numbers["strength"],
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="np",
        )


def guard_decoder(pipeline: Any) -> None:
    """Make the pipeline's VAE refuse to decode to numbers that are not finite.

    The pipeline clips the picture, which would hide infinity. In half precision some VAEs overflow: then the latents
    are decoded once more in float32. The VAE raises `NotFiniteError` if that does not help.
    """
    import torch

    vae = getattr(pipeline, "vae", None)
    if vae is None:
        return
    decode = vae.decode

    def finite(values: Any) -> bool:
        return bool(torch.isfinite(values).all())

    def picture(decoded: Any) -> Any:
        return decoded[0]  # a tuple, or an output of diffusers, which can be read like one

    def guarded(latents: Any, *arguments: Any, **options: Any) -> Any:
        if not finite(latents):
            raise NotFiniteError(f"the network's output contains NaN or infinity, before it is decoded; {REMEDY}")
        decoded = decode(latents, *arguments, **options)
        if finite(picture(decoded)):
            return decoded
        kind = vae.dtype
        if kind != torch.float32:
            vae.to(dtype=torch.float32)
            try:
                decoded = decode(latents.float(), *arguments, **options)
            finally:
                vae.to(dtype=kind)
            if finite(picture(decoded)):
                return decoded
        raise NotFiniteError(
            "the picture that the VAE decoded contains NaN or infinity, also in float32; give a checkpoint with another "
            "VAE"
        )

    vae.decode = guarded


UNCLIPPED = {"clip_sample": False, "thresholding": False}
"""What a scheduler does to latents. Its classes clip to [-1, 1] by default, which is right for pixels alone; latents reach
beyond it. Many checkpoints' scheduler_config.json does not say it, so that the classes' default holds."""


def leave_unclipped(scheduler: Any) -> None:
    """Switch off what would cut the latents' values, in a scheduler of a latent diffusion model."""
    scheduler.register_to_config(**{name: value for name, value in UNCLIPPED.items() if name in scheduler.config})


def prompt_of(hint: Hints, kind: str) -> str:
    """Return the prompt. The learned token R* is removed, because a plain model does not know it."""
    if kind == "short":
        return (hint.prompt or "").replace("R* ", "")
    return (hint.caption or "") if kind == "caption" else ""


def working_size(width: int, height: int, short: int) -> tuple[int, int]:
    """Return (width, height) in multiples of 8, with the short side near `short` and about the photo's proportions."""
    scale = short / min(width, height)
    return (
        max(MODULUS, round(width * scale / MODULUS) * MODULUS),
        max(MODULUS, round(height * scale / MODULUS) * MODULUS),
    )
