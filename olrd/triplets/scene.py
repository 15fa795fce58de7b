"""A scene: an opened and checked photo, with the maps that candidates and placements use."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from functools import cached_property

import cv2
import numpy as np

from olrd.arrays import Mask, resize_ids
from olrd.errors import Rejected
from olrd.masks import grown, mask_box
from olrd.panoptic import VOID, Box, Category, Record, Segment, SegmentMap, check_panoptic
from olrd.sources import Source
from olrd.triplets.legal import Field
from olrd.triplets.matching import acutance, grain
from olrd.triplets.photo import WorkingPhoto, working_photo

SEAM = 9
"""Width in pixels of unlabelled gaps that count as narrow."""
FEW = 4
"""Up to this number of segments, comparing the map with each is faster than a table look-up."""


class Scene:
    """A photo at working size and its checked panoptic map, resized to the same size."""

    def __init__(
        self, record: Record, photo: WorkingPhoto, panoptic: SegmentMap, categories: Mapping[int, Category]
    ) -> None:
        self.record, self.photo, self.categories = record, photo, categories
        if panoptic.index.shape != photo.shape:
            index = resize_ids(panoptic.index, (photo.shape[1], photo.shape[0]))
            panoptic = replace(panoptic, index=index, segments=resized_segments(index, panoptic.segments))
        self.panoptic = panoptic
        self._fields: dict[object, Field] = {}
        self._taken: Mask | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) at working size."""
        return self.photo.shape

    @cached_property
    def kinds(self) -> np.ndarray:
        """int64 [len(segments) + 1]: the category id of each value of the index map; `VOID` for void."""
        return np.array([VOID, *(s.category_id for s in self.panoptic.segments)], np.int64)

    def pixels_where(self, chosen: np.ndarray) -> Mask:
        """bool [H, W]: the pixels whose index value k has chosen[k] (bool [len(segments) + 1])."""
        index, numbers = self.panoptic.index, np.flatnonzero(chosen).tolist()
        if 0 < len(numbers) <= FEW:
            pixels = index == numbers[0]
            for number in numbers[1:]:
                pixels |= index == number
            return pixels
        if index.dtype != np.uint8:
            return chosen.astype(np.bool_)[index]
        table = np.zeros(256, np.uint8)  # cv2.LUT is twenty times as fast as fancy indexing
        table[: len(chosen)] = chosen
        return cv2.LUT(index, table).view(np.bool_)

    @cached_property
    def things(self) -> Mask:
        """bool [H, W]: every pixel of a thing or of a crowd."""
        return self.pixels_where(self.objects)

    @cached_property
    def background(self) -> Mask:
        """bool [H, W]: labelled stuff. Objects are pasted only there."""
        return self.pixels_where(~self.objects & (self.kinds != VOID))

    @cached_property
    def objects(self) -> np.ndarray:
        """bool [len(segments) + 1]: which index values are things or crowds."""
        categories, segments = self.categories, self.panoptic.segments
        return np.array([False, *(s.iscrowd or categories[s.category_id].isthing for s in segments)])

    @cached_property
    def seams(self) -> Mask:
        """bool [H, W]: unlabelled pixels in narrow gaps between stuff. Annotators leave such gaps; nothing is in them."""
        stuff = self.background.view(np.uint8)
        closed = cv2.morphologyEx(stuff, cv2.MORPH_CLOSE, np.ones((SEAM, SEAM), np.uint8))
        return closed.view(np.bool_) & (self.panoptic.index == 0)

    def landing_field(self, margin: int, frame: int, also: int | None = None, beyond: int = 0) -> Field:
        """The field of pixels where no object may lie: things grown by `margin`, unlabelled pixels but narrow seams, and a
        border of `frame` pixels.

        also: the id of a category of things on which the object may lie too, such as a table.
        beyond: columns of free space that are added to the left and to the right of the photo.
        """
        key = ("landing", margin, frame, also, beyond)
        if key not in self._fields:
            hindering = self.objects if also is None else self.objects & (self.kinds != also)
            blocked = self.pixels_where(hindering)
            if margin:
                blocked = grown(blocked, margin)
            blocked |= (self.panoptic.index == 0) & ~self.seams
            if frame:
                blocked[:frame], blocked[-frame:] = True, True
                blocked[:, :frame], blocked[:, -frame:] = True, True
            if self._taken is not None:
                blocked |= self._taken
            self._fields[key] = Field(widened(blocked, beyond))
        return self._fields[key]

    def surface_field(self, surface: frozenset[int], beyond: int = 0) -> Field:
        """The field of pixels whose category is not one of `surface`. beyond: as for `landing_field`."""
        key = surface, beyond
        if key not in self._fields:
            chosen = np.array([kind in surface for kind in self.kinds.tolist()])
            self._fields[key] = Field(widened(~self.pixels_where(chosen), beyond))
        return self._fields[key]

    @cached_property
    def sharpness(self) -> float:
        """Of the whole photo (see `acutance`)."""
        return acutance(self.photo.pixels)

    @cached_property
    def noise(self) -> float:
        """Of the whole photo, in grey levels (see `grain`)."""
        return grain(self.photo.pixels)

    def without(self, taken: Mask) -> Scene:
        """The same scene, in which no object may lie on the pixels of `taken` (bool [H, W]) either."""
        view = copy(self)
        view._fields, view._taken = {}, taken
        return view

    def drop_fields(self) -> None:
        """Free the memory of the fields. Placement on this scene is finished."""
        self._fields.clear()


def widened(blocked: Mask, beyond: int) -> Mask:
    """bool [H, W + 2 beyond]: the mask with free columns on both sides."""
    return np.pad(blocked, ((0, 0), (beyond, beyond))) if beyond else blocked


def open_scene(source: Source, record: Record, size: int | None, max_pixels: int) -> Scene:
    """Read, decode and check a photo and its panoptic map. Raises `Rejected` with the reason."""
    if record.panoptic_name is None:
        raise Rejected("annotation_missing", f"{record.file_name} has no panoptic annotation")
    data = source.photo_bytes(record)
    photo = working_photo(data, record.file_name, size, max_pixels)
    width, height = photo.full_size
    if record.width and (width, height) != (record.width, record.height):
        raise Rejected(
            "photo_size",
            f"{record.file_name}: annotated as {record.width} x {record.height}, but the photo "
            f"(orientation applied) is {width} x {height}",
        )
    panoptic = source.panoptic(record, width, height)
    checked = check_panoptic(record.file_name, panoptic, (width, height), source.categories)
    return Scene(record, photo, checked, source.categories)


def resized_segments(index: np.ndarray, segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    """The segments with area and box as they are after resizing; vanished ones have area 0."""
    resized = []
    for number, segment in enumerate(segments, start=1):
        mask = index == number
        area = int(np.count_nonzero(mask))
        box = mask_box(mask) if area else Box(0, 0, 0, 0)
        resized.append(Segment(segment.id, segment.category_id, area, box, segment.iscrowd))
    return tuple(resized)
