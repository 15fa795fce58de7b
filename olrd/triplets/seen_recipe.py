"""Recipes of triplets whose background was seen: nothing is pasted, the clean plate is laid over the object's effect."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from olrd.errors import IntegrityError
from olrd.panoptic import Box
from olrd.sources.seen import Layer, PictureRef
from olrd.sources.seen.alignment import Motion
from olrd.sources.seen.picture_files import is_part
from olrd.sources.seen.tones import Tone
from olrd.triplets.recipe import MAX_TEXT, PhotoRef, Recipe
from olrd.trust import parse_json, printable, shown

KIND = "seen"
SEEN_VERSION = 1
MAX_LAYERS = 64
_LARGEST = 1 << 31
_IDS = 1 << 63


@dataclass(frozen=True, slots=True)
class SeenRecipe:
    """How one triplet is made from a picture with an object and the layers of its place.

    Attributes:
        id: of the triplet.
        scene: the id of the clip or place.
        image_id: of the picture with the object.
        picture: where it is.
        segment_id: the number of the object in the picture.
        size: the short side to which all pictures are resized first, or None.
        mask_bbox, mask: the box of the object and COCO counts of its mask inside it.
        effect_bbox, effect: the same of all that it changes; the ground truth differs from the picture only there.
        layers: the pictures of the place, fitted to the picture with the object.
        tolerance: see `olrd.sources.seen.plate.plate_of`.
        pixels_sha256: see `olrd.triplets.compose.pixels_sha256`.
    """

    id: str
    scene: str
    image_id: str
    picture: PictureRef
    segment_id: int
    size: int | None
    mask_bbox: Box
    mask: str
    effect_bbox: Box
    effect: str
    layers: tuple[Layer, ...]
    tolerance: int
    pixels_sha256: str = ""

    @property
    def background(self) -> PhotoRef:
        """The scene, by the file of its middle layer."""
        middle = self.layers[len(self.layers) // 2].picture
        return PhotoRef(self.scene, middle.file_name, middle.sha256)

    @property
    def donor(self) -> PhotoRef:
        """The picture with the object."""
        return PhotoRef(self.image_id, self.picture.file_name, self.picture.sha256)

    def to_json(self) -> str:
        """One line of JSON with sorted keys. Equal recipes give equal texts."""
        values = {name: getattr(self, name) for name in self.__slots__} | {"kind": KIND, "version": SEEN_VERSION}
        return json.dumps(values, sort_keys=True, separators=(",", ":"))

    def check(self) -> None:
        """Check types and limits of all values. Raises `IntegrityError`."""
        pictures = [self.picture, *(layer.picture for layer in self.layers)]
        texts = (self.id, self.scene, self.image_id, self.mask, self.effect, self.pixels_sha256)
        boxes = (self.mask_bbox, self.effect_bbox)
        good = (
            all(isinstance(text, str) for text in texts)
            and all(isinstance(p.file_name, str) and is_part(p.part) and isinstance(p.sha256, str) for p in pictures)
            and all(type(v) is int and 0 <= v < _LARGEST for box in boxes for v in box)
            and min(*self.mask_bbox[2:], *self.effect_bbox[2:]) > 0
            and type(self.segment_id) is int
            and -_IDS <= self.segment_id < _IDS
            and (self.size is None or (type(self.size) is int and 16 <= self.size <= 1 << 15))
            and type(self.tolerance) is int
            and 0 <= self.tolerance <= 255
            and 1 <= len(self.layers) <= MAX_LAYERS
        )
        if not good:
            raise IntegrityError(f"recipe {shown(self.id)} holds values of a wrong type or size")


def read_recipe(text: str) -> Recipe | SeenRecipe:
    """Read a recipe of any kind. Raises `IntegrityError` if the text is no recipe, or one of an unknown version."""
    if isinstance(text, str) and len(text) <= MAX_TEXT and f'"kind":"{KIND}"' in text:
        return _read_seen(text)
    return Recipe.from_json(text)


def _read_seen(text: str) -> SeenRecipe:
    try:
        raw = parse_json(text, "not a recipe: the text")
        if raw.pop("kind") != KIND or (version := raw.pop("version")) != SEEN_VERSION:
            raise IntegrityError(
                f"expected a recipe of version {SEEN_VERSION}: rebuild with the olrd release that wrote it"
                f" ({shown(version)})"
            )
        raw["picture"] = PictureRef(*raw["picture"])
        raw["mask_bbox"], raw["effect_bbox"] = Box(*raw["mask_bbox"]), Box(*raw["effect_bbox"])
        if len(raw["layers"]) > MAX_LAYERS:
            raise IntegrityError(f"not a recipe: {len(raw['layers'])} layers, expected at most {MAX_LAYERS}")
        raw["layers"] = tuple(
            Layer(PictureRef(*picture), _motion(motion), _tone(tone)) for picture, motion, tone in raw["layers"]
        )
        recipe = SeenRecipe(**raw)
        recipe.check()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"not a recipe: {shown(text, 120)} ({printable(repr(error)[:200])})") from error
    return recipe


def _motion(values: object) -> Motion | None:
    return None if values is None else _numbers(values, 9, 1e9)


def _tone(values: object) -> Tone | None:
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != 3:
        raise ValueError("a tone has three channels")
    return tuple((one[0], one[1]) for one in (_numbers(value, 2, 1e4) for value in values))


def _numbers(values: object, count: int, limit: float) -> tuple[float, ...]:
    """Finite numbers within a limit. Raises `ValueError`."""
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"expected {count} numbers")
    for value in values:
        if type(value) not in (int, float) or not math.isfinite(value) or abs(value) > limit:
            raise ValueError(f"{value!r} is no number within {limit:g}")
    return tuple(float(value) for value in values)
