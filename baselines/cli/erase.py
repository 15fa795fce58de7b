"""`olrd-erase`: erase objects from photos with any eraser. `magiceraser erase` is the same with its method fixed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import olrd
from olrd.arrays import MAX_PIXELS
from olrd.cli.shell import add_device, add_json, guarded, help_text
from olrd.errors import SourceError, UsageError

if TYPE_CHECKING:
    from baselines.cli.inputs import Openers

FORMATS = ("png", "webp", "jpg")
HELP = """\
PHOTO and MASK are files or folders. With folders, objects are erased from every photo with the masks of the same name, and
results that already exist are kept. Without a mask, --object names what to erase."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command = argparse.ArgumentParser(
        prog="olrd-erase",
        description="Erase objects from photos. Nothing is downloaded.",
        **help_text(
            "olrd-erase photo.jpg mask.png -o clean.png\n"
            "  olrd-erase photo.jpg --object person --panoptic map.png --segments map.json -o clean.png\n"
            "  olrd-erase PHOTOS/ MASKS/ --out CLEAN/ --method lama\n"
            "  olrd-erase photo.jpg mask.png --method patchmatch --method opencv-telea --out compared/",
            HELP,
        ),
    )
    command.add_argument("--version", action="version", version=f"olrd-erase {olrd.__version__}")
    add_json(command)
    command.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="NAME",
        help="eraser, see `benchmark list`; repeat it to get a page that compares several (default: the best that is ready)",
    )
    command.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the eraser; NAME.KEY=VALUE with several erasers; repeatable",
    )
    command.add_argument("--app", action="store_true", help="open a page in the browser instead (extra `app`)")
    command.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="address of --app (default %(default)s)"
    )
    command.add_argument("--port", type=int, default=7860, metavar="N", help="port of --app (default %(default)s)")
    add_erase_options(command)
    add_device(command)
    return command


def add_erase_options(command: argparse.ArgumentParser) -> None:
    """Add what `olrd-erase` and `magiceraser erase` have in common."""
    command.add_argument(
        "photo", type=Path, nargs="?", metavar="PHOTO", help="photo (JPEG, PNG, WebP, TIFF, BMP) or folder"
    )
    command.add_argument(
        "masks",
        type=Path,
        nargs="*",
        metavar="MASK",
        help="mask with the photo's aspect ratio, white = erase; several are united",
    )
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="OUT",
        help="result file (.png or .webp, both lossless, or .jpg), or folder for several (default: PHOTO-clean.png, clean/)",
    )
    command.add_argument("--force", action="store_true", help="overwrite results")
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of random numbers (default %(default)s)"
    )
    command.add_argument("--prompt", metavar="TEXT", help="description of the background, for erasers that use one")
    mask = command.add_argument_group("what is erased")
    mask.add_argument(
        "--grow",
        type=int,
        metavar="PX",
        help="grow the mask by this many pixels and fade into the photo there; 0 is exact (default: 4 %% of the object's size)",
    )
    mask.add_argument(
        "--effects",
        nargs="?",
        const="show",
        default="off",
        choices=("off", "show", "erase"),
        help="look for the object's shadow and reflection: show writes them as a mask beside OUT, erase also erases them",
    )
    mask.add_argument(
        "--mask-from",
        metavar="PART",
        help="what to read in MASK: alpha, luminance or index:N (default: the part that varies)",
    )
    mask.add_argument("--invert", action="store_true", help="erase what is black, or not marked")
    objects = command.add_argument_group("objects by name")
    objects.add_argument(
        "--object",
        nargs="?",
        const="",
        action="append",
        default=[],
        metavar="NAME",
        help="erase all objects of a class (person) or one of them (person:2); without NAME, list the objects; repeatable",
    )
    objects.add_argument("--panoptic", type=Path, metavar="PNG", help="the photo's panoptic map, in COCO's format")
    objects.add_argument("--segments", type=Path, metavar="JSON", help="the map's segments and their categories")
    objects.add_argument("--erased", metavar="CLASS", help="class of the erased object, for erasers that use the map")
    mask.add_argument(
        "--max-pixels",
        type=int,
        default=MAX_PIXELS,
        metavar="N",
        help="refuse photos and masks with more pixels (default %(default)s)",
    )
    many = command.add_argument_group("many photos")
    many.add_argument(
        "--format", choices=FORMATS, default="png", help="format of the results in a folder (default %(default)s)"
    )
    many.add_argument(
        "--quality", type=int, default=95, metavar="N", help="quality of JPEG results, 1 to 100 (default %(default)s)"
    )
    many.add_argument("--limit", type=int, metavar="N", help="erase only the first N photos")
    many.add_argument("--dry-run", action="store_true", help="print what would be done and write nothing")


def erasers_of(args: argparse.Namespace) -> Openers:
    """The erasers that `--method` and `--option` name, or the best that is ready."""
    from baselines.photos.choosing import best_ready
    from baselines.registry import open_eraser
    from olrd.options import key_values
    from olrd.progress import say

    methods = list(dict.fromkeys(args.method))
    if not methods:
        choice = best_ready()
        say(choice.why)
        methods = [choice.name]
    given = {method: dict[str, str]() for method in methods}
    for key, value in key_values("--option", args.option).items():
        method, dot, rest = key.partition(".")
        if len(methods) == 1 and not (dot and method in given):
            method, rest = methods[0], key
        elif not dot or method not in given:
            raise UsageError(
                f"--option {key}: with several methods, expected NAME.KEY=VALUE with one of the names {', '.join(methods)}"
            )
        given[method][rest] = value
    return {
        method: lambda method=method: open_eraser(method, given[method], args.device, args.seed)  # type: ignore[misc]
        for method in methods
    }


def run_erase(args: argparse.Namespace, openers: Callable[[argparse.Namespace], Openers]) -> int:
    """Erase what the arguments ask for. openers: gives the erasers; it is not called for a listing or a dry run."""
    from baselines.cli.folder import erase_folder
    from baselines.cli.single import erase_single, list_objects

    if args.photo is None:
        raise UsageError("expected PHOTO, a photo or a folder of photos; see --help")
    if (args.panoptic is None) != (args.segments is None):
        raise UsageError("--panoptic and --segments go together: the map, and what its ids are")
    if args.object and args.masks:
        raise UsageError("give a MASK or --object, not both: each says what is erased")
    if not args.photo.exists():
        raise SourceError(f"{args.photo} does not exist")
    if not 1 <= args.quality <= 100:
        raise UsageError(f"--quality is a number from 1 to 100, got {args.quality}")
    if args.max_pixels < 1:
        raise UsageError(f"--max-pixels is a number of pixels from 1, got {args.max_pixels}")
    if "" in args.object:
        return list_objects(args)
    if not args.masks and not args.object:
        raise UsageError(
            "nothing says what is erased: give a MASK, or --object NAME (--object alone lists the objects)"
        )
    return (erase_folder if args.photo.is_dir() else erase_single)(args, openers)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""

    def run() -> int:
        args = parser().parse_args(argv)
        if args.app:
            from baselines.app import serve

            return serve(args.host, args.port, args.device)
        return run_erase(args, erasers_of)

    return guarded(run)


if __name__ == "__main__":
    raise SystemExit(main())
