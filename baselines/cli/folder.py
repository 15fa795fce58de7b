"""`olrd-erase` on a folder of photos: it goes on where it stopped, and a photo that fails costs one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from baselines.checked import CheckedEraser
from baselines.cli.inputs import Openers, read_inputs
from baselines.cli.single import write_result
from baselines.eraser import WeightsMissingError, WeightsUnusableError
from baselines.photos.erasing import erase_photo, wanted
from baselines.photos.folders import (
    Job,
    Plan,
    Written,
    check_results,
    check_settings,
    left_to_do,
    plan_folder,
    remove_results,
    result_path,
)
from baselines.photos.objects import ObjectFinder
from olrd.cli.shell import emit
from olrd.errors import MissingExtraError, OlrdError, OutputError, SourceError, UsageError
from olrd.progress import progress_bar, say
from olrd.trust import counted, one_line, printable

STOPS = (WeightsMissingError, WeightsUnusableError, MissingExtraError, OutputError)
"""Errors that every photo would have."""


def erase_folder(args: argparse.Namespace, openers: Callable[[argparse.Namespace], Openers]) -> int:
    """Erase from every photo of a folder."""
    if len(args.masks) > 1:
        raise UsageError(f"expected one MASK, a file or a folder, for a folder of photos; got {len(args.masks)}")
    if args.panoptic is not None:
        raise UsageError("--panoptic is the map of one photo; for a folder, give masks, or --object with Mask2Former")
    masks = args.masks[0] if args.masks else None
    if masks is not None and not masks.exists():
        raise SourceError(f"{masks} does not exist")
    out = args.out or Path("clean")
    if out.is_file():
        raise OutputError(f"{out} is a file: expected a folder for the results")
    if out.resolve() in (args.photo.resolve(), masks.resolve() if masks else None):
        raise UsageError(f"{out} is the folder of the photos or masks: give another --out, so that they are kept")
    if args.limit is not None and args.limit < 1:
        raise UsageError(f"--limit is a number of photos from 1, got {args.limit}")
    plan = plan_folder(args.photo, masks, out, args.format)
    _say_plan(plan)
    jobs = plan.jobs[: args.limit] if args.limit is not None else plan.jobs
    if args.dry_run:
        lines = [
            f"{job.name}: {', '.join(map(str, job.masks)) or ', '.join(args.object)} -> {job.result}" for job in jobs
        ]
        emit([job.name for job in jobs], "\n".join(map(printable, lines)), args.json)
        return 0
    erasers = {name: opened() for name, opened in openers(args).items()}
    written = Written(out, list(erasers), args.effects != "off", args.force)
    check_results(args.photo, masks, plan, written)
    if args.force:
        remove_results(jobs, list(erasers), out)
    check_settings(out, _settings(args, erasers), args.force)
    return _run(args, plan, jobs, out, erasers)


def _run(
    args: argparse.Namespace, plan: Plan, jobs: tuple[Job, ...], out: Path, erasers: dict[str, CheckedEraser]
) -> int:
    methods, total = list(erasers), len(jobs) * len(erasers)
    todo = left_to_do(jobs, methods, out)
    done = total - sum(len(names) for _, names in todo)
    if done:
        say(f"{done:,} of {counted(total, 'result')} {'is' if done == 1 else 'are'} there already")
    failures: dict[str, str] = {}
    erased = 0
    finder = ObjectFinder(args.device)
    with progress_bar("erasing", total, "photo", initial=done) as bar:
        for job, names in todo:
            outs = {name: (erasers[name], result_path(out, job, name, methods)) for name in names}
            try:
                _erase(args, job, outs, finder, out if len(methods) > 1 else None)
                erased += len(outs)
            except STOPS:
                raise
            except OlrdError as error:
                failures[job.name] = one_line(str(error))
                bar.clear()
                say(printable(f"failed: {job.name}: {failures[job.name]}"))
            bar.update(len(outs))
    result: dict[str, Any] = {
        "out": str(out),
        "erased": erased,
        "there_already": done,
        "failed": failures,
        "without_mask": list(plan.without),
        "masks_without_photo": list(plan.alone),
    }
    if len(methods) > 1 and (page := _page(out, jobs, methods, failures)) is not None:
        result["page"] = str(page)
    text = f"erased: {erased:,}, there already: {done:,}, failed: {len(failures):,}; results in {out}"
    emit(result, text, args.json)
    return 1 if failures else 0


def _erase(
    args: argparse.Namespace,
    job: Job,
    outs: Mapping[str, tuple[CheckedEraser, Path]],
    finder: ObjectFinder,
    view: Path | None,
) -> None:
    """Erase one photo.

    Args:
        args: The arguments of `olrd-erase`.
        job: The photo.
        outs: For each method the eraser and the result.
        finder: Finds objects by name.
        view: Folder of the comparison page, or None if there is none.
    """
    inputs = read_inputs(args, job.photo, job.masks, finder, job.name)
    for line in inputs.said:
        if not line.startswith(("mask", "objects")):
            say(printable(line))
    what = wanted(inputs.photo.pixels, inputs.mask, args.grow, args.effects)
    if view is not None:
        from baselines.photos.compared import keep_view

        keep_view(view, str(job.result.with_suffix("")), inputs.photo.pixels, what)
    for eraser, out in outs.values():
        out.parent.mkdir(parents=True, exist_ok=True)
        write_result(out, inputs, what, erase_photo(inputs.photo.pixels, what, eraser, inputs.hints), args.quality)


def _page(out: Path, jobs: Sequence[Job], methods: Sequence[str], failures: Mapping[str, str]) -> Path | None:
    """Write the page that compares the methods. A result that is missing is shown with the reason.

    None if no photo could be read: there is nothing to show.
    """
    from baselines.photos.compared import Compared, view_paths, write_comparison
    from baselines.photos.page import Shown

    photos = []
    for job in jobs:
        shown = []
        for method in methods:
            path = result_path(out, job, method, methods)
            file = quote(path.relative_to(out).as_posix()) if path.is_file() else ""
            shown.append(Shown(method, file, None, "" if file else failures.get(job.name, "not erased yet")))
        photos.append(Compared(job.name, str(job.result.with_suffix("")), tuple(shown)))
    kept = any(view_paths(out, photo.stem).place.is_file() for photo in photos)
    return write_comparison(out, photos) if kept else None


def _settings(args: argparse.Namespace, erasers: dict[str, CheckedEraser]) -> dict[str, Any]:
    """What decides how a result looks. Folders are not among them: they may move."""
    return {
        "methods": {
            name: {"revision": eraser.info.revision, "options": dict(eraser.info.options or {})}
            for name, eraser in erasers.items()
        },
        "grow": args.grow,
        "effects": args.effects,
        "objects": args.object,
        "mask_from": args.mask_from,
        "invert": args.invert,
        "prompt": args.prompt,
        "seed": args.seed,
        "format": args.format,
        "quality": args.quality if args.format == "jpg" else None,
    }


def _say_plan(plan: Plan) -> None:
    if plan.without:
        say(printable(f"photos without a mask, which are left out: {len(plan.without):,} (first: {plan.without[0]})"))
    if plan.alone:
        say(printable(f"masks without a photo, which are left out: {len(plan.alone):,} (first: {plan.alone[0]})"))
