"""Recipes: a triplet without its pixels.

A triplet is a pure function of its photos and its recipe. A recipe is a small JSON object: which photos (id, file name
and sha256), which object (box and RLE of its mask), where it is pasted and how, and the sha256 of the resulting pixels.
It may be published where the photos may not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from olrd.config import BLENDS
from olrd.errors import IntegrityError, UsageError
from olrd.panoptic import Box

RECIPE_VERSION = 1


@dataclass(frozen=True, slots=True)
class PhotoRef:
    """A photo that a recipe needs. file_name: relative to the folder of the photos. sha256: of the file."""

    image_id: str
    file_name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one triplet is made.

    Attributes:
        id: of the triplet.
        background: the photo that stays untouched.
        donor: the photo that the object is cut from; often the same one.
        segment_id: of the object in the donor's annotation.
        size: the short side to which both photos are resized first, or None.
        source_bbox: the object's box in the donor at working size.
        rle: COCO counts of the object's mask inside that box.
        scale: size factor of the cut-out.
        flip: whether the cut-out is mirrored.
        position: (x, y) of the box's corner in the background.
        blend: name of the blend, see olrd.triplets.blends.
        params: of the blend.
        match: `noise` and `sharpness`, as far as they are matched.
        pixels_sha256: see olrd.triplets.compose.pixels_sha256.
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
        """One line of JSON with sorted keys. Equal recipes give equal texts."""
        values = {name: getattr(self, name) for name in self.__slots__}
        for name in ("background", "donor"):
            values[name] = {part: getattr(values[name], part) for part in PhotoRef.__slots__}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read a recipe. Raises `IntegrityError` if the text is not a recipe of this version."""
        try:
            raw = json.loads(text)
            if raw["version"] != RECIPE_VERSION:
                raise IntegrityError(
                    f"expected recipe version {RECIPE_VERSION}, got {raw['version']}: "
                    "rebuild with the olrd release that wrote it"
                )
            raw["background"], raw["donor"] = (PhotoRef(**raw["background"]), PhotoRef(**raw["donor"]))
            raw["source_bbox"] = Box(*raw["source_bbox"])
            raw["position"], raw["match"] = tuple(raw["position"]), tuple(raw["match"])
            recipe = cls(**raw)
        except _NOT_A_RECIPE as error:
            raise IntegrityError(f"not a recipe: {text[:120]!r} ({error!r})") from error
        recipe.check()
        return recipe

    def check(self) -> None:
        """Check types and limits of all values. Raises `IntegrityError`."""
        numbers = (*self.source_bbox, *self.position, self.segment_id)
        texts = (self.id, self.rle, self.blend, self.pixels_sha256, *self.match)
        files = (*_fields(self.background), *_fields(self.donor))
        try:
            defaults = BLENDS.get(self.blend).defaults
        except UsageError as error:
            raise IntegrityError(f"recipe {self.id!r}: {error}") from error
        good = (
            all(type(number) is int for number in numbers)
            and len(self.source_bbox) == 4
            and len(self.position) == 2
            and min(self.source_bbox) >= 0
            and min(self.source_bbox[2:]) > 0
            and all(isinstance(text, str) for text in (*texts, *files))
            and type(self.flip) is bool
            and (self.size is None or (type(self.size) is int and 16 <= self.size <= 1 << 15))
            and isinstance(self.scale, (int, float))
            and 0.05 <= self.scale <= 20
            and isinstance(self.params, dict)
            and set(self.params) == set(defaults)
            and all(isinstance(v, (int, float)) and 0 <= v <= 10_000 for v in self.params.values())
        )
        if not good:
            raise IntegrityError(f"recipe {self.id!r} holds values of a wrong type or size")


_NOT_A_RECIPE = (KeyError, TypeError, ValueError, RecursionError)


def _fields(reference: PhotoRef) -> tuple[str, str, str]:
    return reference.image_id, reference.file_name, reference.sha256
