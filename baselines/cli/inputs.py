"""Reads what is to be erased from a photo: its pixels, its masks or named objects, and what erasers may know of it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from baselines.checked import CheckedEraser
from baselines.eraser import Hints
from baselines.photos.files import PhotoFile, read_input, read_photo
from baselines.photos.objects import ObjectFinder, class_of_all, map_from_files, mask_of
from olrd.arrays import Mask
from olrd.errors import Rejected, SourceError, did_you_mean
from olrd.mask_files import MaskChoice, MaskRead, read_mask

Openers = Mapping[str, Callable[[], CheckedEraser]]
"""Opens each eraser that is used, by its name."""


class Inputs(NamedTuple):
    """One photo and what is to be erased from it.

    Attributes:
        photo: The decoded photo.
        mask: bool [H, W], True = erase.
        hints: What erasers may know of the photo.
        said: What was read as the mask, and warnings.
    """

    photo: PhotoFile
    mask: Mask
    hints: Hints
    said: tuple[str, ...]


def read_inputs(
    args: argparse.Namespace, photo: Path, masks: Sequence[Path], finder: ObjectFinder, key: str = ""
) -> Inputs:
    """Read a photo and its masks, or find the objects that the arguments name.

    Args:
        args: The arguments of `olrd-erase`.
        photo: The photo.
        masks: Its masks; what any of them marks is erased.
        finder: Makes the map if none is given and `--object` needs one.
        key: Name of the sample, on which random draws depend.

    Raises:
        UsageError: If the map has no object or class of a name that is given.
        SourceError: If a file cannot be read, the files do not fit each other, or nothing is marked.
        Rejected: If a file cannot be decoded.
    """
    opened = read_photo(photo, args.max_pixels)
    mapped = None
    if args.panoptic is not None:
        mapped = map_from_files(args.panoptic, args.segments, opened.size)
    elif args.object:
        mapped = finder.map_of(opened.pixels)
    erased = args.erased or class_of_all(args.object)
    if mapped is not None and args.erased:
        names = {category.name for category in mapped.categories.values()}
        if args.erased not in names:
            raise did_you_mean("class of the panoptic map", args.erased, names)
    if args.object:
        assert mapped is not None
        mask = mask_of(mapped, args.object)
        said: tuple[str, ...] = (f"objects: {', '.join(args.object)}",)
    else:
        mask, said = _united(args, photo, masks, opened.size)
    hints = Hints(
        key=key,
        prompt=args.prompt,
        panoptic=mapped.panoptic if mapped else None,
        categories=mapped.categories if mapped else None,
        category=erased,
    )
    return Inputs(opened, mask, hints, (*opened.said, *said))


def _united(
    args: argparse.Namespace, photo: Path, masks: Sequence[Path], size: tuple[int, int]
) -> tuple[Mask, tuple[str, ...]]:
    """All masks together, and what was read."""
    choice = MaskChoice(args.mask_from, args.invert)
    read = [(path, _read_mask(path, photo, size, choice, args.max_pixels)) for path in masks]
    mask = np.logical_or.reduce([one.mask for _, one in read])
    if not mask.any():
        turned = "without --invert" if choice.invert else "--invert if black means erase"
        kinds = ", ".join(f"{path} ({one.kind})" for path, one in read)
        raise SourceError(f"{kinds} is empty: nothing is marked to be erased (white = erase; {turned})")
    turned = "" if choice.invert else " If black means erase, give --invert."
    named = len(read) > 1
    said = [f"mask{f' {path}' if named else ''}: {one.taken}" for path, one in read]
    said += [f"warning: {path}: {warning}.{turned}" for path, one in read for warning in one.warnings]
    return mask, tuple(said)


def _read_mask(path: Path, photo: Path, size: tuple[int, int], choice: MaskChoice, max_pixels: int) -> MaskRead:
    """A mask in the size (width, height) of the photo. A mask of another shape belongs to another photo."""
    try:
        return read_mask(read_input(path), str(path), size, choice, max_pixels)
    except Rejected as error:
        if error.code != "panoptic_size":
            raise
        raise SourceError(
            f"{error}. The photo is {photo}, its EXIF orientation applied: give a mask of the photo's shape"
        ) from error
