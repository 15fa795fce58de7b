"""Triplets by number, for training, of any folder or hub id with the pictures of triplets."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any

from olrd.dataset.rows import Rows
from olrd.errors import Rejected
from olrd.triplets.compose import Triplet
from olrd.triplets.prompts import short_prompt
from olrd.trust import shown

PLAIN = ("id", "category", "background_labels", "prompt", "caption", "width", "height", "recipe")
"""The columns beside the pictures that training uses. All may be missing: own triplets need pictures alone."""


class TrainingRows:
    """Rows of one split, as `olrd.dataset.rows.Rows` reads them.

    Only the columns image, mask and background are needed. A row without a prompt gets the short prompt of an unknown
    background.

    Args:
        root: a folder or hub id that `datasets.load_dataset` opens.
        split: its name, or `all`.
        photos: for a folder of recipes, where the photos are.
    """

    def __init__(self, root: str, split: str = "train", photos: str | None = None) -> None:
        self.root, self.split = root, split
        self._rows = Rows(root, split, photos, (), "--photos FOLDER", PLAIN)

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that identify ids, recipes (with their pixel hashes), prompts and captions.

        Of a row without a recipe, the files of the pictures are hashed; this reads all of them.
        """
        digest = hashlib.sha256()
        for number, row in enumerate(self._rows.plain(("id", "recipe", "prompt", "caption"))):
            digest.update("\n".join(str(value or "") for value in row.values()).encode() + b"\n")
            if not row["recipe"]:
                for data in self._rows.stored_pictures(number):
                    digest.update(hashlib.sha256(data).digest())
        return digest.hexdigest()[:16]

    @cached_property
    def captioned(self) -> int:
        """Number of rows with a caption, which serves as the long prompt."""
        return sum(bool(row["caption"]) for row in self._rows.plain(("caption",)))

    def __getitem__(self, number: int) -> tuple[dict[str, Any], Triplet]:
        """Return (the row's plain values, its decoded or rendered pictures). Raises `Rejected` for an empty mask."""
        row, triplet = self._rows[number]
        row |= {"id": str(row["id"] or f"row-{number:06d}"), "prompt": str(row["prompt"] or short_prompt([]))}
        if not triplet.mask.any():
            raise Rejected("panoptic_unreadable", f"{self.root}: the mask of {shown(row['id'])} covers nothing")
        return row, triplet
