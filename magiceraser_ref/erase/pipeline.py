"""MagicEraser, as a user meets it: loaded, moved, and called with arrays or as in diffusers. The method: `method.py`.

Example, with arrays:
    eraser = MagicEraser.from_pretrained("small")
    clean = eraser.erase(image, mask)

Example, as in diffusers; `MagicEraser.__call__` has a complete one:
    eraser = MagicEraser.from_pretrained("small").to("cuda")
    clean = eraser(image=image, mask_image=mask).images[0]
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

from baselines.checked import is_single
from baselines.decoder import guard_decoder
from baselines.eraser import Eraser
from magiceraser_ref.erase.arguments import changed, check_helpers, dtype_name, seeds_of
from magiceraser_ref.erase.choices import Choices
from magiceraser_ref.erase.forms import check_output_type, pictures_of, results_of
from magiceraser_ref.erase.method import Method
from magiceraser_ref.erase.painting import Watch
from magiceraser_ref.erase.segmentation import Categories, Segmenter
from magiceraser_ref.extras import need
from magiceraser_ref.model.checkpoint import DTYPES, Parts, load, save
from magiceraser_ref.model.settings import Settings
from olrd.arrays import Image, Mask
from olrd.errors import UsageError, did_you_mean
from olrd.models.checkpoints import check_device, choose_device
from olrd.options import fitted
from olrd.panoptic import PanopticMap
from olrd.trust import one_line, shown

if TYPE_CHECKING:
    import torch

_DIFFUSERS_NAMES = {
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
    "negative": "negative_prompt",
    "strength": "strength",
}
_SIZE = "the result has the photo's size; resize the photo and the mask to change it"
_NOT_HERE = {
    "height": _SIZE,
    "width": _SIZE,
    "num_images_per_prompt": "a call makes one result per photo; for more, give lists that repeat the photo and its mask",
    "callback": "this call has callback_on_step_end",
    "callback_steps": "this call has callback_on_step_end, which is called after every step",
    "padding_mask_crop": "a window around the mask is always cut out; margin sets its context",
}
"""Arguments of diffusers' pipelines that `MagicEraser.__call__` lacks, and what to do."""


