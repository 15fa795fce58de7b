"""Panoptic annotations: categories, segments, the checks every map must pass, RLE.

The vocabulary is COCO panoptic's: a *thing* is countable (person), *stuff* is background (sky),
*void* is unlabelled. Segment ids are unique inside one photo only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from olrd.arrays import MAX_PIXELS, Ids, Mask
from olrd.errors import Rejected
from olrd.trust import counted

_FEW = 30
VOID = -1
"""Stands for "no category" in tables of category ids. Ids of categories are 0 or larger."""
MAX_SEGMENTS = 65_535
"""Largest number of segments of a photo: an index of 16 bits names each."""


class Category(NamedTuple):
    """One class. `isthing` belongs to the class, not to the segment."""

    id: int
    name: str
    supercategory: str
    isthing: bool

    @property
    def label(self) -> str:
        """The name as a word for a prompt: 'sky' for 'sky-other-merged', 'floor' for 'floor-wood'."""
        return self.name.partition("-")[0].replace("_", " ")


class Box(NamedTuple):
    """A pixel box: left, top, width, height (the extent is max - min + 1)."""

    x: int
    y: int
    w: int
    h: int

    def crop(self) -> tuple[slice, slice]:
        """Row and column slices."""
        return slice(self.y, self.y + self.h), slice(self.x, self.x + self.w)


@dataclass(frozen=True, slots=True)
class Segment:
    """One region of one photo, as annotated. `area` in pixels."""

    id: int
    category_id: int
    area: int
    bbox: Box
    iscrowd: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """What the annotations say about a photo. Sizes are in pixels, with the orientation applied.

    A source that does not know sizes and areas leaves them 0; they are measured later.
    """

    image_id: str
    file_name: str
    width: int
    height: int
    license: str
    license_url: str
    source_url: str
    author: str
    panoptic_name: str | None
    segments: tuple[Segment, ...]


class PanopticMap(NamedTuple):
    """A panoptic map as a source returns it. ids: uint32 [H, W], 0 = void."""

    ids: Ids
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class SegmentMap:
    """A checked panoptic map.

    Attributes:
        index: uint8/uint16 [H, W], 0 = void, k + 1 = `segments[k]`.
        segments: with the areas and boxes that they have in the map; a segment without a pixel has area 0.
        measured: how many had another area or box in the annotation.
        hidden: how many have no pixel, although the annotation gives them an area.
    """

    index: npt.NDArray[np.integer]
    segments: tuple[Segment, ...]
    measured: int = 0
    hidden: int = 0


def check_categories(name: str, segments: tuple[Segment, ...], categories: Mapping[int, Category]) -> None:
    """Raise `Rejected` for a segment of a category that does not exist."""
    for segment in segments:
        if segment.category_id not in categories:
            raise Rejected(
                "category_unknown",
                f"{name}: segment {segment.id} has category {segment.category_id}, which is not in the category list",
            )


def check_panoptic(
    name: str, panoptic: PanopticMap, size: tuple[int, int], categories: Mapping[int, Category]
) -> SegmentMap:
    """Check a map against its annotation and return it with small indices.

    The map decides: areas and boxes are measured in it where the annotation gives none or others. A checked map has the
    photo's size, its ids except 0 are listed, and every category exists.

    Args:
        name: the file name, for messages.
        panoptic: the map.
        size: (width, height) of the photo.
        categories: by id.

    Raises:
        Rejected: a condition does not hold, or the map has less than half of the listed segments.
    """
    ids, segments = panoptic
    if ids.shape != (size[1], size[0]):
        raise Rejected(
            "panoptic_size", f"{name}: expected {size[0]} x {size[1]} as the photo, got {ids.shape[1]} x {ids.shape[0]}"
        )
    numbers = [segment.id for segment in segments]
    if len(set(numbers)) < len(numbers):
        twice = next(number for place, number in enumerate(numbers) if number in numbers[:place])
        raise Rejected("panoptic_unknown_id", f"{name}: segment {twice} is listed twice; expected different ids")
    if not all(0 <= number < 1 << 32 for number in numbers):
        raise Rejected(
            "panoptic_unknown_id", f"{name}: segment ids must be between 0 and 2**24 - 1, got {numbers[:20]}"
        )
    if len(segments) > MAX_SEGMENTS:
        raise Rejected("panoptic_unknown_id", f"{name}: {len(segments):,} segments, expected at most {MAX_SEGMENTS:,}")
    check_categories(name, segments, categories)
    index = np.zeros(ids.shape, np.uint8 if len(segments) < 256 else np.uint16)
    found: list[Segment] = []
    hidden = 0
    boxes: dict[int, Box] | None = None
    for number, given in enumerate(segments, start=1):
        if (exact := _as_given(ids, given)) is None:
            boxes = boxes_of(ids, numbers) if boxes is None else boxes
            exact = _as_measured(ids, given, boxes.get(given.id, Box(0, 0, 0, 0)))
        segment, inside = exact
        found.append(segment)
        hidden += segment.area == 0 < given.area
        # Adding is 16 times as fast as assigning by mask.
        index[segment.bbox.crop()] += inside * index.dtype.type(number)
    if hidden > len(segments) / 2:
        raise Rejected("panoptic_unknown_id", f"{name}: {_other_ids(ids, numbers)}")
    # Pixels of id 0 are void, unless the annotation lists a segment with this id.
    labelled = ids.size if 0 in numbers else np.count_nonzero(ids)
    if labelled != np.count_nonzero(index):
        unknown = sorted(set(np.unique(ids).tolist()) - {0} - set(numbers))
        raise Rejected("panoptic_unknown_id", f"{name}: ids {unknown[:5]} are in the PNG but not in the JSON")
    measured = sum(
        given.area > 0 and segment is not given and segment.area > 0
        for segment, given in zip(found, segments, strict=True)
    )
    return SegmentMap(index, tuple(found), measured, hidden)


def _as_given(ids: Ids, segment: Segment) -> tuple[Segment, Mask] | None:
    """A segment and its mask inside its box, if area and box of the annotation are exactly those of the map."""
    box = segment.bbox
    if segment.area <= 0 or min(box) < 0:
        return None
    inside = ids[box.crop()] == np.uint32(segment.id)
    if inside.shape != (box.h, box.w) or not inside.size:
        return None
    # On a line this short, counting takes a fifth of the time of `any`.
    reached = all(map(np.count_nonzero, (inside[0], inside[-1], inside[:, 0], inside[:, -1])))
    return (segment, inside) if reached and np.count_nonzero(inside) == segment.area else None


def _as_measured(ids: Ids, segment: Segment, box: Box) -> tuple[Segment, Mask]:
    """A segment with the area that it has in the map, and its mask inside its box there."""
    inside = ids[box.crop()] == np.uint32(segment.id)
    return replace(segment, area=int(np.count_nonzero(inside)), bbox=box), inside


def _extent(mask: Mask) -> Box:
    """The box of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    (top, bottom), (left, right) = rows[[0, -1]].tolist(), columns[[0, -1]].tolist()
    return Box(left, top, right - left + 1, bottom - top + 1)


