"""`olrd rebuild`: make the full dataset from recipes and photos. `strip_pixels` does the reverse."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from olrd.arrays import MAX_PIXELS
from olrd.builder.build import open_parts
from olrd.builder.finish import finish, write_record
from olrd.builder.ownership import check_ours, remove_leftovers
from olrd.builder.parts import read_mark, write_mark
from olrd.builder.units import Unit
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.dataset.record import BUILD_FILE, UnitRecord
from olrd.dataset.render import Renderer
from olrd.dataset.schema import MASKS, features, optional_columns
from olrd.dataset.shards import ShardWriter, numbered
from olrd.engines import EngineSpec, open_engine
from olrd.errors import IntegrityError, UsageError
from olrd.progress import progress_bar, say
from olrd.storage.locks import locked
from olrd.storage.remote import Remote, location
from olrd.tools.verify import picture_problems, recipe_problems
from olrd.triplets.columns import mask_pictures, pictures
from olrd.triplets.seen_recipe import SeenRecipe, read_recipe
from olrd.trust import counted, shown


def rebuild(
    recipes: Path | Remote | str,
    root: Path | Remote | str,
    out: Path | Remote | str,
    workers: int = 1,
    max_pixels: int = MAX_PIXELS,
) -> dict[str, Any]:
    """Render every recipe of the dataset `recipes` from the photos under `root` into `out`.

    Every triplet is verified by the hash in its recipe. The result has the same bytes as a build with `--form full`. An
    interrupted call is finished by the next one. Returns the content of build.json.

    max_pixels: larger photos are not decoded, whatever the recipes' build.json allows.
    """
    out, dataset = location(out), Dataset(recipes)
    if dataset.form != "recipes":
        raise UsageError(f"{recipes} holds pixels already: there is nothing to rebuild")
    config = replace(dataset.record.settings(), form="full")
    info = dataset.record.source
    identity = config.hash(info.fingerprint)
    _check_record(dataset, config)
    units = [unit_of(record) for record in dataset.record.units]
    Renderer(root)  # fails on a wrong --root before anything is written
    check_ours(out)
    with locked(out):
        if not open_parts(out, identity):
            say(f"{out} is complete already")
            return Dataset(out).record.to_json()
        todo = [number for number, unit in enumerate(units) if read_mark(out / "parts", unit) is None]
        worker = UnitRebuilder(str(recipes), str(root), str(out / "parts"), config, max_pixels)
        with progress_bar("rebuilding", len(dataset), unit=" triplets") as bar:
            bar.update(sum(unit.rows for n, unit in enumerate(dataset.record.units) if n not in set(todo)))
            try:
                for count in open_engine(EngineSpec(workers=workers)).run(worker, todo):
                    bar.update(count)
            except BaseException:
                remove_leftovers(out)  # of workers that were stopped
                raise
        return finish(out, config, info, identity, units).to_json()


def _check_record(dataset: Dataset, config: BuildConfig) -> None:
    """Refuse a record that does not fit itself, before anything is written."""
    record, where = dataset.record, dataset.folder / BUILD_FILE
    if not record.counts_add_up() or not record.rows_add_up(record.rows):
        raise IntegrityError(f"{where}: its counts do not add up: it is damaged or was edited; get the recipes again")
    known = {name for name, _ in config.splits}
    named = {shard.split for shard in record.shards} | {unit_of(unit).split for unit in record.units}
    if unknown := sorted(named - known):
        raise IntegrityError(f"{where}: the split {unknown[0]} is not one of its configuration ({', '.join(known)})")


@dataclass
class UnitRebuilder:
    """Renders the units of the recipes in a folder into the folder `parts` (see `olrd.engines.Worker`)."""

    recipes: str
    root: str
    parts: str
    config: BuildConfig
    max_pixels: int = MAX_PIXELS
    _dataset: Dataset = field(init=False, repr=False)
    _renderer: Renderer = field(init=False, repr=False)
    _optional: tuple[str, ...] = field(init=False, repr=False)

    def start(self) -> None:
        """Open the recipes and the photos."""
        import cv2

        cv2.setNumThreads(1)
        self._dataset = Dataset(self.recipes)
        self._optional = optional_columns(self.config, self._dataset.record.source)
        self._renderer = Renderer(self.root, min(self.max_pixels, self.config.source.max_pixels))

    def __call__(self, number: int) -> int:
        """Render the rows of one unit; returns their number."""
        records = self._dataset.record.units
        start = sum(record.rows for record in records[:number])
        unit, record, parts = unit_of(records[number]), records[number], location(self.parts)
        rows = islice(self._dataset.rows_from(start), record.rows)
        writer = ShardWriter(parts, self.config.form, self.config.shard_bytes, self._optional)
        files = writer.write((self._rendered(row, unit.split) for row in rows), numbered(unit.name))
        if (found := sum(file.rows for file in files)) != record.rows:
            raise IntegrityError(
                f"{self.recipes}: unit {unit.name} has {counted(found, 'row')}, {BUILD_FILE} says {record.rows}"
            )
        write_mark(parts, unit, files, record.tally)
        return record.rows

    def _rendered(self, row: dict[str, Any], split: str) -> dict[str, Any]:
        """A row with its pictures. Raises `IntegrityError` if its columns are not those of the recipe."""
        if row["split"] != split:
            raise IntegrityError(
                f"{self.recipes}: {shown(row['id'])} is of split {shown(row['split'])} in a unit of {split}"
            )
        recipe = read_recipe(row["recipe"])
        triplet, photo = self._renderer.render(recipe)
        for problem in (*recipe_problems(row, recipe), *picture_problems(row, triplet)):
            raise IntegrityError(f"{self.recipes}: {shown(row['id'])}: {problem}")
        several = mask_pictures(triplet, recipe.id) if MASKS in self._optional else {}
        return row | pictures(photo, triplet, recipe.id, isinstance(recipe, SeenRecipe)) | several


def unit_of(record: UnitRecord) -> Unit:
    """The unit of a record: how many photos it has, not which."""
    return Unit.named(record.name, record.tally.photos_read)


def strip_pixels(dataset: Dataset, out: Path) -> Dataset:
    """Write the rows of a full dataset without their pictures into the empty folder `out`.

    It reads neither photos nor pixels. Captions and versions are those of the full dataset.
    """
    config = replace(dataset.record.settings(), form="recipes")
    info = dataset.record.source
    parts = out / "parts"
    parts.mkdir()
    optional = optional_columns(config, info)
    rows, units = dataset.rows(list(features("recipes", optional))), []
    for record in dataset.record.units:
        unit = unit_of(record)
        writer = ShardWriter(parts, config.form, config.shard_bytes, optional)
        files = writer.write(islice(rows, record.rows), numbered(unit.name))
        write_mark(parts, unit, files, record.tally)
        units.append(unit)
    fresh = {unit.name for unit in units}
    stripped = finish(out, config, info, config.hash(info.fingerprint), units, fresh)
    stripped = replace(
        stripped,
        olrd=dataset.record.olrd,
        captions=dataset.record.captions,
        versions={**stripped.versions, **dataset.record.versions},  # in the order in which cards list them
    )
    write_record(out, stripped)
    return Dataset(out)
