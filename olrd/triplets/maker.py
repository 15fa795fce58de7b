"""From one photo to its triplets: candidates, positions, recipes and pixels, with a reason for every omission."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple, NoReturn

import numpy as np

from olrd.arrays import Mask, decode_photo
from olrd.config import BLENDS, PLACEMENTS, BuildConfig
from olrd.draws import draw_integer, draw_share
from olrd.errors import Rejected
from olrd.licenses import license_allowed, license_patterns
from olrd.masks import mask_box
from olrd.panoptic import Box, Record, Segment, check_categories, encode_rle
from olrd.sources import Source
from olrd.splits import split_of
from olrd.triplets.backgrounds import Asked, Backgrounds, Setting, category_shares
from olrd.triplets.candidates import cut_sides, listed_verdict
from olrd.triplets.columns import Row, mask_pictures, pictures, terms
from olrd.triplets.compose import Triplet, casters, compose, pixels_sha256, transformed
from olrd.triplets.cuts import LEAST_INSIDE, find_cuts, inside_frame, standers
from olrd.triplets.edges import edge_agreement
from olrd.triplets.light import Lights, shadow_of
from olrd.triplets.likeness import look_around
from olrd.triplets.outlines import Outlines
from olrd.triplets.perspective import SMALLEST, UNKNOWN, Size, View, find_horizon, sizes_elsewhere, view_of
from olrd.triplets.placements import HEIGHT_LIMIT, HEIGHT_SCALE, Landings, Request
from olrd.triplets.prompts import background_labels, short_prompt
from olrd.triplets.recipe import Part, PhotoRef, Recipe
from olrd.triplets.requantise import coding_of
from olrd.triplets.scene import Scene, open_scene
from olrd.triplets.several import Companion, Cut, Pasting, beside_like, companions, count_of, drawn_shape
from olrd.triplets.shapes import Shape, shapes, sizes_within
from olrd.triplets.surfaces import same_kind, walkable
from olrd.triplets.tally import Tally
from olrd.triplets.user_masks import MaskStyle

LOOKS = 8
"""Number of drawn positions partly beyond the frame that are tried."""
MINOR = 0.45
"""An object is left over if it is smaller than this share of the largest one that its photo gives."""
SMALL, SMALL_EACH = 0.01, 2
"""An object smaller than the first number, a share of the photo, gives at most the second number of triplets, so that most
masks are not small."""
LARGEST = 0.5
"""The largest object, as a share of the photo, that is tried at smaller sizes."""


class Paste(NamedTuple):
    """A triplet to be made: which object, onto which scene, where, how large, mirrored or not, and with which others."""

    name: str
    cut: Cut
    ground: Scene
    position: tuple[int, int]
    scale: float
    flip: bool
    more: tuple[Companion, ...] = ()


class Tries(NamedTuple):
    """How one object may be pasted in its own photo: its sizes, and what placement has found out, by size and flip."""

    sizes: list[Size]
    landings: dict[Shape, Landings]


class TripletMaker:
    """Makes the triplets of a source's photos under one configuration.

    It keeps nothing from one photo to the next, so photos can be done in any order and in any process.
    """

    def __init__(self, source: Source, config: BuildConfig) -> None:
        self.source, self.config = source, config
        self.blend = BLENDS.get(config.blend)
        self.place = PLACEMENTS.get(config.placement)
        self.reach = self.blend.reach(config.blend_params)
        self.licenses = license_patterns(config.licenses)
        self.lights = Lights()
        self.labelled = source.background_kind == "stuff"
        self.sizing = config.perspective and config.placement == "supported" and config.scale == BuildConfig.scale
        self.resizing = self.sizing and config.donor == "same"
        self.backgrounds = Backgrounds(source, config, self._view)
        most = config.rules.max_area
        self.largest = max(most, min(LARGEST, most / SMALLEST**2)) if self.resizing else most

    def photo(self, index: int, tally: Tally) -> Iterator[Row]:
        """The rows of photo `index`. Counts everything in `tally`.

        With `on_error="stop"`, a photo that cannot be read raises its `Rejected`.
        """
        record = self.source.record(index)
        tally.photos_read += 1
        tally.objects_read += len(record.segments)
        try:
            if not license_allowed(record.license, self.licenses):
                raise Rejected("license_refused", f"{record.file_name} is under {record.license}")
            if record.panoptic_name is None:
                self._refuse_missing(record)
            verdicts = self._listed(record.segments, record.width, record.height)
            check_categories(record.file_name, record.segments, self.source.categories)
            if all(verdicts):  # there is nothing to cut out, so the photo is not opened
                tally.photos_without_triplet += 1
                tally.objects_rejected.update(reason for reason in verdicts if reason)
                return
            scene = open_scene(self.source, record, self.config.size, self.config.source.max_pixels)
            self._note(scene, tally)
            pastes, reasons, horizon = self._pastes(scene, verdicts)
            if pastes:
                scene.photo.decode()
        except Rejected as error:
            if self.config.on_error == "stop" and error.code != "license_refused":
                raise
            tally.photos_rejected[error.code] += 1
            if record.segments:
                tally.objects_rejected["photo_rejected"] += len(record.segments)
            if error.code != "license_refused":
                failure = {"image_id": record.image_id, "code": error.code, "message": str(error)}
                tally.failures.append(failure)
            return
        tally.objects_rejected.update(reasons)
        if horizon == UNKNOWN.source:
            tally.notes["horizon_unknown"] += 1
        tally.objects_used += len({paste.cut.number for paste in pastes})
        tally.triplets += len(pastes)
        if pastes:
            tally.photos_used += 1
        else:
            tally.photos_without_triplet += 1
        for paste in pastes:
            yield self._row(scene, paste)

    def _refuse_missing(self, record: Record) -> NoReturn:
        """Raise `Rejected` for a photo without annotation.

        If the photo cannot be read, that is the reason: it could not be segmented.
        """
        if self.source.background_kind == "stuff":
            data = self.source.photo_bytes(record)
            decode_photo(data, record.file_name, self.config.source.max_pixels)
        raise Rejected("annotation_missing", f"{record.file_name} has no annotation")

    def _listed(self, segments: tuple[Segment, ...], width: int, height: int) -> list[str | None]:
        rules, categories = self.config.rules, self.source.categories
        return [listed_verdict(segment, width, height, categories, rules, self.largest) for segment in segments]

    def _note(self, scene: Scene, tally: Tally) -> None:
        notes = {"segments_measured": scene.panoptic.measured, "segments_hidden": scene.panoptic.hidden}
        tally.notes.update({name: count for name, count in notes.items() if count})

    def _pastes(self, scene: Scene, verdicts: list[str | None]) -> tuple[list[Paste], Counter[str], str]:
        """The triplets to make of a photo, the reasons why its other objects are left out, and what the horizon is
        estimated from; an empty text where none is needed."""
        pastes: list[Paste] = []
        reasons: Counter[str] = Counter()
        verdicts = self._fresh(scene, verdicts)
        key = self.config.seed, scene.record.image_id
        cuts = find_cuts(scene, self.config.rules, verdicts, self.largest, self.labelled, reasons, *key)
        horizon = find_horizon(scene, standers(scene, cuts)) if cuts and self.resizing else None
        view = self._view(scene) if cuts and self.config.donor == "other" else None
        largest = 0.0
        for cut in cuts:
            if cut.doubtful and (pastes or self.config.rules.doubtful == "none"):
                reasons["doubtful"] += 1
                continue
            room = min(1 if cut.doubtful else self.config.per_object, self.config.max_per_photo - len(pastes))
            if room <= 0 or (self.resizing and cut.segment.area < MINOR * largest):
                reasons["over_limit"] += 1
                continue
            tries = Tries(sizes_within(scene, cut, horizon, self.config.rules) if horizon else [], {})
            if horizon and not tries.sizes:
                reasons["too_large"] += 1
                continue
            if horizon and cut.segment.area < SMALL * scene.panoptic.index.size:
                room = min(room, SMALL_EACH)
            make = (
                partial(self._paste, scene, cut, tries)
                if view is None
                else partial(self._paste_elsewhere, scene, cut, self._setting(scene, cut, view))
            )
            found, reason = self._object_pastes(scene, make, room, cuts)
            if found and not (found := self._with_outlines(scene, cut, found, cuts)):
                reason = "rough_outline"
            pastes += found
            largest = max([largest, *(paste.cut.segment.area * paste.scale**2 for paste in found)])
            if not found and reason:
                reasons[reason] += 1
        return pastes, reasons, horizon.source if horizon else ""

    def _with_outlines(self, scene: Scene, cut: Cut, pastes: list[Paste], cuts: list[Cut]) -> list[Paste]:
        """The triplets of an object with refined outlines, or none if its outline was drawn roughly. It is done after
        placement, because it needs the decoded photo. Beside companions outlines do not grow.

        cuts: the objects that the companions are, or are parts of.
        """
        if pastes and self.config.rules.refine_outlines:
            outlines = Outlines(scene, cuts, 0 if self.config.several else self.config.margin)
            scale = max(paste.scale for paste in pastes)
            cut = outlines.refined(cut, scale)
            pastes = [
                paste._replace(
                    cut=outlines.refined(paste.cut, scale),
                    more=tuple(one._replace(cut=outlines.refined(one.cut, one.scale)) for one in paste.more),
                )
                for paste in pastes
            ]
        return [] if pastes and self._rough(scene, cut) else pastes

    def _rough(self, scene: Scene, cut: Cut) -> bool:
        """Whether the outline of an object was drawn roughly. It is checked last, because it needs the decoded photo."""
        least = self.config.rules.min_edge
        return least > 0 and edge_agreement(scene.photo.pixels, cut.segment.bbox, cut.mask) < least

    def _object_pastes(
        self, scene: Scene, make: Callable[[int, list[Paste]], Paste], room: int, cuts: list[Cut]
    ) -> tuple[list[Paste], str | None]:
        """Up to `room` triplets of one object, and the reason why there are not more, if one was met.

        make: makes triplet `number`, given the earlier ones. cuts: the objects that may be pasted with it.
        """
        pastes: list[Paste] = []
        for number in range(room):
            try:
                paste = make(number, pastes)
                pastes.append(self._with_companions(scene, paste, cuts) if self.config.several else paste)
            except Rejected as error:
                return pastes, error.code
        return pastes, None

    def _fresh(self, scene: Scene, verdicts: list[str | None]) -> list[str | None]:
        """The verdicts, with new ones where the annotation gave no size or area, or another than the map has."""
        record, found = scene.record, scene.panoptic
        renewed = not record.width or found.measured > 0
        if not renewed and all(given.area for given in record.segments):
            return verdicts
        fresh = self._listed(found.segments, scene.shape[1], scene.shape[0])
        every = zip(record.segments, verdicts, fresh, strict=True)
        return [new if renewed or not given.area else old for given, old, new in every]

    def _paste(self, scene: Scene, cut: Cut, tries: Tries, number: int, earlier: list[Paste]) -> Paste:
        """Triplet `number` of an object, in its own photo; `Rejected` if there is no legal position for it.

        earlier: the triplets of the same object.
        """
        config, name = self.config, self._name(scene, cut, number)
        key = (config.seed, name)
        drawn, flip = drawn_shape(config.scale, config.flip, *key)
        as_drawn = iter((Shape(Size(drawn, 0, 0, 0), flip),))
        error = Rejected("no_position", f"no legal position for {name}")
        for shape in shapes(scene, cut, tries.sizes, number, flip, *key) if self.resizing else as_drawn:
            size = shape.size
            request = self._request(scene, cut, size.scale, shape.flip, key)
            if not request.mask.any():
                raise Rejected("too_small", f"nothing of {name} is left at scale {size.scale}")
            if self.resizing:
                request = request._replace(bottom=size.bottom, reach=size.reach, spread=size.spread)
            taken = tuple(_corner(paste, request.mask) for paste in earlier)
            request = request._replace(
                taken=taken, landings=tries.landings.setdefault(shape, Landings()), beyond=_beyond(shape, request.mask)
            )
            try:
                if shape.beyond:
                    part, position = self._half_out(scene, cut, shape, request)
                    return Paste(name, part, scene, position, size.scale, shape.flip)
                position = self._position(cut, scene, request)
            except Rejected as reason:
                error = reason
                continue
            return Paste(name, cut, scene, position, size.scale, shape.flip)
        raise error

    def _name(self, scene: Scene, cut: Cut, number: int) -> str:
        return f"{self.source.name}-{scene.record.image_id}-{cut.segment.id}-{number}"

    def _position(self, cut: Cut, scene: Scene, request: Request) -> tuple[int, int]:
        """The position of an object in a scene. Raises `Rejected`."""
        if self.config.several:
            return beside_like(scene, self.place, request, cut.segment.category_id)
        return self.place(scene, request)

    def _paste_elsewhere(self, scene: Scene, cut: Cut, setting: Setting, number: int, earlier: list[Paste]) -> Paste:
        """Triplet `number` of an object, in the other photo of the split in which it fits best. Raises `Rejected`.

        setting: in its own photo. earlier: the triplets of the same object.
        """
        config, name = self.config, self._name(scene, cut, number)
        key = (config.seed, name)
        drawn, flip = drawn_shape(config.scale, config.flip, *key)
        kind = scene.categories[cut.segment.category_id]
        stands_on = None if cut.surface is None else scene.categories[cut.surface]
        foot = cut.segment.bbox.y + cut.segment.bbox.h

        def sizes(there: View) -> list[Size]:
            if not self.sizing:
                return [Size(drawn, foot / scene.shape[0], HEIGHT_LIMIT, HEIGHT_SCALE)]
            return sizes_elsewhere(setting.view, there, foot, stands_on, kind)

        def request(size: Size) -> Request:
            asked = self._request(scene, cut, size.scale, flip, key)
            return asked._replace(bottom=size.bottom, reach=size.reach, spread=size.spread)

        surfaces: frozenset[int] = frozenset()
        if cut.surface is not None and config.placement == "supported":
            surfaces = same_kind(cut.surface, scene.categories) | walkable(cut.surface, kind, scene.categories)
        asked = Asked(scene.record, setting, cut, surfaces, sizes, request)
        used = frozenset(paste.ground.record.image_id for paste in earlier)
        found = self.backgrounds.best(asked, partial(self._position, cut), used, *key)
        return Paste(name, cut, found.scene, found.position, found.scale, flip)

    def _setting(self, scene: Scene, cut: Cut, view: View) -> Setting:
        """What surrounds an object in its own photo. view: how that photo sees the ground."""
        look = look_around(scene, cut.segment.bbox, cut.mask)
        return Setting(category_shares(scene.record), view, look)

    def _view(self, scene: Scene) -> View:
        """How a photo sees the ground. Its things of all classes tell, also where `--categories` leaves them out."""
        if not self.sizing:
            return View(UNKNOWN, scene.shape, None)
        rules, (height, width) = replace(self.config.rules, categories=()), scene.shape
        verdicts = [
            listed_verdict(segment, width, height, self.source.categories, rules, self.largest)
            for segment in scene.panoptic.segments
        ]
        return view_of(
            scene, standers(scene, find_cuts(scene, rules, verdicts, self.largest, self.labelled, Counter()))
        )

    def _half_out(self, scene: Scene, cut: Cut, shape: Shape, request: Request) -> tuple[Cut, tuple[int, int]]:
        """The part of an object that the frame shows, and its position. Raises `Rejected`."""
        kind = scene.categories[cut.segment.category_id]
        for look in range(LOOKS):
            x, y = self.place(scene, request._replace(key=(*request.key, "look", look)))
            part = inside_frame(cut, kind, shape.size.scale, shape.flip, x, scene.shape[1])
            if (
                part
                and part.segment.area * shape.size.scale**2 >= self.config.rules.min_area * scene.panoptic.index.size
            ):
                moved = transformed(part.mask, shape.size.scale, shape.flip)
                down = round((part.segment.bbox.y - cut.segment.bbox.y) * shape.size.scale)
                below = min(y + down, scene.shape[0] - moved.shape[0])
                return part, (0 if x < 0 else scene.shape[1] - moved.shape[1], below)
        raise Rejected("no_position", "no part of the object that is recognisable fits at the frame")

    def _request(self, scene: Scene, cut: Cut, scale: float, flip: bool, key: tuple[object, ...]) -> Request:
        """An object to place. scene: its own photo."""
        kind = scene.categories[cut.segment.category_id]
        return Request(
            mask=transformed(cut.mask, scale, flip),
            bottom=(cut.segment.bbox.y + cut.segment.bbox.h) / scene.shape[0],
            surface=cut.surface,
            ground=frozenset() if cut.surface is None else walkable(cut.surface, kind, scene.categories),
            sides=cut_sides(cut.segment.bbox, scene.shape[1], scene.shape[0], flip),
            key=key,
            margin=self.config.margin + self.reach,
            frame=self.reach + 1,
        )

    def _with_companions(self, donor: Scene, paste: Paste, cuts: list[Cut]) -> Paste:
        """The triplet with the drawn number of objects, or with as many as there is room for.

        Raises `Rejected` if there is no room for the smallest number.
        """
        config, key = self.config, (self.config.seed, paste.name)
        low, high = config.scale
        if self.sizing and paste.ground is not donor:  # in the other photo all of them are as near or far as the first
            low, high = low * paste.scale, high * paste.scale
        how = Pasting(self.place, partial(self._request, donor), (low, high), config.flip)
        first = Companion(paste.cut, paste.position, paste.scale, paste.flip)
        more = companions(paste.ground, first, cuts, count_of(config.objects, *key) - 1, how, *key)
        if 1 + len(more) < config.objects[0]:
            raise Rejected("no_position", f"{paste.name}: room for {1 + len(more)} objects, not {config.objects[0]}")
        if paste.ground is not donor:
            paste.ground.drop_fields()
        return paste._replace(more=tuple(more))

    def _row(self, scene: Scene, paste: Paste) -> Row:
        """The row of a triplet: its recipe, its pixels, and what is measured on them."""
        config, cut, ground = self.config, paste.cut, paste.ground
        recipe = Recipe(
            id=paste.name,
            background=_reference(ground),
            donor=_reference(scene),
            segment_id=cut.segment.id,
            size=config.size,
            source_bbox=cut.segment.bbox,
            rle=encode_rle(cut.mask),
            scale=paste.scale,
            flip=paste.flip,
            position=paste.position,
            blend=config.blend,
            params=config.blend_params,
            match=config.match,
            mask_style=drawn_style(config, paste.name),
            more=tuple(_part(one) for one in paste.more),
        )
        cuts = (cut, *(one.cut for one in paste.more))
        if config.shadow != "none":
            kinds = [scene.categories[one.segment.category_id] for one in cuts]
            key, objects = (config.seed, paste.name, "shadow"), casters(cut.mask, recipe)
            shadow = shadow_of(ground, self.lights, objects, kinds, config.shadow, *key)
            recipe = replace(recipe, shadow=shadow)
        coding = coding_of(ground.photo, config.match)
        triplet = compose(ground.photo.pixels, scene.photo.pixels, cut.mask, recipe, coding)
        box = mask_box(triplet.mask)
        hashed = pixels_sha256(triplet, ground.photo.pixels_sha256, mask_box(triplet.changed))
        row = self._describe(ground, scene, cut, replace(recipe, pixels_sha256=hashed), triplet, box)
        if config.several:
            row["categories"] = [scene.categories[one.segment.category_id].name for one in cuts]
        if config.form == "full":
            row |= pictures(ground.photo, triplet, recipe.id)
            row |= mask_pictures(triplet, recipe.id) if config.several else {}
        return row

    def _describe(self, ground: Scene, donor: Scene, cut: Cut, recipe: Recipe, triplet: Triplet, box: Box) -> Row:
        """The plain columns of a row. box: of the triplet's mask."""
        category = donor.categories[cut.segment.category_id]
        labels = background_labels(ground, box, triplet.mask[box.crop()])
        height, width = ground.shape
        x, y = recipe.position
        there, here = ground.record, donor.record
        return {
            "id": recipe.id,
            "source": self.source.name,
            "split": split_of(here.image_id, self.config.splits),
            "image_id": there.image_id,
            "donor_image_id": here.image_id,
            "segment_id": cut.segment.id,
            "category": category.name,
            "supercategory": category.supercategory,
            "background_kind": self.source.background_kind,
            "background_labels": labels,
            "prompt": short_prompt(labels),
            "caption": None,
            "width": width,
            "height": height,
            "bbox": list(box),
            "source_bbox": list(cut.segment.bbox),
            "shift": [x - cut.segment.bbox.x, y - cut.segment.bbox.y],
            "scale": recipe.scale,
            "flip": recipe.flip,
            "mask_area": np.count_nonzero(triplet.mask[box.crop()]) / triplet.mask.size,
            "placement": self.config.placement,
            "blend": recipe.blend,
            **terms("", there),
            **terms("donor_", here),
            "recipe": recipe.to_json(),
        }


