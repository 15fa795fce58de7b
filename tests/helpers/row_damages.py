"""Damages of one value of one row, each with the problem that `verify` must name."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image as Pillow
from sealed_copy import Row

from olrd.arrays import decode_mask, decode_photo, encode_image, encode_mask


def picture(row: Row, name: str) -> np.ndarray:
    with Pillow.open(io.BytesIO(row[name]["bytes"])) as image:
        return np.array(image)


def put(row: Row, name: str, pixels: np.ndarray) -> None:
    data = encode_mask(pixels) if name == "mask" else encode_image(pixels)
    row[name] = {"bytes": data, "path": row[name]["path"]}


def composite_changed_outside(row: Row) -> None:
    image, mask = picture(row, "image"), picture(row, "mask")
    y, x = np.argwhere(~mask)[-1]
    image[y, x, 1] ^= 1
    put(row, "image", image)


def composite_changed_inside(row: Row) -> None:
    image, mask = picture(row, "image"), picture(row, "mask")
    y, x = np.argwhere(mask)[0]
    image[y, x, 2] ^= 1
    put(row, "image", image)


def composite_is_the_background(row: Row) -> None:
    row["image"] = {"bytes": row["background"]["bytes"], "path": row["image"]["path"]}


def mask_lost_a_pixel(row: Row) -> None:
    """One where the composite equals the background anyway, so that only the hash can tell."""
    image, mask = picture(row, "image"), picture(row, "mask").astype(bool)
    behind = decode_photo(row["background"]["bytes"]).pixels
    equal = np.argwhere(mask & (image == behind).all(axis=2))
    y, x = equal[0] if len(equal) else np.argwhere(mask)[0]
    mask[y, x] = False
    put(row, "mask", mask)


def mask_gained_a_pixel(row: Row) -> None:
    mask = picture(row, "mask").astype(bool)
    y, x = np.argwhere(~mask)[0]
    mask[y, x] = True
    put(row, "mask", mask)


def mask_is_empty(row: Row) -> None:
    put(row, "mask", np.zeros_like(picture(row, "mask"), dtype=bool))


def mask_is_everything(row: Row) -> None:
    put(row, "mask", np.ones_like(picture(row, "mask"), dtype=bool))


def mask_is_inverted(row: Row) -> None:
    put(row, "mask", ~picture(row, "mask").astype(bool))


def mask_is_not_binary(row: Row) -> None:
    grey = picture(row, "mask").astype(np.uint8) * 255
    grey[0, 0] = 100
    buffer = io.BytesIO()
    Pillow.fromarray(grey).save(buffer, "PNG")
    row["mask"]["bytes"] = buffer.getvalue()


def composite_is_a_jpeg(row: Row) -> None:
    buffer = io.BytesIO()
    Pillow.fromarray(picture(row, "image")).save(buffer, "JPEG", quality=100, subsampling=0)
    row["image"]["bytes"] = buffer.getvalue()


def composite_is_truncated(row: Row) -> None:
    row["image"]["bytes"] = row["image"]["bytes"][:-200]


def composite_is_no_image(row: Row) -> None:
    row["image"]["bytes"] = b"no image"


def composite_is_missing(row: Row) -> None:
    row["image"] = {"bytes": None, "path": row["image"]["path"]}


def mask_is_truncated(row: Row) -> None:
    row["mask"]["bytes"] = row["mask"]["bytes"][:40]


def background_is_encoded_again(row: Row) -> None:
    """The same pixels in another file: no longer the photo's own bytes."""
    pixels = decode_photo(row["background"]["bytes"]).pixels
    put(row, "background", pixels)


def background_changed_under_the_object(row: Row) -> None:
    """Where the proof does not look: the ground truth inside the mask."""
    pixels = decode_photo(row["background"]["bytes"]).pixels.copy()
    mask = decode_mask(row["mask"]["bytes"])
    pixels[mask] = 255 - pixels[mask]
    put(row, "background", pixels)


def background_changed_and_renamed(row: Row) -> None:
    """The same, with the name that a lossless copy of the photo would have."""
    background_changed_under_the_object(row)
    row["background"]["path"] = f"{row['id']}-background.webp"


def everything_is_cropped(row: Row) -> None:
    for name in ("image", "background"):
        put(row, name, picture(row, name)[:-1])
    put(row, "mask", picture(row, "mask")[:-1])


