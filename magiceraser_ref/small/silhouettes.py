"""Object-shaped holes: the outlines of real objects, from the masks of OLRD triplets."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from magiceraser_ref.training.masks import random_mask
from olrd.arrays import Mask, decode_mask
from olrd.dataset.folder import Dataset
from olrd.draws import draw_integer, draw_share
from olrd.errors import SourceError
from olrd.masks import mask_box

SHAPED = 0.7
"""Share of the holes that have an object's outline. The others are brush strokes and boxes."""
SMALLEST, LARGEST = 0.12, 0.5
"""Range of the longer side of an object-shaped hole, as a share of the picture's side."""


class Silhouettes:
    """Draws holes.

    Args:
        folder: An OLRD dataset, whose masks of the split train are used; None draws brush strokes and boxes alone.

    Raises:
        SourceError: If the dataset has no such masks.
    """

    def __init__(self, folder: Path | str | None) -> None:
        self.shapes: list[Mask] = []
        if folder is not None:
            for row in Dataset(Path(folder)).rows(["mask", "split"]):
                if row["split"] != "train":
                    continue
                mask = decode_mask(row["mask"]["bytes"])
                self.shapes.append(np.ascontiguousarray(mask[mask_box(mask).crop()]))
            if not self.shapes:
                raise SourceError(f"{folder}: expected triplets of the split train, found none")

    def hole(self, side: int, *key: object) -> Mask:
        """Draw a hole, bool [side, side], True = erase. It is a function of (shapes, side, key) alone."""
        if not self.shapes or draw_share(*key, "shaped") >= SHAPED:
            return random_mask(side, side, *key)
        shape = self.shapes[draw_integer(len(self.shapes), *key, "shape")]
        if draw_integer(2, *key, "flip"):
            shape = shape[:, ::-1]
        longer = side * (SMALLEST + (LARGEST - SMALLEST) * draw_share(*key, "longer"))
        scale = longer / max(shape.shape)
        size = [max(2, round(n * scale)) for n in shape.shape]
        small = cv2.resize(shape.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_AREA) > 0.3
        hole = np.zeros((side, side), np.bool_)
        y, x = (draw_integer(side - n + 1, *key, axis) for axis, n in zip("yx", size, strict=True))
        hole[y : y + size[0], x : x + size[1]] = small
        return hole if hole.any() else random_mask(side, side, *key)
