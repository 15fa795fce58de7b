"""The whole method: regions and prompt, content initialisation, refocused denoising, window by window.

Example:
    eraser = MagicEraser.from_pretrained("small")
    clean = eraser.erase(image, mask)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from baselines import ERASERS, open_eraser
from baselines.checked import check_pair, is_single
from baselines.eraser import Eraser, Hints
from baselines.sd_inpainting import guard_decoder
from magiceraser_ref.erase.canvas import canvas_of, padded, seen, whole_cells
from magiceraser_ref.erase.choices import Choices
from magiceraser_ref.erase.initialization import content_initialization
from magiceraser_ref.erase.painting import Job, executed_steps, paint
from magiceraser_ref.erase.photo import PhotoInProgress, check_counts, check_map
from magiceraser_ref.erase.segmentation import KINDS, Categories, Mapped, Segmenter
from magiceraser_ref.erase.windows import parts_of
from magiceraser_ref.model.checkpoint import DTYPES, Parts, load, save
from magiceraser_ref.model.settings import Settings
from magiceraser_ref.prompts import worded
from olrd.arrays import Image, Mask
from olrd.draws import digest
from olrd.errors import UsageError, did_you_mean
from olrd.models.checkpoints import check_device
from olrd.options import fitted
from olrd.panoptic import PanopticMap
from olrd.progress import progress_bar
from olrd.trust import shown

if TYPE_CHECKING:
    import torch

OWN = "MagicEraser cannot be its own initializer; opencv-telea needs no weights"


class MagicEraser:
    """A model, an initialiser that fills holes roughly, and a segmenter that makes panoptic maps.

    Attributes:
        choices: How `erase` works if a call does not say otherwise.
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
            initializer: An eraser or its name. By default the one that the model's settings name.
            segmenter: See `Segmenter`.
            device: The device of initialiser and segmenter.
            choices: By default those of the model's settings.

        Raises:
            UsageError: If an argument is of another type, or names nothing.
        """
        _check_helpers(initializer, segmenter, choices)
        self.parts, self.pipeline, self.settings = parts, parts.pipeline, parts.settings
        self.choices = choices or Choices.of(parts.settings)
        self._initializer: str | Eraser = initializer or parts.settings.initializer
        self._device = device
        guard_decoder(parts.pipeline)
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
            initializer: An eraser or its name. By default the one that the model's settings name.
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
        if type(dtype).__module__ == "torch":
            dtype = str(dtype).removeprefix("torch.")
        if dtype not in DTYPES:
            raise did_you_mean("dtype", dtype, DTYPES)
        _check_helpers(initializer, segmenter, choices)
        return cls(load(model, revision, device, dtype, lora), initializer, segmenter, device, choices)

    def save_pretrained(
        self, folder: Path | str, settings: Settings | None = None, *, adapters_only: bool = False
    ) -> None:
        """Write the model, see `checkpoint.save`. settings: by default the model's own."""
        save(folder, self.pipeline, settings or self.settings, adapters_only=adapters_only)

    @cached_property
    def initializer(self) -> Eraser:
        """The initialiser, opened on first use. Raises what `open_eraser` raises."""
        if not isinstance(self._initializer, str):
            return self._initializer
        if self._initializer == "magiceraser":
            raise UsageError(OWN)
        return open_eraser(self._initializer, device=self._device)

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
        same bit for bit in any call; larger batches change it by rounding (one grey level in float32).

        Args:
            images: uint8 [H, W, 3] RGB, of any size.
            masks: bool [H, W], True = erase. For an empty mask the result is a copy of the photo.
            panoptic: The photo's panoptic map, or None.
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
        self._run(photos, seed, batch_size, progress, choices)
        results = [photo.image for photo in photos]
        return results[0] if single else results

    def _started(
        self,
        images: Sequence[Image],
        masks: Sequence[Mask],
        choices: Choices,
        *,
        panoptic: Sequence[PanopticMap | None] | None,
        categories: Categories | Sequence[Categories | None] | None,
        erased: Sequence[str | None] | None,
        prompts: Sequence[str | None] | None,
        keys: Sequence[str] | None,
    ) -> list[PhotoInProgress]:
        """Check the inputs, make the maps that are needed, and divide each photo into windows."""
        check_counts(
            len(images),
            masks=masks,
            panoptic=panoptic,
            categories=categories,
            erased=erased,
            prompts=prompts,
            keys=keys,
        )
        names = list(keys) if keys is not None else [""] * len(images)
        for image, mask, name in zip(images, masks, names, strict=True):
            check_pair(image, mask, name)
        for what, texts in (("erased", erased), ("prompts", prompts), ("keys", keys)):
            for text in texts or ():
                fitted(str if what == "keys" else str | None, text, what)
        for one in panoptic or ():
            fitted(PanopticMap | None, one, "panoptic")
        maps = [Mapped(None, {})] * len(images)
        if choices.refocus is not None or prompts is None or None in prompts:
            maps = self.segmenter.maps(images, panoptic, categories)
        photos = []
        for k, mask in enumerate(masks):
            check_map(maps[k], mask, names[k])
            photo = PhotoInProgress(
                image=images[k].copy(),
                parts=parts_of(mask, self.settings.resolution, choices.margin),
                left=mask,
                mapped=maps[k],
                erased=erased[k] if erased else None,
                prompt=prompts[k] if prompts else None,
                key=names[k],
            )
            photos.append(photo)
        return photos

    def _run(self, photos: list[PhotoInProgress], seed: int, batch_size: int, progress: bool, choices: Choices) -> None:
        """Erase all windows: the first one of every photo, then the second ones, which see the first ones' results."""
        busy = [photo for photo in photos if photo.parts]
        if busy and choices.content:
            _ = self.initializer  # so that missing weights are an error before any work
        if choices.refocus is not None and any(photo.mapped.panoptic is None for photo in busy):
            self.segmenter.say_once()
        total = sum(len(photo.parts) for photo in busy) * executed_steps(choices)
        with progress_bar("erasing", total, unit="step") if progress else nullcontext() as bar:
            for number in count():
                ready = [photo for photo in busy if number < len(photo.parts)]
                if not ready:
                    return
                jobs = [self._job(photo, number, seed, choices) for photo in ready]
                for group in batches(jobs, batch_size):
                    tick = None if bar is None else _Tick(bar, len(group))
                    pictures = paint(self.pipeline, [jobs[k] for k in group], choices, tick)
                    for k, picture in zip(group, pictures, strict=True):
                        ready[k].paste(ready[k].parts[number], jobs[k], picture, choices.composite)

    def _job(self, photo: PhotoInProgress, number: int, seed: int, choices: Choices) -> Job:
        """Prepare one window (section 3): its hole, the rough content of the hole, its regions and its prompt.

        The hole is everything in the window that is still to be erased: the window's own part and those of later ones.
        """
        part = photo.parts[number]
        window, crop = part.window, part.window.crop()
        factor = int(self.pipeline.vae_scale_factor)
        canvas = canvas_of(window.w, window.h, self.settings.resolution, factor)
        ids = photo.mapped.panoptic.ids[crop] if photo.mapped.panoptic else None
        view = seen(photo.image[crop], photo.left[crop], ids, canvas.content)
        start = view.photo
        if choices.content:
            hints = [Hints(photo.key)]
            (start,) = content_initialization([start], [view.hole], self.initializer, choices.dilate, hints)
        hole = whole_cells(padded(view.hole, canvas.padded), factor)
        wide = None if view.ids is None else padded(view.ids, canvas.padded)
        return Job(
            canvas=canvas,
            start=padded(start, canvas.padded),
            hole=hole,
            regions=photo.regions_of(hole, wide, choices),
            prompt=worded(photo.prompt_of(part), self.parts.token if choices.token else None),
            seed=digest(seed, photo.key, "magiceraser", number) % (1 << 63),
            key=photo.key,
        )


