"""A small dataset in the official COCO panoptic layout, drawn instead of photographed.

Every photo has a sky, one or two grounds and two solid objects that can be moved. On top of that
photo k has, by k modulo 6: nothing, a crowd, an object cut by the frame, a tiny object (and the
photo is greyscale), a fragmented object, two objects in contact.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from olrd.arrays import encode_image
from olrd.masks import mask_box
from olrd.models.coco_categories import coco_categories
from olrd.panoptic import Record, Segment, SegmentMap
from olrd.triplets.photo import working_photo
from olrd.triplets.scene import Scene

Bits = npt.NDArray[np.bool_]

SIZES = ((200, 150), (240, 180), (210, 160), (160, 120), (220, 170), (180, 200))
VARIETY = ("plain", "crowd", "truncated", "tiny", "fragmented", "contact")
GROUNDS = (("grass-merged", (78, 130, 60)), ("sand", (205, 180, 130)), ("road", (105, 105, 110)))
THINGS = (
    ("dog", (120, 72, 40)),
    ("sports ball", (215, 60, 45)),
    ("fire hydrant", (190, 170, 30)),
    ("suitcase", (50, 60, 150)),
    ("teddy bear", (160, 110, 70)),
)
COCO_LICENSES = (
    ("Attribution-NonCommercial-ShareAlike License", "by-nc-sa"),
    ("Attribution-NonCommercial License", "by-nc"),
    ("Attribution-NonCommercial-NoDerivs License", "by-nc-nd"),
    ("Attribution License", "by"),
    ("Attribution-ShareAlike License", "by-sa"),
    ("Attribution-NoDerivs License", "by-nd"),
)
LICENSE_ORDER = (4, 1, 5, 7, 2, 8, 3, 6)


def licenses() -> list[dict[str, Any]]:
    """The eight entries of COCO's own licence list."""
    listed: list[dict[str, Any]] = [
        {"id": number, "name": name, "url": f"http://creativecommons.org/licenses/{code}/2.0/"}
        for number, (name, code) in enumerate(COCO_LICENSES, start=1)
    ]
    return [
        *listed,
        {"id": 7, "name": "No known copyright restrictions", "url": "http://flickr.com/commons/usage/"},
        {"id": 8, "name": "United States Government Work", "url": "http://www.usa.gov/copyright.shtml"},
    ]