class MagicEraser(Method):
    """Erases objects from photos: `from_pretrained` opens one, a call or `erase` erases.

    It has three parts: a model, which paints the hole; an initialiser, an eraser that fills the hole roughly before; and
    a segmenter, which makes panoptic maps. A panoptic map says which object or ground each pixel belongs to. With it,
    refocusing (the change to the network's attention) avoids objects like the erased one.

    Attributes:
        choices: How to erase if a call does not say otherwise (`magiceraser_ref.erase.choices.Choices`).
        pipeline: The pipeline of diffusers, with `unet`, `vae` and `scheduler`.
        segmenter: Makes panoptic maps (`magiceraser_ref.erase.segmentation.Segmenter`).
        settings: What the model's folder says.
        parts: The networks and their settings.
    """

    def __init__(
        self,
        parts: Parts,
        initializer: str | Eraser | None = None,
        segmenter: str | Segmenter = "given",
        device: str = "auto",
        choices: Choices | None = None,
    ) -> None:
        """Put an eraser together from loaded networks. `from_pretrained` loads them.

        Args:
            parts: The networks and their settings.
            initializer: An eraser or its name. By default the one that the model's settings name, or `patchmatch` if
                that has no weights here.
            segmenter: See `Segmenter`.
            device: The device of initialiser and segmenter.
            choices: By default those of the model's settings.

        Raises:
            UsageError: If an argument is of another type, or names nothing.
        """
        check_helpers(initializer, segmenter, choices)
        self.parts, self.pipeline, self.settings = parts, parts.pipeline, parts.settings
        self.choices = choices or Choices.of(parts.settings)
        self._initializer = initializer
        self._device = device
        guard_decoder(parts.pipeline)
        self._own_segmenter = isinstance(segmenter, str)
        if isinstance(segmenter, str):
            segmenter = Segmenter(segmenter, device)
        self.segmenter = segmenter

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        *,
        revision: str | None = None,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        torch_dtype: torch.dtype | str | None = None,
        variant: str | None = None,
        cache_dir: str | Path | None = None,
        initializer: str | Eraser | None = None,
        segmenter: str | Segmenter = "given",
        lora: bool = True,
        choices: Choices | None = None,
    ) -> MagicEraser:
        """Load a model. Nothing is downloaded.

        Args:
            model: `small` (comes with the package), a folder, or the id of a model in the hub's cache. It is a model
                that this package wrote, adapters alone, or a plain inpainting checkpoint, which works without training.
            revision: The hub's commit.
            device: `auto`, `cpu`, `cuda`, ...
            dtype: `auto`, `float32`, `float16` or `bfloat16`, or one of these dtypes of torch.
            torch_dtype: diffusers' name of `dtype`.
            variant: Variant of the weights' files, such as `fp16`. By default the plain files, or else the only
                variant. It says which files are read; `dtype` says how the networks compute.
            cache_dir: Folder of the hub's cache, if it is not the usual one.
            initializer: An eraser or its name. By default the one that the model's settings name, or `patchmatch` if
                that has no weights here.
            segmenter: `given`, `mask2former` or `none`, see `Segmenter`. For a photo without a map, `given` does
                the same as `none`, so the help of `magiceraser erase` calls its default `none`.
            lora: False leaves the model's LoRA out.
            choices: How to erase. By default as the model's settings say.

        Raises:
            UsageError: If an argument is of another type, or names nothing.
            WeightsMissingError: If the model is not on this machine.
            WeightsUnusableError: If a file of the model is missing, damaged or of another kind.
        """
        if not isinstance(model, str | os.PathLike):
            raise UsageError(f"model: expected small, a folder or the id of a model, got {shown(model)}")
        model = model if isinstance(model, str) else Path(model)
        revision, lora = fitted(str | None, revision, "revision"), fitted(bool, lora, "lora")
        check_device(device)
        variant = fitted(str | None, variant, "variant")
        if not (cache_dir is None or isinstance(cache_dir, str | os.PathLike)):
            raise UsageError(f"cache_dir: expected a folder, got {shown(cache_dir)}")
        name = dtype_name(dtype)
        if torch_dtype is not None:
            if name not in ("auto", dtype_name(torch_dtype)):
                raise UsageError(f"dtype and torch_dtype mean the same: expected one, got {name} and {torch_dtype}")
            name = dtype_name(torch_dtype)
        check_helpers(initializer, segmenter, choices)
        parts = load(model, revision, device, name, lora, variant=variant, cache_dir=cache_dir)
        return cls(parts, initializer, segmenter, device, choices)

    def save_pretrained(
        self, folder: Path | str, settings: Settings | None = None, *, adapters_only: bool = False
    ) -> None:
        """Write the model, see `checkpoint.save`. settings: by default the model's own."""
        save(folder, self.pipeline, settings or self.settings, adapters_only=adapters_only)

    @property
    def device(self) -> torch.device:
        """The device that the networks compute on."""
        return self.pipeline._execution_device

    @property
    def dtype(self) -> torch.dtype:
        """The number format of the UNet."""
        return self.pipeline.unet.dtype

    def to(
        self,
        *targets: str | torch.device | torch.dtype,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
    ) -> Self:
        """Move the networks to a device, or to another number format, or both. Returns the eraser itself.

        Example:
            eraser.to("cuda"); eraser.to(torch.float16); eraser.to("cuda", torch.float16)

        An initialiser and a segmenter that were given by name move too. Those that were given opened stay.

        Args:
            *targets: A device, a dtype, or both.
            device: The device.
            dtype: `float32`, `float16` or `bfloat16`, or one of these dtypes of torch.

        Raises:
            UsageError: If it is no such device or dtype, if this machine does not have the device, or if the networks
                are offloaded to the CPU by hooks.
        """
        for target in targets:
            if type(target).__module__ == "torch" and str(target).startswith("torch."):
                given, dtype = dtype, target  # type: ignore[assignment]
            else:
                given, device = device, target  # type: ignore[assignment]
            if given is not None:
                raise UsageError(f"to: expected one device and one dtype at most, got {given} and {target}")
        moved: dict[str, Any] = {}
        if dtype is not None:
            if (name := dtype_name(dtype)) == "auto":
                raise did_you_mean("dtype", name, DTYPES[1:])
            moved["dtype"] = getattr(need("torch", "MagicEraser"), name)
        if device is not None:
            moved["device"] = choose_device(str(device), "MagicEraser")
        try:
            self.pipeline.to(**moved)
        except (ValueError, NotImplementedError) as error:  # the networks are offloaded
            raise UsageError(f"the model cannot be moved: {one_line(str(error))}") from error
        if device is not None and moved["device"] != self._device:
            self._device = moved["device"]
            if self._initializer is None or isinstance(self._initializer, str):
                self.__dict__.pop("initializer", None)  # opened again on the new device, on next use
            if self._own_segmenter:
                self.segmenter = Segmenter(self.segmenter.kind, self._device)
        return self

    @overload
    def erase(
        self,
        images: Image,
        masks: Mask,
        *,
        panoptic: PanopticMap | None = None,
        categories: Categories | None = None,
        erased: str | None = None,
        prompts: str | None = None,
        keys: str | None = None,
        seed: int = 0,
        batch_size: int = 1,
        progress: bool = False,
        **changes: Any,
    ) -> Image: ...

    @overload
    def erase(
        self,
        images: Sequence[Image],
        masks: Sequence[Mask],
        *,
        panoptic: Sequence[PanopticMap | None] | None = None,
        categories: Categories | Sequence[Categories | None] | None = None,
        erased: Sequence[str | None] | None = None,
        prompts: Sequence[str | None] | None = None,
        keys: Sequence[str] | None = None,
        seed: int = 0,
        batch_size: int = 1,
        progress: bool = False,
        **changes: Any,
    ) -> list[Image]: ...

    def erase(
        self,
        images: Any,
        masks: Any,
        *,
        panoptic: Any = None,
        categories: Any = None,
        erased: Any = None,
        prompts: Any = None,
        keys: Any = None,
        seed: int = 0,
        batch_size: int = 1,
        progress: bool = False,
        **changes: Any,
    ) -> Image | list[Image]:
        """Return the photo, or the photos, without the masked objects.

        For one photo every argument is a single value. For a list of photos, masks, panoptic, erased, prompts and keys
        are lists with one entry per photo.

        Pixels under the mask influence nothing but the segmenter `mask2former`. With batch_size 1 a result is the
        same bit for bit in any call; larger batches change it by rounding (one grey level in float32,
        and one more with each pass of refining).

        Args:
            images: uint8 [H, W, 3] RGB, of any size.
            masks: bool [H, W], True = erase. For an empty mask the result is a copy of the photo.
            panoptic: The photo's panoptic map (`olrd.panoptic.PanopticMap`), or None.
            categories: Meaning of the category numbers of `panoptic`; for a list, also one for all photos.
            erased: Name of the object's category, which finds the region of like things; None takes it from the map.
            prompts: Description of the background, with R* where the learned token goes; None makes the short prompt
                from the map.
            keys: Name of the sample. The noise depends on (seed, key) alone.
            seed: Seed of the noise.
            batch_size: Windows that the network processes at a time.
            progress: Show the steps on stderr.
            **changes: Fields of `Choices` that differ from `self.choices`, e.g. content=False, refocus=None,
                token=False, composite=False.

        Raises:
            UsageError: If inputs do not fit each other, or if a choice does not exist or is out of its range.
            NotFiniteError: If the model's output is not a picture.
        """
        choices = changed(self.choices, changes)
        given = {"panoptic": panoptic, "erased": erased, "prompts": prompts, "keys": keys}
        seed, progress = fitted(int, seed, "seed"), fitted(bool, progress, "progress")
        if (batch_size := fitted(int, batch_size, "batch_size")) < 1:
            raise UsageError(f"batch_size must be at least 1, got {batch_size}")
        single = is_single(images, masks)
        if single:
            images, masks = [images], [masks]
            given = {name: None if value is None else [value] for name, value in given.items()}
        photos = self._started(images, masks, choices, categories=categories, **given)
        for photo in photos:
            photo.seed = seed
        self._run(photos, batch_size, progress, choices)
        results = [photo.image for photo in photos]
        return results[0] if single else results

    def __call__(
        self,
        image: Any,
        mask_image: Any,
        *,
        prompt: str | Sequence[str | None] | None = None,
        negative_prompt: str | None = None,
        strength: float | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "pil",
        callback_on_step_end: Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        return_dict: bool = True,
        panoptic: Any = None,
        categories: Any = None,
        erased: Any = None,
        batch_size: int = 1,
        progress: bool = False,
        **changes: Any,
    ) -> Any:
        """Erase as an inpainting pipeline of diffusers is called. `erase` does the same with arrays.

        Unlike there, the photo and the mask come first, a prompt is optional, photos have any size and keep it, and
        pixels outside the mask stay. The mask is taken as it is. One that follows the outline closely leaves a rim of
        the object around the hole: draw it some pixels larger (the command `olrd-erase` does so itself).
        `eraser.pipeline` is the pipeline of diffusers itself, e.g. for `enable_model_cpu_offload()`.

        Example:
            >>> import torch
            >>> from PIL import Image, ImageDraw
            >>> from magiceraser_ref import MagicEraser

            >>> image = Image.new("RGB", (96, 64), "tan")
            >>> ImageDraw.Draw(image).ellipse((30, 20, 60, 44), fill="navy")
            >>> mask_image = Image.new("L", image.size)
            >>> ImageDraw.Draw(mask_image).rectangle((26, 16, 64, 48), fill="white")  # white = erase

            >>> eraser = MagicEraser.from_pretrained("small", torch_dtype=torch.float32).to("cpu")
            >>> generator = torch.Generator("cpu").manual_seed(0)
            >>> clean = eraser(image=image, mask_image=mask_image, num_inference_steps=20, generator=generator).images[0]
            >>> clean.size, clean.getpixel((0, 0)) == image.getpixel((0, 0))
            ((96, 64), True)

        Args:
            image: One photo, or several as a list or a stack. A photo is a picture of Pillow, an array [H, W, 3] or a
                tensor [3, H, W]; integers from 0 to 255, floats from 0 to 1.
            mask_image: One mask per photo, of its size: a picture of Pillow, an array [H, W] or a tensor [H, W] or
                [1, H, W]. White (half and more) or True = erase.
            prompt: Description of the background, one text, or a list with one per photo. By default it is made from
                the panoptic map, or is a general one.
            negative_prompt: By default the model's.
            strength: Where denoising starts, 0.01 to 1: 1 is pure noise, less keeps more of the initialiser's fill. As
                in diffusers, about `strength * num_inference_steps` steps run. By default the model's.
            num_inference_steps: Sampling steps, 1 to 1000. By default the model's.
            guidance_scale: Weight of the prompt, 0 to 50. By default the model's.
            generator: Makes the seed of each photo's noise; a list has one generator per photo. By default torch's
                global generator does, so results differ from call to call.
            output_type: `pil`: a list of pictures. `np`: an array [B, H, W, 3]. `pt`: a tensor [B, 3, H, W]. Both are
                float32 from 0 to 1, or a list of [H, W, 3] or [3, H, W] if the photos differ in size.
            callback_on_step_end: Called after every step of every window with the pipeline, the step's number, its time
                and a dict of tensors. It returns a dict of the tensors to replace. When a large hole is refined, the
                latents are those of all its windows.
            callback_on_step_end_tensor_inputs: Names of the tensors that it gets.
            return_dict: False returns a tuple whose only entry is the images.
            panoptic: The photo's panoptic map (`olrd.panoptic.PanopticMap`), or a list with one per photo. By default
                what the segmenter makes: `from_pretrained(..., segmenter="mask2former")` makes one of every photo.
            categories: As in `erase`.
            erased: Name of the object's category, such as `cow`; a list with one per photo. By default from the map.
            batch_size: Windows that the network processes at a time.
            progress: Show the steps on stderr.
            **changes: Other fields of `Choices` (`help(magiceraser_ref.erase.choices.Choices)`), e.g. `refine="auto"`,
                `margin=1`.

        Returns:
            diffusers' `ImagePipelineOutput`, with the results in `images`: also of one photo as a list or a stack.

        Raises:
            UsageError: If inputs do not fit each other, or if a choice does not exist or is out of its range.
            NotFiniteError: If the model's output is not a picture.
        """
        check_output_type(output_type)
        progress, return_dict = fitted(bool, progress, "progress"), fitted(bool, return_dict, "return_dict")
        renamed = {
            "strength": strength,
            "steps": num_inference_steps,
            "guidance": guidance_scale,
            "negative": negative_prompt,
        }
        known = {field.name for field in fields(Choices)} - renamed.keys() | _ARGUMENTS
        for name in changes:
            if name in _NOT_HERE:
                raise UsageError(f"{name}: {_NOT_HERE[name]}")
            if name in renamed:
                raise UsageError(f"{name} is called {_DIFFUSERS_NAMES[name]} in this call")
            if name not in known:
                raise did_you_mean("argument", name, known)
        changes |= {name: value for name, value in renamed.items() if value is not None}
        choices = changed(self.choices, changes)
        watch = Watch(None, callback_on_step_end, self._tensor_names(callback_on_step_end_tensor_inputs))
        if (batch_size := fitted(int, batch_size, "batch_size")) < 1:
            raise UsageError(f"batch_size must be at least 1, got {batch_size}")
        given = pictures_of(image, mask_image)
        one_each = {"panoptic": panoptic, "erased": erased}
        if given.single:
            one_each = {name: None if value is None else [value] for name, value in one_each.items()}
        prompts = [prompt] * len(given.photos) if prompt is None or isinstance(prompt, str) else prompt
        seeds = seeds_of(generator, len(given.photos))
        photos = self._started(
            given.photos, given.masks, choices, categories=categories, prompts=prompts, keys=None, **one_each
        )
        for photo, seed in zip(photos, seeds, strict=True):
            photo.seed = seed
        self._run(photos, batch_size, progress, choices, watch)
        images = results_of([photo.image for photo in photos], output_type)
        if not return_dict:
            return (images,)
        return need("diffusers", "MagicEraser").ImagePipelineOutput(images=images)

    def _tensor_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the callback's tensors. Raises `UsageError` if the pipeline does not hand one out."""
        known = list(self.pipeline._callback_tensor_inputs)
        for name in names:
            if name not in known:
                raise did_you_mean("tensor of callback_on_step_end", name, known)
        return tuple(names)


_ARGUMENTS = set(signature(MagicEraser.__call__).parameters) - {"self", "changes"}
