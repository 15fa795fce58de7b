"""`olrd-erase` on one photo."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from baselines.checked import CheckedEraser
from baselines.cli.inputs import Inputs, Openers, read_inputs
from baselines.photos.compared import PAGE, view_paths
from baselines.photos.erasing import Erased, Wanted, erase_photo, wanted
from baselines.photos.files import check_out, read_photo, write_photo
from baselines.photos.objects import ObjectFinder, listing, map_from_files, things_of
from baselines.photos.targets import check_targets, effects_path
from olrd.arrays import encode_mask
from olrd.cli.shell import emit
from olrd.errors import OutputError, UsageError
from olrd.progress import say
from olrd.storage.files import write_atomic
from olrd.trust import counted


def list_objects(args: argparse.Namespace) -> int:
    """`--object` without a name: print the photo's objects."""
    if args.photo.is_dir():
        raise UsageError("--object without a name lists the objects of one photo, not of a folder")
    photo = read_photo(args.photo, args.max_pixels)
    given = args.panoptic is not None
    mapped = (
        map_from_files(args.panoptic, args.segments, photo.size)
        if given
        else ObjectFinder(args.device).map_of(photo.pixels)
    )
    things = [{"name": t.name, "share": round(t.share, 4), "box": list(t.box)} for t in things_of(mapped)]
    emit(things, listing(mapped), args.json)
    return 0


def erase_single(args: argparse.Namespace, openers: Callable[[argparse.Namespace], Openers]) -> int:
    """Erase from one photo with one eraser, or with several for comparison."""
    if args.limit is not None:
        raise UsageError("--limit is for folders of photos")
    several = len(set(getattr(args, "method", ()))) > 1
    out = args.out or (Path("clean") if several else Path(f"{args.photo.stem}-clean.png"))
    read = [path for path in (args.photo, *args.masks, args.panoptic, args.segments) if path is not None]
    if several:
        if out.is_file():
            raise OutputError(f"{out} is a file: several methods need a folder as --out")
        names = list(dict.fromkeys(args.method))
        results = [out / f"{name}.{args.format}" for name in names]
        check_targets([out / PAGE, *view_paths(out, "photo"), *results, *_effects(args, results)], read, args.force)
    else:
        check_out(out, args.force, read)
        check_targets(_effects(args, [out]), read, args.force)
    erasers = {} if args.dry_run else {name: opened() for name, opened in openers(args).items()}
    inputs = read_inputs(args, args.photo, args.masks, ObjectFinder(args.device))
    what = wanted(inputs.photo.pixels, inputs.mask, args.grow, args.effects)
    for line in (*inputs.said, *_about(what)):
        say(line)
    if args.dry_run:
        emit({"path": str(out), "pixels": int(what.hole.sum())}, f"{out} would be written", args.json)
        return 0
    if several:
        return _compared(args, out, inputs, what, erasers)
    ((name, eraser),) = erasers.items()
    erased = erase_photo(inputs.photo.pixels, what, eraser, inputs.hints)
    result = write_result(out, inputs, what, erased, args.quality)
    if args.out is None:
        say(f"no --out: the result is {out}")
    result |= {"method": name, "revision": eraser.info.revision, "seed": args.seed}
    if eraser.info.options and "model" in eraser.info.options:
        result["model"] = eraser.info.options["model"]
    emit(result, str(out), args.json)
    return 0


def _effects(args: argparse.Namespace, results: Sequence[Path]) -> list[Path]:
    """The files of the effects that are written beside the results, if there are any."""
    return [effects_path(result) for result in results] if args.effects != "off" else []


def write_result(out: Path, inputs: Inputs, what: Wanted, erased: Erased, quality: int) -> dict[str, Any]:
    """Write a result, and its effects beside it. Returns what is known of it."""
    width, height = inputs.photo.size
    written = write_photo(out, inputs.photo.with_fill(erased.pixels, what.hole), inputs.photo, quality)
    for line in written.said:
        say(f"{out}: {line}")
    if erased.warning:
        say(f"warning: {out}: {erased.warning}")
    result: dict[str, Any] = {
        "path": str(out),
        "width": width,
        "height": height,
        "grow": what.growth,
        "seconds": round(erased.seconds, 2),
    }
    if what.effects is not None and what.effects.mask.any():
        beside = effects_path(out)
        write_atomic(beside, encode_mask(what.effects.mask))
        result["effects"] = str(beside)
    return result


def _about(what: Wanted) -> list[str]:
    """What is erased beyond the mask, in words."""
    said = [f"the mask grows by {counted(what.growth, 'pixel')} (--grow)"] if what.growth else []
    if what.effects is not None:
        found = [
            f"{name} ({100 * float(mask.mean()):.1f} % of the photo)"
            for name, mask in (("a shadow", what.effects.shadow), ("a reflection", what.effects.reflection))
            if mask.any()
        ]
        said.append(f"effects: {' and '.join(found) if found else 'none found'}")
    return said


def _compared(
    args: argparse.Namespace, out: Path, inputs: Inputs, what: Wanted, erasers: dict[str, CheckedEraser]
) -> int:
    """Erase with several erasers and write a page that compares them."""
    from baselines.photos.compared import Compared, keep_view, write_comparison
    from baselines.photos.page import Shown

    results: dict[str, Any] = {}
    out.mkdir(parents=True, exist_ok=True)
    keep_view(out, "photo", inputs.photo.pixels, what)
    shown: list[Shown] = []
    for name, eraser in erasers.items():
        path = out / f"{name}.{args.format}"
        erased = erase_photo(inputs.photo.pixels, what, eraser, inputs.hints)
        results[name] = write_result(path, inputs, what, erased, args.quality) | {"revision": eraser.info.revision}
        shown.append(Shown(name, quote(path.name), erased.seconds, erased.warning or ""))
        say(f"{name}: {erased.seconds:.1f} s")
    page = write_comparison(out, [Compared(args.photo.name, "photo", tuple(shown))])
    emit({"page": str(page), "results": results, "seed": args.seed}, str(page), args.json)
    return 0
