"""One photo while it is being erased: its windows, what is left to erase, its prompt and its regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from magiceraser_ref.erase.canvas import enlarged
from magiceraser_ref.erase.choices import Choices
from magiceraser_ref.erase.painting import Job
from magiceraser_ref.erase.pasting import paste_back
from magiceraser_ref.erase.residual import with_residual
from magiceraser_ref.erase.segmentation import Mapped
from magiceraser_ref.erase.windows import Part
from magiceraser_ref.prompts import labels_around, short_prompt
from magiceraser_ref.refocus.regions import Regions, regions_of
from olrd.arrays import Ids, Image, Mask, resize_ids
from olrd.errors import UsageError
from olrd.panoptic import PanopticMap
from olrd.trust import shown


@dataclass
class PhotoInProgress:
    """A photo of which some windows may be erased already.

    Attributes:
        image: uint8 [H, W, 3]; its pixels change as windows are erased.
        parts: The photo's windows in their order, each with its part of the mask.
        left: bool [H, W], what is still to be erased.
        mapped: The photo's panoptic map, or none.
        erased: Name of the object's category, if known.
        prompt: The prompt that the user gave, if any.
        key: Name of the sample.
        seed: Seed of the photo's noise.
        fill: uint8 [H, W, 3], the photo as the initialiser fills it at its own scale, for residual paste; or None.
    """

    image: Image
    parts: list[Part]
    left: Mask
    mapped: Mapped
    erased: str | None
    prompt: str | None
    key: str
    seed: int = 0
    fill: Image | None = None

    def prompt_of(self, part: Part) -> str:
        """Return the user's prompt, or the short prompt made of the labels around this part (section 4)."""
        if self.prompt is not None:
            return self.prompt
        panoptic = self.mapped.panoptic
        if panoptic is None:
            return short_prompt([])
        crop = part.window.crop()
        near = PanopticMap(panoptic.ids[crop], panoptic.segments)
        return short_prompt(labels_around(part.mask[crop], near, self.mapped.categories))

    def regions_of(self, hole: Mask, ids: Ids | None, choices: Choices) -> Regions | None:
        """Return the regions for refocused attention, bool [h, w] each, or None if refocusing is off.

        Args:
            hole: bool [h, w], the hole on the canvas.
            ids: uint32 [h, w], the panoptic map on the canvas, or None.
            choices: Which regions to make.
        """
        if choices.refocus is None:
            return None
        panoptic = self.mapped.panoptic
        if panoptic is None or ids is None:
            return regions_of(hole, None, {})
        here = PanopticMap(ids, panoptic.segments)
        return regions_of(hole, here, self.mapped.categories, self.erased, choices.rule, void=choices.void)

    def paste(
        self, part: Part, job: Job, picture: Image, choices: Choices, reconstruction: Image | None = None
    ) -> None:
        """Put the model's picture of a window into the photo.

        Args:
            part: The window and its part of the mask.
            job: The window as it was prepared.
            picture: uint8 [h, w, 3], the canvas's padded size.
            choices: Whether outer pixels stay, and the share of the residual.
            reconstruction: For residual paste, see `with_residual`.
        """
        window = part.window
        size = window.w, window.h
        if job.fill is not None and reconstruction is not None:
            result = with_residual(job.fill, picture, reconstruction, job.canvas, choices.residual)
        else:
            result = enlarged(picture, job.canvas, size)
        # The model repaints whole latent cells, so photo and result also differ in the cells at the hole's edge.
        width, height = job.canvas.content
        repainted = resize_ids(job.hole[:height, :width], size) | self.left[window.crop()]
        self.image = paste_back(self.image, result, window, part.mask, repainted, composite=choices.composite)
        self.left = self.left & ~part.mask


def check_map(mapped: Mapped, mask: Mask, key: str = "") -> None:
    """Raise `UsageError` if a panoptic map has another size than the mask, or ids that its segments do not list."""
    if mapped.panoptic is None:
        return
    ids, segments = mapped.panoptic
    what = f"{key}: " if key else ""
    if ids.shape != mask.shape:
        raise UsageError(
            f"{what}the panoptic map is {ids.shape[1]} x {ids.shape[0]} pixels, the photo {mask.shape[1]} "
            f"x {mask.shape[0]}: is it the map of another photo?"
        )
    known = {0, *(segment.id for segment in segments)}
    if unknown := sorted(set(np.unique(ids).tolist()) - known):
        raise UsageError(
            f"{what}the panoptic map has pixels of id {unknown[0]}, which is not among its segments: are "
            "map and annotation of the same photo?"
        )


def check_counts(total: int, **given: object) -> None:
    """Raise `UsageError` unless every given list has one entry per photo. A mapping holds for all photos."""
    for name, values in given.items():
        if values is None or (isinstance(values, Mapping) and name == "categories"):
            continue
        if not isinstance(values, Sequence) or isinstance(values, str):
            raise UsageError(f"{name}: expected a list with one entry per photo, got {shown(values)}")
        if len(values) != total:
            raise UsageError(f"{name}: expected one per photo, {total}, got {len(values)}")
