"""Training examples from triplets. Every random choice is keyed by (seed, step, place in the batch).

An example consists of the clean background (the target), the composite with its hole blanked, so that the object is
never seen, the hole in whole latent cells, and a prompt. That the target is the background and not the composite is
inferred. In triplets with an effect, a shadow lies outside the mask: with the region `effect` it is a part of the hole;
with `mask` the model sees it, and the target does not show it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from magiceraser_ref.erase.canvas import seen, whole_cells
from magiceraser_ref.training.config import MASKS, REGIONS
from magiceraser_ref.training.masks import random_mask
from olrd.arrays import Image, Mask
from olrd.draws import digest, draw_integer, draw_share
from olrd.errors import SourceError, UsageError, did_you_mean
from olrd.masks import mask_box
from olrd.panoptic import Box
from olrd.triplets.compose import Triplet

Floats = npt.NDArray[np.float32]
ROOM = 1.25
"""Smallest side of a crop as a multiple of the longer side of the mask's box (inferred): it shows some surroundings."""
_KEPT_ORDERS = 2


class Example(NamedTuple):
    """One example at resolution S, with latent cells of `factor` pixels.

    Attributes:
        target: float32 [3, S, S] in -1..1, the clean background.
        masked: float32 [3, S, S] in -1..1, what the model may see; 0 in the hole.
        hole: bool [S / factor, S / factor], True = erase.
        prompt: Text; it may be empty.
    """

    target: Floats
    masked: Floats
    hole: Mask
    prompt: str


class Rows(Protocol):
    """The triplets that examples are made of, see `rows.TrainingRows`. captioned: Number of rows with a caption."""

    @property
    def captioned(self) -> int: ...
    def __len__(self) -> int: ...
    def __getitem__(self, number: int) -> tuple[dict[str, Any], Triplet]: ...


Prompter = Callable[[dict[str, Any], tuple[object, ...]], str]
"""Maps (a row's plain values, a key) to the prompt to train with."""


@dataclass(frozen=True)
class ExampleRules:
    """How examples are made.

    Attributes:
        resolution: Side of an example in pixels.
        factor: Side of a latent cell in pixels.
        masks: `olrd` for the triplets' masks, or `random` for random masks on the same clean backgrounds (the first row
            of the ablation).
        region: `mask`, or `effect`: the hole is the mask with the effect of the object.
        mirror: Mirror half of the examples.
        batch: Samples per step, over all devices.
        seed: Seed of all choices.
    """

    resolution: int = 512
    factor: int = 8
    masks: str = "olrd"
    region: str = "mask"
    mirror: bool = True
    batch: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.masks not in MASKS:
            raise did_you_mean("kind of training mask", self.masks, MASKS)
        if self.region not in REGIONS:
            raise did_you_mean("kind of region", self.region, REGIONS)
        if self.resolution < 8 or self.resolution % self.factor:
            raise UsageError(
                f"--resolution must be a multiple of {self.factor} (pixels per latent cell), got {self.resolution}"
            )
        if self.batch < 1:
            raise UsageError(f"--batch must be at least 1, got {self.batch}")


class Examples:
    """The examples as a function of (step, place). Neither the number of workers nor a resumed training changes it."""

    def __init__(self, rows: Rows, rules: ExampleRules, prompter: Prompter) -> None:
        self.rows, self.rules, self.prompter = rows, rules, prompter
        self._orders: dict[int, npt.NDArray[np.int64]] = {}

    def number_at(self, step: int, place: int) -> int:
        """Return the number of the row for a place of a step. Each epoch has every row once, in a new order."""
        epoch, position = divmod(step * self.rules.batch + place, len(self.rows))
        if epoch not in self._orders:
            while len(self._orders) >= _KEPT_ORDERS:
                del self._orders[min(self._orders)]
            stream = np.random.Philox(key=digest(self.rules.seed, "order", epoch))
            # The order sorts raw random bits, because NumPy guarantees only those to stay the same between versions.
            self._orders[epoch] = np.argsort(stream.random_raw(len(self.rows)), kind="stable")
        return int(self._orders[epoch][position])

    def sample_at(self, step: int, place: int) -> Example:
        """Make the example for a place of a step. Raises `IntegrityError` for a damaged row."""
        row, triplet = self.rows[self.number_at(step, place)]
        key = (self.rules.seed, step, place)
        return make_example(triplet, self.rules, self.prompter(row, (*key, "prompt")), key)


