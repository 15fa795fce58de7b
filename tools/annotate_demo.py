"""Build the demo split (photos, COCO panoptic JSON and PNG) from annotation data.

The annotation is data (``demo_polygons.json`` beside this file). It lists for each photo the original file, the crop
box and the segments, each with a category name, coarse polygons in pixels of the final photo and, for some, a
refinement. This script crops and downscales the originals, refines the polygons, paints the segments in their order
(later ones on top) and writes the split.

    python tools/annotate_demo.py ORIGINALS OUTPUT --categories panoptic_train2017.json

ORIGINALS holds the original photos (searched by file name in all its folders).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

LONG_SIDE = 640
SPLIT = "demo"
NO_REFINEMENT: dict[str, Any] = {}


def load_photo(originals: Path, photo: dict[str, Any]) -> Image.Image:
    """Return the cropped original as an RGB image whose long side is `LONG_SIDE`."""
    found = sorted(originals.rglob(photo["origin"]["file"]))
    if not found:
        raise FileNotFoundError(f"{photo['origin']['file']} is not below {originals}")
    image = Image.open(found[0]).convert("RGB")
    if photo.get("crop"):
        image = image.crop(tuple(photo["crop"]))
    scale = LONG_SIDE / max(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def fill(polygons: list[list[float]], shape: tuple[int, int]) -> np.ndarray:
    """Rasterise flat ``[x, y, x, y, ...]`` polygons to a boolean mask."""
    mask = np.zeros(shape, np.uint8)
    for polygon in polygons:
        points = np.round(np.array(polygon, float).reshape(-1, 2) * 16).astype(np.int32)
        cv2.fillPoly(mask, [points], 1, shift=4)
    return mask.astype(bool)


def grow(mask: np.ndarray, radius: int) -> np.ndarray:
    """Dilate (radius > 0) or erode (radius < 0) a mask by a disc."""
    if radius == 0:
        return mask
    size = 2 * abs(radius) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    change = cv2.dilate if radius > 0 else cv2.erode
    return change(mask.astype(np.uint8), disc).astype(bool)


def grabcut(rgb: np.ndarray, coarse: np.ndarray, segment: dict[str, Any]) -> np.ndarray:
    """Refine a coarse mask by GrabCut inside a band around its edge.

    ``band`` (inner, outer) is the width of the band in pixels; polygons under ``keep`` are
    certainly inside and those under ``drop`` certainly outside. The cut runs on a 2x enlargement,
    so that thin parts survive, and on a window around the object, so that colours are local.
    """
    refine = segment["refine"]
    inner, outer = refine["band"]
    sure = grow(coarse, -inner) | fill(segment.get("keep", []), coarse.shape)
    never = ~grow(coarse, outer) | fill(segment.get("drop", []), coarse.shape)
    ys, xs = np.nonzero(~never)
    pad = refine.get("context", 24)
    top, left = max(ys.min() - pad, 0), max(xs.min() - pad, 0)
    window = np.s_[top : ys.max() + pad + 1, left : xs.max() + pad + 1]
    trimap = np.where(coarse, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[sure] = cv2.GC_FGD
    trimap[never] = cv2.GC_BGD
    part = trimap[window]
    size = (part.shape[1] * 2, part.shape[0] * 2)
    big = cv2.resize(rgb[window], size, interpolation=cv2.INTER_CUBIC)
    labels = cv2.resize(part, size, interpolation=cv2.INTER_NEAREST)
    cv2.setRNGSeed(0)
    models = np.zeros((2, 1, 65))
    cv2.grabCut(big, labels, None, models[0], models[1], refine.get("steps", 4), cv2.GC_INIT_WITH_MASK)
    cut = ((labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)).astype(np.float32)
    blurred = cv2.GaussianBlur(cut, (0, 0), refine.get("smooth", 1.2))
    mask = np.zeros_like(coarse)
    soft = cv2.resize(blurred, part.shape[::-1], interpolation=cv2.INTER_AREA)
    mask[window] = soft > refine.get("edge", 0.5)
    return (mask | fill(segment.get("keep", []), coarse.shape)) & ~never


def tidy(mask: np.ndarray, smallest: int, largest_hole: int) -> np.ndarray:
    """Remove strays below `smallest` pixels and fill holes up to `largest_hole` pixels."""
    for value, limit in ((1, smallest), (0, largest_hole)):
        source = (mask if value else ~mask).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(source, connectivity=4)
        small = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] < limit]
        mask = np.where(np.isin(labels, small), not value, mask)
    return mask.astype(bool)


def segment_mask(rgb: np.ndarray, segment: dict[str, Any]) -> np.ndarray:
    """Return the mask of one segment: filled polygons, refined where the data says so."""
    shape = rgb.shape[:2]
    if segment["polygons"] == "all":
        return np.ones(shape, bool)
    mask = fill(segment["polygons"], shape)
    refine = segment.get("refine") or NO_REFINEMENT
    if refine:
        mask = tidy(grabcut(rgb, mask, segment), refine.get("smallest", 30), refine.get("hole", 30))
    return mask & ~fill(segment.get("holes", []), shape)


def panoptic(
    rgb: np.ndarray, photo: dict[str, Any], categories: dict[str, dict[str, Any]]
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Paint a photo's segments and return the id map with its ``segments_info``."""
    owner = np.zeros(rgb.shape[:2], np.int32)
    kinds: list[tuple[str, int]] = []
    for segment in photo["segments"]:
        kind = (segment["category"], segment.get("iscrowd", 0))
        thing = kind[0] in categories and categories[kind[0]]["isthing"] and not kind[1]
        if kind[0] == "void":
            number = 0
        elif thing or kind not in kinds:
            kinds.append(kind)
            number = len(kinds)
        else:
            number = kinds.index(kind) + 1  # one region per stuff class and photo
        owner[segment_mask(rgb, segment)] = number
    ids = np.zeros_like(owner)
    info: list[dict[str, Any]] = []
    for number, (name, iscrowd) in enumerate(kinds, 1):
        mask = tidy(owner == number, 20 if categories[name]["isthing"] else 60, 0)
        if not mask.any():
            raise ValueError(f"photo {photo['id']}: nothing is left of {name}")
        colour = (37 * number % 251 + 4, 91 * number % 241 + 7, 149 * number % 239 + 11)
        segment_id = colour[0] + 256 * colour[1] + 65536 * colour[2]
        ids[mask] = segment_id
        ys, xs = np.nonzero(mask)
        box = [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]
        info.append(
            {
                "id": segment_id,
                "category_id": categories[name]["id"],
                "iscrowd": iscrowd,
                "bbox": [int(v) for v in box],
                "area": int(mask.sum()),
            }
        )
    return ids, info


