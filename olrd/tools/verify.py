"""`olrd verify`: check every invariant and every hash of a built folder, in parallel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from olrd.arrays import MAX_PIXELS
from olrd.dataset.card import card_problems, stray_files
from olrd.dataset.folder import READ_ERRORS, Dataset, batch_rows, group_batches, row_triplet
from olrd.dataset.footer import stored_columns
from olrd.dataset.schema import schema
from olrd.dataset.seen_words import places
from olrd.engines import EngineSpec, open_engine
from olrd.errors import IntegrityError, Rejected
from olrd.masks import mask_box
from olrd.panoptic import decode_rle
from olrd.progress import progress_bar
from olrd.sources import SEEN
from olrd.storage.files import sha256, sha256_file
from olrd.storage.remote import Remote
from olrd.triplets.compose import Triplet, check_fit, covers, pixels_sha256, prove
from olrd.triplets.recipe import Recipe
from olrd.triplets.seen_compose import placed
from olrd.triplets.seen_maker import NO_BLEND
from olrd.triplets.seen_recipe import SeenRecipe, read_recipe
from olrd.trust import counted, printable, shown

NEVER_NULL = ("id", "source", "split", "image_id", "donor_image_id", "category", "recipe")
MAX_GROUP_VALUES = 10_000_000
"""Most values of a column in a row group: a row has a few labels of its background."""


def verify(folder: Path | str, workers: int = 1, max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
    """Check a dataset folder. It may be from a stranger: whatever it holds, the result is a list of problems.

    Per shard: size, sha256, rows and columns. Per row: its pictures decode, have one size and equal the background
    outside the mask; its recipe, the hash in it, and the columns that follow from them. Over all rows: ids are unique,
    no photo is in two splits, the counts add up. In the folder: the card names the same files, and there are no others.

    Args:
        folder: of the dataset, or its URL.
        workers: number of processes.
        max_pixels: larger pictures are not decoded and are a problem.

    Returns:
        Counts, and `problems`: a list of sentences, empty if nothing is wrong. `photos` are those of backgrounds and
        objects, and `backgrounds` those of backgrounds alone. Where the background was seen, there is no photo of it: then
        `places` is the number of clips or places.
    """
    dataset = Dataset(folder)
    shards = dataset.record.shards
    problems: list[str] = []
    seen: dict[str, str] = {}
    splits: dict[str, str] = {}
    grounds: set[str] = set()
    donors: set[str] = set()
    rows = 0
    tasks = [(number, group) for number in range(len(shards)) for group in _groups(dataset, number, problems)]
    with progress_bar("verifying", len(dataset), unit=" triplets") as bar:
        engine = open_engine(EngineSpec(workers=workers))
        for number, found, facts in engine.run(GroupVerifier(str(folder), max_pixels), tasks):
            problems += found
            rows += len(facts)
            bar.update(len(facts))
            for row_id, ground, donor, split in facts:
                if row_id in seen:
                    problems.append(f"{row_id} is in the dataset twice")
                seen[row_id] = shards[number].file
                grounds.add(ground)
                donors.add(donor)
                for photo in {ground, donor}:
                    if splits.setdefault(photo, split) != split:
                        problems.append(f"photo {photo} is in the splits {splits[photo]} and {split}")
    if not len(dataset):
        problems.append(f"{folder} holds no triplets: build.json says why, and `olrd-build` makes a new set")
    problems += _check_totals(dataset, rows)
    problems += card_problems(dataset)
    problems += stray_files(dataset)
    in_place = dataset.record.source.background_kind == SEEN
    return {
        "folder": str(folder),
        "form": dataset.form,
        "shards": len(shards),
        "triplets": rows,
        "photos": len(donors if in_place else grounds | donors),
        "places" if in_place else "backgrounds": len(grounds),
        "problems": sorted(problems),
    }


def verified_text(result: dict[str, Any]) -> str:
    """What was verified, in words: the counts of `verify`."""
    if "places" in result:
        of = f"{counted(result['photos'], 'photo')} ({places(result['places'], SEEN)})"
    else:
        more = result["photos"] - result["backgrounds"]
        of = counted(result["backgrounds"], "photo")
        of += f", with objects from {counted(more, 'further photo')}," if more else ""
    return f"{counted(result['triplets'], 'triplet')} of {of} in {counted(result['shards'], 'shard')}"


def _groups(dataset: Dataset, number: int, problems: list[str]) -> range:
    """The row groups of a shard, none if it cannot be read. Appends to `problems`."""
    shard = dataset.record.shards[number]
    path = dataset.folder / shard.file
    try:
        if not path.is_file():  # a named pipe would wait forever
            problems.append(f"{path} is missing")
            return range(0)
        if path.stat().st_size != shard.bytes or sha256_file(path) != shard.sha256:
            problems.append(f"{path}: its bytes are not those that were written (sha256 differs)")
        with dataset.open(path) as file:
            if file.metadata.num_rows != shard.rows:
                problems.append(f"{path}: {counted(file.metadata.num_rows, 'row')}, build.json says {shard.rows}")
            found, expected = file.schema_arrow, schema(dataset.form, dataset.optional)
            same_features = (found.metadata or {}).items() >= expected.metadata.items()
            if not found.equals(expected) or not same_features:
                problems.append(f"{path}: its columns or features are not those of {dataset.form}")
                return range(0)
            if packed := _foreign(path):
                problems.append(f"{path}: {packed}")
                return range(0)
            return range(file.metadata.num_row_groups)
    except (*READ_ERRORS, IntegrityError) as error:
        problems.append(f"{path}: {error}")
        return range(0)


def _foreign(path: Path | Remote) -> str | None:
    """What is wrong with the columns of a Parquet file as they are stored; None if nothing is.

    Other codecs than a build's can make gigabytes of a few bytes.
    """
    for group, columns in enumerate(stored_columns(path)):
        for column in columns:
            if column.codec not in ("UNCOMPRESSED", "SNAPPY"):
                return f"{column.path} is compressed with {column.codec}, which no build writes"
            if not 0 <= column.values <= MAX_GROUP_VALUES:
                return f"{column.path} has {column.values:,} values in row group {group}"
    return None


@dataclass
class GroupVerifier:
    """Checks row groups of the dataset in `folder` (see `olrd.engines.Worker`)."""

    folder: str
    max_pixels: int = MAX_PIXELS
    _dataset: Dataset = field(init=False, repr=False)

    def start(self) -> None:
        """Open the dataset."""
        self._dataset = Dataset(self.folder)

    def __call__(self, task: tuple[int, int]) -> tuple[int, list[str], list[tuple[str, str, str, str]]]:
        """Check one row group: problems, and (id, image_id, donor_image_id, split) of each row for the global checks."""
        number, group = task
        shard = self._dataset.record.shards[number]
        problems: list[str] = []
        facts = []
        path = self._dataset.folder / shard.file
        try:
            with self._dataset.open(path) as file:
                for batch in group_batches(path, file, [group]):
                    for row in batch_rows(batch):
                        name = printable(str(row["id"])[:100])
                        problems += [f"{name}: {p}" for p in self._row_problems(row)]
                        ground, donor = str(row["image_id"]), str(row["donor_image_id"])
                        facts.append((str(row["id"]), ground, donor, str(row["split"])))
                        if row["split"] != shard.split:
                            problems.append(f"{name}: split {printable(str(row['split'])[:80])} in {shard.file}")
        except (*READ_ERRORS, IntegrityError) as error:
            problems.append(f"{shard.file}, row group {group}: {printable(str(error))}")
        return number, problems, facts

    def _row_problems(self, row: dict[str, Any]) -> list[str]:
        try:
            return list(row_problems(row, self._dataset.form, self.max_pixels))
        except Exception as error:  # a value that no check expects is a problem of the row
            return [f"cannot be checked: {type(error).__name__}: {printable(str(error)[:200])}"]


def row_problems(row: dict[str, Any], form: str, max_pixels: int = MAX_PIXELS) -> Iterator[str]:
    """The problems of one row."""
    if missing := [name for name in NEVER_NULL if row[name] is None]:
        yield f"column {missing[0]} is null"
        return
    try:
        recipe = read_recipe(row["recipe"])
        _check_regions(recipe, *_size(row))
    except (IntegrityError, Rejected) as error:
        yield str(error)
        return
    yield from recipe_problems(row, recipe)
    if form == "recipes":
        return
    try:
        triplet = row_triplet(row, max_pixels)
        prove(triplet.image, triplet.changed, triplet.background)
    except IntegrityError as error:
        yield str(error)
        return
    if pixels_sha256(triplet) != recipe.pixels_sha256:
        yield "the pixels are not those of the recipe (sha256 differs)"
    yield from picture_problems(row, triplet)
    if isinstance(recipe, SeenRecipe):
        yield from _seen_problems(row, recipe, triplet)
        return
    yield from _mask_problems(row, recipe, triplet)
    yield from _shadow_problems(recipe, triplet)
    own = not (row["background"]["path"] or "").startswith(f"{row['id']}-background.")
    if own and sha256(row["background"]["bytes"]) != recipe.background.sha256:
        yield "the background is not the photo's own file (sha256 differs)"


def _check_regions(recipe: Recipe | SeenRecipe, width: int, height: int) -> None:
    """Check that what a recipe cuts out lies in a picture of that size. Raises `IntegrityError` or `Rejected`."""
    if isinstance(recipe, SeenRecipe):
        for counts, box in ((recipe.mask, recipe.mask_bbox), (recipe.effect, recipe.effect_bbox)):
            placed(decode_rle(counts, box.h, box.w), box, (height, width))
        return
    check_fit(recipe, width, height)
    for part in recipe.parts:
        decode_rle(part.rle, part.source_bbox.h, part.source_bbox.w)
    if recipe.shadow is not None and recipe.shadow.box.w:
        decode_rle(recipe.shadow.rle, recipe.shadow.box.h, recipe.shadow.box.w)


def _mask_problems(row: dict[str, Any], recipe: Recipe, triplet: Triplet) -> Iterator[str]:
    """Masks that do not cover the objects that the recipe pastes, or whose union is not the mask."""
    masks = triplet.masks or (triplet.mask,)
    if triplet.masks is not None:
        if len(masks) != len(recipe.parts):
            yield f"{counted(len(masks), 'mask')} of single objects, the recipe pastes {len(recipe.parts)}"
            return
        if not np.array_equal(np.any(masks, axis=0), triplet.mask):
            yield "the mask is not the union of the masks of the single objects"
    elif recipe.more:
        yield "the recipe pastes several objects, the row has one mask"
        return
    if recipe.mask_style or recipe.more:
        for part, mask in zip(recipe.parts, masks, strict=True):
            if not covers(part, mask):
                yield "the mask does not cover the object that the recipe pastes"


def _shadow_problems(recipe: Recipe, triplet: Triplet) -> Iterator[str]:
    """An effect that is not the mask with the region of the recipe's shadow."""
    if (recipe.shadow is None) != (triplet.effect is None):
        yield "the recipe and the row differ in whether shadows are drawn"
        return
    if recipe.shadow is None or triplet.effect is None:
        return
    if not np.array_equal(triplet.effect, triplet.mask | recipe.shadow.region(triplet.mask.shape)):
        yield "the effect is not the mask with the shadow of the recipe"


