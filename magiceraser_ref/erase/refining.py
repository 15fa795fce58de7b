"""The second pass over a large hole: details at the photo's own scale (inferred; the paper works on 512 x 512 pixels).

A hole that is larger than the model's resolution is first painted in a reduced window. That settles what is there, but
its enlargement is blurred. So the result is noised a little and denoised again, in overlapping windows of the model's
resolution. If the window was reduced by more than 2, this is done at intermediate scales first, each twice the last one.

All windows of a pass are cut from one plane of latents with one field of noise, and their predictions are averaged at
every step (`tiling.py`): neighbours agree where they overlap. A pass adds details. Colours stay as the first window has
them: a model that noises and denoises several times moves them further each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import cv2
import numpy as np

from magiceraser_ref.erase.canvas import Canvas, padded, seen, whole_cells
from magiceraser_ref.erase.choices import Choices
from magiceraser_ref.erase.painting import Job, Watch, executed_steps, paint, refocusing
from magiceraser_ref.erase.photo import PhotoInProgress
from magiceraser_ref.erase.tiling import Grid, grid_of, tiled_unet, tiled_vae
from magiceraser_ref.erase.windows import Part
from magiceraser_ref.refocus.regions import Regions
from olrd.arrays import Image, resize_image
from olrd.draws import digest
from olrd.masks import mask_box
from olrd.panoptic import Box
from olrd.progress import say_once

REDUCED = 1.5
"""With `refine=auto`, windows that were reduced by more than this are refined."""
GROWTH = 2.0
"""Largest ratio of the scales of two passes that follow each other."""
CONTEXT = 0.25
"""Photo around the hole that a pass sees, as a share of the model's resolution, at the scale of the pass."""
COARSE = 1 / 16
"""Spread of what counts as tone and not as detail, as a share of a window's side: a pass keeps the tone that it found."""
MOST_WINDOWS = 256
"""Most windows of a pass. A hole that needs more is refined at the smaller scales only."""


class Pass(NamedTuple):
    """One pass over a hole.

    Attributes:
        region: The part of the photo that is painted again.
        canvas: Its size at the scale of the pass.
        grid: The windows on the canvas, in latent cells.
    """

    region: Box
    canvas: Canvas
    grid: Grid


def passes_of(part: Part, first: Canvas, choices: Choices, resolution: int, factor: int) -> list[Pass]:
    """Plan the passes over a hole, from coarse to fine; none if it needs none.

    Args:
        part: The hole and its window.
        first: The canvas on which it was painted.
        choices: Whether to refine.
        resolution: The model's resolution in pixels.
        factor: Pixels of a latent cell's side.
    """
    reduced = max(part.window.w / first.content[0], part.window.h / first.content[1])
    least = {"auto": REDUCED, "on": 1.0, "off": math.inf}[choices.refine]
    if reduced <= least:
        return []
    found = [_pass(part, scale, resolution, factor) for scale in scales(reduced)]
    fitting = [one for one in found if len(one.grid.corners) <= MOST_WINDOWS]
    if len(fitting) < len(found):
        say_once(
            f"refining: a hole needs {len(found[-1].grid.corners)} windows of {resolution} pixels, more than "
            f"{MOST_WINDOWS}; its result is less sharp than the photo. A larger resolution needs fewer"
        )
    return fitting


def scales(reduced: float) -> list[float]:
    """Return the scales of the passes, as shares of the photo's own, rising to 1 by a factor of at most `GROWTH`.

    reduced: The factor by which the first window was reduced.
    """
    count = max(1, math.ceil(math.log(reduced) / math.log(GROWTH) - 1e-9))
    return [min(1.0, GROWTH**number / reduced) for number in range(1, count + 1)]


