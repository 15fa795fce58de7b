"""Reads a panoptic map that a user gives: a COCO panoptic PNG and a JSON file that lists its segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from baselines.photos.files import read_input
from olrd.arrays import MAX_PIXELS, decode_ids
from olrd.errors import SourceError
from olrd.models.coco_categories import coco_categories
from olrd.panoptic import MAX_SEGMENTS, Category, PanopticMap, Segment, boxes_of
from olrd.sources.things import Declared, decide_things, read_isthing
from olrd.trust import counted, one_line, parse_json, printable, shown

Categories = Mapping[int, Category]


def read_map(png: Path, segments: Path, size: tuple[int, int] | None = None) -> tuple[PanopticMap, Categories]:
    """Read a map and the meaning of its category numbers.

    Areas and boxes of segments are measured in the map.

    Args:
        png: COCO panoptic PNG: id = R + 256 G + 65536 B.
        segments: JSON in one of three forms: a list of {"id", "category_id"}; an object with `segments_info`; or a COCO
            panoptic file with `annotations`, of which that with the PNG's name is used. If it has `categories`, these
            name the classes, otherwise COCO's 133 categories do.
        size: (width, height) that the map must have, or None for any.

    Raises:
        Rejected: If the PNG is no map.
        SourceError: If a file cannot be read, the JSON has another form, ids do not fit each other, or the map has another
            size.
    """
    ids = decode_ids(read_input(png), str(png), MAX_PIXELS if size is None else max(MAX_PIXELS, size[0] * size[1]))
    if size is not None and ids.shape != size[::-1]:
        raise SourceError(
            f"{png} is {ids.shape[1]} x {ids.shape[0]} pixels, the photo is {size[0]} x {size[1]}: is it the map of "
            "another photo?"
        )
    found = parse_json(read_input(segments), segments, SourceError)
    try:
        listed = [
            (_whole(s["id"]), _whole(s["category_id"]), bool(read_isthing(s.get("iscrowd"))))
            for s in _segments_of(found, png, segments)
        ]
        categories = _categories(found, segments)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(
            f'{segments}: expected JSON with segments as [{{"id": ..., "category_id": ...}}], or a COCO '
            f"panoptic annotation; {type(error).__name__}: {one_line(printable(str(error)))}"
        ) from error
    for number, category, _ in listed:
        if category not in categories:
            known = counted(len(categories), "category", "categories")
            raise SourceError(
                f"{segments}: segment {number} has category {category}, which is not among the "
                f'{known}; list yours in the file under "categories"'
            )
    numbers, counts = np.unique(ids, return_counts=True)
    there = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
    if unknown := sorted(set(there) - {0, *(number for number, _, _ in listed)}):  # 0 is void, unless it is listed
        raise SourceError(
            f"{png} has pixels of id {unknown[0]}, which {segments} does not list: are they of the same photo?"
        )
    found_ids = [number for number, _, _ in listed if number in there]
    if twice := [number for number, times in Counter(found_ids).items() if times > 1]:
        raise SourceError(f"{segments}: segment {twice[0]} is listed twice; expected different ids")
    if len(found_ids) > MAX_SEGMENTS:
        raise SourceError(f"{png}: {len(found_ids):,} segments, expected at most {MAX_SEGMENTS:,}")
    boxes = boxes_of(ids, found_ids)
    made = [
        Segment(number, category, there[number], boxes[number], crowd)
        for number, category, crowd in listed
        if number in there
    ]
    return PanopticMap(ids, tuple(made)), categories


def _segments_of(found: Any, png: Path, name: Path) -> list[dict[str, Any]]:
    """Return the segments of the PNG from any of the three forms."""
    if isinstance(found, dict) and "annotations" in found:
        of_photo = [a for a in found["annotations"] if Path(a["file_name"]).name == png.name]
        if len(of_photo) != 1:
            raise SourceError(f"{name}: expected one annotation with the file_name {png.name}, found {len(of_photo)}")
        found = of_photo[0]
    listed: list[dict[str, Any]] = found["segments_info"] if isinstance(found, dict) else found
    return listed


def _whole(value: object) -> int:
    """Return a whole number of at most 63 bits. Files of other tools have `5.0` or `"5"` for 5."""
    if (isinstance(value, float) and value.is_integer()) or (isinstance(value, str) and len(value) < 20):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{shown(value)} is not a whole number")
    return value


def _categories(found: Any, where: Path) -> Categories:
    if isinstance(found, dict) and "categories" in found:
        made = []
        for c in found["categories"]:
            number, name, above = _whole(c["id"]), c["name"], c.get("supercategory", "")
            if not isinstance(name, str) or not isinstance(above, str) or printable(name) != name:
                raise ValueError(f"the category {number} has the name {shown(name)}, expected a text")
            made.append(Declared(number, name, above, read_isthing(c.get("isthing"))))
        return decide_things(where, made, need_both=False)
    return {c.id: c for c in coco_categories().values()}