def build(originals: Path, output: Path, data: dict[str, Any], categories: list[dict[str, Any]]) -> None:
    """Write ``demo/*.jpg``, ``annotations/panoptic_demo/*.png`` and ``panoptic_demo.json``."""
    by_name = {category["name"]: category for category in categories}
    photos, masks = output / SPLIT, output / "annotations" / f"panoptic_{SPLIT}"
    photos.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for photo in data["photos"]:
        image = load_photo(originals, photo)
        ids, info = panoptic(np.asarray(image), photo, by_name)
        stem = f"{photo['id']:012d}"
        image.save(photos / f"{stem}.jpg", quality=photo.get("quality", 88), optimize=True)
        rgb = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
        Image.fromarray(rgb).save(masks / f"{stem}.png", optimize=True)
        images.append(
            {
                "id": photo["id"],
                "file_name": f"{stem}.jpg",
                "width": image.width,
                "height": image.height,
                "license": photo["license"],
                "coco_url": "",
                "flickr_url": "",
                "date_captured": "",
                "source_url": photo["source_url"],
                "author": photo["author"],
                "title": photo["title"],
            }
        )
        annotations.append({"image_id": photo["id"], "file_name": f"{stem}.png", "segments_info": info})
    result = {
        "info": data["info"],
        "licenses": data["licenses"],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    text = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
    path = output / "annotations" / f"panoptic_{SPLIT}.json"
    path.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line and build the split."""
    parser = argparse.ArgumentParser(description="Build the demo split of annotated photos.")
    parser.add_argument("originals", type=Path, help="folder with the original photos")
    parser.add_argument("output", type=Path, help="folder to write, e.g. olrd/sources/demo_photos")
    parser.add_argument(
        "--categories", type=Path, required=True, help="a COCO panoptic JSON, for its list of 133 categories"
    )
    parser.add_argument("--data", type=Path, default=Path(__file__).with_name("demo_polygons.json"))
    options = parser.parse_args()
    data = json.loads(options.data.read_text(encoding="utf-8"))
    categories = json.loads(options.categories.read_text(encoding="utf-8"))["categories"]
    build(options.originals, options.output, data, categories)


if __name__ == "__main__":
    main()
