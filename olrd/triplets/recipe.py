"""Recipes: a triplet without its pixels.

A triplet is a pure function of its photos and its recipe. A recipe is a small JSON object: which photos (id, file name
and sha256), which object (box and RLE of its mask), where it is pasted and how, and the sha256 of the resulting pixels.
It may be published where the photos may not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from olrd.config import BLENDS, MASK_STYLES, MOST_OBJECTS
from olrd.errors import IntegrityError, UsageError
from olrd.panoptic import Box
from olrd.triplets.shadow import MAX_LEAN, MAX_SOFTNESS, Shadow
from olrd.triplets.user_masks import MaskStyle
from olrd.trust import parse_json, printable, shown

RECIPE_VERSION = 1
DRAWN_VERSION = 2
"""The version of recipes with what version 1 does not know: a style of the mask, or several objects."""
SHADED_VERSION = 3
"""The version of recipes with a shadow."""
MAX_TEXT = 1 << 24
"""Longest recipe, in characters. Most have a few thousand; the outline of the object is the longest part."""
_LARGEST = 1 << 31
_IDS = 1 << 63


@dataclass(frozen=True, slots=True)
class PhotoRef:
    """A photo that a recipe needs. file_name: relative to the folder of the photos. sha256: of the file."""

    image_id: str
    file_name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Part:
    """One pasted object; the attributes are those of a `Recipe`."""

    segment_id: int
    source_bbox: Box
    rle: str
    scale: float
    flip: bool
    position: tuple[int, int]


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
        mask_style: how the mask is drawn; None for exactly what the blend touched.
        more: the other objects of the donor that are pasted after the first one, in their order.
        shadow: of all objects; None in builds without shadows. One without a region is of objects that cast none.
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
    mask_style: MaskStyle | None = None
    more: tuple[Part, ...] = ()
    shadow: Shadow | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """All pasted objects, in the order in which they are pasted."""
        return Part(*(getattr(self, name) for name in Part.__slots__)), *self.more

    @property
    def version(self) -> int:
        """The version of the format that this recipe needs."""
        if self.shadow is not None:
            return SHADED_VERSION
        return RECIPE_VERSION if self.mask_style is None and not self.more else DRAWN_VERSION

    def to_json(self) -> str:
        """One line of JSON with sorted keys. Equal recipes give equal texts."""
        values = {name: getattr(self, name) for name in self.__slots__} | {"version": self.version}
        for name in ("background", "donor"):
            values[name] = {part: getattr(values[name], part) for part in PhotoRef.__slots__}
        style = values.pop("mask_style")
        if style is not None:
            values["mask_style"] = {part: getattr(style, part) for part in MaskStyle.__slots__}
        if more := values.pop("more"):
            values["more"] = [{name: getattr(part, name) for name in Part.__slots__} for part in more]
        shadow = values.pop("shadow")
        if shadow is not None:
            values["shadow"] = {name: getattr(shadow, name) for name in Shadow.__slots__}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read a recipe. Raises `IntegrityError` if the text is not a recipe of this version."""
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise IntegrityError(f"not a recipe: expected a text of at most {MAX_TEXT:,} characters, got {shown(text)}")
        try:
            raw = parse_json(text, "not a recipe: the text")
            version = raw.pop("version")
            if version not in (RECIPE_VERSION, DRAWN_VERSION, SHADED_VERSION):
                raise IntegrityError(
                    f"expected recipe version {RECIPE_VERSION} to {SHADED_VERSION}, got {shown(version)}: "
                    "rebuild with the olrd release that wrote it"
                )
            raw["background"], raw["donor"] = (PhotoRef(**raw["background"]), PhotoRef(**raw["donor"]))
            raw["source_bbox"] = Box(*raw["source_bbox"])
            raw["position"], raw["match"] = tuple(raw["position"]), tuple(raw["match"])
            if raw.get("mask_style") is not None:
                raw["mask_style"] = MaskStyle(**raw["mask_style"])
            raw["more"] = tuple(_part(**part) for part in raw.get("more", ()))
            if raw.get("shadow") is not None:
                raw["shadow"] = _shadow(**raw["shadow"])
            recipe = cls(**raw)
        except _NOT_A_RECIPE as error:
            raise IntegrityError(f"not a recipe: {shown(text, 120)} ({printable(repr(error)[:200])})") from error
        if version != recipe.version:
            raise IntegrityError(
                f"recipe {shown(recipe.id)}: expected recipe version {recipe.version} for what it holds, got {version}"
            )
        recipe.check()
        return recipe

    def check(self) -> None:
        """Check types and limits of all values. Raises `IntegrityError`."""
        texts = (self.id, self.blend, self.pixels_sha256, *self.match)
        files = (*_fields(self.background), *_fields(self.donor))
        if not isinstance(self.blend, str) or len(self.blend) > 100:
            raise IntegrityError(f"recipe {shown(self.id)}: {shown(self.blend)} is not the name of a blend")
        try:
            defaults = BLENDS.get(self.blend).defaults
        except UsageError as error:
            raise IntegrityError(f"recipe {shown(self.id)}: {printable(str(error))}") from error
        good = (
            len(self.more) < MOST_OBJECTS
            and all(_good_part(part) for part in self.parts)
            and all(isinstance(text, str) for text in (*texts, *files))
            and (self.size is None or (type(self.size) is int and 16 <= self.size <= 1 << 15))
            and isinstance(self.params, dict)
            and set(self.params) == set(defaults)
            and all(type(v) in (int, float) and 0 <= v <= 10_000 for v in self.params.values())
            and (self.mask_style is None or _good_style(self.mask_style))
            and (self.shadow is None or _good_shadow(self.shadow))
        )
        if not good:
            raise IntegrityError(f"recipe {shown(self.id)} holds values of a wrong type or size")


