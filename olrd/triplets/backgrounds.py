"""Backgrounds: other photos into which an object fits (`--donor other`).

Of the photos of the same split, some are drawn. Those whose annotation is most like that of the object's own photo are
opened: a skier goes to a photo with snow and other skiers. In each, the object gets the size that the ground plane asks for
(`olrd.triplets.perspective`). The photo is taken in which the object fits best: the horizon, light, colour, sharpness and
noise are like those in its own photo.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from functools import cached_property
from typing import NamedTuple

from olrd.config import BuildConfig
from olrd.draws import draw_integer
from olrd.errors import Rejected
from olrd.licenses import license_allowed, license_patterns
from olrd.panoptic import Box, Record
from olrd.sources import Source
from olrd.splits import photos_by_split, split_of
from olrd.triplets.likeness import Look, difference, look_around
from olrd.triplets.perspective import UNKNOWN, Size, View
from olrd.triplets.placements import Request
from olrd.triplets.scene import Scene, open_scene
from olrd.triplets.several import Cut, Place

DRAWN = 64
"""Number of photos that are drawn. Only their annotations are read."""
OPENED = 8
"""Number of photos that are opened."""
LEAST_ALIKE = 0.1
"""Smallest likeness of the annotations of two photos (see `likeness`)."""
UNLISTED = 0.05
"""The share of a photo that a segment without a listed area counts as."""
MOST_APART = 1.25
"""Largest misfit of an object and a photo (see `misfit`)."""
NO_HORIZON = 0.2
"""The misfit of two photos of which one does not show its horizon."""


class Setting(NamedTuple):
    """What surrounds an object in a photo.

    Attributes:
        shares: what the photo shows (see `category_shares`).
        view: how the photo sees the ground.
        look: how the surroundings of the object look.
    """

    shares: Mapping[int, float]
    view: View
    look: Look


class Background(NamedTuple):
    """A photo into which an object fits, with the object's position and size there."""

    scene: Scene
    position: tuple[int, int]
    scale: float


class Asked(NamedTuple):
    """An object that looks for a background.

    Attributes:
        record: of its own photo.
        setting: in its own photo.
        cut: the object.
        surfaces: ids of the categories on which it may stand; empty for any.
        sizes: the sizes that it may have in a photo, by how that photo sees the ground.
        request: the request for it at a size.
    """

    record: Record
    setting: Setting
    cut: Cut
    surfaces: frozenset[int]
    sizes: Callable[[View], list[Size]]
    request: Callable[[Size], Request]


class Backgrounds:
    """The photos of a source as backgrounds for objects of other photos. view: how a photo sees the ground."""

    def __init__(self, source: Source, config: BuildConfig, view: Callable[[Scene], View]) -> None:
        self.source, self.config, self.view = source, config, view
        self.licenses = license_patterns(config.licenses)

    @cached_property
    def _by_split(self) -> dict[str, list[int]]:
        return photos_by_split(self.source, self.config)

    def best(self, asked: Asked, place: Place, used: Container[str], *key: object) -> Background:
        """The photo into which an object fits best, of those that are opened.

        Args:
            asked: the object.
            place: the placement.
            used: the ids of the photos into which it has been pasted already.
            key: of the draw.

        Raises:
            Rejected: `no_fitting_photo`.
        """
        best, least = None, MOST_APART
        for record in self._alike(asked, used, *key):
            try:
                scene = open_scene(self.source, record, self.config.size, self.config.source.max_pixels)
                view = self.view(scene)
                found = self._placed(scene, asked, view, place)
                apart = misfit(asked.setting, Setting(category_shares(record), view, _look(found, asked)))
            except Rejected:  # it cannot be read, or has no room
                continue
            scene.drop_fields()
            if apart < least:
                best, least = found, apart
        if best is None:
            raise Rejected("no_fitting_photo", "the object fits into none of the photos that were tried")
        return best

    def _alike(self, asked: Asked, used: Container[str], *key: object) -> list[Record]:
        """The drawn photos whose annotations are most like that of the object's photo, the most alike first."""
        own, photos = asked.record, self._by_split[split_of(asked.record.image_id, self.config.splits)]
        drawn = dict.fromkeys(photos[draw_integer(len(photos), *key, "ground", look)] for look in range(DRAWN))
        found = []
        for index in drawn:
            if (name := self.source.image_id(index)) == own.image_id or name in used:
                continue
            record = self.source.record(index)
            there = category_shares(record)
            stands = not asked.surfaces or not asked.surfaces.isdisjoint(there)
            alike = likeness(asked.setting.shares, there)
            if stands and alike >= LEAST_ALIKE and license_allowed(record.license, self.licenses):
                found.append((alike, record))
        found.sort(key=lambda pair: -pair[0])  # stable: of equal ones the first that was drawn
        return [record for _, record in found[:OPENED]]

    def _placed(self, scene: Scene, asked: Asked, view: View, place: Place) -> Background:
        """The object in a photo, at the first of its sizes for which there is room. Raises `Rejected`."""
        for size in asked.sizes(view):
            share = asked.cut.segment.area * size.scale**2 / (scene.shape[0] * scene.shape[1])
            request = asked.request(size)
            rules = self.config.rules
            if not rules.min_area <= share <= rules.max_area or not request.mask.any():
                continue
            try:
                return Background(scene, place(scene, request), size.scale)
            except Rejected:
                continue
        raise Rejected("no_position", "no legal position at any size")


def _look(found: Background, asked: Asked) -> Look:
    """How the surroundings of an object look at its new place."""
    mask = asked.request(Size(found.scale, 1.0, 1.0, 1.0)).mask
    return look_around(found.scene, Box(*found.position, mask.shape[1], mask.shape[0]), mask)


def category_shares(record: Record) -> Mapping[int, float]:
    """The share of the photo that each category covers, by its id."""
    whole, shares = record.width * record.height, dict[int, float]()
    for segment in record.segments:
        share = segment.area / whole if whole and segment.area else UNLISTED
        shares[segment.category_id] = shares.get(segment.category_id, 0.0) + share
    return shares


def likeness(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    """How alike two annotations are, 0 to 1: what the shares have in common, as a part of what either has."""
    kinds = sorted({*one, *other})
    common = sum(min(one.get(kind, 0.0), other.get(kind, 0.0)) for kind in kinds)
    either = sum(max(one.get(kind, 0.0), other.get(kind, 0.0)) for kind in kinds)
    return common / either if either else 0.0


def misfit(own: Setting, there: Setting) -> float:
    """How badly an object fits: the difference of the looks, half that of the annotations, and that of the horizons as a
    share of the photo's height."""
    known = [setting.view.horizon.source != UNKNOWN.source for setting in (own, there)]
    rows = [setting.view.horizon.row / setting.view.shape[0] for setting in (own, there)]
    tilt = abs(rows[0] - rows[1]) if all(known) else NO_HORIZON
    return difference(own.look, there.look) + (1 - likeness(own.shares, there.shares)) / 2 + tilt
