"""Counts the photos whose own things show where the light comes from, and draws them to be looked at.

    python -m perf.light --root COCO --sheet light.png

On the sheet, an arrow leads from the feet of the tallest thing to where its shadow is said to end. `olrd-build --shadow cast` takes the
light of these photos from there.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow

from olrd.arrays import MAX_PIXELS, Image
from olrd.errors import Rejected
from olrd.sources import SourceSpec, open_source
from olrd.triplets.light import SceneLight, light_of
from olrd.triplets.scene import Scene, open_scene

TILE, ACROSS = (320, 240), 4


def marked(scene: Scene, light: SceneLight) -> Image:
    """The photo with the arrow, uint8 [240, 320, 3]."""
    things = [segment for segment, thing in zip(scene.panoptic.segments, scene.objects[1:], strict=True) if thing]
    box = max(things, key=lambda segment: segment.bbox.h).bbox
    foot = box.x + box.w // 2, box.y + box.h
    end = tuple(start + part * box.h // 1024 for start, part in zip(foot, light.lean, strict=True))
    shown = scene.photo.pixels.copy()
    cv2.arrowedLine(shown, foot, end, (255, 0, 60), max(2, shown.shape[1] // 200))
    return np.asarray(Pillow.fromarray(shown).resize(TILE, Pillow.Resampling.LANCZOS))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m perf.light", description=__doc__.split("\n")[0])
    parser.add_argument("--source", default="coco", metavar="NAME", help="default coco")
    parser.add_argument("--root", metavar="DIR", help="the folder of the source")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="the picture to write")
    options = parser.parse_args()
    source = open_source(SourceSpec(options.source, options.root))
    photos, seconds, found = 0, 0.0, []
    for index in range(len(source)):
        try:
            scene = open_scene(source, source.record(index), None, MAX_PIXELS)
            scene.photo.decode()
        except Rejected:
            continue
        began = time.process_time()
        light = light_of(scene)
        photos, seconds = photos + 1, seconds + time.process_time() - began
        if light:
            found.append(marked(scene, light))
            print(f"{scene.record.image_id}: lean {light.lean}, cast {light.cast}, softness {light.softness}")
    print(f"{len(found)} of {photos} photos show a light; {1000 * seconds / max(1, photos):.0f} ms of CPU time a photo")
    if options.sheet and found:
        blank = np.full_like(found[0], 255)
        tiles = found + [blank] * (-len(found) % ACROSS)
        lines = [np.hstack(tiles[start : start + ACROSS]) for start in range(0, len(tiles), ACROSS)]
        Pillow.fromarray(np.vstack(lines)).save(options.sheet)


if __name__ == "__main__":
    main()
