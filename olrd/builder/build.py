"""Building a dataset folder: plan, lock, resume, run the units, finish.

During a build, `parts/` holds its state (see olrd.builder.parts). When all units are done, the parts become
`data/{split}-*.parquet`, README.md and build.json are written, and `parts/` is removed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from olrd.builder.finish import finish, note_shards
from olrd.builder.join import begun_pieces, join_if_complete
from olrd.builder.ownership import begun_identity, check_ours, remove_leftovers, remove_parts
from olrd.builder.parts import PLAN_FILE, Mark, mark_path, read_marks, write_mark
from olrd.builder.repair import damaged_shards, renew_card, unit_rows, units_in
from olrd.builder.units import Piece, Share, Task, Unit, divided, in_pieces, plan_units
from olrd.builder.worker import UnitBuilder
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.dataset.record import BUILD_FILE
from olrd.dataset.schema import optional_columns
from olrd.dataset.shards import ShardWriter, Written, numbered
from olrd.engines import Engine, EngineSpec, open_engine
from olrd.errors import OutputError
from olrd.progress import progress_bar, say
from olrd.sources import SourceInfo, open_source, source_info
from olrd.storage.files import write_atomic
from olrd.storage.locks import locked
from olrd.storage.remote import Remote, location
from olrd.trust import counted


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
            again = _to_build_again(Dataset(out), config, retry_failed, repair)
            if not again:
                if repair:
                    renew_card(Dataset(out))
                failed = sum(unit.failures for unit in Dataset(out).record.units)
                hint = (
                    f"; --retry-failed tries the {counted(failed, 'photo')} again that could not be used"
                    if failed
                    else ""
                )
                say(f"{out} is complete already" + (", every hash holds" if repair else "") + hint)
                return Dataset(out).record.to_json()
            reopen(out, units, config, identity, again)
        parts = out / "parts"
        mine = share.take(units) if share else units
        todo, begun = _unfinished(parts, units, config if retry_failed else None)
        tasks = _tasks(mine, todo, begun, crew.workers)
        optional = optional_columns(config, source_info(source))
        try:
            _run(config, parts, tasks, sum(len(task.photos) for task in mine), crew)
            cut = begun | {task.unit: [task] for task in tasks if isinstance(task, Piece)}
            for pieces in cut.values():  # a worker may not have seen what others wrote last
                join_if_complete(parts, pieces[0], config, optional)
        except BaseException:
            remove_leftovers(out)  # of workers that were stopped
            raise
        if share:
            return {"share": list(share)} | _progress(parts, units, share)
        fresh = {unit.name for unit in todo}
        return finish(out, config, source_info(source), identity, units, fresh, crew.workers or 1).to_json()


def _unfinished(
    parts: Path | Remote, units: Sequence[Unit], retry: BuildConfig | None = None
) -> tuple[list[Unit], dict[Unit, list[Piece]]]:
    """The units that are not done, and those of their pieces that are.

    retry: the configuration of the build, if what `_to_retry` names is to be built again. Its marks are removed.
    """
    done = read_marks(parts, units)
    ready = begun_pieces(parts, units)
    marks: list[tuple[Task, Mark]] = [*done.items(), *ready.items()]
    failed = [task for task, (_, tally) in marks if tally.failures]
    again = _to_retry(failed, [task for task, _ in marks], retry) if retry else set()
    for task in again:
        mark_path(parts, task).unlink(missing_ok=True)
    todo = [unit for unit in units if unit not in done or unit in again]
    left, begun = {*todo}, dict[Unit, list[Piece]]()
    for piece in ready:
        if piece.unit in left and piece not in again:
            begun.setdefault(piece.unit, []).append(piece)
    return todo, begun


def _to_retry(failed: Sequence[Task], done: Sequence[Task], config: BuildConfig) -> set[Task]:
    """What of `done` is built again because photos could not be read: `failed`, the units and pieces of these photos. With
    `--donor other`, everything of their splits, because objects of all its photos may have gone elsewhere for want of
    them."""
    if config.donor == "same":
        return {*failed}
    splits = {_split(task) for task in failed}
    return {task for task in done if _split(task) in splits}


def _split(task: Task) -> str:
    return task.unit.split if isinstance(task, Piece) else task.split


def _tasks(
    mine: Sequence[Task], todo: Sequence[Unit], begun: Mapping[Unit, Sequence[Piece]], workers: int | None
) -> list[Task]:
    """What is left of `mine`, units or pieces, divided for that number of workers."""
    left = {*todo}
    whole = [task for task in mine if isinstance(task, Unit) and task in left]
    pieces = [task for task in mine if isinstance(task, Piece) and task.unit in left]
    tasks: list[Task] = []
    for task in [*in_pieces(whole, workers), *pieces]:
        if isinstance(task, Unit):
            tasks += divided(task) if task in begun else [task]
        else:
            tasks.append(task)
    done = {piece for pieces in begun.values() for piece in pieces}
    return [task for task in tasks if task not in done]


def _progress(parts: Path | Remote, units: list[Unit], share: Share) -> dict[str, int]:
    """The number of units, or of pieces if these are divided among the shares, and how many are done."""
    todo, begun = _unfinished(parts, units)
    left = {*todo}
    tasks = share.all_tasks(units)
    ready = {piece for pieces in begun.values() for piece in pieces}
    done = sum(task not in left if isinstance(task, Unit) else task.unit not in left or task in ready for task in tasks)
    return {"units": len(tasks), "units_done": done}


def _to_build_again(dataset: Dataset, config: BuildConfig, retry_failed: bool, repair: bool) -> set[str]:
    """The names of the units of a finished build that must be built again: those to retry or in damaged shards.

    If a build is reopened for any reason, its shards are checked, because rows are only taken from undamaged ones.
    """
    units = {Unit.named(unit.name): unit.failures for unit in dataset.record.units}
    failed = [unit for unit, failures in units.items() if failures]
    again = {task.name for task in _to_retry(failed, [*units], config)} if retry_failed else set()
    if (repair or again) and (damaged := damaged_shards(dataset)):
        lost = units_in(dataset, damaged)
        say(
            f"damaged: {', '.join(shard.file for shard in damaged)}; building {len(lost)} of "
            f"{counted(len(dataset.record.units), 'unit')} again"
        )
        again |= lost
    if again and dataset.record.captions:
        say("what is built again has no captions: run `olrd caption` again afterwards")
    return again


def _about(config: BuildConfig, source: SourceInfo, units: list[Unit]) -> dict[str, Any]:
    """What `merge` must know about a build, because it does not open the source."""
    return {
        "config": config.resolved(),
        "source": source._asdict(),
        "units": {unit.name: len(unit.photos) for unit in units},
    }


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


def _run(config: BuildConfig, parts: Path | Remote, tasks: Sequence[Task], total: int, crew: Engine) -> None:
    """Do all tasks. total: the photos of these tasks and of those that were done before."""
    left = sum(len(task.photos) for task in tasks)
    triplets = 0
    with progress_bar("building", total, unit=" photos", initial=total - left) as bar:
        for task, tally in crew.run(UnitBuilder(config, str(parts)), tasks):
            triplets += tally.triplets
            bar.update(len(task.photos))
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
