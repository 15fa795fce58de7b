"""What says which pixels are an object: JSON, CSV, run lengths, and the masks of Open Images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image as Pillow

from olrd.panoptic import decode_rle, encode_rle
from olrd.sources import SourceSpec, open_source
from perf.fuzz.harness import Example
from perf.fuzz.mutate import TEXTS, damaged_bytes, damaged_json, damaged_value
from perf.fuzz.targets.register import copied, read_all, target, without_cache


@target("annotation-json")
def annotation_json(honest: Path, scratch: Path) -> Example:
    """The JSON of COCO's panoptic annotations."""
    root = copied(honest, scratch, "coco")
    file = root / "annotations" / "panoptic_train2017.json"
    document = json.loads(file.read_text())
    used = {segment["category_id"] for note in document["annotations"] for segment in note["segments_info"]}
    document["categories"] = [category for category in document["categories"] if category["id"] in used]
    document["licenses"] = [{"id": 1, "name": "by", "url": "http://creativecommons.org/licenses/by/2.0/"}]
    for image in document["images"]:
        image |= {"license": 1, "coco_url": "http://x/y.jpg", "author": "A. Uthor"}

    def example(random: Random) -> None:
        part = random.choice((*document, None))
        if part is None:
            text = damaged_json(document, random)
        else:
            changed = json.loads(json.dumps(document))
            changed[part] = damaged_value(changed[part], random)
            text = json.dumps(changed).encode()
        file.write_bytes(text)
        try:
            read_all(open_source(SourceSpec("coco", str(root))))
        finally:
            without_cache(scratch)

    return example


@target("instances-json")
def instances_json(honest: Path, scratch: Path) -> Example:
    """The JSON of COCO's instances: polygons, run lengths and counts as text."""
    photos = sorted((honest / "coco" / "train2017").iterdir())[:3]
    root = scratch / "instances"
    (root / "images").mkdir(parents=True, exist_ok=True)
    images = []
    for number, photo in enumerate(photos, start=1):
        shutil.copy(photo, root / "images" / photo.name)
        width, height = Pillow.open(photo).size
        images.append({"id": number, "file_name": photo.name, "width": width, "height": height})
    shapes = [
        [[10, 10, 60, 10, 60, 50, 10, 50]],
        {"counts": [5, 20, width * height - 25], "size": [height, width]},
        {"counts": encode_rle(np.eye(height, width, dtype=bool)), "size": [height, width]},
    ]
    notes = [
        {"id": n, "image_id": image["id"], "category_id": 1, "segmentation": shape, "iscrowd": 0, "bbox": [1, 1, 9, 9]}
        for n, (image, shape) in enumerate(zip(images, shapes, strict=True), start=1)
    ]
    document = {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "dog"}]}

    def example(random: Random) -> None:
        changed = json.loads(json.dumps(document))
        part = random.choice((*document, None))
        if part is None:
            text = damaged_json(document, random)
        else:
            changed[part] = damaged_value(changed[part], random)
            text = json.dumps(changed).encode()
        (root / "instances.json").write_bytes(text)
        try:
            read_all(open_source(SourceSpec("instances", str(root))))
        finally:
            without_cache(scratch)

    return example


@target("instances-csv")
def instances_csv(honest: Path, scratch: Path) -> Example:
    """The four CSV files of Open Images."""
    root = copied(honest, scratch, "openimages")
    files = {file: file.read_bytes() for file in sorted(root.glob("*.csv"))}

    def example(random: Random) -> None:
        file = random.choice(list(files))
        changed = _damaged_table(files[file], random) if random.random() < 0.7 else damaged_bytes(files[file], random)
        file.write_bytes(changed)
        try:
            read_all(open_source(SourceSpec("openimages", str(root))))
        finally:
            file.write_bytes(files[file])
            without_cache(scratch)

    return example


def _damaged_table(data: bytes, random: Random) -> bytes:
    """One cell, or one line, becomes another."""
    lines = [line.split(",") for line in data.decode().splitlines()]
    for _ in range(random.choice((1, 1, 3))):
        line = random.choice(lines)
        if line and random.random() < 0.8:
            numbers = ("", "inf", "-inf", "nan", "1e400", "-1", "2", "0", "1e9", "0x10", "one", str(10**30))
            line[random.randrange(len(line))] = random.choice((*numbers, *TEXTS))
        elif line and random.random() < 0.5:
            line.pop()
        else:
            lines.append(list(line))
    return "\n".join(",".join(line) for line in lines).encode("utf-8", "surrogatepass")


@target("instances-mask")
def instances_mask(honest: Path, scratch: Path) -> Example:
    """The mask PNGs of Open Images."""
    root = copied(honest, scratch, "openimages")
    source = open_source(SourceSpec("openimages", str(root)))
    files = {file: file.read_bytes() for file in sorted((root / "test-masks").iterdir())}

    def example(random: Random) -> None:
        file = random.choice(list(files))
        file.write_bytes(damaged_bytes(files[file], random))
        try:
            read_all(source)
        finally:
            file.write_bytes(files[file])

    return example


@target("rle")
def rle(honest: Path, scratch: Path) -> Example:
    """Run lengths in COCO's compressed form."""
    bits = np.random.default_rng(0).random((20, 30)) < 0.3
    block = np.zeros((20, 30), np.bool_)
    block[4:9, 3:20] = True
    texts = [encode_rle(bits), encode_rle(block), encode_rle(np.zeros((20, 30), np.bool_))]
    sides = (1, 7, 20, 30, 1000, 1 << 16, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 70)

    def example(random: Random) -> None:
        text = random.choice(texts)
        if random.random() < 0.8:
            text = damaged_bytes(text.encode(), random).decode("latin-1")
        height, width = (20, 30) if random.random() < 0.5 else (random.choice(sides), random.choice(sides))
        decode_rle(text, height, width)

    return example


@target("segments")
def segments(honest: Path, scratch: Path) -> Example:
    """The segments and the map that `magiceraser erase` takes."""
    from baselines.photos.panoptic_file import read_map

    png = next(iter(sorted((honest / "coco" / "annotations" / "panoptic_train2017").iterdir())))
    document = json.loads((honest / "coco" / "annotations" / "panoptic_train2017.json").read_text())
    listed = next(note["segments_info"] for note in document["annotations"] if note["file_name"] == png.name)
    used = {segment["category_id"] for segment in listed}
    categories = [category for category in document["categories"] if category["id"] in used]
    forms = [listed, {"segments_info": listed, "categories": categories}, document | {"categories": categories}]

    def example(random: Random) -> None:
        file = scratch / "segments.json"
        file.write_bytes(damaged_json(random.choice(forms), random))
        read_map(png, file)

    return example
