"""Groups of samples: by the mask's area, category, background and placement.

`benchmark compare --by`, the filters of a board and those of a report use these groups.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from olrd.errors import did_you_mean

GROUPINGS = ("area", "category", "background", "placement")
"""What samples can be grouped by. Each combination of background labels is one group."""
UNKNOWN = "unknown"
"""The group of samples without a label."""


class Area(NamedTuple):
    """Masks whose share of the photo is at least `low` and below `high`."""

    name: str
    low: float
    high: float


AREAS = (
    Area("under 1 %", 0, 0.01),
    Area("1 to 3 %", 0.01, 0.03),
    Area("3 to 10 %", 0.03, 0.1),
    Area("10 to 30 %", 0.1, 0.3),
    Area("30 % and more", 0.3, np.inf),
)


class Group(NamedTuple):
    """A group of samples. kept: bool [n], which rows are in it."""

    name: str
    kept: npt.NDArray[np.bool_]


def labels_of(frame: pd.DataFrame, by: str) -> list[str]:
    """The group of each row. A row whose mask's size is not known is in the group `UNKNOWN`.

    Args:
        frame: rows of samples.parquet.
        by: one of `GROUPINGS`.

    Raises:
        UsageError: `by` is none of them.
    """
    if by not in GROUPINGS:
        raise did_you_mean("grouping", by, GROUPINGS)
    if by == "area":
        return [area_of(share) for share in frame.mask_share.astype(float)]
    values = frame[by] if by in frame.columns else [None] * len(frame)  # rows of older versions have no placement
    return [text if isinstance(text, str) and text else UNKNOWN for text in values]


def area_of(share: float) -> str:
    """The group of a mask that covers this share of its photo."""
    return next((area.name for area in AREAS if area.low <= share < area.high), UNKNOWN)


def groups_of(frame: pd.DataFrame, by: str) -> list[Group]:
    """The groups that have rows: areas from small to large, others by name. `UNKNOWN` is last."""
    labels = np.array(labels_of(frame, by), dtype=object)
    order = ordered(set(labels), by)
    return [Group(name, np.asarray(labels == name, bool)) for name in order]


def ordered(names: set[str], by: str) -> list[str]:
    """Names of groups in the order in which they are shown."""
    places = {area.name: k for k, area in enumerate(AREAS)} if by == "area" else {}
    return sorted(names, key=lambda name: (name == UNKNOWN, places.get(name, 0), name))
