"""`olrd merge`: join the shares of one build into its dataset. Neither the source nor photos are needed.

A share is a folder that `olrd-build --shards PART/OF` wrote: parts, done-marks, and plan.json, which describes the
whole build.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from olrd.builder.build import open_parts
from olrd.builder.finish import finish
from olrd.builder.ownership import check_ours
from olrd.builder.parts import PLAN_FILE, mark_path, read_mark
from olrd.builder.units import Unit
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.dataset.record import BUILD_FILE
from olrd.errors import OlrdError, SourceError, UsageError
from olrd.progress import progress_bar, say
from olrd.sources import SourceInfo
from olrd.storage.files import link_or_copy, sha256_file
from olrd.storage.locks import locked
from olrd.storage.remote import Remote, location
from olrd.trust import parse_json, reading


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
            for unit, share in where.items():
                if read_mark(out / "parts", unit) is None:
                    _bring(unit, share / "parts", out / "parts")
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
                [Unit.named(name) for name in raw["units"]],
            )
    except (OSError, OlrdError) as error:
        raise SourceError(
            f"{share} is no share of a build: {path} does not describe one ({error}); expected a folder that `olrd-build --shards PART/OF` wrote"
        ) from error


def _where(shares: Sequence[Path | Remote], units: Sequence[Unit]) -> dict[Unit, Path | Remote]:
    """The first share that has each unit, finished. Raises `UsageError` if a unit is missing."""
    found: dict[Unit, Path | Remote] = {}
    for unit in units:
        for share in shares:
            if read_mark(share / "parts", unit) is not None:
                found[unit] = share
                break
    if missing := [unit.name for unit in units if unit not in found]:
        raise UsageError(
            f"{len(missing)} of {len(units)} units are in none of the {len(shares)} folders (first: "
            f"{', '.join(missing[:3])}): build the missing shares, or go on with those that were stopped"
        )
    return found


def _bring(unit: Unit, source: Path | Remote, target: Path | Remote) -> None:
    """Check the files of a unit, copy them, and then its mark."""
    mark = read_mark(source, unit)
    assert mark is not None
    for file in mark[0]:
        if sha256_file(source / file.file) != file.sha256:
            mark_path(source, unit).unlink()
            raise SourceError(
                f"{source / file.file} was damaged after it was written: build that share once more "
                "(the same command as before makes what is missing), then merge again"
            )
        link_or_copy(source / file.file, target / file.file)
    link_or_copy(mark_path(source, unit), mark_path(target, unit))