_NOT_A_RECIPE = (KeyError, TypeError, ValueError, AttributeError)


def _part(position: Any, source_bbox: Any, **values: Any) -> Part:
    return Part(position=tuple(position), source_bbox=Box(*source_bbox), **values)


def _good_part(part: Part) -> bool:
    return (
        len(part.source_bbox) == 4
        and len(part.position) == 2
        and all(type(n) is int and -_LARGEST < n < _LARGEST for n in (*part.source_bbox, *part.position))
        and type(part.segment_id) is int
        and -_IDS <= part.segment_id < _IDS
        and min(part.source_bbox) >= 0
        and min(part.source_bbox[2:]) > 0
        and isinstance(part.rle, str)
        and type(part.flip) is bool
        and type(part.scale) in (int, float)
        and 0.05 <= part.scale <= 20
    )


def _good_style(style: MaskStyle) -> bool:
    return (
        isinstance(style.name, str)
        and style.name in MASK_STYLES
        and type(style.strength) is float
        and 0 <= style.strength <= 1
        and type(style.grow) is int
        and 0 <= style.grow <= 256
    )


def _shadow(lean: Any, box: Any, **values: Any) -> Shadow:
    return Shadow(lean=tuple(lean), box=Box(*box), **values)


def _good_shadow(shadow: Shadow) -> bool:
    numbers = (*shadow.lean, shadow.cast, shadow.contact, shadow.softness, *shadow.box)
    return (
        len(shadow.lean) == 2
        and all(type(n) is int and -_LARGEST < n < _LARGEST for n in numbers)
        and max(map(abs, shadow.lean)) <= MAX_LEAN
        and all(0 <= n <= 255 for n in (shadow.cast, shadow.contact))
        and 0 <= shadow.softness <= MAX_SOFTNESS
        and min(shadow.box) >= 0
        and (shadow.box.w > 0) == (shadow.box.h > 0) == bool(shadow.rle)
        and isinstance(shadow.rle, str)
    )


def _fields(reference: PhotoRef) -> tuple[str, str, str]:
    return reference.image_id, reference.file_name, reference.sha256
