"""`magiceraser`: erase an object from a photo, train the method, run its ablation."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import olrd
from magiceraser_ref.cli.options import add_ablate_options, add_train_options, configs_from, whole_numbers
from olrd.cli.shell import emit, guarded
from olrd.errors import UsageError

LIBRARIES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors")
SUFFIXES = (".png", ".webp")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="magiceraser",
        description="MagicEraser (ECCV 2024), reimplemented: erase objects from photos, train, ablate.",
    )
    top.add_argument("--version", action="version", version=f"magiceraser {olrd.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=run)
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        return command

    _add_erase_options(add("erase", run_erase, "Fill the masked part of a photo with background."))
    train = add("train", run_train, "Train LoRA and the token R*; the same command again goes on.")
    add_train_options(train)
    add_ablate_options(add("ablate", run_ablate, "The paper's ablation, as commands or as a table."))
    return top


def _add_erase_options(erase: argparse.ArgumentParser) -> None:
    erase.add_argument("photo", type=Path, metavar="PHOTO", help="JPEG, PNG or WebP, 8-bit")
    erase.add_argument("mask", type=Path, metavar="MASK", help="of the photo's size; white = erase")
    erase.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help="the picture to write: .png or .webp, both lossless",
    )
    erase.add_argument("--force", action="store_true", help="overwrite OUT")
    erase.add_argument("--panoptic", type=Path, metavar="PNG", help="the photo's panoptic map (COCO)")
    erase.add_argument("--segments", type=Path, metavar="JSON", help="what the map's ids are")
    erase.add_argument("--segmenter", metavar="NAME", help="mask2former or none, without a map")
    erase.add_argument("--erased", metavar="CLASS", help="the object's class, e.g. person")
    erase.add_argument("--prompt", help="of the background, e.g. 'A photo of R* grass' (default: from the map)")
    erase.add_argument(
        "--model",
        default="",
        metavar="MODEL",
        help="a folder, or a hub id in the hub's cache (default: the shipped one)",
    )
    erase.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    for name, text in (
        ("revision", "of a hub id"),
        ("initializer", "the eraser that fills the hole first"),
        ("steps", "sampling steps"),
        ("guidance", "strength of the prompt"),
        ("strength", "where denoising starts, 0.9 in the paper"),
        ("negative", "negative prompt"),
        ("dilate", "pixels by which the first filling is larger"),
        ("dtype", "of the networks"),
    ):
        erase.add_argument(f"--{name}", default="", metavar="X", help=f"{text} (default: the model's)")
    for name, text in (
        ("content", "start from noise, not from a filled hole"),
        ("refocus", "ordinary attention"),
        ("token", "prompts without R*"),
        ("composite", "the model's own pixels outside the mask too"),
    ):
        erase.add_argument(f"--no-{name}", action="store_true", help=text)
    erase.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default auto)")


def run_erase(args: argparse.Namespace) -> int:
    """`magiceraser erase`."""
    from magiceraser_ref.cli.erase_files import check_out, open_inputs, write_picture

    check_out(args.out, args.force, SUFFIXES)
    if (args.panoptic is None) != (args.segments is None):
        raise UsageError("--panoptic and --segments go together: the map, and what its ids are")
    if args.segmenter not in (None, "mask2former", "none"):
        raise UsageError(f"--segmenter is mask2former or none, not '{args.segmenter}'")
    inputs = open_inputs(args.photo, args.mask, args.panoptic, args.segments, args.erased, args.prompt)

    from baselines.eraser import EraserSpec
    from magiceraser_ref.eraser import NAME, open_magiceraser

    given = ("model", "revision", "initializer", "steps", "guidance", "strength", "negative", "dilate", "dtype")
    options = {name: value for name in given if (value := getattr(args, name))}
    options |= {n: "off" for n in ("content", "refocus", "token", "composite") if getattr(args, f"no_{n}")}
    options["segmenter"] = args.segmenter or "given"
    eraser = open_magiceraser(EraserSpec(NAME, options, args.device, args.seed), progress=True)
    began = time.perf_counter()
    (clean,) = eraser.erase([inputs.photo.pixels], [inputs.mask], [inputs.hints])
    seconds = time.perf_counter() - began
    write_picture(args.out, clean, inputs.photo.icc)
    height, width = inputs.mask.shape
    result = {
        "path": str(args.out),
        "width": width,
        "height": height,
        "seed": args.seed,
        "model": eraser.info.options["model"] if eraser.info.options else "",
        "revision": eraser.info.revision,
        "seconds": round(seconds, 2),
    }
    emit(result, str(args.out), args.json)
    return 0


def run_train(args: argparse.Namespace) -> int:
    """`magiceraser train`; with several devices: `accelerate launch -m magiceraser_ref.cli.main train ...`."""
    from magiceraser_ref.extras import need

    for library in LIBRARIES:
        need(library, "magiceraser train")
    from magiceraser_ref.model.locate import locate, native_side
    from magiceraser_ref.training.files import estimated, trained

    base = (args.base, args.revision)
    located = locate(*base)
    own = located.settings.resolution if located.settings else native_side(located.base)
    config, running = configs_from(args, own)
    chosen = (args.triplets, args.split, args.validation_split, args.photos)
    if args.dry_run:
        from magiceraser_ref.training.estimate import estimate_text

        found = estimated(base, chosen, config, running)
        emit(found, estimate_text(found), args.json)
        return 0
    result = trained(base, chosen, config, running, args.out)
    if int(os.environ.get("RANK", "0")) == 0:
        emit(result, _train_text(result, args.out), args.json)
    return 0


def _train_text(result: dict[str, Any], out: Path) -> str:
    if "stopped_at" in result:
        return f"stopped at step {result['stopped_at']} of {result['steps']}; the same command goes on"
    fixed = result["fixed_loss"]
    return (
        f"{result['steps']} steps; loss on the fixed batch {fixed['before']:.4f} -> {fixed['after']:.4f}\n"
        f"{out / result['model']}"
    )


def run_ablate(args: argparse.Namespace) -> int:
    """`magiceraser ablate`."""
    from magiceraser_ref.ablation.rows import Ablation, plan
    from magiceraser_ref.ablation.run import as_markdown, rows_text, run_ablation, write_table
    from olrd.options import key_values

    options = key_values("--train-option", args.train_option).items()
    ablation = Ablation(
        args.base,
        args.triplets,
        args.photos,
        args.root,
        args.split,
        args.rows,
        whole_numbers("--seeds", args.seeds),
        args.train_seeds,
        args.protocol,
        args.limit,
        args.device,
        key_values("--weights", args.weights),
        tuple(word for key, value in options for word in (f"--{key.replace('_', '-')}", value)),
        key_values("--method-option", args.method_option),
        key_values("--data-option", args.data_option),
    )
    if args.run or args.collect:
        table = (run_ablation if args.run else write_table)(ablation, args.out, args.score)
        emit(table, as_markdown(table), args.json)
        return 0
    commands = [command.shown() for command in plan(ablation, args.out)]
    lines = [json.dumps(command) for command in commands]
    emit(commands, "\n".join([rows_text(ablation.chosen), "", *lines]), args.json)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    return guarded(lambda: int((args := parser().parse_args(argv)).function(args)))


if __name__ == "__main__":
    raise SystemExit(main())
