"""The honest inputs that the targets damage: drawn, built and scored once, in one folder."""

from __future__ import annotations

import csv
import io
import os
import tarfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.sources import SourceSpec
from perf.faults.photos import write_photos
from tools.drawn_clip import Scene

PHOTOS = 3
PROTOCOL = '{"name": "fuzz", "version": 1, "metrics": ["psnr"], "bootstrap": 20}'
_MASKS = ("MaskPath", "ImageID", "LabelName", "BoxID", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax")
_BOXES = ("ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", "IsGroupOf")
_IMAGES = ("ImageID", "Subset", "OriginalURL", "OriginalLandingURL", "License", "Author", "Rotation")


def write_honest(folder: Path) -> Path:
    """Write all honest inputs into the empty folder and return it.

    `coco`, `openimages` and `clip` are sources, `full` and `recipes` are builds of the first, `seen` is one of the last,
    `run` and `board` are a scored run and a leaderboard, and `photos.zip` and `photos.tar` are archives.
    """
    import benchmark
    from benchmark.board.records import add_record

    with _cache(folder / "cache"):
        coco = write_photos(folder / "coco", PHOTOS)
        _write_openimages(folder / "openimages")
        for form in ("full", "recipes"):
            build(BuildConfig(SourceSpec("coco", str(coco)), form=form), folder / form)
        Scene(frames=7).save(folder / "clip" / "street")
        build(BuildConfig(SourceSpec("clip", str(folder / "clip")), form="recipes"), folder / "seen")
        (folder / "protocol.json").write_text(PROTOCOL)
        run = benchmark.run(
            "mean-fill",
            root=folder / "full",
            out=folder / "run",
            device="cpu",
            limit=3,
            protocol=str(folder / "protocol.json"),
        )
        add_record(run, folder / "board")
    _write_archives(folder, sorted((coco / "train2017").iterdir()))
    return folder


@contextmanager
def _cache(folder: Path) -> Any:
    before = os.environ.get("OLRD_CACHE")
    os.environ["OLRD_CACHE"] = str(folder)
    try:
        yield
    finally:
        del os.environ["OLRD_CACHE"]
        if before is not None:
            os.environ["OLRD_CACHE"] = before


def _write_archives(folder: Path, photos: list[Path]) -> None:
    with zipfile.ZipFile(folder / "photos.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        for number, photo in enumerate(photos):
            zipped.write(photo, f"photos/{photo.name}", zipfile.ZIP_DEFLATED if number else zipfile.ZIP_STORED)
    with tarfile.open(folder / "photos.tar", "w", format=tarfile.PAX_FORMAT) as packed:
        for photo in photos:
            packed.add(photo, f"photos/{photo.name}")


def _write_openimages(root: Path) -> None:
    """Two photos with three masks, the boxes, the names of the classes and the photos' authors."""
    (root / "test").mkdir(parents=True)
    (root / "test-masks").mkdir()
    masks, images = [], []
    for number in (1, 2):
        name = f"{number:016x}"
        noise = np.random.default_rng(number).integers(0, 256, (96, 128, 3), np.uint8)
        Pillow.fromarray(noise).save(root / "test" / f"{name}.jpg")
        images.append([name, "test", "https://x/y.jpg", "https://x/y", "https://x/by/2.0/", "A. Uthor", "0.0"])
        for part in range(number):
            mask = np.zeros((60, 80), np.bool_)
            mask[20 : 40 + part, 10 + 30 * part : 30 + 30 * part] = True
            file = f"{name}_m0bt9lr_{part:08x}.png"
            Pillow.fromarray(mask).save(root / "test-masks" / file)
            left, right = (10 + 30 * part) / 80, (30 + 30 * part) / 80
            masks.append([file, name, "/m/0bt9lr", f"{part:08x}", left, right, 1 / 3, (40 + part) / 60])
    boxes = [[row[1], "xclick", row[2], 1, *row[4:], 0] for row in masks]
    _write_csv(root / "test-annotations-object-segmentation.csv", [_MASKS, *masks])
    _write_csv(root / "test-annotations-bbox.csv", [_BOXES, *boxes])
    _write_csv(root / "test-images-with-rotation.csv", [_IMAGES, *images])
    _write_csv(root / "class-descriptions-boxable.csv", [("/m/0bt9lr", "Dog")])


def _write_csv(path: Path, rows: list[Any]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def drawn_pictures() -> dict[str, bytes]:
    """Small photos of each format and of several kinds, by name."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    smooth = np.add.outer(np.arange(48), np.arange(64)).astype(np.uint8)
    colour, grey = Pillow.fromarray(noise), Pillow.fromarray(smooth)
    return {
        "jpeg": saved(colour, "JPEG"),
        "progressive": saved(colour, "JPEG", progressive=True),
        "grey-jpeg": saved(grey, "JPEG"),
        "png": saved(colour, "PNG"),
        "webp": saved(colour, "WEBP"),
        "lossless": saved(colour, "WEBP", lossless=True),
        "tiff": saved(colour, "TIFF"),
        "packed-tiff": saved(colour, "TIFF", compression="tiff_lzw"),
        "bmp": saved(colour, "BMP"),
        "palette": saved(colour.quantize(16), "PNG"),
        "cmyk": saved(colour.convert("CMYK"), "JPEG"),
        "profile": saved(colour, "JPEG", icc_profile=bytes(range(256)) * 2),
        # The rest is not read, and must be refused.
        "gif": saved(colour, "GIF"),
        "ico": saved(colour, "ICO"),
        "ppm": saved(colour, "PPM"),
        "dds": saved(colour, "DDS"),
        "tga": saved(colour, "TGA"),
        "eps": saved(colour, "EPS"),
        "jpeg2000": saved(colour, "JPEG2000"),
    }


def drawn_exif() -> Pillow.Exif:
    """Camera data with values of every type, a second and a third directory, and a turned photo."""
    exif = Pillow.Exif()
    for tag, value in {
        0x0112: 6,
        0x010F: "maker",
        0x0110: "model",
        0x011A: 72.0,
        0x0132: "2026:01:01 00:00:00",
        0x9C9B: b"t\0",
    }.items():
        exif[tag] = value
    exif.get_ifd(0x8769).update({0x829A: 0.01, 0x9000: b"0232", 0x927C: b"note" * 8, 0xA002: 32, 0x8827: (100, 200)})
    exif.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0), 29: "2026:01:01"})
    return exif


def saved(image: Pillow.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a picture file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
