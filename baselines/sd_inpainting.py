"""Diffusion models through diffusers: Stable Diffusion Inpainting 1.5 by default, or another checkpoint.

`baselines.pipelines` says which checkpoints, and which class of diffusers opens them. Each sample is erased alone and with its own random generator, so that its result depends neither on the batch nor on
the order. The result is the pipeline's own output: outside the mask it differs from the photo by the loss of the VAE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from baselines.checkpoints import CHECKPOINT, UNKNOWN_LICENSE, Checkpoint, find_checkpoint, holds_vae, license_of
from baselines.decoder import REMEDY, guard_decoder, leave_unclipped
from baselines.eraser import Eraser, EraserInfo, EraserSpec, Hints, WeightsUnusableError, WrongOutputError
from baselines.fill import one_by_one
from baselines.finite import NotFiniteError, to_uint8
from baselines.pipelines import (
    accepted,
    check_settings,
    family_of,
    left_out,
    parameters_of,
    part_class,
    pipeline_class,
    working_size,
)
from baselines.placing import OFFLOADS, place
from baselines.variants import choose_variant
from olrd.arrays import Image, Mask, resize_image
from olrd.draws import digest
from olrd.errors import UsageError
from olrd.models.checkpoints import check_installed, check_model_folder, choose_device
from olrd.progress import say
from olrd.registry import checked_options, number_options
from olrd.trust import one_line

DEFAULTS = {
    "checkpoint": CHECKPOINT,
    "revision": "",
    "config": "",
    "variant": "auto",
    "prompt": "short",
    "negative": "",
    "steps": "auto",
    "guidance": "auto",
    "true_cfg": "auto",
    "strength": "1.0",
    "size": "auto",
    "crop": "",
    "dtype": "auto",
    "offload": "auto",
}
LIMITS = {
    "steps": (1, 1000),
    "guidance": (0, 100),
    "true_cfg": (0, 50),
    "strength": (0.01, 1),
    "size": (16, 4096),
    "crop": (0, 4096),
}
"""The numbers among the options, with the smallest and the largest value."""
WORDS = {
    "prompt": ("empty", "short", "caption"),
    "dtype": ("auto", "float16", "bfloat16", "float32"),
    "offload": OFFLOADS,
}
CARRIED_BY = {
    "negative": "negative_prompt",
    "guidance": "guidance_scale",
    "true_cfg": "true_cfg_scale",
    "strength": "strength",
    "crop": "padding_mask_crop",
}
"""The argument of a pipeline's call that carries an option. Not every pipeline takes every one."""


def open_sd_inpainting(spec: EraserSpec) -> Eraser:
    """Open a diffusion model that inpaints.

    Options:
        checkpoint: A folder in diffusers' layout, a .safetensors file with all weights, or the id of a model in the
            hub's cache.
        revision: Commit of a model from the hub.
        config: For a file: folder or id of the same model in diffusers' layout; its configurations are used.
        variant: Variant of the weights, such as `fp16` or `non_ema`; by default the plain ones, or the variant that
            networks without plain ones have.
        prompt: `short` (default; the sample's short background prompt without R*), `caption` (the sample's caption) or
            `empty`.
        negative: Negative prompt.
        steps: Sampling steps, from 1 to 1000; by default the model's number.
        guidance: Weight of guidance, from 0 to 100; by default the model's.
        true_cfg: Weight of classifier-free guidance beside `guidance`, from 0 to 50 (FLUX.1, Qwen-Image); by default
            the model's, 1 is none.
        strength: Where denoising starts, from 0.01 to 1.
        size: Short side in pixels at which the pipeline works; by default the model's.
        crop: If given, the pipeline works on the part of the photo around the mask, with this margin in pixels.
        dtype: `auto` (default), `float16`, `bfloat16` or `float32`. `auto` is float32 on the CPU.
        offload: `auto` (default), `on` or `off`: whether each network is on the GPU only while it works. `auto` does
            that if the weights do not fit.
    """
    check_installed(["diffusers"], "the eraser sd-inpainting", "sd")
    options = checked_options(spec, DEFAULTS)
    for name, words in WORDS.items():
        if options[name] not in words:
            raise UsageError(f"sd-inpainting: {name} is one of {words}, not '{options[name]}'")
    _numbers(spec, {name: options[name] for name in LIMITS if options[name] != DEFAULTS[name]})
    checkpoint = find_checkpoint(options["checkpoint"], options["revision"], options["config"])
    return SDInpainting(spec, options, checkpoint)


