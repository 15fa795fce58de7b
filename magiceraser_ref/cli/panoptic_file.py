"""Reads a panoptic map that a user gives: a COCO panoptic PNG and a JSON file that lists its segments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from olrd.arrays import decode_ids
from olrd.errors import SourceError, UsageError
from olrd.masks import mask_box
from olrd.models.coco_categories import coco_categories
from olrd.panoptic import Category, PanopticMap, Segment

Categories = Mapping[int, Category]


def read_map(png: Path, segments: Path) -> tuple[PanopticMap, Categories]:
    """Read a map and the meaning of its category numbers.

    Areas and boxes of segments are measured in the map.

    Args:
        png: COCO panoptic PNG: id = R + 256 G + 65536 B.
        segments: JSON in one of three forms: a list of {"id", "category_id"}; an object with `segments_info`; or a COCO
            panoptic file with `annotations`, of which that with the PNG's name is used. If it has `categories`, these
            name the classes, otherwise COCO's 133 categories do.

    Raises:
        SourceError: If the JSON has another form.
        UsageError: If ids do not fit each other.
    """
    ids = decode_ids(png.read_bytes(), str(png))
    try:
        found = json.loads(segments.read_text("utf-8"))
        listed = [
            (int(s["id"]), int(s["category_id"]), bool(s.get("iscrowd", 0))) for s in _segments_of(found, png, segments)
        ]
        categories = _categories(found)
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f'{segments}: expected JSON with segments as [{{"id": ..., "category_id": ...}}], or a COCO '
            f"panoptic annotation; {error!r}"
        ) from error
    for number, category, _ in listed:
        if category not in categories:
            raise UsageError(
                f"{segments}: segment {number} has category {category}, which is not among the "
                f'{len(categories)} categories; list yours in the file under "categories"'
            )
    there = set(np.unique(ids).tolist()) - {0}
    if unknown := sorted(there - {number for number, _, _ in listed}):
        raise UsageError(
            f"{png} has pixels of id {unknown[0]}, which {segments} does not list: are they of the same photo?"
        )
    made = [_segment(ids, *one) for one in listed if one[0] in there]
    return PanopticMap(ids, tuple(made)), categories


def _segment(ids: Any, number: int, category: int, crowd: bool) -> Segment:
    mask = ids == np.uint32(number)
    return Segment(number, category, int(np.count_nonzero(mask)), mask_box(mask), crowd)


def _segments_of(found: Any, png: Path, name: Path) -> list[dict[str, Any]]:
    """Return the segments of the PNG from any of the three forms."""
    if isinstance(found, dict) and "annotations" in found:
        of_photo = [a for a in found["annotations"] if Path(a["file_name"]).name == png.name]
        if len(of_photo) != 1:
            raise UsageError(f"{name}: expected one annotation with the file_name {png.name}, found {len(of_photo)}")
        found = of_photo[0]
    listed: list[dict[str, Any]] = found["segments_info"] if isinstance(found, dict) else found
    return listed


def _categories(found: Any) -> Categories:
    if isinstance(found, dict) and "categories" in found:
        return {
            int(c["id"]): Category(int(c["id"]), c["name"], c.get("supercategory", ""), bool(c["isthing"]))
            for c in found["categories"]
        }
    return {c.id: c for c in coco_categories().values()}
