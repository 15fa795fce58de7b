"""Where the light of a photo comes from, as far as its own things show it, and the shadow of a pasted object under it.

A thing that stands on the ground is laid flat in many directions. If the ground that it covers is darker than the ground
around that, evenly and in the same colour, it casts a shadow there. Things must agree. Most photos show no such shadow:
the shadows in them are drawn at random, each for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakKeyDictionary

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask
from olrd.draws import draw_integer
from olrd.masks import grown
from olrd.panoptic import VOID, Box, Category
from olrd.triplets.scene import Scene
from olrd.triplets.shadow import MAX_SOFTNESS, UNIT, Caster, Shadow, silhouette, with_region
from olrd.triplets.surfaces import CARRIED_BY_GROUND, CARRIES_NOTHING, HANGS, find_foot

NO_SHADOW = CARRIES_NOTHING | {"sky", "sky-other-merged", "water", "water-other", "sea", "river"}
"""Stuff, by supercategory or name, on which no shadow is drawn: nothing stands on it, or it mirrors."""
LEANS = tuple(
    (right * UNIT // 10, down * UNIT // 10)
    for right in (-26, -18, -13, -9, -6, -4, 4, 6, 9, 13, 18, 26)
    for down in (-7, -5, -3, -2, 2, 3, 5, 7)
)
"""Directions that are tried: right and down for each pixel of height."""
FEWEST = 60
"""Pixels of ground that a flat silhouette must cover, on the smaller copy, to be looked at."""
VISIBLE = 0.5
"""Smallest share of a silhouette that must lie on ground, and of the ring around it that must be ground."""
STANDS = 0.3
"""Smallest share of a thing's contact line that must stand on ground."""
DARKER = 0.25
"""Smallest share of light that must be missing in a shadow."""
CLEAR = 0.68
"""Smallest share of the pixels of a shadow, and of the ring around it, on the right side of the middle between both."""
TINT = 0.22
"""Largest change of colour across the edge, as a logarithm of red over green; twice that of blue over green."""
RIVAL = 0.8
"""Another direction, with less than a fifth of its pixels in common, may miss at most this part of the light."""
LEAST_AREA = 0.008
"""Smallest thing that is looked at, as a share of the photo."""
MOST_THINGS = 6
THING_HEIGHT = 48
"""Things are looked at on a smaller copy, on which they are about as high, in pixels."""
DRAWS = 6
"""Random shadows that are tried, to find one that falls on the ground."""
OFF_GROUND = 0.2
"""Largest share of a random cast shadow that may fall on something else than the ground; of a measured one, half."""
Pixels = npt.NDArray[np.int32]


class SceneLight(NamedTuple):
    """The light of a photo, from its own shadows.

    Attributes:
        lean: see `olrd.triplets.shadow.Shadow`.
        cast: the light that a shadow takes, in 256ths.
        softness: width of the edge of a shadow, in 1024ths of the height of the thing.
    """

    lean: tuple[int, int]
    cast: int
    softness: int


class _Look(NamedTuple):
    """What a thing shows in one direction. missing: share of light. covered: bool [h, w], ground below its silhouette."""

    lean: tuple[int, int]
    missing: float
    covered: Mask


class Lights:
    """The lights of open scenes. Each is looked for once, and forgotten with its scene."""

    def __init__(self) -> None:
        self._found: WeakKeyDictionary[Scene, SceneLight | None] = WeakKeyDictionary()

    def of(self, scene: Scene) -> SceneLight | None:
        """See `light_of`."""
        if scene not in self._found:
            self._found[scene] = light_of(scene)
        return self._found[scene]