def _numbers(spec: EraserSpec, given: Mapping[str, str]) -> dict[str, float]:
    return number_options(spec, given, {name: LIMITS[name] for name in given}, whole=("steps", "size", "crop"))


class SDInpainting:
    """Erases with the pipeline of a checkpoint."""

    def __init__(self, spec: EraserSpec, options: dict[str, str], checkpoint: Checkpoint) -> None:
        self.checkpoint, self.seed = checkpoint, spec.seed
        self.device = choose_device(spec.device, "the eraser sd-inpainting")
        self._class = pipeline_class(checkpoint.folder)
        self._family = family_of(self._class, checkpoint.folder)
        self._given = {name: options[name] for name in CARRIED_BY if options[name] != DEFAULTS[name]}
        self._options = options | self._of_the_model(options)
        self._numbers = _numbers(spec, {name: self._options[name] for name in LIMITS if self._options[name]})

    def _of_the_model(self, options: dict[str, str]) -> dict[str, str]:
        """Return the values of the options that are left to the model."""
        family = self._family
        own = {"steps": family.steps, "guidance": family.guidance, "true_cfg": family.true_cfg, "size": family.size}
        return {name: "" if own[name] is None else f"{own[name]:g}" for name in own if options[name] == "auto"}

    @cached_property
    def info(self) -> EraserInfo:
        """The revision is the hub's commit, or a hash of a local folder or file.

        It does not name `offload`, which does not change the result.
        """
        return EraserInfo(
            "sd-inpainting",
            self.checkpoint.revision,
            UNKNOWN_LICENSE
            if self.checkpoint.file
            else license_of(self._options["checkpoint"], self.checkpoint.folder),
            "an inpainting checkpoint of diffusers",
            {name: value for name, value in self._options.items() if name != "offload"} | {"seed": str(self.seed)},
            device=self.device,
        )

    @cached_property
    def _pipeline(self) -> Any:
        check_model_folder(self.checkpoint.folder, WeightsUnusableError)
        pipeline = self._loaded()
        unguided = self._family.guidance is None and not pipeline.transformer.config.guidance_embeds
        if "guidance" in self._given and unguided:
            raise UsageError(
                f"sd-inpainting: {self.checkpoint.where} takes no guidance; give --option true_cfg instead"
            )
        guard_decoder(pipeline)
        leave_unclipped(pipeline.scheduler)
        pipeline.set_progress_bar_config(disable=True)
        return place(pipeline, self.device, self._options["offload"])

    def _loaded(self) -> Any:
        """Load the networks into the CPU's memory."""
        folder, file = self.checkpoint
        if file and self._options["variant"] != "auto":
            raise UsageError(
                f"sd-inpainting: {file} is a single file, which has no variants; leave the option variant out"
            )
        variant = choose_variant(folder, self._options["variant"])
        try:
            import diffusers

            kind = getattr(diffusers, self._class)
            options = {"dtype": self._dtype(), "local_files_only": True}
            options |= dict.fromkeys(left_out(folder, kind))
        except (ImportError, RuntimeError) as error:  # a class whose library is missing
            raise WeightsUnusableError(f"{folder}: {self._class} cannot be imported: {one_line(str(error))}") from error
        parameters = parameters_of(kind)
        check_settings(self._class, parameters, {name: CARRIED_BY[name] for name in self._given})
        if "negative" in self._given and "true_cfg_scale" in parameters and self._numbers["true_cfg"] <= 1:
            raise UsageError(
                f"sd-inpainting: {self._class} uses a negative prompt only if true_cfg is above 1; give --option "
                "true_cfg=4 too"
            )
        try:
            # diffusers prefers safetensors files and reads .bin files with weights_only
            if file:
                if holds_vae(file):
                    return kind.from_single_file(str(file), config=str(folder), **options)
                options |= _main_network(folder, file, self._dtype())
            return kind.from_pretrained(folder, variant=variant, **options)
        except Exception as error:  # diffusers, transformers and safetensors raise many kinds of errors
            raise WeightsUnusableError(
                f"{self.checkpoint.where} is not a diffusers inpainting pipeline that can be loaded: "
                f"{one_line(str(error))}"
            ) from error

    def _dtype(self) -> Any:
        """Return the type of the weights. `auto` is the one that the networks were made for, and float32 on the CPU."""
        import torch

        wanted = self._options["dtype"]
        if wanted == "auto":
            wanted = "float32" if self.device == "cpu" else "bfloat16" if self._family.wide else "float16"
        return getattr(torch, wanted)

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        """See `Eraser.erase`."""
        return one_by_one(self._one, images, masks, hints)

    def _one(self, image: Image, mask: Mask, hint: Hints) -> Image:
        height, width = mask.shape
        size = working_size(width, height, int(self._numbers["size"]), self._family.multiple, self._family.area)
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
        picture = result.images[0]
        pixels = np.array(picture.convert("RGB")) if self._cropped else to_uint8(picture * 255, what, REMEDY)
        return pixels if pixels.shape[:2] == (height, width) else resize_image(pixels, (width, height))

    @property
    def _cropped(self) -> bool:
        """Whether the pipeline works on a part of the photo and pastes it back itself, as a Pillow image."""
        return "crop" in self._numbers

    def _painted(self, photo: Image, hole: Mask, hint: Hints, size: tuple[int, int]) -> Any:
        import torch
        from PIL import Image as Pillow

        pipeline, numbers = self._pipeline, self._numbers
        seed = digest(self.seed, hint.key, "sd-inpainting") % (1 << 63)
        wishes = {
            "prompt": prompt_of(hint, self._options["prompt"]),
            "negative_prompt": self._negative,
            "image": Pillow.fromarray(photo),
            "mask_image": Pillow.fromarray(hole.astype(np.uint8) * 255),
            "width": size[0],
            "height": size[1],
            "max_area": size[0] * size[1],
            "num_inference_steps": int(numbers["steps"]),
            "true_cfg_scale": numbers["true_cfg"],
            "strength": numbers["strength"],
            "generator": torch.Generator("cpu").manual_seed(seed),
            "output_type": "pil" if self._cropped else "np",
        }
        if "guidance" in numbers:
            wishes["guidance_scale"] = numbers["guidance"]
        if self._cropped:
            wishes["padding_mask_crop"] = int(numbers["crop"])
        return pipeline(**accepted(parameters_of(type(pipeline)), wishes))

    @property
    def _negative(self) -> str | None:
        """The negative prompt. Pipelines with `true_cfg_scale` guide only if there is one, so it is a blank there."""
        return self._options["negative"] or (" " if self._numbers["true_cfg"] > 1 else None)


def _main_network(folder: Path, file: Path, dtype: Any) -> dict[str, Any]:
    """Load the transformer or the UNet from a file that holds nothing else; its configuration is in the folder."""
    import diffusers

    part = "transformer" if (folder / "transformer").is_dir() else "unet"
    kind = getattr(diffusers, part_class(folder, part))
    options = {"dtype": dtype, "local_files_only": True}
    return {part: kind.from_single_file(str(file), config=str(folder), subfolder=part, **options)}


def prompt_of(hint: Hints, kind: str) -> str:
    """Return the prompt. The learned token R* is removed, because a plain model does not know it."""
    if kind == "short":
        return (hint.prompt or "").replace("R* ", "")
    return (hint.caption or "") if kind == "caption" else ""
