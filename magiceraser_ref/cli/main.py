"""`magiceraser`: erase an object from a photo, train the method, run its ablation."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import olrd
from olrd.cli.shell import add_device, add_json, emit, guarded, help_text
from olrd.errors import UsageError
from olrd.options import add_options, from_arguments
from olrd.trust import counted

LIBRARIES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="magiceraser",
        description="MagicEraser (ECCV 2024), reimplemented: erase objects from photos, train, ablate.",
        **help_text("magiceraser erase photo.jpg mask.png --out clean.png"),
    )
    top.add_argument("--version", action="version", version=f"magiceraser {olrd.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Any, text: str, example: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, **help_text(example))
        command.set_defaults(function=run)
        add_json(command)
        return command

    add_erase_options(
        add(
            "erase",
            run_erase,
            "Fill the masked part of a photo with background.",
            "magiceraser erase photo.jpg mask.png --out clean.png --prompt 'A photo of R* grass'",
        )
    )
    add_train_options(
        add(
            "train",
            run_train,
            "Train a LoRA and the token R*. The same command continues an interrupted training run.",
            "magiceraser train --triplets triplets/coco --base stable-diffusion-v1-5/stable-diffusion-inpainting "
            "--out trained",
        )
    )
    add_export_options(
        add(
            "export-lora",
            run_export,
            "Write the LoRA and the token of a model as files for ComfyUI, A1111 or diffusers.",
            "magiceraser export-lora trained/model --out magiceraser.safetensors",
        )
    )
    add_ablate_options(
        add(
            "ablate",
            run_ablate,
            "Print the commands of the paper's ablation, run them, or print its table.",
            "magiceraser ablate --rows free --out ablation --run",
        )
    )
    return top


def add_erase_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `magiceraser erase`: those of `olrd-erase`, the model's and the method's."""
    from baselines.cli.erase import add_erase_options as add_common_options
    from magiceraser_ref.erase.choices import Choices
    from magiceraser_ref.eraser import EraserOptions

    add_common_options(command)
    add_device(command)
    command.add_argument(
        "--segmenter", metavar="NAME", help="segmenter to use if there is no map: mask2former or none (default: none)"
    )
    model = command.add_argument_group("the model")
    # Given above in another form (a text, a switch), or without use for one photo.
    add_options(model, EraserOptions, leave_out=("--prompt", "--segmenter", "--refocus", "--batch"))
    method = command.add_argument_group("the method")
    method.add_argument(
        "--no-refocus", action="store_const", const="off", dest="refocus", help="use ordinary attention"
    )
    add_options(method, Choices)


def run_erase(args: argparse.Namespace) -> int:
    """`magiceraser erase`."""
    from baselines.cli.erase import run_erase as run

    if args.segmenter not in (None, "mask2former", "none"):
        raise UsageError(f"--segmenter is mask2former or none, not '{args.segmenter}'")
    return run(args, erasers_of)


def erasers_of(args: argparse.Namespace) -> Mapping[str, Callable[[], Any]]:
    """The eraser `magiceraser` with the options that the arguments give."""
    from baselines.checked import CheckedEraser
    from baselines.eraser import EraserSpec
    from magiceraser_ref.eraser import NAME, open_magiceraser

    one = args.photo.is_file()  # a folder has its progress bar
    spec = EraserSpec(NAME, eraser_options(args), args.device, args.seed)
    return {NAME: lambda: CheckedEraser(open_magiceraser(spec, progress=one))}


def eraser_options(args: argparse.Namespace) -> dict[str, str]:
    """Return the options of the eraser that the arguments give, as texts."""
    from magiceraser_ref.eraser import BOUNDS

    given = {name: value for name in BOUNDS if name != "prompt" and (value := vars(args).get(name)) is not None}
    return {name: value if isinstance(value, str) else "on" if value else "off" for name, value in given.items()}


