"""Scores the proposals of shadows and reflections: rendered scenes, a real camera's pairs, annotated photos.

    python -m perf.effects [--scenes 300] [--static-pairs DIR] [--root COCO]

DIR holds `image/`, `gt/` and `mask/` of a fixed camera on a road. The outlines of six vehicles were drawn by hand,
because the pairs' own masks contain the shadows: what is darker than in `gt` and not the vehicle is the true shadow.
With the pairs' own masks there is nothing left to find, so that every proposal is a false one.

For COCO only the number of proposals is known; whether they are right has to be looked at.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from baselines.photos.effects import propose_effects
from olrd.arrays import Image, Mask, decode_mask, decode_photo
from olrd.sources import SourceSpec, open_source
from perf.effect_scenes import Scene, plain_scene, reflection_scene, shadow_scene

VEHICLES: list[tuple[str, list[tuple[int, int]]]] = [
    ("00153", [(70, 122), (120, 122), (128, 148), (130, 170), (125, 185), (118, 188), (57, 188), (56, 165), (62, 140)]),
    ("00255", [(182, 70), (238, 70), (237, 110), (235, 148), (179, 148), (178, 82)]),
    ("01088", [(92, 122), (125, 122), (131, 145), (137, 155), (136, 168), (128, 170), (78, 170), (77, 150), (88, 132)]),
    ("01088", [(215, 68), (245, 68), (252, 90), (252, 105), (248, 108), (210, 108), (209, 95), (212, 80)]),
    ("01394", [(192, 98), (224, 98), (232, 120), (233, 142), (180, 142), (180, 125), (187, 108)]),
    ("01581", [(218, 52), (246, 52), (250, 75), (248, 77), (214, 77), (213, 64)]),
]
"""Vehicles of the static pairs, as (pair, outline of (x, y) corners)."""


FIRST = 2000
"""Number of the first scene. The thresholds were chosen on scenes below 1200."""


def overlap(found: Mask, truth: Mask) -> float:
    """Intersection over union."""
    return float(np.count_nonzero(found & truth)) / max(1, int(np.count_nonzero(found | truth)))


def score_scenes(name: str, draw: Callable[[int], Scene], count: int) -> str:
    """One row of the table: scenes with an effect."""
    scores = []
    for number in range(FIRST, FIRST + count):
        scene = draw(number)
        scores.append(overlap(propose_effects(scene.image, scene.mask).mask, scene.shadow | scene.reflection))
    found = np.array(scores) > 0
    return f"| {name} | {count} | {np.mean(found):.0%} | {np.mean(scores):.2f} |"


def score_plain(count: int) -> str:
    """One row of the table: scenes without an effect."""
    touched = 0
    for number in range(FIRST, FIRST + count):
        scene = plain_scene(number)
        touched += bool(propose_effects(scene.image, scene.mask).mask.any())
    return f"| rendered, no effect | {count} | {touched / count:.1%} | - |"


def _photo(path: Path) -> Image:
    return decode_photo(path.read_bytes(), path.name).pixels


def _mask(path: Path) -> Mask:
    return decode_mask(path.read_bytes(), path.name)


def vehicles(folder: Path) -> Iterator[tuple[Image, Mask, Mask]]:
    """Yield photo, hand-drawn mask and true shadow of each vehicle in `VEHICLES`."""
    for name, corners in VEHICLES:
        image, truth = (_photo(folder / kind / f"{name}.png") for kind in ("image", "gt"))
        pair = _mask(folder / "mask" / f"{name}.png")
        drawn = np.zeros(pair.shape, np.uint8)
        cv2.fillPoly(drawn, [np.array(corners, np.int32)], 1)
        mask = drawn > 0
        ratio = (image.astype(np.float32).mean(axis=2) + 2) / (truth.astype(np.float32).mean(axis=2) + 2)
        rows = np.nonzero(mask.any(axis=1))[0]
        shadow = (ratio < 0.85) & pair & ~mask  # of encoded values: 70 % of the light
        shadow[: int(rows.mean())] = False  # mirrors and roofs stick out of the drawn outline
        count, labels = cv2.connectedComponents(shadow.astype(np.uint8))
        near = cv2.dilate(drawn, np.ones((5, 5), np.uint8)) > 0
        sizes = [np.count_nonzero(labels[near] == k) if k else 0 for k in range(count)]
        yield image, mask, labels == int(np.argmax(sizes))


def score_pairs(folder: Path) -> list[str]:
    """The rows of the static pairs: the vehicles, and the pairs' own masks."""
    scores = [overlap(propose_effects(image, mask).mask, truth) for image, mask, truth in vehicles(folder)]
    each = ", ".join(f"{score:.2f}" for score in scores)
    found = np.mean(np.array(scores) > 0)
    rows = [f"| static pairs, vehicles ({each}) | {len(scores)} | {found:.0%} | {np.mean(scores):.2f} |"]
    names = sorted((folder / "image").glob("*.png"))
    touched = 0
    for path in names:
        touched += bool(propose_effects(_photo(path), _mask(folder / "mask" / path.name)).mask.any())
    return [*rows, f"| static pairs, masks with the shadow | {len(names)} | {touched / len(names):.1%} | - |"]


def score_things(kind: str, root: str | None) -> str:
    """The row of a source's things: how many get a proposal."""
    source = open_source(SourceSpec(kind, root))
    things, touched, seconds = 0, 0, 0.0
    for index in range(len(source)):
        record = source.record(index)
        image = decode_photo(source.photo_bytes(record), record.file_name).pixels
        ids, segments = source.panoptic(record, image.shape[1], image.shape[0])
        for segment in segments:
            mask: Mask = ids == segment.id
            usable = source.categories[segment.category_id].isthing and not segment.iscrowd
            if not usable or not 0.002 <= mask.mean() <= 0.6:
                continue
            started = time.perf_counter()
            touched += bool(propose_effects(image, mask).mask.any())
            seconds += time.perf_counter() - started
            things += 1
    each = seconds / max(1, things)
    return f"| things of {kind}, {each:.2f} s each | {things} | {touched / max(1, things):.1%} | - |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--scenes", type=int, default=300, metavar="N", help="scenes of each kind (default %(default)s)"
    )
    parser.add_argument("--static-pairs", type=Path, metavar="DIR", help="folder with image/, gt/ and mask/")
    parser.add_argument("--root", metavar="DIR", help="folder in COCO's panoptic layout")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    print("| photos | number | with a proposal | mean IoU |\n| --- | --- | --- | --- |")
    print(score_scenes("rendered, shadow", shadow_scene, args.scenes), flush=True)
    print(score_scenes("rendered, reflection", reflection_scene, args.scenes), flush=True)
    print(score_plain(args.scenes), flush=True)
    if args.static_pairs:
        print("\n".join(score_pairs(args.static_pairs)), flush=True)
    print(score_things("demo", None), flush=True)
    if args.root:
        print(score_things("coco", args.root), flush=True)


if __name__ == "__main__":
    main()
