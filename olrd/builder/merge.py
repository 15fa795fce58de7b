"""`olrd merge`: join the shares of one build into its dataset. Neither the source nor photos are needed.

A share is a folder that `olrd-build --shards PART/OF` wrote: parts, done-marks, and plan.json, which describes the
whole build. With many shares, a unit's pieces lie in several of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from olrd.builder.build import open_parts
from olrd.builder.finish import finish
from olrd.builder.join import damaged_part, join
from olrd.builder.ownership import check_ours
from olrd.builder.parts import PLAN_FILE, Mark, mark_path, read_mark
from olrd.builder.units import LARGEST_UNIT, Piece, Task, Unit
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.dataset.record import BUILD_FILE
from olrd.dataset.schema import optional_columns
from olrd.errors import OlrdError, SourceError, UsageError
from olrd.progress import progress_bar, say
from olrd.sources import SourceInfo
from olrd.storage.files import children, link_or_copy
from olrd.storage.locks import locked
from olrd.storage.remote import Remote, location
from olrd.trust import counted, parse_json, reading


class _Plan(NamedTuple):
    identity: str
    config: BuildConfig
    source: SourceInfo
    units: list[Unit]


def merge(folders: Sequence[Path | Remote | str], out: Path | Remote | str) -> dict[str, Any]:
    """Join the shares in `folders` into the dataset `out`.

    The result has the same bytes as one build without shares. The shares stay unchanged; part files are linked if the
    file system allows it. An interrupted merge is finished by the same call.

    Returns:
        The content of build.json.

    Raises:
        SourceError: a folder is not a share of this build, or a part is damaged.
        UsageError: units are missing; the message has their number and examples.
    """
    out, shares = location(out), [location(folder) for folder in folders]
    if _resolved(out) in [_resolved(share) for share in shares]:
        raise UsageError(f"{out} is one of the shares: give another --out")
    plans = [_read_plan(share) for share in shares]
    first = plans[0]
    for share, plan in zip(shares, plans, strict=True):
        if plan.identity != first.identity:
            raise SourceError(
                f"{share} is a share of another build than {shares[0]}: other options, annotations or olrd version"
            )
    where = _where(shares, first.units)
    check_ours(out)
    with locked(out):
        about = {"merged_from": len(shares)}
        if not open_parts(out, first.identity, about):
            say(f"{out} is complete already")
            return Dataset(out).record.to_json()
        with progress_bar("merging", len(where), unit=" units") as bar:
            for unit, found in where.items():
                if read_mark(out / "parts", unit) is None:
                    _bring(unit, found, out / "parts", first)
                bar.update()
        whole = {unit.name for unit in first.units}  # their hashes were checked above
        return finish(out, first.config, first.source, first.identity, first.units, whole).to_json()


def _resolved(folder: Path | Remote) -> Path | Remote:
    return folder.resolve() if isinstance(folder, Path) else folder


def _read_plan(share: Path | Remote) -> _Plan:
    if (share / BUILD_FILE).is_file():
        raise SourceError(f"{share} is a finished dataset, not a share of one")
    path = share / "parts" / PLAN_FILE
    try:
        with reading(path, "the plan of a build", SourceError):
            raw = parse_json(path.read_text(), path, SourceError)
            return _Plan(
                raw["identity"],
                BuildConfig.from_resolved(raw["config"]),
                SourceInfo(**raw["source"]),
                [Unit.named(name, _photos(count)) for name, count in raw["units"].items()],
            )
    except (OSError, OlrdError) as error:
        raise SourceError(
            f"{share} is no share of a build: {path} does not describe one ({error}); expected a folder that `olrd-build --shards PART/OF` wrote"
        ) from error


def _photos(count: object) -> int:
    """The number of photos of a unit. Raises `ValueError` for one that no unit has."""
    if isinstance(count, int) and 0 < count <= LARGEST_UNIT:
        return count
    raise ValueError(f"a unit of {count!r} photos, expected 1 to {LARGEST_UNIT}")


def _where(shares: Sequence[Path | Remote], units: Sequence[Unit]) -> dict[Unit, dict[Task, Path | Remote]]:
    """The folder `parts` of the first share that has each unit or, if none has it, each of its pieces, finished.

    Raises `UsageError` if a unit is missing.
    """
    folders = [share / "parts" for share in shares]
    # A listing saves asking every share for every mark. Those of a store may be out of date.
    names = [None if isinstance(parts, Remote) else {path.name for path in children(parts)} for parts in folders]

    def holder(task: Task) -> Path | Remote | None:
        for parts, listed in zip(folders, names, strict=True):
            if (listed is None or mark_path(parts, task).name in listed) and read_mark(parts, task) is not None:
                return parts
        return None

    found: dict[Unit, dict[Task, Path | Remote]] = {}
    for unit in units:
        if (parts := holder(unit)) is not None:
            found[unit] = {unit: parts}
            continue
        held = {piece: holder(piece) for piece in unit.pieces()}
        there: dict[Task, Path | Remote] = {piece: parts for piece, parts in held.items() if parts is not None}
        if len(there) == len(held):
            found[unit] = there
    if missing := [unit.name for unit in units if unit not in found]:
        raise UsageError(
            f"{len(missing):,} of {counted(len(units), 'unit')} {'is' if len(missing) == 1 else 'are'} in none of the "
            f"folders as a whole ({counted(len(shares), 'folder')}; first: "
            f"{', '.join(missing[:3])}): build the missing shares, or go on with those that were stopped"
        )
    return found


def _bring(unit: Unit, found: dict[Task, Path | Remote], target: Path | Remote, plan: _Plan) -> None:
    """Check the files of a unit and copy them, and then its mark; or join the unit from its pieces."""
    marks = {task: _checked(task, parts) for task, parts in found.items()}
    pieces = {task: (found[task], mark) for task, mark in marks.items() if isinstance(task, Piece)}
    if pieces:
        join(pieces, target, unit, plan.config, optional_columns(plan.config, plan.source))
        return
    for file in marks[unit][0]:
        link_or_copy(found[unit] / file.file, target / file.file)
    link_or_copy(mark_path(found[unit], unit), mark_path(target, unit))


def _checked(task: Task, parts: Path | Remote) -> Mark:
    """The mark of a unit or piece whose files are as they were written. Raises `SourceError` if they are not."""
    mark = read_mark(parts, task)
    assert mark is not None
    if damaged := damaged_part(parts, task, mark):
        raise SourceError(
            f"{damaged} was damaged after it was written: build that share once more "
            "(the same command as before makes what is missing), then merge again"
        )
    return mark