def _seen_problems(row: dict[str, Any], recipe: SeenRecipe, triplet: Triplet) -> Iterator[str]:
    """Pictures of a row that are not as its recipe of a seen background says."""
    shape = triplet.mask.shape
    for name, counts, box in (("mask", recipe.mask, recipe.mask_bbox), ("effect", recipe.effect, recipe.effect_bbox)):
        found = getattr(triplet, name)
        if found is None or not np.array_equal(found, placed(decode_rle(counts, box.h, box.w), box, shape)):
            yield f"the {name} is not that of the recipe"
    if triplet.effect is not None and (triplet.mask & ~triplet.effect).any():
        yield "the effect does not contain the mask"
    own = not recipe.picture.part and not (row["image"]["path"] or "").startswith(f"{row['id']}.")
    if own and sha256(row["image"]["bytes"]) != recipe.picture.sha256:
        yield "the image is not the photo's own file (sha256 differs)"


def recipe_problems(row: dict[str, Any], recipe: Recipe | SeenRecipe) -> Iterator[str]:
    """Columns that are not as the recipe says."""
    if isinstance(recipe, SeenRecipe):
        yield from _differences(
            row,
            {
                "id": recipe.id,
                "image_id": recipe.scene,
                "donor_image_id": recipe.image_id,
                "segment_id": recipe.segment_id,
                "source_bbox": list(recipe.mask_bbox),
                "bbox": list(recipe.mask_bbox),
                "shift": [0, 0],
                "scale": 1.0,
                "flip": False,
                "blend": NO_BLEND,
            },
        )
        return
    box = recipe.source_bbox
    expected = {
        "id": recipe.id,
        "image_id": recipe.background.image_id,
        "donor_image_id": recipe.donor.image_id,
        "segment_id": recipe.segment_id,
        "source_bbox": list(box),
        "shift": [recipe.position[0] - box.x, recipe.position[1] - box.y],
        "scale": recipe.scale,
        "flip": recipe.flip,
        "blend": recipe.blend,
    }
    yield from _differences(row, expected)
    if "categories" in row and len(row["categories"] or ()) != len(recipe.parts):
        yield f"column categories is {shown(row['categories'])}, the recipe pastes {counted(len(recipe.parts), 'object')}"