def boxes_of(ids: Ids, numbers: list[int]) -> dict[int, Box]:
    """The extent of each of these ids in the map; one that is not there is left out.

    A few are found by a pass for each. Many are found by one sort of the pixels, which takes as long as 30 passes.
    """
    if len(numbers) <= _FEW:
        return {number: _extent(mask) for number in numbers if (mask := ids == np.uint32(number)).any()}
    listed = np.array(sorted(numbers), np.uint32)
    places = np.searchsorted(listed, ids.ravel()).astype(np.uint16)  # sorting 16 bits is ten times as fast as 32
    places[places == len(listed)] = 0
    known = np.flatnonzero(listed[places] == ids.ravel())
    if not known.size:
        return {}
    known = known[np.argsort(places[known], kind="stable")]
    ordered = places[known]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    rows, columns = np.divmod(known, ids.shape[1])
    edges = [f.reduceat(line, starts) for line in (columns, rows) for f in (np.minimum, np.maximum)]
    return {
        int(listed[ordered[start]]): Box(left, top, right - left + 1, bottom - top + 1)
        for start, left, right, top, bottom in zip(starts.tolist(), *(edge.tolist() for edge in edges), strict=True)
    }


def _other_ids(ids: Ids, numbers: list[int]) -> str:
    """What may be wrong with a map that lacks most of the listed ids."""
    listed, there = set(numbers), set(np.unique(ids).tolist()) - {0}
    lost = len(listed - there)
    have = "has" if lost == 1 else "have"
    missing = f"{lost} of the {counted(len(listed), 'segment')} in the JSON {have} no pixel in the PNG"
    swapped = {(number & 0xFF) << 16 | number & 0xFF00 | number >> 16 for number in there}
    if len(listed & swapped) > len(listed) / 2:
        return (
            f"{missing}, but they have if its red and blue are exchanged: it was written as BGR (by cv2.imwrite without "
            "a conversion)"
        )
    return f"{missing}: it may be the map of another photo"


