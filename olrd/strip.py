"""A dataset with pixels as the recipes of the same rows: what `--form recipes` would have built."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

from olrd.card import write_card
from olrd.config import BuildConfig
from olrd.dataset import BUILD_FILE, Dataset
from olrd.files import to_json, write_atomic
from olrd.finish import finish
from olrd.rebuild import unit_of
from olrd.schema import features
from olrd.shards import ShardWriter, numbered
from olrd.sources import SourceInfo
from olrd.tally import Tally
from olrd.work import write_mark


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
