"""Many photos: which masks belong to which photo, where the results go, and what is done already."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from baselines.photos.compared import PAGE, view_paths
from baselines.photos.files import read_input
from baselines.photos.targets import check_targets, effects_path
from olrd.errors import OutputError, SourceError
from olrd.sources.listing import pictures_under
from olrd.sources.masks.names import is_mask_beside, match_masks, stem_of
from olrd.storage.files import to_json, write_atomic
from olrd.trust import counted, parse_json, printable, shown

RECORD = "erased.json"
"""In the folder of the results: the settings that they were made with."""


class Job(NamedTuple):
    """One photo of a folder.

    Attributes:
        name: Its path below the folder, which names it in messages.
        photo: The photo.
        masks: Its masks; what any of them marks is erased.
        result: The path of the result below the folder of a method.
    """

    name: str
    photo: Path
    masks: tuple[Path, ...]
    result: PurePosixPath


class Plan(NamedTuple):
    """What is to be done.

    Attributes:
        jobs: The photos that have masks, in order of their names.
        without: The names of the photos that have none.
        alone: The names of the masks that have no photo.
    """

    jobs: tuple[Job, ...]
    without: tuple[str, ...]
    alone: tuple[str, ...]


class Written(NamedTuple):
    """What a run writes.

    Attributes:
        out: The folder of the results.
        methods: The names of the erasers.
        effects: Whether the effects of each result are written beside it.
        force: Whether files that are there already may be replaced.
    """

    out: Path
    methods: Sequence[str]
    effects: bool
    force: bool


def plan_folder(photos: Path, masks: Path | None, out: Path, form: str) -> Plan:
    """Find the photos of a folder and their masks.

    Args:
        photos: A folder with photos, also in folders below it.
        masks: A folder with masks (NAME.png, NAME_mask.png, NAME_0.png, NAME/*.png for the photo NAME.jpg), which may be
            that of the photos (then NAME_mask.png is a mask); one mask for all photos; or None: what is erased is said
            by other means, such as objects by name.
        out: The folder of the results, which are no photos.
        form: Suffix of the results without the dot.

    Raises:
        SourceError: If there is nothing to do, or two photos would have the same result.
    """
    names, found = _photos_and_masks(photos, masks, out)
    if not names:
        raise SourceError(f"{photos}: expected photos in the folder, found none")
    results = {name: PurePosixPath(name).with_suffix(f".{form}") for name in names}
    if twice := [str(path) for path, number in Counter(results.values()).items() if number > 1]:
        raise SourceError(f"{photos}: several photos would be written to {shown(twice[0])}: rename one of them")
    if masks is None or not masks.is_dir():
        every = () if masks is None else (masks,)
        return Plan(tuple(Job(name, photos / name, every, results[name]) for name in names), (), ())
    matched = match_masks(names, {name: name for name in found})
    jobs = tuple(
        Job(name, photos / name, tuple(masks / mask for mask in matched.masks[name]), results[name])
        for name in names
        if matched.masks.get(name)
    )
    if not jobs:
        raise SourceError(
            f"no mask in {masks} has the name of a photo in {photos}: expected NAME.png, NAME_mask.png, NAME_0.png or "
            f"NAME/*.png for the photo NAME.jpg; found {counted(len(names), 'photo')} and {counted(len(found), 'mask')}, for "
            f"example {shown(names[0])} and {shown(found[0]) if found else 'none'}"
        )
    without = tuple(name for name in names if not matched.masks.get(name))
    return Plan(jobs, without, tuple(matched.alone))


def _photos_and_masks(photos: Path, masks: Path | None, out: Path) -> tuple[list[str], list[str]]:
    """The names of the photos and of the masks, each below its folder."""
    names = _outside(photos, out)
    if masks is None:
        return names, []
    if not masks.is_dir():
        here, mask = photos.resolve(), masks.resolve()
        return [name for name in names if here / name != mask], []
    if masks.resolve() == photos.resolve():
        stems = {stem_of(name) for name in names}
        beside = {name for name in names if is_mask_beside(name, stems)}
        return [name for name in names if name not in beside], sorted(beside)
    return [name for name in names if name in set(_outside(photos, masks))], _outside(masks, out)


def _outside(folder: Path, other: Path) -> list[str]:
    """The pictures in a folder that are not below the other folder, unless that contains the folder itself."""
    here, there = folder.resolve(), other.resolve()
    found = pictures_under(folder)
    if here.is_relative_to(there):
        return found
    return [name for name in found if not (here / name).is_relative_to(there)]


def check_results(photos: Path, masks: Path | None, plan: Plan, written: Written) -> None:
    """Raise an error if a result would replace a photo, a mask, or a file that is not known to be a result.

    Files in a folder with a record are taken for results of this command.

    Args:
        photos: See `plan_folder`.
        masks: See `plan_folder`.
        plan: What is to be done.
        written: What is written.
    """
    inputs = [photos / name for name in plan.without]
    inputs += [masks / name for name in plan.alone] if masks is not None else []
    inputs += [path for job in plan.jobs for path in (job.photo, *job.masks)]
    targets = [written.out / PAGE] if len(written.methods) > 1 else []
    for job in plan.jobs:
        if len(written.methods) > 1:
            targets += view_paths(written.out, str(job.result.with_suffix("")))
        for method in written.methods:
            result = result_path(written.out, job, method, written.methods)
            targets += [result, effects_path(result)] if written.effects else [result]
    check_targets(targets, inputs, written.force or (written.out / RECORD).is_file())


def check_settings(out: Path, settings: Mapping[str, Any], force: bool) -> None:
    """Record the settings with the results, or compare them with those of results that are there.

    Raises:
        OutputError: If the results in `out` were made with other settings, and `force` is not given.
    """
    path = out / RECORD
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is no file: give another --out")
    wanted: dict[str, Any] = json.loads(json.dumps(settings))
    if path.is_file() and not force:
        try:
            there = parse_json(read_input(path), path, SourceError)
        except SourceError as error:
            raise OutputError(
                f"{path} cannot be read: give another --out, or --force to make all results anew"
            ) from error
        differing = [key for key in wanted if not isinstance(there, dict) or there.get(key) != wanted[key]]
        if differing:
            key = differing[0]
            was = there.get(key) if isinstance(there, dict) else None
            raise OutputError(
                f"the results in {out} were made with {key} = {printable(json.dumps(was))}, now it is "
                f"{printable(json.dumps(wanted[key]))}: give another --out, or --force to make all results anew"
            )
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(path, to_json(wanted))


def left_to_do(jobs: Sequence[Job], methods: Sequence[str], out: Path) -> list[tuple[Job, tuple[str, ...]]]:
    """The jobs, each with the methods whose results are not there.

    A result is written whole, so that its name means that it is done.
    """
    lacking = [(job, tuple(m for m in methods if not result_path(out, job, m, methods).is_file())) for job in jobs]
    return [(job, names) for job, names in lacking if names]


def remove_results(jobs: Sequence[Job], methods: Sequence[str], out: Path) -> None:
    """Remove the results that are to be made anew, before the first is: what is there afterwards is new."""
    for job in jobs:
        for method in methods:
            result_path(out, job, method, methods).unlink(missing_ok=True)


def result_path(out: Path, job: Job, method: str, methods: Sequence[str]) -> Path:
    """Where a result is written: below a folder per method if there are several."""
    return (out / method if len(methods) > 1 else out) / job.result
