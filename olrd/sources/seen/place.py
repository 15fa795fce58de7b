"""A place: several pictures of it fitted to each other, its clean plate, and the objects in a picture of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from olrd.arrays import Image, Mask
from olrd.errors import Rejected
from olrd.panoptic import Box
from olrd.sources.seen import Layer, PictureRef, Seen
from olrd.sources.seen.alignment import Motion, displacement, joined, small_motion, undone, warped
from olrd.sources.seen.changes import MOST_CHANGED, objects_in
from olrd.sources.seen.plate import Plate, luma_of, plate_of
from olrd.sources.seen.tones import MAX_TONE, Tone, fitted_tone, joined_tones, tone_change, toned
from olrd.trust import counted

LEAST_LAYERS, MOST_LAYERS = 5, 31
LAYER_BYTES = 1 << 26
"""Memory for the layers of a place. Large pictures have fewer layers, at least `FEW_LAYERS`."""
FEW_LAYERS = 9
MAX_SHAKE = 0.03
"""Largest displacement of a shaking camera, as a share of the picture's longer side."""


class Fitted(NamedTuple):
    """A picture of the place. motion: from the reference's coordinates to its own. tone: from its levels to the
    reference's."""

    picture: PictureRef
    pixels: Image
    motion: Motion | None
    tone: Tone | None


def layer_count(shape: Sequence[int]) -> int:
    """How many layers a place of that (height, width) has at most."""
    return max(FEW_LAYERS, min(MOST_LAYERS, LAYER_BYTES // (3 * shape[0] * shape[1])))


def fitted_plate(layers: Sequence[tuple[Image, Motion | None, Tone | None]], box: Box, tolerance: int) -> Plate:
    """The plate inside a box: a pure function of the layers, the box's pixels and the tolerance."""
    parts = [warped(pixels, motion, box) for pixels, motion, _ in layers]
    stack = np.stack([toned(part, tone) for (part, _), (_, _, tone) in zip(parts, layers, strict=True)])
    moved = any(motion is not None for _, motion, _ in layers)
    return plate_of(stack, np.stack([valid for _, valid in parts]) if moved else None, tolerance)


class Place:
    """The plate of a place.

    Args:
        name: of the place, for messages.
        pictures: of the place, at working size. The middle one is the reference.

    Raises:
        Rejected: `plate_missing`, with the number of pictures that fit and the largest motion.
    """

    def __init__(self, name: str, pictures: Sequence[tuple[PictureRef, Image]]) -> None:
        self.name = name
        if len(pictures) < LEAST_LAYERS:
            raise Rejected(
                "plate_missing", f"{name} has {counted(len(pictures), 'picture')}, expected at least {LEAST_LAYERS}"
            )
        self._reference = pictures[len(pictures) // 2][1]
        self._layers, far = self._fit(pictures)
        if len(self._layers) < LEAST_LAYERS:
            raise Rejected(
                "plate_missing",
                f"{name}: {len(self._layers)} of {len(pictures)} pictures show one place in one light, expected at least "
                f"{LEAST_LAYERS}; the camera moves by up to {far:.1f} pixels, {self._most:.1f} are compensated",
            )
        self.tolerance = self._tolerance()
        whole = Box(0, 0, self._reference.shape[1], self._reference.shape[0])
        layers = [(layer.pixels, layer.motion, layer.tone) for layer in self._layers]
        self.plate = fitted_plate(layers, whole, self.tolerance)

    @property
    def _most(self) -> float:
        return MAX_SHAKE * max(self._reference.shape)

    def _fit(self, pictures: Sequence[tuple[PictureRef, Image]]) -> tuple[list[Fitted], float]:
        """The pictures that fit the reference, and the largest motion of all."""
        found, far = [], 0.0
        for picture, pixels in pictures:
            if pixels.shape != self._reference.shape:
                continue
            motion = None if pixels is self._reference else small_motion(self._reference, pixels)
            far = max(far, moved := displacement(motion, pixels.shape))
            if moved > self._most:
                continue
            shown, valid = warped(pixels, motion, Box(0, 0, pixels.shape[1], pixels.shape[0]))
            tone = None if pixels is self._reference else fitted_tone(shown, self._reference, valid)
            if tone_change(tone) <= MAX_TONE:
                found.append(Fitted(picture, pixels, motion, tone))
        return found, far

    def _tolerance(self) -> int:
        """Two levels more than four times the usual difference between a layer and the reference, from 4 to 24.

        Of each layer the mean difference counts, without what passes: the largest 30 % count as the 70th percentile.
        """
        step = max(1, self._reference.shape[0] // 120)
        still = luma_of(self._reference[::step, ::step])
        differences = []
        for layer in self._layers:
            if layer.pixels is not self._reference:
                shown, _ = warped(layer.pixels, layer.motion, Box(0, 0, *layer.pixels.shape[1::-1]))
                far = np.abs(luma_of(toned(shown[::step, ::step], layer.tone)) - still)
                differences.append(float(np.mean(np.minimum(far, np.percentile(far, 70)))))
        return int(min(24, max(4, round(4 * float(np.median(differences)) + 2))))

    def seen(self, name: str, pixels: Image) -> Seen:
        """The objects of a picture of the place.

        Raises:
            Rejected: `photo_size`, `camera_moved` or `light_changed`, with the figure.
        """
        if pixels.shape != self._reference.shape:
            raise Rejected(
                "photo_size", f"{name}: {_size(pixels)}, the other pictures of {self.name} are {_size(self._reference)}"
            )
        motion = small_motion(self._reference, pixels)
        if (moved := displacement(motion, pixels.shape)) > self._most:
            raise Rejected(
                "camera_moved", f"{name}: moved by {moved:.1f} pixels against {self.name}, at most {self._most:.1f} fit"
            )
        whole = Box(0, 0, pixels.shape[1], pixels.shape[0])
        plate, sure, spread = self._moved(undone(motion), whole)
        tone = fitted_tone(plate, pixels, sure)
        if (change := tone_change(tone)) > MAX_TONE:
            raise Rejected("light_changed", f"{name}: levels differ by up to {change:.0f}, at most {MAX_TONE:.0f} fit")
        found = objects_in(pixels, toned(plate, tone), sure, spread)
        if found.share > MOST_CHANGED:
            raise Rejected(
                "camera_moved",
                f"{name}: {100 * found.share:.0f} % of the picture differ from the plate of {self.name} after alignment",
            )
        back = undone(motion)
        layers = [
            (one.pixels, Layer(one.picture, joined(back, one.motion), joined_tones(one.tone, tone)))
            for one in self._layers
        ]
        same = motion is None and tone is None

        def inside(box: Box) -> Image:
            if same:
                return self.plate.pixels[box.crop()]
            return fitted_plate([(p, layer.motion, layer.tone) for p, layer in layers], box, self.tolerance).pixels

        return Seen(tuple(layer for _, layer in layers), self.tolerance, found.changes, found.rejected, inside)

    def _moved(self, motion: Motion | None, box: Box) -> tuple[Image, Mask, np.ndarray]:
        """Plate, sure pixels and spread after a motion."""
        if motion is None:
            return self.plate
        pixels, valid = warped(self.plate.pixels, motion, box)
        facts = np.stack([self.plate.sure.astype(np.uint8) * 255, self.plate.spread, self.plate.spread], axis=-1)
        moved, _ = warped(facts, motion, box)
        return pixels, valid & (moved[..., 0] > 250), moved[..., 1]


def _size(pixels: Image) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
