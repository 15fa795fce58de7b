"""Score a MagicEraser model at several strengths on photos that it was not trained on, with residual paste and without.

    python tools/strength_sweep.py --photos PHOTOS --shapes TRIPLETS --model magiceraser_ref/weights/small --out sweep.json

PHOTOS are the training photos; those that training holds out are used (`magiceraser_ref.small.photos`). Holes have the
outlines of objects of TRIPLETS. The photo itself is the truth. Every score is the mean in the mask, composited, first over
the holes of a photo and then over the photos. The autoencoder alone is scored too: the truth, encoded and decoded.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

import benchmark
from baselines import open_eraser
from baselines.eraser import Hints
from magiceraser_ref import MagicEraser
from magiceraser_ref.erase.residual import reconstructions
from magiceraser_ref.small.curves import chart
from magiceraser_ref.small.photos import TrainingPhotos
from magiceraser_ref.small.silhouettes import Silhouettes
from olrd.arrays import Image, Mask
from olrd.progress import progress_bar
from olrd.storage.files import to_json, write_atomic

SIDE = 256
SCORES = {"lpips": "lpips-alex/mask/raw", "psnr": "psnr/mask/raw", "ssim": "ssim/mask/raw"}


def holes(photos: TrainingPhotos, shapes: Silhouettes, each: int) -> list[tuple[str, Image, Mask, str]]:
    """Cut `each` squares with a hole out of every photo: the photo's name, the square, the hole and the prompt."""
    found = []
    for index in range(len(photos)):
        for number in range(each):
            key = ("sweep", index, number)
            square = np.ascontiguousarray(photos.crop(index, SIDE, *key))
            found.append((str(index), square, shapes.hole(SIDE, *key), photos.prompt(index)))
    return found


def mean_scores(cases: Sequence[tuple[str, Image, Mask, str]], results: Sequence[Image]) -> dict[str, float]:
    """Score results: the mean over photos of the mean over each photo's holes."""
    by_photo: dict[str, list[dict[str, float]]] = {}
    for (name, truth, mask, _), result in zip(cases, results, strict=True):
        by_photo.setdefault(name, []).append(benchmark.score(result, truth, mask, device="cpu"))
    return {
        short: fmean(fmean(row[column] for row in rows) for rows in by_photo.values())
        for short, column in SCORES.items()
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--photos", required=True, metavar="DIR", help="the training photos")
    add("--shapes", required=True, metavar="DIR", help="OLRD triplets whose masks shape the holes")
    add("--model", required=True, metavar="DIR", help="the model")
    add("--initializer", default="patchmatch", metavar="NAME", help="default %(default)s")
    add("--strengths", default="0.05,0.1,0.2,0.3,0.5,0.7,0.9", metavar="A,B,...", help="default %(default)s")
    add("--steps", default="20", metavar="A,B,...", help="sampling steps (default %(default)s)")
    add("--residual", default="1,0", metavar="A,B,...", help="default %(default)s")
    add("--resolution", type=int, metavar="PX", help="side that the model paints (default the model's)")
    add("--each", type=int, default=1, metavar="N", help="holes per photo (default %(default)s)")
    add("--photos-limit", type=int, metavar="N", help="photos (default all that are held out)")
    add("--no-lora", action="store_true", help="leave LoRA and R* out")
    add("--out", type=Path, required=True, metavar="FILE", help="JSON to write, and a plot beside it as SVG")
    args = parser.parse_args()
    cases = holes(TrainingPhotos(args.photos, SIDE, held_out=True), Silhouettes(args.shapes), args.each)
    if args.photos_limit:
        cases = cases[: args.photos_limit * args.each]
    filler = open_eraser(args.initializer, device="cpu")
    names = [f"{name}/{k}" for k, (name, *_) in enumerate(cases)]
    images, masks = [case[1] for case in cases], [case[2] for case in cases]
    fills = filler.erase(images, masks, [Hints(name) for name in names])
    rows: list[dict[str, object]] = [{"eraser": args.initializer} | mean_scores(cases, fills)]
    print(json.dumps(rows[0]), flush=True)
    eraser = MagicEraser.from_pretrained(args.model, device="cpu", initializer=filler, lora=not args.no_lora)
    truth = mean_scores(cases, reconstructions(eraser.pipeline, images))
    print(json.dumps({"eraser": "its autoencoder alone, given the truth"} | truth), flush=True)
    settings = [
        (strength, steps, residual)
        for residual in map(float, args.residual.split(","))
        for steps in map(int, args.steps.split(","))
        for strength in map(float, args.strengths.split(","))
        if int(steps * strength)
    ]
    with progress_bar("settings", len(settings)) as bar:
        for strength, steps, residual in settings:
            results = eraser.erase(
                images,
                masks,
                prompts=[case[3] for case in cases],
                keys=names,
                strength=strength,
                steps=steps,
                residual=residual,
                resolution=args.resolution,
                token=not args.no_lora,
            )
            row = {"strength": strength, "steps": steps, "residual": residual} | mean_scores(cases, results)
            rows.append({"eraser": "magiceraser"} | row)
            print(json.dumps(row), flush=True)
            bar.update()
    found = {"photos": len({case[0] for case in cases}), "holes": len(cases), "autoencoder": truth, "rows": rows}
    write_atomic(args.out, to_json(found))
    if len({row["strength"] for row in rows[1:]}) > 1:
        write_atomic(args.out.with_suffix(".svg"), plot(rows))


def plot(rows: Sequence[dict[str, object]]) -> str:
    """Draw LPIPS over the strength, for the first number of steps, and that of the initialiser as a level line."""
    first = rows[1]["steps"]
    lines: dict[float, dict[str, float]] = {}
    for row in rows[1:]:
        if row["steps"] == first:
            point = lines.setdefault(float(str(row["strength"])), {"initialiser": float(str(rows[0]["lpips"]))})
            point[f"residual {row['residual']:g}"] = float(str(row["lpips"]))
    points = [{"strength": strength} | line for strength, line in sorted(lines.items())]
    names = sorted(set.intersection(*(set(point) for point in points)) - {"strength"})
    return chart(points, "LPIPS in the mask", names, over="strength")


if __name__ == "__main__":
    main()