def encode_rle(mask: Mask) -> str:
    """COCO's compressed RLE counts (column-major) of a mask, without its size."""
    from pycocotools import mask as coco

    counts: bytes = coco.encode(np.asfortranarray(mask.view(np.uint8)))["counts"]
    return counts.decode("ascii")


def decode_rle(counts: str, height: int, width: int, max_pixels: int = MAX_PIXELS) -> Mask:
    """The mask, bool [height, width], of compressed RLE counts. Raises `Rejected` if they do not fit the size.

    max_pixels: the limit of the size.
    """
    from pycocotools import mask as coco

    if not (height > 0 and width > 0 and height * width <= max_pixels):
        raise Rejected("panoptic_too_large", f"a mask of {width} x {height}: expected 1 to {max_pixels:,} pixels")
    if _rle_total(counts) != height * width:  # pycocotools would write beyond the mask
        raise Rejected("panoptic_unreadable", f"RLE counts {counts[:40]!r} do not describe {width} x {height} pixels")
    try:
        rle = {"size": [height, width], "counts": counts.encode("ascii")}
        mask: Mask = np.ascontiguousarray(coco.decode(rle)).view(np.bool_)
    except ValueError as error:
        raise Rejected("panoptic_unreadable", f"not RLE counts: {counts[:40]!r} ({error})") from error
    if encode_rle(mask) != counts:
        raise Rejected("panoptic_unreadable", f"RLE counts {counts[:40]!r} do not describe {width} x {height} pixels")
    return mask


def _rle_total(counts: str) -> int:
    """The number of pixels that compressed RLE counts describe; -1 for a text that is no such counts.

    A count is written in groups of 5 bits, least first. From the fourth on, it is the difference to the second last.
    """
    groups = np.frombuffer(counts.encode("ascii", "replace"), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(groups & 0x20 == 0)
    if not groups.size or groups.min() < 0 or groups.max() > 63 or not ends.size or ends[-1] != groups.size - 1:
        return -1
    starts = np.concatenate(([0], ends[:-1] + 1))
    if (ends - starts).max() > 6:  # 35 bits are more than any mask has
        return -1
    place = np.arange(groups.size) - np.repeat(starts, ends - starts + 1)
    values = np.add.reduceat((groups & 0x1F) << 5 * place, starts)
    values -= (groups[ends] & 0x10 > 0).astype(np.int64) << 5 * (ends - starts + 1)
    for first in (1, 2):
        values[first::2] = np.cumsum(values[first::2])
    if values.min() < 0 or values.max() > 1 << 32:
        return -1
    return int(values.sum())
