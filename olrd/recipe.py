"""Recipes: a triplet without its pixels.

A triplet is a pure function of (photos, recipe). A recipe is a small JSON object: which photos (by
id, file name and sha256), which object (box and RLE of its mask), where it goes and how, and the
sha256 of what must come out. It can be published where the photos may not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from olrd.errors import IntegrityError
from olrd.panoptic import Box

RECIPE_VERSION = 1


@dataclass(frozen=True, slots=True)
class PhotoRef:
    """A photo a recipe needs. file_name is relative to the photo folder; sha256 of its file."""

    image_id: str
    file_name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one triplet is made.

    background, donor: the photo that stays untouched and the photo the object is cut from (often
    the same). size: short side to which both are resized first, or None. source_bbox: the object's
    box in the donor at working size; rle: COCO counts of its mask inside that box. scale, flip:
    applied to the cut-out. position: (x, y) of the box's corner in the background. blend, params:
    see olrd.blending. match: `noise` and `sharpness`, if asked for. pixels_sha256: of the
    composite's uint8 [H, W, 3] bytes followed by the mask's bits, row-major, eight to a byte.
    """

    id: str
    background: PhotoRef
    donor: PhotoRef
    segment_id: int
    size: int | None
    source_bbox: Box
    rle: str
    scale: float
    flip: bool
    position: tuple[int, int]
    blend: str
    params: dict[str, float] = field(default_factory=dict)
    match: tuple[str, ...] = ()
    pixels_sha256: str = ""
    version: int = RECIPE_VERSION

    def to_json(self) -> str:
        """One line of JSON with sorted keys: the same recipe is always the same text."""
        values = {name: getattr(self, name) for name in self.__slots__}
        for name in ("background", "donor"):
            values[name] = {part: getattr(values[name], part) for part in PhotoRef.__slots__}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read a recipe; `IntegrityError` if it is not one or of another version."""
        try:
            raw = json.loads(text)
            if raw["version"] != RECIPE_VERSION:
                raise IntegrityError(
                    f"expected recipe version {RECIPE_VERSION}, got {raw['version']}: "
                    "rebuild with the olrd release that wrote it"
                )
            raw["background"], raw["donor"] = (
                PhotoRef(**raw["background"]),
                PhotoRef(**raw["donor"]),
            )
            raw["source_bbox"] = Box(*raw["source_bbox"])
            raw["position"], raw["match"] = tuple(raw["position"]), tuple(raw["match"])
            return cls(**raw)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise IntegrityError(f"not a recipe: {text[:120]!r} ({error!r})") from error