def _beyond(shape: Shape, mask: Mask) -> int:
    return int((1 - LEAST_INSIDE) * mask.shape[1]) if shape.beyond else 0


def _corner(paste: Paste, mask: Mask) -> tuple[int, int]:
    """The corner of a mask that stands where an earlier paste of the same object stands."""
    height, width = transformed(paste.cut.mask, paste.scale, paste.flip).shape
    x, y = paste.position
    return x + (width - mask.shape[1]) // 2, y + height - mask.shape[0]


def drawn_style(config: BuildConfig, name: str) -> MaskStyle | None:
    """How the mask of a triplet is drawn, and how widely; None for the exact mask."""
    key = config.seed, name
    style = config.mask_style[draw_integer(len(config.mask_style), *key, "mask style")]
    if style == "exact":
        return MaskStyle(style, 0.0, config.mask_grow) if config.mask_grow else None
    return MaskStyle(style, draw_share(*key, "mask strength"), config.mask_grow)


def _reference(scene: Scene) -> PhotoRef:
    return PhotoRef(scene.record.image_id, scene.record.file_name, scene.photo.file_sha256)


def _part(one: Companion) -> Part:
    segment = one.cut.segment
    return Part(segment.id, segment.bbox, encode_rle(one.cut.mask), one.scale, one.flip, one.position)
