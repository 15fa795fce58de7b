"""The options of `magiceraser train` and `magiceraser ablate` as data. Imports no torch."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from magiceraser_ref.training.config import FORMS, PRECISIONS, Running, TrainConfig
from olrd.errors import UsageError
from olrd.options import names

_CONFIG: dict[str, tuple[Any, str]] = {
    "masks": (str, "olrd, or random: random masks on the same backgrounds (ablation)"),
    "initial_word": (str, "where the embedding of R* starts (inferred)"),
    "rank": (int, "of the LoRA (inferred)"),
    "alpha": (float, "of the LoRA (inferred)"),
    "steps": (int, "steps of the optimiser (ordinary value)"),
    "batch": (int, "samples of one step over all devices (ordinary value)"),
    "lr_lora": (float, "learning rate of the LoRA (ordinary value)"),
    "lr_token": (float, "learning rate of R* (ordinary value)"),
    "weight_decay": (float, "of the LoRA (ordinary value)"),
    "warmup": (int, "steps of linear warm-up"),
    "clip": (float, "largest norm of a gradient (ordinary value)"),
    "ema": (float, "decay of an average of the trained weights; 0 is off"),
    "long_share": (float, "share of long captions among prompts (paper: half)"),
    "prompt_dropout": (float, "share of empty prompts, for guidance (inferred)"),
    "seed": (int, "of crops, prompts, noise, timesteps and the LoRA's start"),
}
_RUNNING: dict[str, tuple[Any, str]] = {
    "micro_batch": (int, "samples of one pass on one device; the rest of a batch is accumulated"),
    "workers": (int, "processes that make examples"),
    "checkpoint_every": (int, "steps between checkpoints"),
    "max_checkpoints": (int, "how many of the newest checkpoints stay"),
    "validate_every": (int, "steps between validation pictures; 0 for none"),
    "validation_count": (int, "triplets of the validation pictures"),
    "validation_steps": (int, "sampling steps of the validation pictures"),
    "stop_at": (int, "stop after that step with a checkpoint, to go on later"),
    "form": (str, f"what is written: {' or '.join(FORMS)}"),
    "device": (str, "auto or cpu"),
}


def add_train_options(command: argparse.ArgumentParser) -> None:
    """Everything of `magiceraser train`."""
    data = command.add_argument_group("what is trained, on what")
    data.add_argument(
        "--triplets",
        required=True,
        metavar="DIR",
        help="OLRD triplets: a folder or a hub id; 'demo' for the embedded ones",
    )
    data.add_argument(
        "--base",
        required=True,
        metavar="MODEL",
        help="a diffusers inpainting model: a folder, a hub id in the hub's cache, or small",
    )
    data.add_argument("--revision", help="of a hub id")
    data.add_argument("--out", required=True, type=Path, metavar="DIR", help="the folder of the training")
    data.add_argument("--split", default="train", metavar="NAME", help="default: train; or all")
    data.add_argument("--validation-split", metavar="NAME", help="of the pictures (default: --split)")
    data.add_argument("--photos", metavar="DIR", help="for a folder of recipes: where the photos are")
    method = command.add_argument_group("the method")
    method.add_argument(
        "--resolution", type=int, metavar="N", help="side of a training crop in pixels (default: the base's own)"
    )
    _add(method, TrainConfig, _CONFIG)
    method.add_argument("--no-token", action="store_true", help="LoRA alone, without R*")
    method.add_argument("--no-mirror", action="store_true", help="do not mirror half of the crops")
    method.add_argument(
        "--targets",
        default=",".join(TrainConfig.targets),
        metavar="LIST",
        help="layers with LoRA (default %(default)s; to_out.0 is inferred)",
    )
    method.add_argument(
        "--precision",
        default=TrainConfig.precision,
        metavar="NAME",
        help=f"{', '.join(PRECISIONS)} (default %(default)s)",
    )
    running = command.add_argument_group("running (does not change what is learned)")
    _add(running, Running, _RUNNING)
    running.add_argument("--gradient-checkpointing", action="store_true", help="less memory for more time")
    running.add_argument("--no-tensorboard", action="store_true", help="do not log there even if it is installed")
    running.add_argument(
        "--dry-run", action="store_true", help="say what would be trained: parameters, steps, memory; write nothing"
    )


def _add(group: Any, kind: type[Any], options: dict[str, tuple[Any, str]]) -> None:
    """One option per field, with the field's default."""
    standard = {field.name: field.default for field in fields(kind)}
    for name, (parse, text) in options.items():
        shown = "" if standard[name] is None else " (default %(default)s)"
        group.add_argument(
            "--" + name.replace("_", "-"),
            type=parse,
            default=standard[name],
            metavar="NAME" if parse is str else "N",
            help=text + shown,
        )


def configs_from(args: argparse.Namespace, native: int) -> tuple[TrainConfig, Running]:
    """The checked configuration. native: the base's own resolution. Raises `UsageError`."""
    config = TrainConfig(
        resolution=native if args.resolution is None else args.resolution,
        **{name: getattr(args, name) for name in _CONFIG},
        token=not args.no_token,
        mirror=not args.no_mirror,
        targets=names("--targets", args.targets),
        precision=args.precision,
    )
    running = Running(
        **{name: getattr(args, name) for name in _RUNNING},
        gradient_checkpointing=args.gradient_checkpointing,
        tensorboard=not args.no_tensorboard,
    )
    return config, running


def add_ablate_options(command: argparse.ArgumentParser) -> None:
    """Everything of `magiceraser ablate`."""
    what = command.add_mutually_exclusive_group()
    what.add_argument("--plan", action="store_true", help="print every command, with whether it is finished (default)")
    what.add_argument("--run", action="store_true", help="run them, then write the table")
    what.add_argument("--collect", action="store_true", help="write the table of finished runs")
    command.add_argument(
        "--base", default="small", metavar="MODEL", help="to train on and to run (default: the shipped small model)"
    )
    command.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of it all")
    command.add_argument("--triplets", metavar="DIR", help="to train on: a folder or hub id")
    command.add_argument("--photos", metavar="DIR", help="for recipes: where the photos are")
    command.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="finished weights of random, olrd or olrd-token; repeatable",
    )
    command.add_argument("--root", metavar="DIR", help="held-out triplets (default: the embedded)")
    command.add_argument("--split", default="all", metavar="NAME", help="of them (default all)")
    command.add_argument(
        "--rows", default="all", metavar="NAME", help="all, ladder (the paper's) or free (training-free, on the base)"
    )
    command.add_argument("--seeds", default="0,1,2", metavar="LIST", help="default %(default)s")
    command.add_argument("--train-seeds", action="store_true", help="one training per seed too")
    command.add_argument("--protocol", default="native", metavar="NAME", help="default native")
    command.add_argument("--limit", type=int, metavar="N", help="only the first N samples")
    command.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default auto)")
    command.add_argument(
        "--train-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of `magiceraser train`, e.g. steps=500; repeatable",
    )
    command.add_argument(
        "--method-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the eraser, e.g. steps=20; repeatable",
    )
    command.add_argument(
        "--data-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the held-out triplets, e.g. maps=COCO; repeatable",
    )
    command.add_argument(
        "--score",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a column of the table, e.g. psnr/mask/raw; repeatable",
    )


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """`0,1,2` as numbers."""
    try:
        return tuple(int(part) for part in names(option, text))
    except ValueError as error:
        raise UsageError(f"{option} expects whole numbers, comma-separated, got '{text}'") from error