def add_train_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `magiceraser train`."""
    from magiceraser_ref.training.config import INPUTS, RUNNING, Running, TrainConfig, TrainingInputs

    add_options(command, TrainingInputs)
    add_options(command, TrainConfig)
    add_options(command, Running)
    groups = {group.title: group for group in command._action_groups}
    groups[INPUTS].add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the training run")
    groups[RUNNING].add_argument(
        "--dry-run", action="store_true", help="print parameters, steps and memory of the training, and write nothing"
    )


def run_train(args: argparse.Namespace) -> int:
    """`magiceraser train`; with several devices: `accelerate launch -m magiceraser_ref.cli.main train ...`."""
    from magiceraser_ref.extras import need
    from magiceraser_ref.training.config import Running, TrainConfig, TrainingInputs

    for library in LIBRARIES:
        need(library, "magiceraser train")
    from magiceraser_ref.model.locate import locate, native_side
    from magiceraser_ref.training.command import estimated, trained

    inputs = from_arguments(TrainingInputs, args)
    config, running = from_arguments(TrainConfig, args), from_arguments(Running, args)
    if "resolution" not in args:
        located = locate(inputs.base, inputs.revision)
        own = located.settings.resolution if located.settings else native_side(located.base)
        config = replace(config, resolution=own)
    if args.dry_run:
        from magiceraser_ref.training.estimate import estimate_text

        found = estimated(inputs, config, running)
        emit(found, estimate_text(found), args.json)
        return 0
    result = trained(inputs, config, running, args.out)
    if int(os.environ.get("RANK", "0")) == 0:
        emit(result, _train_text(result, args.out), args.json)
    return 0


def _train_text(result: dict[str, Any], out: Path) -> str:
    if "stopped_at" in result:
        return f"stopped at step {result['stopped_at']} of {result['steps']}; the same command continues"
    fixed = result["fixed_loss"]
    return (
        f"{counted(result['steps'], 'step')}; loss on the fixed batch {fixed['before']:.4f} -> {fixed['after']:.4f}\n"
        f"{out / result['model']}"
    )


def add_export_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `magiceraser export-lora`."""
    from magiceraser_ref.model.lora import FORMATS

    command.add_argument("model", metavar="MODEL", help="small, a folder, or the id of a model in the Hub's cache")
    command.add_argument("--revision", metavar="COMMIT", help="commit of a model from the hub")
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="file of the LoRA, X.safetensors; the token is written to X-token.safetensors",
    )
    command.add_argument(
        "--format", default=FORMATS[0], metavar="NAME", help="kohya (ComfyUI, A1111) or diffusers (default %(default)s)"
    )
    command.add_argument("--force", action="store_true", help="overwrite the files")


def run_export(args: argparse.Namespace) -> int:
    """`magiceraser export-lora`."""
    from baselines.photos.files import check_writable
    from magiceraser_ref.extras import need
    from magiceraser_ref.model.lora_export import export_lora, token_file

    for library in ("torch", "safetensors", "peft"):
        need(library, "magiceraser export-lora")
    for path in (args.out, token_file(args.out)):
        check_writable(path, args.force)
    found = export_lora(args.model, args.out, args.format, args.revision)
    files = [path for path in (found.lora, found.token) if path is not None]
    result = {
        "format": args.format,
        "lora": str(found.lora),
        "token": None if found.token is None else str(found.token),
        "word": found.word,
    }
    said = [] if found.word is None else [f"the token in prompts: {found.word}"]
    emit(result, "\n".join([*map(str, files), *said]), args.json)
    return 0


def add_ablate_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `magiceraser ablate`."""
    from magiceraser_ref.ablation.rows import Ablation

    what = command.add_mutually_exclusive_group()
    what.add_argument("--plan", action="store_true", help="print every command and whether it has finished (default)")
    what.add_argument("--run", action="store_true", help="run them, then write the table")
    what.add_argument("--collect", action="store_true", help="write the table of finished runs")
    command.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder of training runs, benchmark runs and the table"
    )
    add_options(command, Ablation)
    command.add_argument(
        "--score",
        action="append",
        default=[],
        metavar="COLUMN",
        help="column of the table, e.g. psnr/mask/raw; repeatable",
    )


def run_ablate(args: argparse.Namespace) -> int:
    """`magiceraser ablate`."""
    from magiceraser_ref.ablation.rows import Ablation, plan
    from magiceraser_ref.ablation.run import as_markdown, rows_text, run_ablation, write_table

    ablation = from_arguments(Ablation, args)
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
