"""Triplets by number, for training, of any folder or hub id with the columns of an OLRD dataset."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

from olrd.dataset.rows import Rows
from olrd.triplets.compose import Triplet

PLAIN = ("id", "category", "background_labels", "prompt", "caption", "width", "height", "recipe")


class TrainingRows:
    """Rows of one split, as `olrd.dataset.rows.Rows` reads them.

    Args:
        root: a folder or hub id that `datasets.load_dataset` opens.
        split: its name, or `all`.
        photos: for a folder of recipes, where the photos are.
    """

    def __init__(self, root: str, split: str = "train", photos: str | None = None) -> None:
        self.root, self.split = root, split
        self._rows = Rows(root, split, photos, PLAIN, "--photos FOLDER")

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that identify ids, recipes (with their pixel hashes), prompts and captions."""
        digest = hashlib.sha256()
        for row in self._rows.plain(("id", "recipe", "prompt", "caption")):
            digest.update("\n".join(str(value or "") for value in row.values()).encode() + b"\n")
        return digest.hexdigest()[:16]

    def __getitem__(self, number: int) -> tuple[dict[str, Any], Triplet]:
        """Return (the row's plain values, its decoded or rendered pictures)."""
        return self._rows[number]
