"""Pairs for the edge leak: a pasted object and its untouched twin, with the same outline points."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from olrd.arrays import Image, Mask, decode_photo
from olrd.audit.rim import Outline, trace
from olrd.dataset.folder import Dataset, row_triplet
from olrd.dataset.sampling import pick_evenly, rows_at
from olrd.errors import IntegrityError, Rejected, UsageError
from olrd.masks import mask_box
from olrd.panoptic import Box, decode_rle
from olrd.triplets.compose import check_fit, transformed
from olrd.triplets.recipe import Recipe
from olrd.trust import shown

POINTS = 24
"""Outline points per object, spread evenly."""


class LeakPair(NamedTuple):
    """One object twice: pasted, and untouched in the photo that it was cut from.

    Attributes:
        group: the photo that the object was cut from, `source/image_id`.
        pasted_image: the composite, uint8 [H, W, 3].
        pasted_mask: the object's mask in the composite, bool [H, W].
        natural_image: the photo, uint8 [H, W, 3].
        natural_mask: the object's mask in the photo, bool [H, W].
    """

    group: str
    pasted_image: Image
    pasted_mask: Mask
    natural_image: Image
    natural_mask: Mask


def leak_pairs(dataset: Dataset, limit: int = 400, seed: int = 0) -> Iterator[LeakPair]:
    """At most `limit` pairs from a built dataset, spread evenly over it.

    If the object was cut from the row's own photo, its twin is in the row's ground truth. If it was cut from another
    photo, that photo has to be the ground truth of another row; rows without such a row are left out.
    """
    if dataset.form != "full":
        raise UsageError(f"{dataset.folder} holds recipes, not pictures: run `olrd rebuild` first")
    ids = dataset.table(["source", "image_id", "donor_image_id"]).to_pylist()
    home = {(row["source"], row["image_id"]): number for number, row in enumerate(ids)}
    twins = [home.get((row["source"], row["donor_image_id"])) for row in ids]
    usable = [number for number, twin in enumerate(twins) if twin is not None]
    chosen = [usable[k] for k in pick_evenly(len(usable), limit, seed)]
    for number, row in zip(chosen, rows_at(dataset, chosen), strict=True):
        image, _, background, *_ = row_triplet(row)
        if row["donor_image_id"] != row["image_id"]:
            twin = next(rows_at(dataset, [twins[number] or 0], ["background"]))
            background = decode_photo((twin["background"] or {}).get("bytes") or b"", row["id"]).pixels
        recipe = Recipe.from_json(row["recipe"])
        try:
            check_fit(recipe, image.shape[1], image.shape[0])
            natural = decode_rle(recipe.rle, recipe.source_bbox.h, recipe.source_bbox.w)
        except (IntegrityError, Rejected) as error:
            raise IntegrityError(f"{shown(row['id'])}: {error}; `olrd verify` lists all problems") from error
        corner = recipe.source_bbox.x, recipe.source_bbox.y
        yield LeakPair(
            group=f"{row['source']}/{row['donor_image_id']}",
            pasted_image=image,
            pasted_mask=_placed(transformed(natural, recipe.scale, recipe.flip), recipe.position, image),
            natural_image=background,
            natural_mask=_placed(natural, corner, background),
        )


def _placed(mask: Mask, corner: tuple[int, int], image: Image) -> Mask:
    """`mask` with its corner at (x, y) in a frame of the image's size."""
    full = np.zeros(image.shape[:2], np.bool_)
    x, y = corner
    if full[y : y + mask.shape[0], x : x + mask.shape[1]].shape != mask.shape:
        raise IntegrityError(f"an object of {mask.shape} at {corner} does not lie in a photo of {full.shape}")
    full[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return full


def paired_points(pasted: Mask, natural: Mask) -> tuple[Outline, Outline]:
    """Corresponding outline points of both masks (bool [H, W] each), at most POINTS of them.

    If the masks are equal up to a shift, so are the points. A scaled or mirrored mask is traced separately: each
    natural point is paired with the nearest pasted one, in coordinates relative to the boxes, mirrored if the shapes
    agree better that way. Points whose patch leaves one of the frames are dropped.

    Returns:
        (pasted, natural).
    """
    old, new = mask_box(natural), mask_box(pasted)
    first = trace(natural)
    if np.array_equal(natural[old.crop()], pasted[new.crop()]):
        shift = np.array([new.x - old.x, new.y - old.y])
        second = Outline(first.points + shift, first.normals)
    else:
        second = _nearest(first, trace(pasted), old, new)
    good = np.flatnonzero(first.inside(natural.shape) & second.inside(pasted.shape))
    if len(good) > POINTS:
        good = good[(np.arange(POINTS) * len(good)) // POINTS]
    return Outline(*(part[good] for part in second)), Outline(*(part[good] for part in first))


def _nearest(first: Outline, other: Outline, old: Box, new: Box) -> Outline:
    """For every point of `first` the corresponding one of `other`."""
    source = (first.points - (old.x, old.y)) / (max(old.w - 1, 1), max(old.h - 1, 1))
    target = (other.points - (new.x, new.y)) / (max(new.w - 1, 1), max(new.h - 1, 1))
    choices = []
    for mirrored in (False, True):
        wanted = source * (-1, 1) + (1, 0) if mirrored else source
        distance = ((wanted[:, None] - target[None]) ** 2).sum(axis=2)
        choices.append((float(distance.min(axis=1).mean()), distance.argmin(axis=1)))
    nearest = min(choices, key=lambda choice: choice[0])[1]
    return Outline(other.points[nearest], other.normals[nearest])
