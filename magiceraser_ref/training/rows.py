"""Triplets by number, for training: any folder or hub id with the columns of an OLRD data set."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from olrd.dataset.folder import Dataset, row_triplet
from olrd.dataset.loading import load, open_splits
from olrd.dataset.record import BUILD_FILE
from olrd.errors import SourceError, did_you_mean
from olrd.triplets.compose import Triplet

PICTURES = ("image", "mask", "background")
PLAIN = ("id", "category", "background_labels", "prompt", "caption", "width", "height", "recipe")


class TrainingRows:
    """Rows of one split. root: a folder or hub id that `datasets.load_dataset` opens. split: its name, or
    `all`. photos: for a folder of recipes, where the photos are; they are rendered as they are read.

    Raises `SourceError` (no such data, columns missing, no rows) or `UsageError` (no such split).
    """

    def __init__(self, root: str, split: str = "train", photos: str | None = None) -> None:
        self.root, self.split = root, split
        self._rows = _opened(root, split, photos)
        rendered = PICTURES if photos else ()
        if missing := sorted({*PLAIN, *PICTURES} - {*self._rows.column_names, *rendered}):
            raise SourceError(f"{root}: expected the columns of an OLRD data set, missing {', '.join(missing)}")
        if not len(self._rows):
            raise SourceError(f"{root}: the split {split} holds no triplets")

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of ids, recipes (which hold pixel hashes) and captions: what decides a training."""
        digest = hashlib.sha256()
        plain = self._rows.with_format(None).select_columns(["id", "recipe", "prompt", "caption"])
        for batch in plain.iter(1000):
            for values in zip(*batch.values(), strict=True):
                digest.update("\n".join(str(value or "") for value in values).encode() + b"\n")
        return digest.hexdigest()[:16]

    def __getitem__(self, number: int) -> tuple[dict[str, Any], Triplet]:
        """(the row's plain values, its decoded or rendered pictures)."""
        row = self._rows[number]
        if isinstance(row["image"], dict):  # stored bytes
            triplet = row_triplet(row)
        else:
            # Not np.asarray of a 1-bit picture: its True is the byte 255, which is no valid bool.
            mask = np.asarray(row["mask"].convert("L")) > 0
            triplet = Triplet(np.asarray(row["image"]), mask, np.asarray(row["background"]))
        return {name: row[name] for name in PLAIN}, triplet


def _opened(root: str, split: str, photos: str | None) -> Any:
    """All rows as one `datasets.Dataset`: pictures undecoded, or rendered for recipes."""
    import datasets

    recipes = (Path(root) / BUILD_FILE).is_file() and Dataset(root).form == "recipes"
    loaded = load(root, root=photos) if recipes else open_splits(root)
    if split != "all" and split not in loaded:
        raise did_you_mean("split", split, ["all", *loaded])
    parts = [loaded[name] for name in loaded if split in ("all", name)]
    rows = parts[0] if len(parts) == 1 else _joined(parts)
    if not recipes:
        for name in set(PICTURES) & set(rows.column_names):
            rows = rows.cast_column(name, datasets.Image(decode=False))
    return rows


def _joined(parts: list[Any]) -> Any:
    """Several splits as one, with the transform that renders recipes kept."""
    import datasets

    joined = datasets.concatenate_datasets(parts)
    form = parts[0].format
    return joined.with_transform(form["format_kwargs"]["transform"]) if form["type"] == "custom" else joined