@dataclass
class Canvas:
    """A photo in the making: float RGB pixels, panoptic ids, and the regions drawn so far."""

    pixels: npt.NDArray[np.float64]
    ids: npt.NDArray[np.uint32]
    rng: np.random.Generator
    regions: list[tuple[int, str, bool]] = field(default_factory=list)

    def new_id(self, name: str, crowd: bool = False) -> int:
        used = {number for number, _, _ in self.regions}
        number = 1 + 37 * len(self.regions)
        while number in used or (len(self.regions) > 1 and number < 256):
            number = int(self.rng.integers(1, 1 << 24))
        self.regions.append((number, name, crowd))
        return number

    def stuff(self, name: str, colour: tuple[int, int, int], where: Bits) -> None:
        """A textured region: slow shading, stripes and grain."""
        height, width = where.shape
        y, x = np.mgrid[:height, :width]
        slow = self.rng.normal(0, 1, (height // 8 + 2, width // 8 + 2)).astype(np.float32)
        shade = cv2.resize(slow, (width, height), interpolation=cv2.INTER_CUBIC) * 6
        texture = shade + 4 * np.sin(x / 3.1 + y / 2.3) + self.rng.normal(0, 3, where.shape)
        self.pixels[where] = (np.array(colour) + texture[..., None])[where]
        self.ids[where] = self.new_id(name)

    def thing(self, name: str, colour: tuple[int, int, int], where: Bits, crowd: bool = False) -> None:
        """A shaded object with stripes and a soft edge of about one pixel."""
        height, width = where.shape
        y, x = np.mgrid[:height, :width]
        texture = 14 * np.sin(y / 2.0) + 9 * np.cos(x / 2.7) + self.rng.normal(0, 4, where.shape)
        drawn = np.array(colour) + texture[..., None]
        alpha = cv2.GaussianBlur(where.astype(np.float64), (3, 3), 0.7)[..., None]
        self.pixels[:] = alpha * drawn + (1 - alpha) * self.pixels
        self.ids[where] = self.new_id(name, crowd)


def ellipse(shape: tuple[int, int], box: tuple[int, int, int, int], power: float = 2.0) -> Bits:
    """A filled super-ellipse inside box (x, y, w, h); power 2 is an ellipse, 6 almost a box."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    left, top, width, height = box
    u = np.abs((x - left - (width - 1) / 2) / (width / 2))
    v = np.abs((y - top - (height - 1) / 2) / (height / 2))
    filled: Bits = u**power + v**power <= 1
    return filled


def draw_photo(number: int, rng: np.random.Generator) -> Canvas:
    """Draw photo `number` of the series."""
    width, height = SIZES[number % len(SIZES)]
    shape = (height, width)
    canvas = Canvas(np.zeros((*shape, 3)), np.zeros(shape, np.uint32), rng)
    rows = np.arange(height)[:, None] + np.zeros((1, width), int)
    horizon = int(height * 0.45)
    canvas.stuff("sky-other-merged", (140, 175, 225), rows < horizon)
    ground, colour = GROUNDS[number % len(GROUNDS)]
    below = rows >= horizon
    if number % 2:
        edge = int(height * 0.9)
        other, other_colour = GROUNDS[(number + 1) % len(GROUNDS)]
        canvas.stuff(other, other_colour, rows >= edge)
        below &= rows < edge
    canvas.stuff(ground, colour, below)

    things = [THINGS[int(k)] for k in rng.permutation(len(THINGS))]
    unit = width // 10
    feet = int(height * 0.78)
    for k, left in enumerate((unit, int(3.6 * unit))):
        tall = int(unit * (1.2 + 0.4 * k))
        base = feet - 5 * k
        where = ellipse(shape, (left, base - tall, unit + 4, tall), 2.0 + 2 * (number % 3))
        canvas.thing(*things[k], where)
    _variety(canvas, VARIETY[number % len(VARIETY)], things[2:], unit, feet)
    canvas.ids[:2] = 0
    if number % 2 == 0:
        canvas.ids[-12:-8, -unit:] = 0
    return canvas


def _variety(canvas: Canvas, kind: str, things: list[tuple[str, tuple[int, int, int]]], unit: int, feet: int) -> None:
    shape = canvas.ids.shape[0], canvas.ids.shape[1]
    width = shape[1]
    if kind == "crowd":
        where = ellipse(shape, (9 * unit - 4, feet - 20, unit, 12))
        where |= ellipse(shape, (9 * unit - 4, feet - 12, unit, 12))
        canvas.thing("person", (90, 60, 90), where, crowd=True)
    elif kind == "truncated":
        canvas.thing(*things[0], ellipse(shape, (width - unit // 2, feet - 24, unit, 24)))
    elif kind == "tiny":
        canvas.thing(*things[0], ellipse(shape, (8 * unit, feet, 4, 4)))
    elif kind == "fragmented":
        where = ellipse(shape, (8 * unit, feet - 30, 12, 12))
        canvas.thing(*things[0], where | ellipse(shape, (8 * unit, feet - 12, 12, 12)))
    elif kind == "contact":
        canvas.thing(*things[0], ellipse(shape, (8 * unit, feet - 22, 14, 22), 6))
        canvas.thing(*things[1], ellipse(shape, (8 * unit + 13, feet - 24, 14, 24), 6))


def segments_info(canvas: Canvas) -> list[dict[str, Any]]:
    """The JSON entries of the regions that have a pixel left."""
    categories = coco_categories()
    found: list[dict[str, Any]] = []
    for number, name, crowd in canvas.regions:
        rows, columns = np.nonzero(canvas.ids == number)
        if len(rows):
            left, top = int(columns.min()), int(rows.min())
            size = [int(columns.max()) - left + 1, int(rows.max()) - top + 1]
            found.append(
                {
                    "id": number,
                    "category_id": categories[name].id,
                    "iscrowd": int(crowd),
                    "bbox": [left, top, *size],
                    "area": len(rows),
                }
            )
    return found


@cache  # many tests write the first photos of one seed
def files_of(seed: int, number: int) -> tuple[bytes, bytes, tuple[int, int], list[dict[str, Any]]]:
    """The JPEG of a photo, the PNG of its map, (width, height), and its segments."""
    canvas = draw_photo(number, np.random.default_rng([seed, number]))
    photo = Image.fromarray(np.clip(canvas.pixels + 0.5, 0, 255).astype(np.uint8))
    if VARIETY[number % len(VARIETY)] == "tiny":
        photo = photo.convert("L")
    packed = np.stack([canvas.ids >> shift & 255 for shift in (0, 8, 16)], axis=-1)
    jpeg, png = io.BytesIO(), io.BytesIO()
    photo.save(jpeg, "JPEG", quality=92)
    Image.fromarray(packed.astype(np.uint8)).save(png, "PNG")
    return jpeg.getvalue(), png.getvalue(), photo.size, segments_info(canvas)


def write_coco(root: Path, count: int = 6, seed: int = 0, subset: str = "train2017") -> Path:
    """Write `count` photos with annotations under `root`, in the official layout; returns `root`.

    The same arguments give the same files. `images` is in the order of the ids, `annotations` is
    not. Segment ids repeat between photos.
    """
    photos, pngs = root / subset, root / "annotations" / f"panoptic_{subset}"
    photos.mkdir(parents=True, exist_ok=True)
    pngs.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number in range(count):
        jpeg, png, (width, height), segments = files_of(seed, number)
        image_id = 139 + 2048 * number
        name = f"{image_id:012d}"
        (photos / f"{name}.jpg").write_bytes(jpeg)
        (pngs / f"{name}.png").write_bytes(png)
        images.append(
            {
                "id": image_id,
                "file_name": f"{name}.jpg",
                "width": width,
                "height": height,
                "license": LICENSE_ORDER[number % len(LICENSE_ORDER)],
                "coco_url": f"http://images.cocodataset.org/{subset}/{name}.jpg",
                "flickr_url": f"http://farm1.staticflickr.com/{number}/{name}_z.jpg",
                "date_captured": "2013-11-14 11:18:45",
            }
        )
        annotations.append({"image_id": image_id, "file_name": f"{name}.png", "segments_info": segments})
    half = count // 2
    document = {
        "info": {"description": "drawn photos for tests", "version": "1.0", "year": 2017},
        "licenses": licenses(),
        "images": images,
        "annotations": annotations[half:][::-1] + annotations[:half],
        "categories": [
            category._asdict() | {"isthing": int(category.isthing)} for category in coco_categories().values()
        ],
    }
    (root / "annotations" / f"panoptic_{subset}.json").write_text(json.dumps(document))
    return root


def make_scene(index: npt.ArrayLike, names: Mapping[int, str], crowds: Collection[int] = (), seed: int = 0) -> Scene:
    """A scene from a small map of numbers; `names` gives each number its COCO class, 0 is void."""
    kinds = {category.id: category for category in coco_categories().values()}
    ids = np.asarray(index)
    height, width = ids.shape
    numbers = sorted(set(np.unique(ids).tolist()) - {0})
    segments = tuple(
        Segment(
            number,
            coco_categories()[names[number]].id,
            int(np.count_nonzero(ids == number)),
            mask_box(ids == number),
            number in crowds,
        )
        for number in numbers
    )
    small = np.zeros(ids.shape, np.uint8)
    for k, number in enumerate(numbers, start=1):
        small[ids == number] = k
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    photo = working_photo(encode_image(pixels), "drawn.webp", None)
    record = Record("1", "drawn.jpg", width, height, "", "", "", "", "drawn.png", segments)
    return Scene(record, photo, SegmentMap(small, segments), kinds)