def _pass(part: Part, scale: float, resolution: int, factor: int) -> Pass:
    """Plan the pass at a scale. Its region is the hole's box with some photo around, at least one window large."""
    box, (rows, columns) = mask_box(part.mask), part.mask.shape
    around, least = math.ceil(CONTEXT * resolution / scale), math.ceil(resolution / scale)
    x, width = _widened(box.x, box.w, around, least, columns)
    y, height = _widened(box.y, box.h, around, least, rows)
    content = max(1, round(width * scale)), max(1, round(height * scale))
    across, down = (-(-side // factor) for side in content)
    canvas = Canvas(content, (across * factor, down * factor))
    return Pass(Box(x, y, width, height), canvas, grid_of(down, across, max(1, resolution // factor)))


def _widened(start: int, length: int, around: int, least: int, limit: int) -> tuple[int, int]:
    """Return (start, length) of an interval widened on both sides, to at least `least`, within [0, limit)."""
    around = max(around, -(-(least - length) // 2))
    first, last = max(0, start - around), min(limit, start + length + around)
    return first, last - first


def refining(choices: Choices) -> Choices:
    """Return the choices of a pass: it starts from the result so far, and runs at least one step."""
    least = (1 + 1e-9) / choices.steps
    return replace(choices, content=True, strength=min(1.0, max(choices.refine_strength, least)))


def steps_of(passes: list[Pass], choices: Choices) -> int:
    """Return the number of steps of all windows of the passes."""
    return sum(len(one.grid.corners) for one in passes) * executed_steps(refining(choices))


def refine(
    pipeline: Any,
    photo: PhotoInProgress,
    number: int,
    passes: list[Pass],
    prompt: str,
    choices: Choices,
    *,
    batch: int = 1,
    watch: Watch | None = None,
    tick: Callable[[int], Callable[[], object]] | None = None,
) -> None:
    """Paint the details of one hole of a photo. Nothing of the photo may be left to erase.

    Args:
        pipeline: diffusers' inpainting pipeline.
        photo: The photo; its pixels change.
        number: Number of the hole among the photo's parts.
        passes: See `passes_of`.
        prompt: Text that describes the background.
        choices: How to erase.
        batch: Windows that the network processes at a time.
        watch: Whom to tell after each step, of which the latents are those of all windows.
        tick: Makes `Watch.tick` for a number of windows.

    Raises:
        NotFiniteError: If the latents or the pixels are NaN or infinite.
        WeightsUnusableError: If the model's configuration does not work.
    """
    factor, own = int(pipeline.vae_scale_factor), refining(choices)
    part, watch = photo.parts[number], watch or Watch()
    for level, one in enumerate(passes):
        job, regions = _prepared(photo, part, one, prompt, own, factor)
        job = job._replace(seed=digest(photo.seed, photo.key, "magiceraser", number, "refine", level) % (1 << 63))
        told = watch._replace(tick=None if tick is None else tick(len(one.grid.corners)))
        side = factor * max(one.grid.height, one.grid.width)
        with refocusing(pipeline, [job._replace(regions=each) for each in regions], own) as state:

            def turn(windows: Any, state: Any = state, regions: list[Regions | None] = regions) -> None:
                if state is not None:
                    state.turn_to([regions[window] for window in windows])

            with tiled_unet(pipeline.unet, one.grid, batch, factor, turn), tiled_vae(pipeline.vae, side, factor):
                (picture,) = paint(pipeline, [job], own, told)
        picture = toned(picture, job.start, COARSE * side)
        photo.paste(Part(one.region, part.mask), job, picture, choices)


def toned(picture: Image, before: Image, spread: float) -> Image:
    """Return a picture with its own details and the tone of the one before, so that colours do not drift with every pass.

    Args:
        picture: uint8 [H, W, 3].
        before: uint8 [H, W, 3].
        spread: Standard deviation in pixels of the Gaussian over which tone is averaged.
    """
    off = before.astype(np.float32) - picture
    shift = cv2.GaussianBlur(off, (0, 0), spread, borderType=cv2.BORDER_REPLICATE)
    return np.clip(np.rint(picture + shift), 0, 255).astype(np.uint8)


def _prepared(
    photo: PhotoInProgress, part: Part, one: Pass, prompt: str, choices: Choices, factor: int
) -> tuple[Job, list[Regions | None]]:
    """Prepare a pass: the result so far at its scale, and the regions of refocusing of each window.

    A window that holds nothing of the hole is not refocused.
    """
    crop, canvas = one.region.crop(), one.canvas
    ids = photo.mapped.panoptic.ids[crop] if photo.mapped.panoptic else None
    view = seen(photo.image[crop], part.mask[crop], ids, canvas.content)
    hole = whole_cells(padded(view.hole, canvas.padded), factor)
    wide = None if view.ids is None else padded(view.ids, canvas.padded)
    so_far = photo.image[crop]
    if canvas.content != (one.region.w, one.region.h):
        so_far = resize_image(so_far, canvas.content)
    job = Job(canvas, padded(so_far, canvas.padded), hole, None, prompt, 0, photo.key)
    regions = photo.regions_of(hole, wide, choices)
    return job, [_cut(regions, one.grid, corner, factor) for corner in one.grid.corners]


def _cut(regions: Regions | None, grid: Grid, corner: tuple[int, int], factor: int) -> Regions | None:
    if regions is None:
        return None
    top, left = corner[0] * factor, corner[1] * factor
    rows, columns = slice(top, top + grid.height * factor), slice(left, left + grid.width * factor)
    cut = Regions(*(region[rows, columns] for region in regions))
    return cut if cut.m.any() else None
