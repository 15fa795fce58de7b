"""Train the small model, stage by stage. The same command continues a run that was stopped.

    python -m magiceraser_ref.small vae    --photos PHOTOS --out WORK --lpips LPIPS [--size tiny|small]
    python -m magiceraser_ref.small base   --photos PHOTOS --out WORK [--size tiny|small]
    python -m magiceraser_ref.small fill   --photos PHOTOS --out WORK --lpips LPIPS --from PIPELINE [--shapes TRIPLETS]
    python -m magiceraser_ref.small ffc    --photos PHOTOS --out WORK --lpips LPIPS   (the eraser ffc-small)
    python -m magiceraser_ref.small ship   --out WORK --to magiceraser_ref/weights/small
    python -m magiceraser_ref.small curves --out WORK --to docs            (draws the losses)

    python -m magiceraser_ref.small pack   --photos PHOTOS --out SMALLER   (to copy to a GPU machine)

LPIPS is lpips_v0.1_alex.safetensors, in this repository benchmark/weights/lpips_v0.1_alex.safetensors. LoRA and R* are
trained on OLRD triplets by `magiceraser train --base WORK/pipeline-fill`, as for the full model.
"""

from __future__ import annotations

import argparse
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from magiceraser_ref.small.architecture import SIZES, Sizes
from magiceraser_ref.small.loop import Schedule, Session
from olrd.cli.shell import guarded
from olrd.errors import SourceError, UsageError
from olrd.progress import say
from olrd.storage.files import atomic_path, to_json, write_atomic

SHIPPED_SCALE = 2
"""The small model works at this multiple of the side that it was trained at.

Its training photos are mostly smaller than the photos that it is used on, its networks are convolutional, and small
details survive (docs/small-model.md)."""
SHIPPED_INITIALIZER = "patchmatch"
SHIPPED_STEPS, SHIPPED_GUIDANCE, SHIPPED_STRENGTH, SHIPPED_RESIDUAL = 20, 1.0, 0.05, 0.9
"""Chosen on photos that were held out of the training (tools/strength_sweep.py, docs/small-model.md)."""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m magiceraser_ref.small",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("stage", choices=sorted(STAGES))
    add("--photos", metavar="DIR", help="folder of Parquet files with the columns image and label")
    add("--out", metavar="DIR", required=True, help="folder of checkpoints and results")
    add("--lpips", metavar="FILE", type=Path, help="lpips_v0.1_alex.safetensors, for the stages vae and ffc")
    add("--to", metavar="DIR", default="magiceraser_ref/weights/small", help="where `ship` and `curves` write")
    add("--size", choices=sorted(SIZES), default="tiny", help="size of the networks (default %(default)s)")
    add("--steps", metavar="N", type=int, help="optimiser steps in total")
    add("--batch", metavar="N", type=int, help="samples per step")
    add("--rate", metavar="RATE", type=float, default=5e-4, help="learning rate (default %(default)s)")
    add("--minutes", metavar="MINUTES", type=float, help="stop with a checkpoint after this time")
    add("--from", metavar="DIR", dest="start", help="base, fill: start from the weights of this pipeline")
    add("--shapes", metavar="DIR", help="fill: OLRD triplets whose masks shape the holes")
    add("--pool", metavar="N", type=int, default=0, help="base, fill: number of samples that are made once and reused")
    add("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, ... (default %(default)s)")
    add("--workers", metavar="N", type=int, default=0, help="processes that make samples (default %(default)s)")
    add(
        "--seed", metavar="N", type=int, default=0, help="seed of weights, crops, holes and noise (default %(default)s)"
    )
    args = parser.parse_args()

    def stage() -> int:
        STAGES[args.stage](args, SIZES[args.size], Path(args.out))
        return 0

    return guarded(stage)


def _vae(args: argparse.Namespace, sizes: Sizes, out: Path) -> None:
    from magiceraser_ref.small.vae_stage import train_vae

    schedule = Schedule(args.steps or 3000, args.batch or 16, args.rate, warmup=100)
    session = _session(args, out / "vae")
    vae = train_vae(sizes, _photos(args, sizes), schedule, session, _perceptual(args, session.device))
    vae.save_pretrained(out / "vae-result")


