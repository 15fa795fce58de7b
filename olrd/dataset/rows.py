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
from olrd.dataset.schema import MASKS, PICTURES
from olrd.errors import Rejected, SourceError, UsageError, did_you_mean
from olrd.mask_files import read_mask
from olrd.storage.files import read_regular
from olrd.triplets.compose import Triplet
from olrd.trust import shown

_MASK_COLUMNS = ("mask", "effect")


class Rows:
    """Rows of one split, or of all.

    Args:
        root: a folder, URL or hub id that `datasets.load_dataset` opens.
        split: the name of a split, or `all`.
        photos: for a dataset of recipes, the folder of the photos: pictures are rendered as they are read.
        columns: the plain columns that the caller needs.
        photos_option: how a user gives `photos`, for messages.
        optional: plain columns that may be missing; their values are then None.

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
        optional: Sequence[str] = (),
    ) -> None:
        import datasets

        self.columns, self._root = (*columns, *optional), root
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
            wanted = ", ".join((*PICTURES, *columns))
            raise SourceError(f"{root}: expected the columns {wanted}, missing {', '.join(missing)}")
        if not len(rows):
            raise SourceError(f"{root}: the split {split} holds no triplets")
        single = getattr((rows.features or {}).get(MASKS), "feature", None)
        if MASKS in stored and not isinstance(single, datasets.Image):  # another set's may be anything
            rows = rows.remove_columns(MASKS)
        elif MASKS in stored:
            rows = rows.cast_column(MASKS, datasets.List(datasets.Image(decode=False)))
        if recipes:
            rows = rows.with_transform(RenderBatch(str(photos), _max_pixels(root)))
        else:
            for name in PICTURES:
                rows = rows.cast_column(name, datasets.Image(decode=False))
        kept = isinstance((rows.features or {}).get("effect"), datasets.Image)  # another set's may be anything
        if kept and not recipes:
            rows = rows.cast_column("effect", datasets.Image(decode=False))
        self._effects = kept or recipes
        self._rows, self._missing = rows, {name for name in optional if name not in held}

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> tuple[dict[str, Any], Triplet]:
        """(the row's plain columns, its pictures).

        Raises `Rejected` for a picture that cannot be read, or pictures of different sizes.
        """
        row = self._rows[number]
        sample = row.get("id") or f"row {number}"
        own = not row.get("recipe")  # then the mask may have any form that people save masks in
        image, mask, background = (self._pixels(row[name], name, sample, own) for name in PICTURES)
        effect = None
        if self._effects and row.get("effect") is not None:
            effect = self._pixels(row["effect"], "effect", sample, own)
        masks = [self._pixels(one, "mask", sample, own) for one in row.get(MASKS) or ()]
        found = (image, mask, background, *(() if effect is None else (effect,)), *masks)
        if len({x.shape[:2] for x in found}) > 1:
            sizes = ", ".join(f"{x.shape[1]} x {x.shape[0]}" for x in found)
            raise Rejected(
                "photo_unreadable",
                f"{self._root}: image, mask and background of {shown(sample)} are {sizes} (width x height); they must "
                "have one size",
            )
        return {name: row.get(name) for name in self.columns}, Triplet(
            image, mask, background, effect, tuple(masks) or None
        )

    def plain(self, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The plain columns of all rows; no picture is read. An optional column that is missing is None."""
        names = list(columns or self.columns)
        held = [name for name in names if name not in self._missing]
        if not held:
            return [dict.fromkeys(names) for _ in range(len(self))]
        found: list[dict[str, Any]] = self._rows.with_format(None).select_columns(held).to_list()
        return [{name: row.get(name) for name in names} for row in found] if self._missing else found

    def stored_pictures(self, number: int) -> tuple[bytes, ...]:
        """The files of a row's pictures, in the order of `PICTURES`; not for recipes, which have none."""
        row = self._rows[number]
        return tuple(self._file(row[name]) for name in PICTURES)

    def _pixels(self, value: Any, name: str, sample: str, own: bool) -> Any:
        if value is None:
            raise Rejected("photo_unreadable", f"{name} of {shown(sample)}: there is no picture")
        if not isinstance(value, dict):  # rendered from a recipe
            # np.asarray of a 1-bit picture is not used: its True is the byte 255, which is not a valid bool.
            return np.asarray(value.convert("L")) > 0 if name in _MASK_COLUMNS else np.asarray(value)
        what = f"{name} of {shown(sample)}"
        try:
            data = self._file(value)
        except OSError as error:
            raise Rejected("photo_unreadable", f"{what}: {error}") from error
        if name in _MASK_COLUMNS:
            mask = read_mask(data, what).mask if own else decode_mask(data, what, MAX_PIXELS)
            return np.ascontiguousarray(mask)
        return decode_photo(data, what).pixels

    def _file(self, value: dict[str, Any] | None) -> bytes:
        """The bytes of a stored picture, or those of the file in the dataset's folder that it names."""
        value = value or {}
        if value.get("bytes") or not value.get("path") or not Path(self._root).is_dir():
            return bytes(value.get("bytes") or b"")
        return read_regular(Path(value["path"]), Path(self._root))

    def keep(self, numbers: Sequence[int]) -> None:
        """Keep only these rows, in this order."""
        self._rows = self._rows.select(numbers)


def _max_pixels(root: str) -> int:
    """The limit that a folder was built with, if it is below the default."""
    if not (Path(root) / BUILD_FILE).is_file():
        return MAX_PIXELS
    return min(MAX_PIXELS, Dataset(root).record.settings().source.max_pixels)
