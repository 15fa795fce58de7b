"""Distributions in a dataset: areas, classes, positions, shifts, licences; for all rows and by split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from olrd.dataset.folder import Dataset
from olrd.errors import IntegrityError
from olrd.trust import shown

AREA_EDGES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 1.0)
GRID = 3
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
COLUMNS = (
    "split",
    "source",
    "image_id",
    "category",
    "supercategory",
    "background_labels",
    "width",
    "height",
    "bbox",
    "shift",
    "mask_area",
    "license",
)


def distributions(dataset: Dataset) -> dict[str, Any]:
    """Counts and quantiles by split name, and over all rows as `all`.

    Each has: triplets; photos; area, the quantiles and bins of the mask's share of the picture; categories,
    supercategories, background_labels and licenses, counts with the most frequent first; position, 3 x 3 counts of the
    masks' centres from the top left; shift, quantiles in shares of the diagonal.
    """
    rows = dataset.table(COLUMNS).to_pylist()
    for row in rows:
        check_row(row)
    splits = sorted({row["split"] for row in rows})
    parts = {name: [row for row in rows if row["split"] == name] for name in splits}
    return {"all": _described(rows)} | {name: _described(part) for name, part in parts.items()}


def check_row(row: dict[str, Any]) -> None:
    """Raise `IntegrityError` for a row that has no place in the counts."""
    whole = all(row[name] is not None for name in COLUMNS if name not in ("category", "supercategory", "license"))
    whole = whole and None not in (*row["bbox"], *row["shift"]) and min(row["width"], row["height"]) > 0
    if not whole or min(row["bbox"]) < 0 or not 0 <= row["mask_area"] <= 1:
        name = f"{shown(row['source'])}/{shown(row['image_id'])}"
        raise IntegrityError(f"a row of {name} lacks a value or holds a wrong one; `olrd verify` lists all problems")


def _described(rows: list[dict[str, Any]]) -> dict[str, Any]:
    areas = np.array([row["mask_area"] for row in rows])
    shifts = np.array([shift_share(row) for row in rows])
    bins, _ = np.histogram(areas, AREA_EDGES)
    return {
        "triplets": len(rows),
        "photos": len({(row["source"], row["image_id"]) for row in rows}),
        "area": {
            "quantiles": quantiles(areas),
            "bins": {
                f"{low:g}-{high:g}": int(count)
                for low, high, count in zip(AREA_EDGES[:-1], AREA_EDGES[1:], bins, strict=True)
            },
        },
        "categories": _counts(row["category"] for row in rows),
        "supercategories": _counts(row["supercategory"] for row in rows),
        "background_labels": _counts(label for row in rows for label in row["background_labels"]),
        "licenses": _counts(row["license"] for row in rows),
        "position": _positions(rows),
        "shift": {"quantiles": quantiles(shifts)},
    }


def shift_share(row: dict[str, Any]) -> float:
    """The length of the shift as a share of the picture's diagonal."""
    return float(np.hypot(*row["shift"]) / np.hypot(row["width"], row["height"]))


def quantiles(values: npt.NDArray[np.float64]) -> dict[str, float] | None:
    """Quantiles by percentage; None if there are no values."""
    if not len(values):
        return None
    found = np.quantile(values, _QUANTILES)
    return {f"{100 * q:g}": round(float(v), 6) for q, v in zip(_QUANTILES, found, strict=True)}


def _counts(values: Iterable[str | None]) -> dict[str, int]:
    """Counts, most frequent first, then by name."""
    return dict(sorted(Counter(value or "" for value in values).items(), key=lambda item: (-item[1], item[0])))


def _positions(rows: list[dict[str, Any]]) -> list[list[int]]:
    """The number of boxes with their centre in each cell of a GRID x GRID division of the frame."""
    grid = np.zeros((GRID, GRID), np.int64)
    for row in rows:
        grid[cell_of(row, GRID)] += 1
    counts: list[list[int]] = grid.tolist()
    return counts


def cell_of(row: Mapping[str, Any], cells: int) -> tuple[int, int]:
    """(line, column) of the cell of the frame in which the centre of the row's box lies, from the top left.

    cells: of the frame, across and down.
    """
    x, y, w, h = row["bbox"]
    # Twice the centre, so that it is an integer.
    return (
        min(cells - 1, (2 * y + h) * cells // (2 * row["height"])),
        min(cells - 1, (2 * x + w) * cells // (2 * row["width"])),
    )
