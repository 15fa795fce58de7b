"""The columns that rows of all kinds of triplets share: the pictures, and the terms of the photos."""

from __future__ import annotations

from typing import Any

from olrd.arrays import encode_image, encode_mask, image_name
from olrd.panoptic import Record
from olrd.triplets.compose import Triplet
from olrd.triplets.photo import WorkingPhoto

Row = dict[str, Any]


def terms(prefix: str, record: Record) -> Row:
    """The columns of a photo's licence and origin."""
    return {
        f"{prefix}license": record.license,
        f"{prefix}license_url": record.license_url,
        f"{prefix}source_url": record.source_url,
        f"{prefix}author": record.author,
    }


def mask_pictures(triplet: Triplet, name: str) -> Row:
    """The column of the masks of the single objects."""
    masks = triplet.masks or (triplet.mask,)
    return {
        "masks": [{"bytes": encode_mask(mask), "path": f"{name}-mask{number}.png"} for number, mask in enumerate(masks)]
    }


def pictures(photo: WorkingPhoto, triplet: Triplet, name: str, seen: bool = False) -> Row:
    """The columns of the pictures.

    Of a pasted object, the composite and the mask are encoded losslessly, and the background is stored as the photo is.
    Of an object that was `seen`, the composite is the photo, and the background is encoded losslessly.
    """
    row: Row = {"mask": {"bytes": encode_mask(triplet.mask), "path": f"{name}.png"}}
    if triplet.effect is not None:
        row["effect"] = {"bytes": encode_mask(triplet.effect), "path": f"{name}-effect.png"}
    if seen:
        background = encode_image(triplet.background, photo.icc)
        stored = {"bytes": background, "path": image_name(f"{name}-background", background)}
        return row | {"image": photo.stored(name), "background": stored}
    image = encode_image(triplet.image, photo.icc)
    return row | {
        "image": {"bytes": image, "path": image_name(name, image)},
        "background": photo.stored(f"{name}-background"),
    }
