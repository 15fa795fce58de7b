"""The whole method, stage by stage: regions and prompt, content initialisation, refocused denoising.

eraser = MagicEraser.from_pretrained("stable-diffusion-v1-5/stable-diffusion-inpainting")
clean, = eraser.erase([photo], [mask])
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from baselines import open_eraser
from baselines.checked import check_pair
from baselines.eraser import Eraser, Hints
from magiceraser_ref.erase.canvas import canvas_of, padded, seen, whole_cells
from magiceraser_ref.erase.initialization import content_initialization
from magiceraser_ref.erase.painting import Choices, Job, executed_steps, paint
from magiceraser_ref.erase.photo import Work, check_counts, check_map
from magiceraser_ref.erase.segmentation import Categories, Mapped, Segmenter
from magiceraser_ref.erase.windows import Part, parts_of
from magiceraser_ref.model.checkpoint import Parts, load, save
from magiceraser_ref.model.settings import Settings
from magiceraser_ref.prompts import worded
from olrd.arrays import Image, Mask
from olrd.draws import digest
from olrd.errors import UsageError, did_you_mean
from olrd.panoptic import PanopticMap
from olrd.progress import progress_bar


class MagicEraser:
    """A model, an initialiser and a segmenter. `choices` are what `erase` does unless told otherwise."""

    def __init__(
        self,
        parts: Parts,
        initializer: str | Eraser | None = None,
        segmenter: str | Segmenter = "given",
        device: str = "auto",
    ) -> None:
        """initializer: an eraser or its name; the model's own by default. segmenter: see `Segmenter`."""
        self.parts, self.pipeline, self.settings = parts, parts.pipeline, parts.settings
        self.choices = Choices.of(parts.settings)
        self._initializer: str | Eraser = initializer or parts.settings.initializer
        self._device = device
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
        dtype: str = "auto",
        initializer: str | Eraser | None = None,
        segmenter: str | Segmenter = "given",
        lora: bool = True,
    ) -> MagicEraser:
        """Load a model: our folder, adapters, or a plain inpainting checkpoint (training-free).

        model: a folder or a hub id that is in the hub's cache. lora: False leaves its LoRA out. Raises `WeightsMissingError` and
        `SourceError`, see `checkpoint.load`.
        """
        return cls(load(model, revision, device, dtype, lora), initializer, segmenter, device)

    def save_pretrained(
        self, folder: Path | str, settings: Settings | None = None, *, adapters_only: bool = False
    ) -> None:
        """Write the model, see `checkpoint.save`; settings: its own by default."""
        save(folder, self.pipeline, settings or self.settings, adapters_only=adapters_only)

    @cached_property
    def initializer(self) -> Eraser:
        """The filler, opened on first use. Raises what `open_eraser` raises."""
        if not isinstance(self._initializer, str):
            return self._initializer
        if self._initializer == "magiceraser":
            raise UsageError("MagicEraser cannot be its own initializer; opencv-telea needs no weights")
        return open_eraser(self._initializer, device=self._device)

    def erase(
        self,
        images: Sequence[Image],
        masks: Sequence[Mask],
        panoptic: Sequence[PanopticMap | None] | None = None,
        categories: Categories | Sequence[Categories | None] | None = None,
        erased: Sequence[str | None] | None = None,
        prompts: Sequence[str | None] | None = None,
        keys: Sequence[str] | None = None,
        seed: int = 0,
        batch_size: int = 1,
        progress: bool = False,
        **changes: Any,
    ) -> list[Image]:
        """The photos without the masked objects, each uint8 [H, W, 3] of its own size.

        images: uint8 [H, W, 3], any sizes. masks: bool [H, W], True = erase; an empty one gives a copy.
        panoptic: each photo's map or None; categories: what their numbers mean, one for all or one per
        photo. erased: each object's category name, for the n region; None lets the map say. prompts:
        each photo's, with R* where the token goes; None makes the short prompt from the map. keys: name
        the samples: noise depends on (seed, key) alone. changes: fields of `Choices` that differ from
        `self.choices`, e.g. content=False, refocus=None, token=False, composite=False.

        Pixels under the mask are looked at by nothing but the segmenter `mask2former`. With batch_size 1
        a result is the same bit for bit in any call; larger batches change it by rounding (one grey
        level in float32). Raises `UsageError` for inputs that do not fit each other.
        """
        choices = changed(self.choices, changes)
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
        wanted = choices.refocus is not None or prompts is None or None in prompts
        mapped = [Mapped(None, {})] * len(images)
        if wanted:
            mapped = self.segmenter.maps(images, panoptic, categories)
        works = []
        for k, mask in enumerate(masks):
            check_map(mapped[k], mask, names[k])
            parts = parts_of(mask, self.settings.resolution, choices.margin)
            named, said = erased[k] if erased else None, prompts[k] if prompts else None
            works.append(Work(images[k].copy(), parts, mask, mapped[k], named, said, names[k]))
        self._run(works, seed, batch_size, progress, choices)
        return [work.image for work in works]

    def _run(self, works: list[Work], seed: int, batch_size: int, progress: bool, choices: Choices) -> None:
        """All windows: the first ones of all photos, then the second ones, which see the first's
        results."""
        busy = [work for work in works if work.parts]
        if busy and choices.content:
            _ = self.initializer  # missing weights are an error before any work
        if choices.refocus is not None and any(work.mapped.panoptic is None for work in busy):
            self.segmenter.say_once()
        total = sum(len(work.parts) for work in busy) * executed_steps(choices)
        with progress_bar("erasing", total, unit="step") if progress else nullcontext() as bar:
            for number in count():
                ready = [work for work in busy if number < len(work.parts)]
                if not ready:
                    return
                jobs = [self._job(work, number, seed, choices) for work in ready]
                for group in batches(jobs, batch_size):
                    tick = None if bar is None else _Tick(bar, len(group))
                    pictures = paint(self.pipeline, [jobs[k] for k in group], choices, tick)
                    for k, picture in zip(group, pictures, strict=True):
                        ready[k].paste(ready[k].parts[number], jobs[k], picture, choices.composite)

    def _job(self, work: Work, number: int, seed: int, choices: Choices) -> Job:
        """One window: everything in it that is still to be erased is hole, its own part and later ones'."""
        part = work.parts[number]
        start, hole, regions, canvas = self._stage_one(work, part, choices)
        prompt = worded(work.prompt_of(part), self.parts.token if choices.token else None)
        own = digest(seed, work.key, "magiceraser", number) % (1 << 63)
        return Job(canvas, start, hole, regions, prompt, own)

    def _stage_one(self, work: Work, part: Part, choices: Choices) -> Any:
        """Section 3: the hole, its rough content, and the regions, on the canvas."""
        window, crop = part.window, part.window.crop()
        factor = int(self.pipeline.vae_scale_factor)
        canvas = canvas_of(window.w, window.h, self.settings.resolution, factor)
        ids = work.mapped.panoptic.ids[crop] if work.mapped.panoptic else None
        view = seen(work.image[crop], work.left[crop], ids, canvas.content)
        start = view.photo
        if choices.content:
            (start,) = content_initialization([start], [view.hole], self.initializer, choices.dilate, [Hints(work.key)])
        hole = whole_cells(padded(view.hole, canvas.padded), factor)
        wide = None if view.ids is None else padded(view.ids, canvas.padded)
        return padded(start, canvas.padded), hole, work.regions_of(hole, wide, choices), canvas


class _Tick:
    """Counts a step of a batch as one step of each of its windows."""

    def __init__(self, bar: Any, size: int) -> None:
        self._bar, self._size = bar, size

    def __call__(self) -> None:
        self._bar.update(self._size)


def changed(choices: Choices, changes: Mapping[str, Any]) -> Choices:
    """The choices with some replaced. `UsageError` for a name that is none."""
    known = [field.name for field in fields(Choices)]
    for name in changes:
        if name not in known:
            raise did_you_mean("choice", name, known)
    return replace(choices, **changes)


def batches(jobs: Sequence[Job], size: int) -> Iterator[list[int]]:
    """The numbers of jobs in batches of equal canvases, at most `size` each."""
    groups: dict[tuple[int, int], list[int]] = {}
    for number, job in enumerate(jobs):
        groups.setdefault(job.canvas.padded, []).append(number)
    for members in groups.values():
        for start in range(0, len(members), max(1, size)):
            yield members[start : start + max(1, size)]
