"""A drawn COCO folder that tests damage, and what must hold of any build of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.sources import SourceSpec

COUNT = 4
VICTIM = 0
"""The photo that is damaged: one with several movable objects."""
GREY = 3
"""The drawn series has one greyscale photo."""
Json = dict[str, Any]


@dataclass
class Folder:
    """A private copy of the drawn photos, and the document to change."""

    root: Path
    document: Json

    def __post_init__(self) -> None:
        self.images: list[Json] = self.document["images"]
        self.notes = {note["image_id"]: note for note in self.document["annotations"]}

    @property
    def image(self) -> Json:
        return self.images[VICTIM]

    @property
    def note(self) -> Json:
        return self.notes[self.image["id"]]

    @property
    def things(self) -> list[Json]:
        """The victim's segments of movable classes."""
        kinds = {kind["id"]: kind for kind in self.document["categories"]}
        return [s for s in self.note["segments_info"] if kinds[s["category_id"]]["isthing"]]

    def photo(self, number: int = VICTIM) -> Path:
        return self.root / "train2017" / str(self.images[number]["file_name"])

    @property
    def png(self) -> Path:
        return self.root / "annotations" / "panoptic_train2017" / str(self.note["file_name"])

    def save(self) -> Path:
        path = self.root / "annotations" / "panoptic_train2017.json"
        path.write_text(json.dumps(self.document))
        return self.root


def config_of(root: Path, **change: Any) -> BuildConfig:
    return replace(BuildConfig(SourceSpec("coco", str(root)), per_object=1), **change)


def rows_by_photo(out: Path) -> dict[str, list[Json]]:
    rows: dict[str, list[Json]] = {}
    for row in Dataset(out).rows():
        rows.setdefault(row["image_id"], []).append(row)
    return rows


def assert_balanced(totals: Json, document: Json) -> None:
    """Read = used + left out, against what the JSON itself lists."""
    photos = totals["photos_used"] + totals["photos_without_triplet"]
    assert totals["photos_read"] == len(document["images"])
    assert totals["photos_read"] == photos + sum(totals["photos_rejected"].values())
    listed = sum(len(note["segments_info"]) for note in document["annotations"])
    assert totals["objects_read"] == listed
    assert listed == totals["objects_used"] + sum(totals["objects_rejected"].values())
