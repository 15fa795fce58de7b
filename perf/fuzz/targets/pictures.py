"""Photos, masks and maps, as pictures."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
from PIL import Image as Pillow

from baselines.photos.files import SUFFIXES, read_photo, write_photo
from olrd.arrays import decode_ids, decode_mask, decode_photo, photo_header
from olrd.panoptic import PanopticMap, check_panoptic
from olrd.sources import SourceSpec, open_source
from perf.fuzz.harness import Example
from perf.fuzz.honest import drawn_exif, drawn_pictures, saved
from perf.fuzz.mutate import damaged_bytes
from perf.fuzz.targets.register import target

_LONGEST_EXIF = 65_000
"""A JPEG has room for 65,533 bytes of it."""


@target("picture")
def picture(honest: Path, scratch: Path) -> Example:
    """Photos of every format."""
    pictures = list(drawn_pictures().values())

    def example(random: Random) -> None:
        decode_photo(damaged_bytes(random.choice(pictures), random))

    return example


@target("photo-file")
def photo_file(honest: Path, scratch: Path) -> Example:
    """Photos of every format as `olrd-erase` reads them, and writes them again in their own mode."""
    pictures = list(drawn_pictures().values())
    scratch.mkdir(exist_ok=True)

    def example(random: Random) -> None:
        path = scratch / "photo"
        path.write_bytes(damaged_bytes(random.choice(pictures), random))
        photo = read_photo(path)
        own = photo.with_fill(photo.pixels, np.ones(photo.pixels.shape[:2], bool))
        write_photo(scratch / f"out{random.choice(SUFFIXES)}", own, photo)

    return example


@target("exif")
def exif(honest: Path, scratch: Path) -> Example:
    """The camera data of photos whose pixels are sound."""
    pixels = Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8))
    whole = drawn_exif().tobytes()

    def example(random: Random) -> None:
        kind = random.choice(("JPEG", "JPEG", "PNG", "WEBP"))
        data = saved(pixels, kind, exif=(whole[:6] + damaged_bytes(whole[6:], random))[:_LONGEST_EXIF])
        photo_header(data)
        decode_photo(data)

    return example


@target("mask")
def mask(honest: Path, scratch: Path) -> Example:
    """Mask files."""
    bits = np.random.default_rng(0).random((24, 32)) < 0.5
    kinds = [Pillow.fromarray(bits), Pillow.fromarray(bits.astype(np.uint8) * 255)]
    files = [saved(kind, "PNG") for kind in kinds] + [saved(kind, "BMP") for kind in kinds] + [saved(kinds[1], "JPEG")]

    def example(random: Random) -> None:
        decode_mask(damaged_bytes(random.choice(files), random))

    return example


@target("annotation-png")
def annotation_png(honest: Path, scratch: Path) -> Example:
    """Panoptic PNGs, alone and with their annotation."""
    source = open_source(SourceSpec("coco", str(honest / "coco")))
    maps = sorted((honest / "coco" / "annotations" / "panoptic_train2017").iterdir())
    files = [(file.read_bytes(), source.record(index)) for index, file in enumerate(maps)]
    files += [(saved(Pillow.open(maps[0]), kind), files[0][1]) for kind in ("BMP", "TIFF")]

    def example(random: Random) -> None:
        data, record = random.choice(files)
        ids = decode_ids(damaged_bytes(data, random))
        panoptic = PanopticMap(ids, record.segments)
        check_panoptic(record.file_name, panoptic, (ids.shape[1], ids.shape[0]), source.categories)

    return example