def make_example(triplet: Triplet, rules: ExampleRules, prompt: str, key: tuple[object, ...]) -> Example:
    """Make an example of a triplet. `key` decides the crop, the mirroring and the random mask.

    Raises `SourceError` if the region is `effect` and the triplet has none.
    """
    size = rules.resolution
    if rules.masks == "random":
        shown, box = triplet.background, free_crop(triplet.mask.shape, size, key)
        holes = random_mask(box.h, box.w, *key)
    else:
        region = erased(triplet, rules.region)
        shown, box = triplet.image, crop_around(region, size, key)
        holes = region[box.crop()]
    masked, covered = visible(shown[box.crop()], holes, size, rules.factor)
    # Without a hole, so that the target is resized in the same way as the surroundings of the hole.
    whole = seen(triplet.background[box.crop()], np.zeros_like(holes), None, (size, size)).photo
    target = _signed(whole)
    hole = covered[:: rules.factor, :: rules.factor]
    if rules.mirror and draw_share(*key, "mirror") < 0.5:
        target, masked, hole = target[:, ::-1], masked[:, ::-1], hole[:, ::-1]
    return Example(_channels_first(target), _channels_first(masked), hole.copy(), prompt)


def erased(triplet: Triplet, region: str) -> Mask:
    """Return the pixels to erase, bool [H, W]. region: `mask` or `effect`."""
    if region == "mask":
        return triplet.mask
    if triplet.effect is None:
        raise SourceError(
            "the triplets have no column effect, which --region effect needs: build them from clips or pairs, or with "
            "--shadow contact or cast"
        )
    return triplet.mask | triplet.effect


def crop_around(mask: Mask, least: int, key: tuple[object, ...]) -> Box:
    """Draw a square inside the photo that contains the mask and some surroundings.

    Its side is uniform between the smallest such side and the photo's short side. The smallest side is not below
    `least` pixels if the photo has as many, so that no pixels are enlarged. A mask that is longer than the photo's
    short side is cut.
    """
    short, box = min(mask.shape), mask_box(mask)
    need = max(round(ROOM * max(box.w, box.h)), least)
    side = _side(min(need, short), short, key)
    spans = ((box.x, box.w, mask.shape[1]), (box.y, box.h, mask.shape[0]))
    x, y = (_place(*span, side, (*key, axis)) for axis, span in enumerate(spans))
    return Box(x, y, side, side)


def free_crop(shape: tuple[int, ...], least: int, key: tuple[object, ...]) -> Box:
    """Draw a square anywhere in the photo with a side between `least` and the photo's short side."""
    short = min(shape[:2])
    side = _side(min(least, short), short, key)
    x, y = (_within(0, shape[1 - axis] - side, (*key, axis)) for axis in (0, 1))
    return Box(x, y, side, side)


def _place(start: int, length: int, whole: int, side: int, key: tuple[object, ...]) -> int:
    """Draw where a window of `side` starts along one axis, so that it contains the mask or lies within it."""
    first, last = max(0, start + length - side), min(start, whole - side)
    return _within(min(first, last), max(first, last), key)


def _side(smallest: int, largest: int, key: tuple[object, ...]) -> int:
    return _within(smallest, largest, (*key, "side"))


def _within(low: int, high: int, key: tuple[object, ...]) -> int:
    """Draw a whole number from low to high, all equally likely."""
    return low + draw_integer(high - low + 1, *key, "crop")


def visible(image: Image, mask: Mask, size: int, factor: int) -> tuple[Floats, Mask]:
    """Return what the model may see of a crop, with the same functions as when erasing.

    Args:
        image: uint8 [s, s, 3].
        mask: bool [s, s], True = erase.
        size: Side of the result in pixels.
        factor: Side of a latent cell in pixels.

    Returns:
        (pixels, float32 [size, size, 3] in -1..1, 0 in the hole; the hole, bool [size, size], in whole latent cells).
    """
    view = seen(image, mask, None, (size, size))
    hole = whole_cells(view.hole, factor)
    return _signed(view.photo) * ~hole[..., None], hole


def _signed(pixels: Image) -> Floats:
    """Convert uint8 to float32 in -1..1."""
    return pixels.astype(np.float32) / 127.5 - 1


def _channels_first(pixels: Floats) -> Floats:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
