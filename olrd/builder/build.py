"""Building a dataset folder: plan, lock, resume, run the units, finish.

During a build, `parts/` holds its state (see olrd.builder.parts). When all units are done, the parts become
`data/{split}-*.parquet`, README.md and build.json are written, and `parts/` is removed.
"""

from __future__ import annotations

import json
from collections.abc import Set
from pathlib import Path
from typing import Any

from olrd.builder.finish import finish, note_shards
from olrd.builder.ownership import begun_identity, check_ours, remove_leftovers, remove_parts
from olrd.builder.parts import PLAN_FILE, mark_path, read_marks, write_mark
from olrd.builder.repair import damaged_shards, renew_card, unit_rows, units_in
from olrd.builder.units import Share, Unit, plan_units
from olrd.builder.worker import UnitBuilder
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.dataset.record import BUILD_FILE
from olrd.dataset.shards import ShardWriter, Written, numbered
from olrd.engines import Engine, EngineSpec, open_engine
from olrd.errors import OutputError
from olrd.progress import progress_bar, say
from olrd.sources import SourceInfo, open_source, source_info
from olrd.storage.files import write_atomic
from olrd.storage.locks import locked
from olrd.storage.remote import Remote, location


def build(
    config: BuildConfig,
    out: Path | Remote | str,
    workers: int = 1,
    retry_failed: bool = False,
    share: Share | None = None,
    repair: bool = False,
    engine: EngineSpec | None = None,
) -> dict[str, Any]:
    """Build a dataset, or finish an interrupted build. The result has the same bytes in both cases.

    Args:
        config: what to build.
        out: a folder or URL.
        workers: processes of this machine, if no `engine` is given.
        retry_failed: build the units again in which a photo could not be read.
        share: build only this share of the units, and leave its parts for `merge`.
        repair: check the hashes of a finished build, and build the units of damaged or missing shards again.
        engine: what runs the units.

    Returns:
        The content of build.json; for a share {"share", "units", "units_done"}.

    Raises:
        OutputError: `out` holds something else, or another process builds there.
    """
    crew = open_engine(engine or EngineSpec(workers=workers))
    out = location(out)
    source = open_source(config.source)
    identity = config.hash(source.fingerprint)
    check_ours(out)  # before the lock, which writes into the folder
    with locked(out):
        units = plan_units(source, config)
        if not open_parts(out, identity, _about(config, source_info(source), units)):
            again = _to_build_again(Dataset(out), retry_failed, repair)
            if not again:
                if repair:
                    renew_card(Dataset(out))
                failed = sum(unit.failures for unit in Dataset(out).record.units)
                hint = f"; --retry-failed tries the {failed:,} photos again that could not be used" if failed else ""
                say(f"{out} is complete already" + (", every hash holds" if repair else "") + hint)
                return Dataset(out).record.to_json()
            reopen(out, units, config, identity, again)
        parts = out / "parts"
        done = read_marks(parts, units)
        if retry_failed:
            done = {unit: mark for unit, mark in done.items() if not mark[1].failures}
        mine = share.take(units) if share else units
        todo = [unit for unit in mine if unit not in done]
        try:
            _run(config, parts, todo, mine, crew)
        except BaseException:
            remove_leftovers(out)  # of workers that were stopped
            raise
        if share:
            built = len(read_marks(parts, units))
            return {"share": list(share), "units": len(units), "units_done": built}
        fresh = {unit.name for unit in todo}
        return finish(out, config, source_info(source), identity, units, fresh).to_json()


def _to_build_again(dataset: Dataset, retry_failed: bool, repair: bool) -> set[str]:
    """The names of the units of a finished build that must be built again: those with failures or in damaged shards.

    If a build is reopened for any reason, its shards are checked, because rows are only taken from undamaged ones.
    """
    failed = {unit.name for unit in dataset.record.units if unit.failures}
    again = failed if retry_failed else set()
    if (repair or again) and (damaged := damaged_shards(dataset)):
        lost = units_in(dataset, damaged)
        say(
            f"damaged: {', '.join(shard.file for shard in damaged)}; building {len(lost)} of "
            f"{len(dataset.record.units)} units again"
        )
        again |= lost
    if again and dataset.record.captions:
        say("what is built again has no captions: run `olrd caption` again afterwards")
    return again


def _about(config: BuildConfig, source: SourceInfo, units: list[Unit]) -> dict[str, Any]:
    """What `merge` must know about a build, because it does not open the source."""
    return {"config": config.resolved(), "source": source._asdict(), "units": [unit.name for unit in units]}


def open_parts(out: Path | Remote, identity: str, about: dict[str, Any] | None = None) -> bool:
    """Prepare `out/parts` for this build. Returns False if the build is finished already.

    about: stored in plan.json beside the identity. Raises `OutputError` if `out` holds anything else.
    """
    if _is_finished(out, identity):
        remove_leftovers(out)
        remove_parts(out / "parts")
        return False
    remove_leftovers(out)
    _start_parts(out / "parts", identity, about)
    return True


def _run(config: BuildConfig, parts: Path | Remote, todo: list[Unit], units: list[Unit], crew: Engine) -> None:
    total = sum(len(unit.photos) for unit in units)
    left = sum(len(unit.photos) for unit in todo)
    triplets = 0
    with progress_bar("building", total, unit=" photos", initial=total - left) as bar:
        for unit, tally in crew.run(UnitBuilder(config, str(parts)), todo):
            triplets += tally.triplets
            bar.update(len(unit.photos))
            bar.set_postfix(triplets=triplets, refresh=False)


def _is_finished(out: Path | Remote, identity: str) -> bool:
    """Whether `out` holds this build, finished. Raises `OutputError` if it holds something else."""
    if (out / BUILD_FILE).exists():
        if Dataset(out).record.identity != identity:
            raise OutputError(
                f"{out} holds another build (other options, annotations or olrd version): "
                "give another --out, or delete that folder first"
            )
        return True
    check_ours(out)
    return False


def _start_parts(parts: Path | Remote, identity: str, about: dict[str, Any] | None = None) -> None:
    """Open `parts/` for this build. Raises `OutputError` if another build began it."""
    parts.mkdir(exist_ok=True)
    plan = parts / PLAN_FILE
    if plan.exists() and begun_identity(parts) != identity:
        raise OutputError(
            f"{str(parts).removesuffix('/parts')} holds an unfinished build with other options, annotations or olrd "
            "version: finish that one with its own command, or delete the folder first"
        )
    write_atomic(plan, json.dumps({"identity": identity} | (about or {})))


def reopen(out: Path | Remote, units: list[Unit], config: BuildConfig, identity: str, again: Set[str]) -> None:
    """Turn a finished build back into parts, except the units `again`, which are built again.

    build.json is removed last, so that the finished build stays complete if the process is killed before.
    """
    dataset = Dataset(out)
    parts = out / "parts"
    remove_parts(parts)
    _start_parts(parts, identity, _about(config, dataset.record.source, units))
    note_shards(parts, {shard.name for shard in dataset.shards})
    by_name = {unit.name: unit for unit in units}
    for name in again:
        mark_path(parts, by_name[name]).unlink(missing_ok=True)
    for record, mine in unit_rows(dataset, without=again):
        writer = ShardWriter(parts, config.form, config.shard_bytes, dataset.optional)
        files: list[Written] = writer.write(mine, numbered(record.name))
        write_mark(parts, by_name[record.name], files, record.tally)
    (out / BUILD_FILE).unlink()
