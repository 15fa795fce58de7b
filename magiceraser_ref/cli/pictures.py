"""The files that `magiceraser erase` reads and writes. Errors name the file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from baselines.eraser import Hints
from olrd.arrays import Image, Mask, Photo, decode_photo, encode_image, encode_png
from olrd.errors import OutputError, Rejected, UsageError, did_you_mean
from olrd.mask_files import MaskChoice, MaskRead, read_mask
from olrd.storage.files import read_regular, write_atomic

FEWEST = 64
"""Smallest number of masked pixels of which `doubt` says something."""


class Inputs(NamedTuple):
    """The inputs of `magiceraser erase`.

    Attributes:
        photo: The decoded photo.
        mask: bool [H, W] of its size, True = erase.
        hints: Panoptic map, category and prompt, if given.
        said: What is said about the mask: what was read, and warnings.
    """

    photo: Photo
    mask: Mask
    hints: Hints
    said: tuple[str, ...]


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
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from error
    check_writable(out, force)


def check_writable(out: Path, force: bool) -> None:
    """Raise an error for a file that could not be written, or that exists already."""
    try:
        if out.is_dir():
            raise UsageError(f"{out} is a folder: give the name of a file as --out")
        if (out.exists() or out.is_symlink()) and not force:
            raise UsageError(f"{out} exists already: give another --out, or --force to overwrite it")
        if not out.parent.is_dir():
            raise OutputError(f"{out.parent} is not a folder: make it first, or give another --out")
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from error
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{out.parent} cannot be written to: give another --out")


def open_inputs(
    photo: Path,
    mask: Path,
    *,
    panoptic: Path | None,
    segments: Path | None,
    erased: str | None,
    prompt: str | None,
    choice: MaskChoice | None = None,
) -> Inputs:
    """Read all inputs and check that they fit each other.

    choice: What the user says about the mask.

    Raises:
        UsageError: If a file does not exist or has another size.
        Rejected: If a file cannot be decoded.
    """
    image = decode_photo(read_input(photo), str(photo))
    height, width = image.pixels.shape[:2]
    choice = choice or MaskChoice()
    read = _mask_of(mask, photo, (width, height), choice)
    hole = read.mask
    if not hole.any():
        turned = "without --invert" if choice.invert else "--invert if black means erase"
        raise UsageError(f"{mask} ({read.kind}) is empty: nothing is marked to be erased (white = erase; {turned})")
    turned = "" if choice.invert else " If black means erase, give --invert."
    said = f"mask: {read.taken}", *(f"warning: {mask}: {warning}.{turned}" for warning in read.warnings)
    if panoptic is None or segments is None:
        return Inputs(image, hole, Hints(prompt=prompt, category=erased), said)

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
    return Inputs(image, hole, hints, said)


def _mask_of(mask: Path, photo: Path, size: tuple[int, int], choice: MaskChoice) -> MaskRead:
    """The mask in the size (width, height) of the photo. A mask of another shape belongs to another photo."""
    data = read_input(mask)
    try:
        return read_mask(data, str(mask), size, choice)
    except Rejected as error:
        if error.code != "panoptic_size":
            raise
        raise UsageError(
            f"{error}. The photo is {photo}, its EXIF orientation applied: give a mask of the photo's shape"
        ) from error


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