def _base(args: argparse.Namespace, sizes: Sizes, out: Path) -> None:
    import diffusers

    from magiceraser_ref.small.base_stage import train_base

    trained = out / "vae-result"
    if not trained.is_dir():
        raise SourceError(f"{trained}: expected the trained autoencoder; run the stage vae first")
    start = None
    if args.start:
        known = _pipeline(args.start)
        start = known.unet, known.text_encoder
    schedule = Schedule(args.steps or 4000, args.batch or 32, args.rate)
    pipeline = train_base(
        sizes,
        diffusers.AutoencoderKL.from_pretrained(trained),
        _photos(args, sizes),
        schedule,
        _session(args, out / "base"),
        start=start,
        pool=args.pool,
    )
    pipeline.save_pretrained(out / "pipeline")


def _fill(args: argparse.Namespace, sizes: Sizes, out: Path) -> None:
    from baselines import open_eraser
    from magiceraser_ref.small.fill_pool import FilledHoles
    from magiceraser_ref.small.fill_stage import train_fill
    from magiceraser_ref.small.silhouettes import Silhouettes

    session = _session(args, out / "fill")
    holes = FilledHoles(
        _photos(args, sizes),
        Silhouettes(args.shapes),
        open_eraser(SHIPPED_INITIALIZER, device="cpu"),
        _pipeline(args.start or str(out / "pipeline")),
        sizes.resolution,
        session.device,
        session.seed,
    )
    schedule = Schedule(args.steps or 2000, args.batch or 8, args.rate, save_every=100)
    pipeline = train_fill(holes, args.pool or 4096, schedule, session, _perceptual(args, session.device))
    pipeline.save_pretrained(out / "pipeline-fill")


def _ship(args: argparse.Namespace, sizes: Sizes, out: Path) -> None:
    """Write the model of the last stage that there is, in half precision, and the eraser ffc-small beside it.

    The settings are those of a model that needs no download.
    """
    from magiceraser_ref.model.checkpoint import load, save

    stages = (out / "trained" / "model", out / "pipeline-fill", out / "pipeline")
    newest = next((folder for folder in stages if folder.is_dir()), stages[-1])
    parts = load(newest, device="cpu", dtype="float16")
    settings = replace(
        parts.settings,
        initializer=SHIPPED_INITIALIZER,
        resolution=SHIPPED_SCALE * sizes.resolution,
        steps=SHIPPED_STEPS,
        strength=SHIPPED_STRENGTH,
        residual=SHIPPED_RESIDUAL,
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
    session = _session(args, out / "ffc")
    network = train_ffc(_photos(args, sizes), schedule, session, _perceptual(args, session.device))
    (out / "ffc-result").mkdir(exist_ok=True)
    with atomic_path(out / "ffc-result" / "model.safetensors") as temporary:
        save_file({k: v.half().cpu().contiguous() for k, v in network.state_dict().items()}, temporary)
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


def _pipeline(folder: str) -> Any:
    import diffusers
    import torch

    pipeline = diffusers.StableDiffusionInpaintPipeline.from_pretrained(folder)
    for part in (pipeline.vae, pipeline.unet, pipeline.text_encoder):
        part.to(torch.float32)
    return pipeline


def _session(args: argparse.Namespace, folder: Path) -> Session:
    from olrd.models.checkpoints import choose_device

    device = choose_device(args.device, "training the small model")
    until = time.time() + 60 * args.minutes if args.minutes else None
    return Session(folder, device, args.seed, args.workers, until)


def _perceptual(args: argparse.Namespace, device: str) -> Any:
    from magiceraser_ref.small.perceptual import perceptual_loss

    if args.lpips is None:
        raise UsageError("--lpips: expected lpips_v0.1_alex.safetensors; the stages vae and ffc train with LPIPS")
    return perceptual_loss(args.lpips, device)


STAGES = {"vae": _vae, "base": _base, "fill": _fill, "ffc": _ffc, "ship": _ship, "curves": _curves, "pack": _pack}

if __name__ == "__main__":
    raise SystemExit(main())