def composite_is_cropped(row: Row) -> None:
    put(row, "image", picture(row, "image")[:, :-1])


def _recipe(change: Callable[[dict[str, Any]], None]) -> Callable[[Row], None]:
    def damage(row: Row) -> None:
        recipe = json.loads(row["recipe"])
        change(recipe)
        row["recipe"] = json.dumps(recipe, sort_keys=True, separators=(",", ":"))

    return damage


def _column(name: str, value: Callable[[Any], Any]) -> Callable[[Row], None]:
    def damage(row: Row) -> None:
        row[name] = value(row[name])

    return damage


def later(value: list[int]) -> list[int]:
    return [value[0] + 1, *value[1:]]


ROW_DAMAGES: dict[str, tuple[Callable[[Row], None], str]] = {
    "composite_changed_outside": (composite_changed_outside, "differs from the background"),
    "composite_changed_inside": (composite_changed_inside, "not those of the recipe"),
    "composite_is_the_background": (composite_is_the_background, "not those of the recipe"),
    "composite_is_a_jpeg": (composite_is_a_jpeg, "differs from the background|not those of the recipe"),
    "composite_is_truncated": (composite_is_truncated, "truncated|corrupt|not a readable"),
    "composite_is_no_image": (composite_is_no_image, "not a readable image"),
    "composite_is_missing": (composite_is_missing, "image"),
    "composite_is_cropped": (composite_is_cropped, "sizes differ"),
    "everything_is_cropped": (everything_is_cropped, "sizes differ"),
    "mask_lost_a_pixel": (mask_lost_a_pixel, "not those of the recipe|differs from the background"),
    "mask_gained_a_pixel": (mask_gained_a_pixel, "not those of the recipe"),
    "mask_is_empty": (mask_is_empty, "differs from the background|mask covers"),
    "mask_is_everything": (mask_is_everything, "mask covers"),
    "mask_is_inverted": (mask_is_inverted, "differs from the background"),
    "mask_is_not_binary": (mask_is_not_binary, "two values"),
    "mask_is_truncated": (mask_is_truncated, "truncated|corrupt|not a readable"),
    "background_is_encoded_again": (background_is_encoded_again, "photo's own file"),
    "background_changed_and_renamed": (background_changed_and_renamed, "not those of the recipe"),
    "background_changed_under_the_object": (background_changed_under_the_object, "own file"),
    "id": (_column("id", lambda v: v + "x"), "column id"),
    "image_id": (_column("image_id", lambda v: v + "0"), "column image_id"),
    "donor_image_id": (_column("donor_image_id", lambda v: v + "0"), "column donor_image_id"),
    "segment_id": (_column("segment_id", lambda v: v + 1), "column segment_id"),
    "bbox": (_column("bbox", later), "column bbox"),
    "source_bbox": (_column("source_bbox", later), "column source_bbox"),
    "shift": (_column("shift", later), "column shift"),
    "scale": (_column("scale", lambda v: v + 0.25), "column scale"),
    "flip": (_column("flip", lambda v: not v), "column flip"),
    "mask_area": (_column("mask_area", lambda v: v * 1.001), "mask_area"),
    "blend": (_column("blend", lambda v: "hard"), "column blend"),
    "width": (_column("width", lambda v: v + 1), "sizes differ"),
    "split": (_column("split", lambda v: "elsewhere"), "split"),
    "bbox_is_null": (_column("bbox", lambda v: None), "bbox"),
    "recipe_is_no_json": (_column("recipe", lambda v: v[:-9]), "not a recipe"),
    "recipe_of_another_version": (_recipe(lambda r: r.update(version=99)), "version"),
    "recipe_hash": (_recipe(lambda r: r.update(pixels_sha256="0" * 64)), "not those of the recipe"),
    "recipe_position": (_recipe(lambda r: r.update(position=later(r["position"]))), "shift"),
    "recipe_position_is_text": (_recipe(lambda r: r.update(position="ab")), "recipe"),
    "recipe_photo": (_recipe(lambda r: r["background"].update(sha256="0" * 64)), "own file"),
    "recipe_box": (_recipe(lambda r: r.update(source_bbox=later(r["source_bbox"]))), "source_bbox"),
    "recipe_mask": (_recipe(lambda r: r.update(rle=r["rle"][:-2])), "RLE counts"),
    "recipe_blend": (_recipe(lambda r: r.update(blend="poisson", params={})), "column blend"),
}
