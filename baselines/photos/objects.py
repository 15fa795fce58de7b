"""Objects by name: the mask of a photo's things of a class, from a panoptic map or from Mask2Former."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from baselines.eraser import WeightsMissingError
from baselines.photos.panoptic_file import read_map
from olrd.arrays import Image, Mask
from olrd.errors import SourceError, did_you_mean
from olrd.panoptic import Box, Category, PanopticMap

Categories = Mapping[int, Category]


class Mapped(NamedTuple):
    """A photo's panoptic map and the meaning of its category numbers."""

    panoptic: PanopticMap
    categories: Categories


class Thing(NamedTuple):
    """One countable object.

    Attributes:
        name: Its class, and its number among the things of the class by size: `person:1` is the largest person.
        id: Its id in the map.
        box: Its extent.
        share: Its area as a share of the photo.
    """

    name: str
    id: int
    box: Box
    share: float


def map_from_files(png: Path, segments: Path, size: tuple[int, int]) -> Mapped:
    """Read a given map. size: (width, height) of the photo. Raises `SourceError` if the map has another size."""
    return Mapped(*read_map(png, segments, size))


class ObjectFinder:
    """Segments photos with Mask2Former, which it opens on first use.

    Args:
        device: Device of the network.
    """

    def __init__(self, device: str = "auto") -> None:
        self._device = device

    @cached_property
    def _network(self) -> Any:
        from olrd.models.mask2former import CHECKPOINT, Mask2FormerSegmenter

        try:
            return Mask2FormerSegmenter(device=self._device, local_files_only=True)
        except SourceError as error:
            raise WeightsMissingError(
                f"--object finds objects with Mask2Former, which has no weights that can be used: {error}. Get them with "
                f"`hf download {CHECKPOINT}`, or give a panoptic map (--panoptic and --segments), or a mask"
            ) from error

    def map_of(self, photo: Image) -> Mapped:
        """The panoptic map of a photo, uint8 [H, W, 3]. Raises `WeightsMissingError` without weights."""
        (found,) = self._network.segment([photo])
        return Mapped(PanopticMap(found.ids, found.segments), {one.id: one for one in self._network.categories})


def things_of(mapped: Mapped) -> list[Thing]:
    """The countable objects of a map, the largest first."""
    ids, segments = mapped.panoptic
    found: list[Thing] = []
    counts: dict[str, int] = {}
    for segment in sorted(segments, key=lambda one: (-one.area, one.id)):
        category = mapped.categories[segment.category_id]
        if category.isthing and not segment.iscrowd and segment.area:
            counts[category.name] = counts.get(category.name, 0) + 1
            name = f"{category.name}:{counts[category.name]}"
            found.append(Thing(name, segment.id, segment.bbox, segment.area / ids.size))
    return found


def mask_of(mapped: Mapped, names: Sequence[str]) -> Mask:
    """The mask of all objects with one of the names, bool [H, W].

    names: classes (`person`: all of them) or single objects (`person:2`: the second largest).

    Raises:
        SourceError: If the map has no object.
        UsageError: If the map has none of that name.
    """
    things = things_of(mapped)
    if not things:
        raise SourceError("the panoptic map of the photo has no countable object; give a mask")
    known = {thing.name for thing in things} | {_class_of(thing.name) for thing in things}
    chosen: set[int] = set()
    for name in names:
        if name not in known:
            raise did_you_mean("object in the photo", name, known)
        chosen.update(thing.id for thing in things if name in (thing.name, _class_of(thing.name)))
    return np.isin(mapped.panoptic.ids, np.array(sorted(chosen), np.uint32))


def class_of_all(names: Sequence[str]) -> str | None:
    """The class of the named objects, if it is the same for all."""
    classes = {_class_of(name) for name in names}
    return classes.pop() if len(classes) == 1 else None


def listing(mapped: Mapped) -> str:
    """The objects as lines: name, share of the photo, place. An object is named by what stands first in its line."""
    lines = [
        f"{thing.name:<20} {100 * thing.share:5.1f} % of the photo, at {thing.box.x}, {thing.box.y} "
        f"({thing.box.w} x {thing.box.h})"
        for thing in things_of(mapped)
    ]
    return "\n".join(lines) or "no countable object"


def _class_of(name: str) -> str:
    base, colon, number = name.rpartition(":")
    return base if colon and number.isdigit() else name
