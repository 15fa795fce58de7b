"""The method, window by window: maps, content initialisation, refocused denoising, paste, and the second pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np

from baselines.checked import check_pair
from baselines.eraser import Eraser, Hints
from magiceraser_ref.erase.canvas import canvas_of, padded, seen, whole_cells
from magiceraser_ref.erase.choices import Choices
from magiceraser_ref.erase.initialization import content_initialization, open_initializer
from magiceraser_ref.erase.painting import Job, Watch, executed_steps, paint
from magiceraser_ref.erase.photo import PhotoInProgress, check_counts, check_map
from magiceraser_ref.erase.refining import Pass, passes_of, refine, steps_of
from magiceraser_ref.erase.residual import reconstructions
from magiceraser_ref.erase.segmentation import Categories, Mapped, Segmenter
from magiceraser_ref.erase.windows import Part, parts_of
from magiceraser_ref.model.checkpoint import Parts
from magiceraser_ref.model.settings import Settings
from magiceraser_ref.prompts import worded
from olrd.arrays import Image, Mask, resize_image
from olrd.draws import digest
from olrd.options import fitted
from olrd.panoptic import PanopticMap
from olrd.progress import progress_bar


class Method:
    """Erases photos. `MagicEraser` is its public face: it loads the parts, and is called with arrays or as in diffusers."""

    parts: Parts
    pipeline: Any
    settings: Settings
    segmenter: Segmenter
    _initializer: str | Eraser | None
    _device: str

    @cached_property
    def initializer(self) -> Eraser:
        """The initialiser, opened on first use. Raises what `open_initializer` raises."""
        if self._initializer is None or isinstance(self._initializer, str):
            return open_initializer(self._initializer, self.settings.initializer, self._device)
        return self._initializer

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
                parts=parts_of(mask, choices.resolution or self.settings.resolution, choices.margin),
                left=mask,
                mapped=maps[k],
                erased=erased[k] if erased else None,
                prompt=prompts[k] if prompts else None,
                key=names[k],
            )
            photos.append(photo)
        return photos

    def _run(
        self,
        photos: list[PhotoInProgress],
        batch_size: int,
        progress: bool,
        choices: Choices,
        watch: Watch = Watch(),  # noqa: B008 (immutable)
    ) -> None:
        """Erase all windows: the first one of every photo, then the second ones, which see the first ones' results.

        Large holes are refined when nothing of the photos is left to erase.
        """
        busy = [photo for photo in photos if photo.parts]
        if busy and choices.content:
            _ = self.initializer  # so that missing weights are an error before any work
            if choices.residual:
                self._fill(busy, choices)
        if choices.refocus is not None and any(photo.mapped.panoptic is None for photo in busy):
            self.segmenter.say_once()
        passes = [[self._passes(part, choices) for part in photo.parts] for photo in busy]
        total = sum(len(photo.parts) for photo in busy) * executed_steps(choices)
        total += sum(steps_of(some, choices) for each in passes for some in each)
        with progress_bar("erasing", total, unit="step") if progress else nullcontext() as bar:
            for number in count():
                ready = [photo for photo in busy if number < len(photo.parts)]
                if not ready:
                    break
                jobs = [self._job(photo, number, choices) for photo in ready]
                for group in batches(jobs, batch_size):
                    tick = None if bar is None else _Tick(bar, len(group))
                    some_jobs = [jobs[k] for k in group]
                    pictures = paint(self.pipeline, some_jobs, choices, watch._replace(tick=tick))
                    own: list[Image | None] = [None] * len(group)
                    if some_jobs[0].fill is not None:
                        own = list(reconstructions(self.pipeline, [job.start for job in some_jobs]))
                    for k, picture, reconstruction in zip(group, pictures, own, strict=True):
                        part = ready[k].parts[number]
                        ready[k].paste(part, jobs[k], picture, choices, reconstruction)
            ticks = None if bar is None else lambda windows: _Tick(bar, windows)
            for photo, each in zip(busy, passes, strict=True):
                for number, some in enumerate(each):
                    prompt = self._prompt(photo, photo.parts[number], choices)
                    refine(
                        self.pipeline, photo, number, some, prompt, choices, batch=batch_size, watch=watch, tick=ticks
                    )

    def _fill(self, photos: list[PhotoInProgress], choices: Choices) -> None:
        """Fill the whole photos, as the initialiser does alone: it chooses how much of the surroundings it looks at."""
        images, masks = [photo.image for photo in photos], [photo.left for photo in photos]
        hints = [Hints(photo.key) for photo in photos]
        fills = content_initialization(images, masks, self.initializer, choices.dilate, hints)
        for photo, fill in zip(photos, fills, strict=True):
            photo.fill = fill

    def _passes(self, part: Part, choices: Choices) -> list[Pass]:
        """Plan the second pass over a hole, see `passes_of`."""
        resolution, factor = choices.resolution or self.settings.resolution, int(self.pipeline.vae_scale_factor)
        first = canvas_of(part.window.w, part.window.h, resolution, factor)
        return passes_of(part, first, choices, resolution, factor)

    def _prompt(self, photo: PhotoInProgress, part: Part, choices: Choices) -> str:
        return worded(photo.prompt_of(part), self.parts.token if choices.token else None)

    def _job(self, photo: PhotoInProgress, number: int, choices: Choices) -> Job:
        """Prepare one window (section 3): its hole, the rough content of the hole, its regions and its prompt.

        The hole is everything in the window that is still to be erased: the window's own part and those of later ones.
        """
        part = photo.parts[number]
        window, crop = part.window, part.window.crop()
        factor = int(self.pipeline.vae_scale_factor)
        canvas = canvas_of(window.w, window.h, choices.resolution or self.settings.resolution, factor)
        ids = photo.mapped.panoptic.ids[crop] if photo.mapped.panoptic else None
        view = seen(photo.image[crop], photo.left[crop], ids, canvas.content)
        start, fill = view.photo, None
        hints = [Hints(photo.key)]
        if photo.fill is not None:
            fill = photo.fill[crop]
            start = np.where(view.hole[..., None], resize_image(fill, canvas.content), start)
        elif choices.content:
            (start,) = content_initialization([start], [view.hole], self.initializer, choices.dilate, hints)
        hole = whole_cells(padded(view.hole, canvas.padded), factor)
        wide = None if view.ids is None else padded(view.ids, canvas.padded)
        return Job(
            canvas=canvas,
            start=padded(start, canvas.padded),
            hole=hole,
            regions=photo.regions_of(hole, wide, choices),
            prompt=self._prompt(photo, part, choices),
            seed=digest(photo.seed, photo.key, "magiceraser", number) % (1 << 63),
            key=photo.key,
            fill=fill,
        )


class _Tick:
    """Advances the progress bar by one step per window of the batch."""

    def __init__(self, bar: Any, size: int) -> None:
        self._bar, self._size = bar, size

    def __call__(self) -> None:
        self._bar.update(self._size)


def batches(jobs: Sequence[Job], size: int) -> Iterator[list[int]]:
    """Group the jobs' numbers into batches of at most `size` whose canvases have one size."""
    groups: dict[tuple[int, int], list[int]] = {}
    for number, job in enumerate(jobs):
        groups.setdefault(job.canvas.padded, []).append(number)
    for members in groups.values():
        for start in range(0, len(members), max(1, size)):
            yield members[start : start + max(1, size)]
