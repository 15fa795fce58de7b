"""The files that `magiceraser erase` reads and writes. Errors name the file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from baselines.eraser import Hints
from olrd.arrays import Image, Mask, Photo, decode_mask, decode_photo, encode_image, encode_png
from olrd.errors import OutputError, UsageError, did_you_mean
from olrd.storage.files import read_regular, write_atomic

FEWEST = 64
"""Smallest number of masked pixels of which `doubt` says something."""


class Inputs(NamedTuple):
    """The inputs of `magiceraser erase`.

    Attributes:
        photo: The decoded photo.
        mask: bool [H, W] of its size, True = erase.
        hints: Panoptic map, category and prompt, if given.
    """

    photo: Photo
    mask: Mask
    hints: Hints


def check_out(out: Path, force: bool, suffixes: Sequence[str], inputs: Sequence[Path | None] = ()) -> None:
    """Raise an error for a result that could not be written, or would replace an input, before any work.

    inputs: the files that are read. They are never overwritten, not even with `force`.
    """
    if out.suffix.lower() not in suffixes:
        raise UsageError(f"{out}: the result is written without loss, as {' or '.join(suffixes)}")
    try:
        for path in inputs:
            if path is not None and path.exists() and out.exists() and out.samefile(path):
                raise UsageError(f"{out} is the same file as the input {path}: give another --out, so that it is kept")
        if out.is_dir():
            raise UsageError(f"{out} is a folder: give the name of a picture as --out")
        if (out.exists() or out.is_symlink()) and not force:
            raise UsageError(f"{out} exists already: give another --out, or --force to overwrite it")
        if not out.parent.is_dir():
            raise OutputError(f"{out.parent} is not a folder: make it first, or give another --out")
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from error
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{out.parent} cannot be written to: give another --out")


def open_inputs(
    photo: Path, mask: Path, *, panoptic: Path | None, segments: Path | None, erased: str | None, prompt: str | None
) -> Inputs:
    """Read all inputs and check that they fit each other.

    Raises:
        UsageError: If a file does not exist or has another size.
        Rejected: If a file cannot be decoded.
    """
    image = decode_photo(read_input(photo), str(photo))
    hole = decode_mask(read_input(mask), str(mask))
    height, width = image.pixels.shape[:2]
    if hole.shape != (height, width):
        raise UsageError(
            f"{mask} is {hole.shape[1]} x {hole.shape[0]} pixels, the photo {photo} is {width} x {height}"
            " (its EXIF orientation applied): give a mask of the photo's size"
        )
    if not hole.any():
        raise UsageError(f"{mask} is black: nothing is marked to be erased (white = erase)")
    if panoptic is None or segments is None:
        return Inputs(image, hole, Hints(prompt=prompt, category=erased))

    from magiceraser_ref.cli.panoptic_file import read_map

    found, categories = read_map(panoptic, segments)
    if found.ids.shape != hole.shape:
        raise UsageError(
            f"{panoptic} is {found.ids.shape[1]} x {found.ids.shape[0]} pixels, the photo {photo} is "
            f"{width} x {height}: is it the map of another photo?"
        )
    names = {category.name for category in categories.values()}
    if erased is not None and erased not in names:
        raise did_you_mean("class of the panoptic map", erased, names)
    hints = Hints(prompt=prompt, panoptic=found, categories=categories, category=erased)
    return Inputs(image, hole, hints)


def read_input(path: Path) -> bytes:
    """Read a file that the user names. Raises `UsageError` if it cannot be read, or is a pipe or a device."""
    try:
        return read_regular(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def write_picture(out: Path, pixels: Image, icc: bytes | None) -> None:
    """Write the result without loss, with the photo's colour profile. Raises `OutputError`."""
    if out.suffix.lower() == ".webp":
        data = encode_image(pixels, icc)
    else:
        data = encode_png(pixels, **({"icc_profile": icc} if icc else {}))
    try:
        write_atomic(out, data)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from error


def doubt(photo: Image, mask: Mask, result: Image) -> str | None:
    """What makes a result look like a failure, in words; None for an ordinary one.

    A few pixels, or a photo of one colour, say nothing.
    """
    inside = result[mask]
    if len(inside) < FEWEST or (photo == photo[0, 0]).all():
        return None
    if (inside == photo[mask]).all():
        return "the result is the photo: no pixel of the mask has changed"
    if (inside == inside[0]).all():
        return f"the mask is filled with one flat colour, {tuple(inside[0].tolist())}: the model may be broken"
    return None
