"""From one picture whose background was seen to its triplets, with a reason for every omission."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from olrd.config import BuildConfig
from olrd.draws import draw_share
from olrd.errors import Rejected, UsageError
from olrd.licenses import license_allowed, license_patterns
from olrd.masks import mask_box
from olrd.options import options_of
from olrd.panoptic import Record, encode_rle
from olrd.sources.seen import OBJECT, Change, Seen, SeenSource
from olrd.splits import split_of
from olrd.triplets.candidates import asked_for
from olrd.triplets.columns import Row, pictures, terms
from olrd.triplets.compose import pixels_sha256
from olrd.triplets.maker import drawn_style
from olrd.triplets.photo import WorkingPhoto, working_photo
from olrd.triplets.prompts import short_prompt
from olrd.triplets.seen_compose import lay_plate
from olrd.triplets.seen_recipe import SeenRecipe
from olrd.triplets.tally import Tally
from olrd.triplets.user_masks import user_mask

SEEN_WORD = "seen"
"""The placement of objects that stand where they were photographed."""
NO_BLEND = "none"
QUIET = ("license_refused", "frame_alike")
"""Reasons that are no failures: trying again would change nothing."""
_UNUSED_FLAGS = (
    "--per-object",
    "--no-cut-objects",
    "--allow-truncated",
    "--max-contact",
    "--min-edge",
    "--no-refine-outlines",
    "--doubtful",
    "--see-through",
    "--no-groups",
)


def check_nothing_pasted(source: SeenSource, config: BuildConfig) -> None:
    """Refuse options of pasting, which would be ignored. Raises `UsageError`."""
    for bound in options_of(BuildConfig):
        if bound.described.group != "placement and blending" and bound.flag not in _UNUSED_FLAGS:
            continue
        value: Any = config
        for name in bound.path:
            value = getattr(value, name)
        if value != bound.default:
            raise UsageError(f"the source {source.name} pastes nothing, so {bound.flag} has no effect: leave it out")


class SeenMaker:
    """Makes the triplets of a source whose backgrounds are seen. See `olrd.triplets.maker.TripletMaker`."""

    def __init__(self, source: SeenSource, config: BuildConfig) -> None:
        self.source, self.config = source, config
        self.licenses = license_patterns(config.licenses)

    def photo(self, index: int, tally: Tally) -> Iterator[Row]:
        """The rows of picture `index`. Counts everything in `tally`."""
        record = self.source.record(index)
        tally.photos_read += 1
        try:
            if not license_allowed(record.license, self.licenses):
                raise Rejected("license_refused", f"{record.file_name} is under {record.license}")
            if reason := self.source.skipped(index):
                raise Rejected(reason, f"{record.image_id} is left out")
            data = self.source.photo_bytes(record)
            photo = working_photo(data, record.file_name, self.config.size, self.config.source.max_pixels)
            seen = self.source.seen(index, photo.pixels, self.config.size)
        except Rejected as error:
            if self.config.on_error == "stop" and error.code not in QUIET:
                raise
            tally.photos_rejected[error.code] += 1
            if error.code not in QUIET:
                tally.failures.append({"image_id": record.image_id, "code": error.code, "message": str(error)})
            return
        chosen, reasons = self._chosen(record, seen)
        tally.objects_read += len(seen.changes) + seen.rejected.total()
        tally.objects_rejected.update(reasons + seen.rejected)
        tally.objects_used += len(chosen)
        tally.triplets += len(chosen)
        if chosen:
            tally.photos_used += 1
        else:
            tally.photos_without_triplet += 1
        for number in chosen:
            yield self._row(index, record, photo, seen, number)

    def _chosen(self, record: Record, seen: Seen) -> tuple[list[int], Counter[str]]:
        """The numbers of the changes to use, and why others are not."""
        rules, reasons = self.config.rules, Counter[str]()
        categories = self.source.categories
        asked = not rules.categories or asked_for(categories[OBJECT], rules.categories, categories)
        good = []
        for number, change in enumerate(seen.changes):
            share = np.count_nonzero(change.mask) / change.mask.size
            if not asked:
                reasons["category_excluded"] += 1
            elif share < rules.min_area:
                reasons["too_small"] += 1
            elif share > rules.max_area or change.effect.all():
                reasons["too_large"] += 1
            else:
                good.append(number)
        good.sort(key=lambda number: draw_share(self.config.seed, record.image_id, number))
        over = good[self.config.max_per_photo :]
        if over:
            reasons["over_limit"] += len(over)
        return sorted(good[: self.config.max_per_photo]), reasons

    def _row(self, index: int, record: Record, photo: WorkingPhoto, seen: Seen, number: int) -> Row:
        change = self._as_drawn(record, seen.changes[number], number)
        recipe = self._recipe(index, record, seen, change, number)
        box = recipe.effect_bbox
        triplet = lay_plate(photo.pixels, change.mask, change.effect, box, seen.plate(box))
        recipe = replace(recipe, pixels_sha256=pixels_sha256(triplet, box=box))
        row = self._describe(record, photo, change, recipe)
        return row | pictures(photo, triplet, recipe.id, seen=True) if self.config.form == "full" else row

    def _name(self, record: Record, number: int) -> str:
        return f"{self.source.name}-{record.image_id}-{number + 1}"

    def _as_drawn(self, record: Record, change: Change, number: int) -> Change:
        """The change with the mask that a user would draw. The effect contains it."""
        name = self._name(record, number)
        mask = user_mask(change.mask, drawn_style(self.config, name), name)
        return change if (change.effect | mask).all() else Change(mask, change.effect | mask)

    def _recipe(self, index: int, record: Record, seen: Seen, change: Change, number: int) -> SeenRecipe:
        mask_bbox, effect_bbox = mask_box(change.mask), mask_box(change.effect)
        return SeenRecipe(
            id=self._name(record, number),
            scene=self.source.scene_id(index),
            image_id=record.image_id,
            picture=self.source.picture(index),
            segment_id=number + 1,
            size=self.config.size,
            mask_bbox=mask_bbox,
            mask=encode_rle(change.mask[mask_bbox.crop()]),
            effect_bbox=effect_bbox,
            effect=encode_rle(change.effect[effect_bbox.crop()]),
            layers=seen.layers,
            tolerance=seen.tolerance,
        )

    def _describe(self, record: Record, photo: WorkingPhoto, change: Change, recipe: SeenRecipe) -> Row:
        """The plain columns of a row."""
        category = self.source.categories[OBJECT]
        height, width = photo.shape
        return {
            "id": recipe.id,
            "source": self.source.name,
            "split": split_of(recipe.scene, self.config.splits),
            "image_id": recipe.scene,
            "donor_image_id": recipe.image_id,
            "segment_id": recipe.segment_id,
            "category": category.name,
            "supercategory": category.supercategory,
            "background_kind": self.source.background_kind,
            "background_labels": [],
            "prompt": short_prompt([]),
            "caption": None,
            "width": width,
            "height": height,
            "bbox": list(recipe.mask_bbox),
            "source_bbox": list(recipe.mask_bbox),
            "shift": [0, 0],
            "scale": 1.0,
            "flip": False,
            "mask_area": np.count_nonzero(change.mask) / change.mask.size,
            "placement": SEEN_WORD,
            "blend": NO_BLEND,
            **terms("", record),
            **terms("donor_", record),
            "recipe": recipe.to_json(),
        }
