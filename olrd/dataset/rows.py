"""Access to rows by number: any folder, URL or hub id with the columns of a built dataset, its pictures decoded or rendered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from olrd.arrays import MAX_PIXELS, decode_mask, decode_photo
from olrd.dataset.folder import Dataset
from olrd.dataset.loading import RenderBatch, open_splits
from olrd.dataset.record import BUILD_FILE
from olrd.dataset.schema import PICTURES
from olrd.errors import Rejected, SourceError, UsageError, did_you_mean
from olrd.triplets.compose import Triplet
from olrd.trust import shown


class Rows:
    """Rows of one split, or of all.

    Args:
        root: a folder, URL or hub id that `datasets.load_dataset` opens.
        split: the name of a split, or `all`.
        photos: for a dataset of recipes, the folder of the photos: pictures are rendered as they are read.
        columns: the plain columns that the caller needs.
        photos_option: how a user gives `photos`, for messages.

    Raises:
        SourceError: the data cannot be opened, lacks a column, or has no rows.
        UsageError: there is no such split, or `photos` is missing or not a folder.
    """

    def __init__(
        self,
        root: str,
        split: str = "all",
        photos: str | None = None,
        columns: Sequence[str] = ("id", "recipe"),
        photos_option: str = "photos=FOLDER",
    ) -> None:
        import datasets

        self.columns = tuple(columns)
        splits = open_splits(root)
        if split != "all" and split not in splits:
            raise did_you_mean("split", split, ["all", *splits])
        rows = datasets.concatenate_datasets([splits[name] for name in splits if split in ("all", name)])
        stored = {*rows.column_names}
        recipes = "image" not in stored and "recipe" in stored
        if recipes and not photos:
            raise UsageError(f"{root} holds recipes without pictures: give the folder of the photos, {photos_option}")
        if recipes and not Path(str(photos)).is_dir():
            raise UsageError(f"{photos_option}: '{photos}' is not a folder")
        held = stored | {*(PICTURES if recipes else ())}
        if missing := sorted({*columns, *PICTURES} - held):
            raise SourceError(f"{root}: expected the columns of an OLRD dataset, missing {', '.join(missing)}")
        if not len(rows):
            raise SourceError(f"{root}: the split {split} holds no triplets")
        if recipes:
            rows = rows.with_transform(RenderBatch(str(photos), _max_pixels(root)))
        else:
            for name in PICTURES:
                rows = rows.cast_column(name, datasets.Image(decode=False))
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> tuple[dict[str, Any], Triplet]:
        """(the row's plain columns, its pictures). Raises `Rejected` for a picture that cannot be read."""
        row = self._rows[number]
        image, mask, background = (_pixels(row[name], name, row["id"]) for name in PICTURES)
        return {name: row[name] for name in self.columns}, Triplet(image, mask, background)

    def plain(self, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The plain columns of all rows; no picture is read."""
        names = list(columns or self.columns)
        found: list[dict[str, Any]] = self._rows.with_format(None).select_columns(names).to_list()
        return found

    def keep(self, numbers: Sequence[int]) -> None:
        """Keep only these rows, in this order."""
        self._rows = self._rows.select(numbers)


def _max_pixels(root: str) -> int:
    """The limit that a folder was built with, if it is below the default."""
    if not (Path(root) / BUILD_FILE).is_file():
        return MAX_PIXELS
    return min(MAX_PIXELS, Dataset(root).record.settings().source.max_pixels)


def _pixels(value: Any, name: str, sample: str) -> Any:
    if value is None:
        raise Rejected("photo_unreadable", f"{name} of {shown(sample)}: there is no picture")
    if not isinstance(value, dict):  # rendered from a recipe
        # np.asarray of a 1-bit picture is not used: its True is the byte 255, which is not a valid bool.
        return np.asarray(value.convert("L")) > 0 if name == "mask" else np.asarray(value)
    what = f"{name} of {shown(sample)}"
    data = value["bytes"] or b""
    if name == "mask":
        return np.ascontiguousarray(decode_mask(data, what, MAX_PIXELS))
    return decode_photo(data, what).pixels