def shadow_of(
    scene: Scene, lights: Lights, objects: Sequence[Caster], kinds: Sequence[Category], kind: str, *key: object
) -> Shadow:
    """The shadow of objects that are pasted into a scene, as the option `--shadow` asks for it.

    Args:
        scene: the photo.
        lights: of the open scenes.
        objects: what is pasted.
        kinds: the class of each object.
        kind: `contact` or `cast`, a contact shadow and a cast one.
        key: of the draws.

    Returns:
        A shadow without a region if an object hangs, has its feet outside the photo, or stands on nothing that takes a
        shadow.
    """
    ground = _ground(scene, objects, kinds)
    if ground is None:
        return Shadow()
    contact = Shadow(contact=110 + draw_integer(50, *key, "contact"))
    if kind == "cast":
        tallest = max(one.mask.shape[0] for one in objects)
        light = lights.of(scene)
        for number in range(1 if light else DRAWS):
            lean, cast, softness = light or _drawn(*key, number)
            shadow = Shadow(lean, cast, contact.contact, min(MAX_SOFTNESS, max(1, softness * tallest // UNIT)))
            placed, off = with_region(objects, shadow, ground)
            if off <= (0.5 if light else OFF_GROUND):
                return placed
    return with_region(objects, contact, ground)[0]


def _drawn(*key: object) -> SceneLight:
    """A random light: shadows of 0.3 to 1.4 times the height, behind the object or in front of it."""
    side = 1 if draw_integer(2, *key, "side") else -1
    right = side * (UNIT * 2 // 10 + draw_integer(UNIT * 12 // 10, *key, "right"))
    down = (UNIT * 15 // 100 + draw_integer(UNIT * 3 // 10, *key, "down")) * (
        1 if draw_integer(3, *key, "front") else -1
    )
    cast = 70 + draw_integer(60, *key, "cast")
    return SceneLight((right, down), cast, UNIT // 100 + draw_integer(UNIT * 5 // 100, *key, "softness"))


def _ground(scene: Scene, objects: Sequence[Caster], kinds: Sequence[Category]) -> Mask | None:
    """bool [H, W]: the pixels that shadows may darken; None if an object does not stand on ground."""
    height, width = scene.shape
    values = set[int]()
    for one, kind in zip(objects, kinds, strict=True):
        foot = find_foot(one.mask)
        rows, columns = foot.rows + one.position[1] + 1, foot.columns + one.position[0]
        if kind.name.lower() in HANGS or rows.max() >= height - 1:
            return None
        under = scene.panoptic.index[rows, np.clip(columns, 0, width - 1)]
        carrying = {int(scene.kinds[value]) for value in np.unique(under) if not scene.objects[value]} - {VOID}
        taking = {number for number in carrying if takes_shadow(scene.categories[number])}
        if not taking:
            return None
        values |= taking
    ground = scene.pixels_where(np.isin(scene.kinds, sorted(values)) & ~scene.objects)
    # Annotators leave a seam of unlabelled pixels around things.
    return ground | (grown(ground, 3) & (scene.panoptic.index == 0))


def takes_shadow(ground: Category) -> bool:
    """Whether shadows are drawn on this stuff."""
    return NO_SHADOW.isdisjoint({ground.supercategory, ground.name})


def light_of(scene: Scene) -> SceneLight | None:
    """The light that the photo's own things show; None if they show none, or disagree."""
    grounds = np.array(
        [
            not thing and kind != VOID and takes_shadow(scene.categories[kind])
            for thing, kind in zip(scene.objects.tolist(), scene.kinds.tolist(), strict=True)
        ]
    )
    numbers = [
        number
        for number, segment in enumerate(scene.panoptic.segments, 1)
        if _stands(scene.categories[segment.category_id])
        and not segment.iscrowd
        and segment.area >= LEAST_AREA * scene.panoptic.index.size
        and segment.bbox.h >= 20
        and segment.bbox.y + segment.bbox.h < scene.shape[0] - 2
    ]
    numbers.sort(key=lambda number: (-scene.panoptic.segments[number - 1].area, number))
    found = [shown for number in numbers[:MOST_THINGS] if (shown := _shown(scene, number, grounds))]
    if not found:
        return None
    best = max(found, key=lambda one: one.cast)
    agreeing = [one for one in found if _same_side(one.lean, best.lean)]
    if 2 * len(agreeing) <= len(found):
        return None
    return SceneLight(
        best.lean, int(np.median([one.cast for one in agreeing])), int(np.median([one.softness for one in agreeing]))
    )


def _stands(kind: Category) -> bool:
    """Whether such things stand on the ground, as far as the class tells."""
    return kind.isthing and (kind.supercategory in CARRIED_BY_GROUND or not kind.supercategory)


def _same_side(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two leans differ by less than 45 degrees on the ground, which is seen at a low angle."""
    ours, theirs = np.array([one[0], 2 * one[1]], float), np.array([other[0], 2 * other[1]], float)
    return bool(ours @ theirs > 0.7 * np.linalg.norm(ours) * np.linalg.norm(theirs))


def _shown(scene: Scene, number: int, grounds: np.ndarray) -> SceneLight | None:
    """The light that one thing shows. grounds: bool [len(segments) + 1], which index values are ground."""
    box = scene.panoptic.segments[number - 1].bbox
    step = max(1, box.h // THING_HEIGHT)
    reach = 2 * box.h
    left, top = max(0, box.x - reach), max(0, box.y)
    right, bottom = min(scene.shape[1], box.x + box.w + reach), min(scene.shape[0], box.y + box.h + box.h)
    window = slice(top, bottom), slice(left, right)
    index = scene.panoptic.index[window]
    colour = _smaller(scene.photo.pixels[window], step)
    small = index[step // 2 :: step, step // 2 :: step][: colour.shape[0], : colour.shape[1]]
    colour = colour[: small.shape[0], : small.shape[1]]
    thing = small == number
    if np.count_nonzero(thing) < FEWEST:
        return None
    rows, columns = np.flatnonzero(thing.any(axis=1)), np.flatnonzero(thing.any(axis=0))
    mask = np.ascontiguousarray(thing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    caster = Caster(mask, (int(columns[0]), int(rows[0])))
    ground = grounds[small] & ~grown(thing, 1)
    foot = find_foot(mask)
    below = np.clip(foot.rows + rows[0] + 2, 0, small.shape[0] - 1)
    if ground[below, foot.columns + columns[0]].mean() < STANDS:
        return None
    whole = Box(0, 0, colour.shape[1], colour.shape[0])
    looks = [look for lean in LEANS if (look := _look(colour, ground, caster, lean, whole))]
    if not looks:
        return None
    best = max(looks, key=lambda look: look.missing)
    for look in looks:
        common = np.count_nonzero(look.covered & best.covered)
        if 5 * common < np.count_nonzero(look.covered) and look.missing > RIVAL * best.missing:
            return None
    width = _edge(colour.sum(axis=2) // 3, ground, best)
    return SceneLight(best.lean, min(150, max(50, int(best.missing * 256))), width * UNIT // mask.shape[0])


def _smaller(pixels: Image, step: int) -> Pixels:
    """The picture, each pixel the mean of step x step pixels, int32 [h, w, 3]."""
    height, width = pixels.shape[0] // step, pixels.shape[1] // step
    blocks = pixels[: height * step, : width * step].reshape(height, step, width, step, 3)
    return blocks.sum(axis=(1, 3), dtype=np.int32) // (step * step)


def _look(colour: Pixels, ground: Mask, one: Caster, lean: tuple[int, int], window: Box) -> _Look | None:
    """How much darker the ground below a flat silhouette is than the ground around it; None if that is no shadow."""
    flat, _ = silhouette(one, lean, window)
    covered = flat & ground
    whole = abs(lean[1]) * np.count_nonzero(one.mask) / UNIT
    if np.count_nonzero(covered) < max(FEWEST, VISIBLE * whole):
        return None
    band = grown(flat, 6) & ~grown(flat, 2)
    ring = band & ground
    if np.count_nonzero(ring) < VISIBLE * np.count_nonzero(band):
        return None
    dark, lit = np.median(colour[covered], axis=0), np.median(colour[ring], axis=0)
    missing = 1 - float(dark.sum()) / max(1.0, float(lit.sum()))
    if missing < DARKER or lit.sum() - dark.sum() < 60:
        return None
    change = np.log(np.maximum(dark, 1) / np.maximum(lit, 1))
    if abs(change[0] - change[1]) > TINT or abs(change[2] - change[1]) > 2 * TINT:
        return None
    darker = colour.sum(axis=2) < (dark.sum() + lit.sum()) / 2
    if min(darker[covered].mean(), 1 - darker[ring].mean()) < CLEAR:
        return None
    return _Look(lean, missing, covered)


def _edge(grey: Pixels, ground: Mask, look: _Look) -> int:
    """The width of the edge of a shadow, in pixels of the smaller copy, from the mean light by the distance to it."""
    inside, outside = (
        cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L1, 3) for mask in (look.covered, ~look.covered)
    )
    signed = np.where(look.covered, inside, 1 - outside).astype(np.int32)
    values = [grey[ground & (signed == distance)] for distance in range(-5, 7)]
    means = np.array([part.mean() if part.size else np.nan for part in values])
    if np.isnan(means).any():
        return 2
    low, high = means[-3:].mean(), means[:3].mean()
    between = (means > low + 0.2 * (high - low)) & (means < high - 0.2 * (high - low))
    return max(1, int(np.count_nonzero(between)))
