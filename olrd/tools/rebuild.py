"""`olrd rebuild`: recipes and photos give back the full dataset, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from olrd.builder.build import open_parts
from olrd.builder.finish import finish
from olrd.builder.parts import read_mark, write_mark
from olrd.builder.units import Unit
from olrd.config import BuildConfig
from olrd.dataset.card import write_card
from olrd.dataset.folder import BUILD_FILE, Dataset
from olrd.dataset.render import Renderer
from olrd.dataset.schema import features
from olrd.dataset.shards import ShardWriter, numbered
from olrd.engines import EngineSpec, open_engine
from olrd.errors import UsageError
from olrd.progress import progress_bar, say
from olrd.sources import SourceInfo
from olrd.storage.files import to_json, write_atomic
from olrd.storage.locks import locked
from olrd.storage.remote import Remote, location
from olrd.triplets.maker import pictures
from olrd.triplets.recipe import Recipe
from olrd.triplets.tally import Tally


def rebuild(
    recipes: Path | Remote | str, root: Path | Remote | str, out: Path | Remote | str, workers: int = 1
) -> dict[str, Any]:
    """Render every recipe of the dataset `recipes` from the photos under `root` into `out`.

    Every triplet is proven by the hash in its recipe. The result is the folder that building with
    `--form full` would have given. Resumes after an interruption. Returns build.json.
    """
    out, dataset = location(out), Dataset(recipes)
    if dataset.form != "recipes":
        raise UsageError(f"{recipes} holds pixels already: there is nothing to rebuild")
    config = replace(BuildConfig.from_resolved(dataset.build["config"]), form="full")
    info = SourceInfo(**dataset.build["source"])
    identity = config.hash(info.fingerprint)
    units = [unit_of(record) for record in dataset.build["units"]]
    Renderer(root)  # a wrong --root should fail before anything is written
    with locked(out):
        if not open_parts(out, identity):
            say(f"{out} is complete already")
            return Dataset(out).build
        todo = [number for number, unit in enumerate(units) if read_mark(out / "parts", unit) is None]
        worker = UnitRebuilder(str(recipes), str(root), str(out / "parts"), config)
        with progress_bar("rebuilding", len(dataset), unit=" triplets") as bar:
            bar.update(sum(r["rows"] for n, r in enumerate(dataset.build["units"]) if n not in set(todo)))
            for count in open_engine(EngineSpec(workers=workers)).run(worker, todo):
                bar.update(count)
        return finish(out, config, info, identity, units)


@dataclass
class UnitRebuilder:
    """Renders the units of the recipes in a folder into the folder `parts` (see `olrd.engines.Worker`)."""

    recipes: str
    root: str
    parts: str
    config: BuildConfig
    _dataset: Dataset = field(init=False, repr=False)
    _renderer: Renderer = field(init=False, repr=False)

    def start(self) -> None:
        """Open the recipes and the photos."""
        import cv2

        cv2.setNumThreads(1)
        self._dataset = Dataset(self.recipes)
        self._renderer = Renderer(self.root, self.config.source.max_pixels)

    def __call__(self, number: int) -> int:
        """Render the rows of one unit; returns their number."""
        records = self._dataset.build["units"]
        start = sum(record["rows"] for record in records[:number])
        unit, record, parts = unit_of(records[number]), records[number], location(self.parts)
        rows = islice(self._dataset.rows_from(start), record["rows"])
        writer = ShardWriter(parts, self.config.form, self.config.shard_bytes)
        files = writer.write(map(self._rendered, rows), numbered(unit.name))
        write_mark(parts, unit, files, Tally.from_dict(record["tally"]))
        return int(record["rows"])

    def _rendered(self, row: dict[str, Any]) -> dict[str, Any]:
        recipe = Recipe.from_json(row["recipe"])
        triplet, photo = self._renderer.render(recipe)
        return row | pictures(photo, triplet, recipe.id)


def unit_of(record: dict[str, Any]) -> Unit:
    """The unit that a record of build.json is about; how many photos it had, not which."""
    split, _, number = record["name"].rpartition("-")
    return Unit(split, int(number), tuple(range(record["tally"]["photos_read"])))


def strip_pixels(dataset: Dataset, out: Path) -> Dataset:
    """Write the rows of a full dataset without their pictures into the empty folder `out`.

    Needs no photo and reads no pixel. Captions and the versions that built it are taken over.
    """
    config = replace(BuildConfig.from_resolved(dataset.build["config"]), form="recipes")
    info = SourceInfo(**dataset.build["source"])
    parts = out / "parts"
    parts.mkdir()
    rows, units = dataset.rows(list(features("recipes"))), []
    for record in dataset.build["units"]:
        unit = unit_of(record)
        writer = ShardWriter(parts, config.form, config.shard_bytes)
        files = writer.write(islice(rows, record["rows"]), numbered(unit.name))
        write_mark(parts, unit, files, Tally.from_dict(record["tally"]))
        units.append(unit)
    fresh = {unit.name for unit in units}
    build = finish(out, config, info, config.hash(info.fingerprint), units, fresh)
    build |= {key: dataset.build[key] for key in ("olrd", "captions") if key in dataset.build}
    build["versions"] |= dataset.build["versions"]  # in the order in which cards list them
    write_card(out, build)
    write_atomic(out / BUILD_FILE, to_json(build))
    return Dataset(out)