def _differences(row: dict[str, Any], expected: dict[str, Any]) -> Iterator[str]:
    for name, value in expected.items():
        if row[name] != value:
            yield f"column {name} is {shown(row[name])}, the recipe says {shown(value)}"


def picture_problems(row: dict[str, Any], triplet: Triplet) -> Iterator[str]:
    """Columns that are not as the pictures say."""
    if triplet.mask.shape != (row["height"], row["width"]):
        yield f"sizes differ: {triplet.mask.shape}, columns say {row['width']} x {row['height']}"
        return
    if list(mask_box(triplet.mask)) != row["bbox"]:
        yield f"column bbox is {row['bbox']}, the mask's box is {list(mask_box(triplet.mask))}"
    if np.count_nonzero(triplet.mask) / triplet.mask.size != row["mask_area"]:
        yield "column mask_area is not the mask's area share"


def _check_totals(dataset: Dataset, rows: int) -> Iterator[str]:
    record = dataset.record
    totals = record.totals
    if not record.counts_add_up():
        yield "the counts in build.json do not add up to the photos and segments read"
    try:
        record.check_settings()
    except IntegrityError as error:
        yield str(error)
    if not record.rows_add_up(rows):
        stated = f"{counted(totals.triplets, 'triplet')} and {counted(len(dataset), 'row')}"
        yield f"{counted(rows, 'row')} found, build.json counts {stated}"


def _size(row: dict[str, Any]) -> tuple[int, int]:
    """(width, height) of a row. Raises `IntegrityError` if no picture has that size."""
    width, height = row["width"], row["height"]
    if not (isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0):
        raise IntegrityError(f"{shown(width)} x {shown(height)} is no size of a picture")
    return width, height