def _check_helpers(initializer: object, segmenter: object, choices: object) -> None:
    """Refuse what cannot be an initialiser, a segmenter or choices, before any network is loaded."""
    if isinstance(initializer, str):
        if initializer == "magiceraser":
            raise UsageError(OWN)
        if initializer not in ERASERS.builtin and initializer not in (known := ERASERS.targets()):
            raise did_you_mean("initializer", initializer, known)
    elif initializer is not None and not callable(getattr(initializer, "erase", None)):
        raise UsageError(f"initializer: expected an eraser or its name, got {shown(initializer)}")
    if isinstance(segmenter, str):
        if segmenter not in KINDS:
            raise did_you_mean("segmenter", segmenter, KINDS)
    elif not callable(getattr(segmenter, "maps", None)):
        raise UsageError(f"segmenter: expected a `Segmenter` or one of {', '.join(KINDS)}, got {shown(segmenter)}")
    fitted(Choices | None, choices, "choices")


class _Tick:
    """Advances the progress bar by one step per window of the batch."""

    def __init__(self, bar: Any, size: int) -> None:
        self._bar, self._size = bar, size

    def __call__(self) -> None:
        self._bar.update(self._size)


def changed(choices: Choices, changes: Mapping[str, Any]) -> Choices:
    """Return the choices with some fields replaced. Raises `UsageError` for an unknown field."""
    known = [field.name for field in fields(Choices)]
    for name in changes:
        if name not in known:
            raise did_you_mean("choice", name, known)
    return replace(choices, **changes)


def batches(jobs: Sequence[Job], size: int) -> Iterator[list[int]]:
    """Group the jobs' numbers into batches of at most `size` whose canvases have one size."""
    groups: dict[tuple[int, int], list[int]] = {}
    for number, job in enumerate(jobs):
        groups.setdefault(job.canvas.padded, []).append(number)
    for members in groups.values():
        for start in range(0, len(members), max(1, size)):
            yield members[start : start + max(1, size)]
