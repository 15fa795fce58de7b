"""Train the small model, stage by stage. A run repeated goes on.

    python -m magiceraser_ref.small vae    --photos PHOTOS --out WORK [--size tiny|small]
    python -m magiceraser_ref.small base   --photos PHOTOS --out WORK [--size tiny|small]
    python -m magiceraser_ref.small ffc    --photos PHOTOS --out WORK      (the initialiser)
    python -m magiceraser_ref.small ship   --out WORK --to magiceraser_ref/weights/small
    python -m magiceraser_ref.small curves --out WORK --to docs            (the losses as pictures)

    python -m magiceraser_ref.small pack   --photos PHOTOS --out SMALLER   (to travel to a GPU machine)

Stage 3, LoRA and R* on OLRD triplets, is `magiceraser train --base WORK/pipeline`, as for the full
model.
"""

from __future__ import annotations

import argparse
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from magiceraser_ref.small.architecture import SIZES, Sizes
from magiceraser_ref.small.loop import Schedule
from olrd.cli.shell import guarded
from olrd.errors import SourceError
from olrd.progress import say
from olrd.storage.files import to_json, write_atomic

SHIPPED_SCALE = 2
"""The small model works at twice the side that it was trained at: its photos are mostly smaller than
those it is used on, its networks are convolutional, and small details survive (docs/small-model.md)."""
SHIPPED_STEPS, SHIPPED_GUIDANCE = 12, 1.0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m magiceraser_ref.small",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", choices=sorted(STAGES))
    parser.add_argument("--photos", help="a folder of Parquet files with columns image and label")
    parser.add_argument("--out", required=True, help="the folder of checkpoints and results")
    parser.add_argument("--to", default="magiceraser_ref/weights/small", help="where `ship` and `curves` write")
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--steps", type=int, help="optimiser steps in all")
    parser.add_argument("--batch", type=int, help="samples a step")
    parser.add_argument("--rate", type=float, default=5e-4, help="learning rate")
    parser.add_argument("--minutes", type=float, help="stop in good order after so long")
    parser.add_argument("--from", dest="start", help="go on from the weights of this pipeline folder")
    parser.add_argument("--pool", type=int, default=0, help="base: encode so many samples once")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    def stage() -> int:
        STAGES[args.stage](args, SIZES[args.size], Path(args.out))
        return 0

    return guarded(stage)


def _vae(args: argparse.Namespace, sizes: Sizes, out: Path) -> None:
    from magiceraser_ref.small.vae_stage import train_vae

    schedule = Schedule(args.steps or 3000, args.batch or 16, args.rate, warmup=100)
    vae = train_vae(
        sizes, _photos(args, sizes), schedule, out / "vae", _device(args), args.seed, args.workers, _until(args)
    )
    vae.save_pretrained(out / "vae-result")


def _base(args: argparse.Namespace, sizes: Sizes, out: Path) -> None:
    import diffusers

    from magiceraser_ref.small.base_stage import train_base

    trained = out / "vae-result"
    if not trained.is_dir():
        raise SourceError(f"{trained}: expected the trained autoencoder; run the stage vae first")
    start = None
    if args.start:
        known = diffusers.StableDiffusionInpaintPipeline.from_pretrained(args.start)
        start = known.unet, known.text_encoder
    schedule = Schedule(args.steps or 4000, args.batch or 32, args.rate)
    pipeline = train_base(
        sizes,
        diffusers.AutoencoderKL.from_pretrained(trained),
        _photos(args, sizes),
        schedule,
        out / "base",
        _device(args),
        args.seed,
        args.workers,
        _until(args),
        start,
        args.pool,
    )
    pipeline.save_pretrained(out / "pipeline")


def _ship(args: argparse.Namespace, sizes: Sizes, out: Path) -> None:
    """Stage 3's model if it is there, else stage 2's, whole and in half precision, with the settings
    of a model that needs no download; the initialiser beside it."""
    from magiceraser_ref.ffc.eraser import NAME as FFC
    from magiceraser_ref.model.checkpoint import load, save

    trained = out / "trained" / "model"
    parts = load(trained if trained.is_dir() else out / "pipeline", device="cpu", dtype="float16")
    settings = replace(
        parts.settings,
        initializer=FFC,
        resolution=SHIPPED_SCALE * sizes.resolution,
        steps=SHIPPED_STEPS,
        guidance=SHIPPED_GUIDANCE,
        license="research use, see docs/small-model.md",
    )
    target = Path(args.to)
    save(target, parts.pipeline, settings)
    if (out / "ffc-result").is_dir():
        shutil.copytree(out / "ffc-result", target.parent / "ffc", dirs_exist_ok=True)
    size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    say(f"{target}: {size / 1e6:.1f} MB")


def _ffc(args: argparse.Namespace, sizes: Sizes, out: Path) -> None:
    from safetensors.torch import save_file

    from magiceraser_ref.small.ffc_stage import train_ffc

    schedule = Schedule(args.steps or 3000, args.batch or 16, args.rate)
    network = train_ffc(
        _photos(args, sizes), schedule, out / "ffc", _device(args), None, args.seed, args.workers, _until(args)
    )
    (out / "ffc-result").mkdir(exist_ok=True)
    save_file(
        {k: v.half().cpu().contiguous() for k, v in network.state_dict().items()},
        out / "ffc-result" / "model.safetensors",
    )
    write_atomic(out / "ffc-result" / "config.json", to_json(network.config()))


def _curves(args: argparse.Namespace, sizes: Sizes, out: Path) -> None:
    from magiceraser_ref.small.curves import write_curves

    for path in write_curves(out, Path(args.to)):
        say(str(path))


def _pack(args: argparse.Namespace, sizes: Sizes, out: Path) -> None:
    from magiceraser_ref.small.photos import pack

    size = pack(Path(args.photos), out, sizes.resolution)
    say(f"{out}: {size / 1e6:.1f} MB")


def _photos(args: argparse.Namespace, sizes: Sizes) -> Any:
    from magiceraser_ref.small.photos import TrainingPhotos

    if not args.photos:
        raise SourceError("--photos: expected a folder of Parquet files with columns image and label")
    return TrainingPhotos(args.photos, sizes.resolution)


def _device(args: argparse.Namespace) -> str:
    from olrd.models.checkpoints import choose_device

    return choose_device(args.device, "training the small model")


def _until(args: argparse.Namespace) -> float | None:
    return time.time() + 60 * args.minutes if args.minutes else None


STAGES = {"vae": _vae, "base": _base, "ffc": _ffc, "ship": _ship, "curves": _curves, "pack": _pack}

if __name__ == "__main__":
    raise SystemExit(main())
