"""The shapes of COCO instances as masks: polygons and run lengths, with limits.

pycocotools draws them, so that every pixel is the one that the COCO API gives. It trusts its input: coordinates and
counts are checked here before it sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from olrd.arrays import Mask
from olrd.errors import Rejected
from olrd.panoptic import decode_rle
from olrd.trust import counted, shown

MAX_OUTLINE = 4_000_000
"""Longest outline of the polygons of one object, in pixels. pycocotools takes about 100 bytes for each."""
_LARGEST = 1 << 31


class Shape(NamedTuple):
    """What an annotation says about the pixels of one object.

    Attributes:
        polygons: lists of x, y, x, y, ... in pixels.
        counts: compressed run lengths, if the object has no polygons.
        size: (height, width) that the run lengths describe.
        problem: why the shape cannot be used; empty if it can.
    """

    polygons: list[list[float]]
    counts: str = ""
    size: tuple[int, int] = (0, 0)
    problem: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether the annotation says nothing about pixels, as one of a box alone."""
        return not self.polygons and not self.counts and not self.problem


def parse_shape(segmentation: Any) -> Shape:
    """The shape in the field `segmentation` of an annotation. A shape that cannot be used has a `problem`."""
    if segmentation is None or segmentation in ([], {}, ""):
        return Shape([])
    try:
        return _parse_runs(segmentation) if isinstance(segmentation, dict) else _parse_polygons(segmentation)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        return Shape(
            [], problem=f"{error}" if isinstance(error, _Unusable) else f"not a segmentation of COCO: {error!r}"
        )


class _Unusable(ValueError):
    """A shape that is understood and cannot be used. The text says why."""


def _parse_polygons(segmentation: Any) -> Shape:
    if not isinstance(segmentation, list):
        raise _Unusable(f"expected polygons or run lengths, got {shown(segmentation)}")
    flat = not isinstance(segmentation[0], list)
    polygons = [segmentation] if flat else [polygon for polygon in segmentation if polygon]
    if any(isinstance(polygon, list) and polygon and isinstance(polygon[0], list) for polygon in polygons):
        polygons = [[value for point in polygon for value in point] for polygon in polygons]
    parsed = []
    for polygon in polygons:
        if not {int, float}.issuperset(map(type, polygon)):
            raise _Unusable(f"a polygon holds {shown(polygon)}, expected numbers")
        if len(polygon) % 2:
            raise _Unusable(f"a polygon has {counted(len(polygon), 'number')}, expected pairs of x and y")
        parsed.append(list(map(float, polygon)))
    return Shape(parsed)


def _parse_runs(segmentation: dict[str, Any]) -> Shape:
    height, width = segmentation["size"]
    if not all(isinstance(side, int | float) and side == int(side) and 0 < side < _LARGEST for side in (height, width)):
        raise _Unusable(f"run lengths have the size {shown(segmentation['size'])}, expected [height, width]")
    size = int(height), int(width)
    counts = segmentation["counts"]
    if isinstance(counts, str):
        return Shape([], counts, size)
    return Shape([], _compressed(counts, size), size)


def _compressed(counts: Sequence[int | float], size: tuple[int, int]) -> str:
    """Counts as the COCO API compresses them. Raises `ValueError` if they do not describe a mask of that size."""
    from pycocotools import mask as coco

    runs = [int(run) for run in counts]
    if any(run != given or not 0 <= run < _LARGEST for run, given in zip(runs, counts, strict=True)):
        raise _Unusable("run lengths must be whole numbers of at least 0")
    if sum(runs) != size[0] * size[1]:
        raise _Unusable(f"run lengths describe {sum(runs):,} pixels, expected {size[1]} x {size[0]}")
    # A run of no pixels between two others is legal, and the usual form has none.
    tidy = runs[:1]
    for run in runs[1:]:
        tidy.append(run)
        if len(tidy) > 2 and tidy[-2] == 0:
            last = tidy.pop()
            tidy.pop()
            tidy[-1] += last
    if len(tidy) > 1 and tidy[-1] == 0:
        tidy.pop()
    packed: bytes = coco.frPyObjects({"size": list(size), "counts": tidy}, *size)["counts"]
    return packed.decode("ascii")


def draw_shape(shape: Shape, width: int, height: int, name: str, max_pixels: int) -> Mask:
    """The mask of a shape on a photo of that size, bool [H, W].

    Args:
        shape: as `parse_shape` returns it.
        width: of the photo.
        height: of the photo.
        name: of the photo and the annotation, for messages.
        max_pixels: the largest number of pixels.

    Raises:
        Rejected: the shape has a `problem`, describes another size, or has coordinates far outside the photo.
    """
    if shape.problem:
        raise Rejected("panoptic_unreadable", f"{name}: {shape.problem}")
    if not shape.counts:
        return _draw_polygons(shape.polygons, width, height, name)
    if shape.size != (height, width):
        raise Rejected(
            "panoptic_size",
            f"{name}: its run lengths are of a picture of {shape.size[1]} x {shape.size[0]}, the photo is "
            f"{width} x {height}",
        )
    try:
        return decode_rle(shape.counts, height, width, max_pixels)
    except Rejected as error:
        raise Rejected(error.code, f"{name}: {error}") from error


def _draw_polygons(polygons: list[list[float]], width: int, height: int, name: str) -> Mask:
    from pycocotools import mask as coco

    outline, reach = 0.0, 4 * max(width, height)
    areas = [polygon for polygon in polygons if len(polygon) >= 6]  # fewer points enclose nothing
    for polygon in areas:
        points = np.asarray(polygon).reshape(-1, 2)
        if not np.isfinite(points).all() or np.abs(points).max() > reach:
            odd = points[~(np.abs(points) <= reach)][0]
            raise Rejected(
                "panoptic_unreadable",
                f"{name}: a polygon has the coordinate {odd:g}, far outside the photo of {width} x {height}",
            )
        steps = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1)
        outline += float(steps.sum()) + len(points)
    if outline > MAX_OUTLINE:
        raise Rejected(
            "panoptic_unreadable",
            f"{name}: its polygons are {outline:,.0f} pixels long, expected at most {MAX_OUTLINE:,}",
        )
    if not areas:
        return np.zeros((height, width), np.bool_)
    runs = coco.merge(coco.frPyObjects(areas, height, width))
    mask: Mask = np.ascontiguousarray(coco.decode(runs)).view(np.bool_)
    return mask
