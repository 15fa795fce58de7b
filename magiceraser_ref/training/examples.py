"""Training examples: from triplets to what the loss sees, every choice keyed by (seed, step, place).

An example is the clean background (the target), the composite with its hole blanked (never the object:
paper section on the loss; that the target is the background and not the composite is inferred), the
hole, grown to whole latent cells, and a prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from magiceraser_ref.erase.canvas import seen, whole_cells
from magiceraser_ref.training.config import MASKS
from magiceraser_ref.training.masks import random_mask
from olrd.arrays import Image, Mask
from olrd.draws import digest, draw_integer, draw_share
from olrd.errors import UsageError, did_you_mean
from olrd.masks import mask_box
from olrd.panoptic import Box
from olrd.triplets.compose import Triplet

Floats = npt.NDArray[np.float32]
ROOM = 1.25
"""A crop's least side, in long sides of the mask's box: something to see around it (our choice)."""
_KEPT_ORDERS = 2


class Example(NamedTuple):
    """One example at resolution S, with latent cells of `factor` pixels.

    target: float32 [3, S, S] in -1..1, the clean background. masked: the same of what the model may
    see, 0 in the hole. hole: bool [S / factor, S / factor], True = erase. prompt: text, may be empty.
    """

    target: Floats
    masked: Floats
    hole: Mask
    prompt: str


class Rows(Protocol):
    """What examples are made of: see `rows.TrainingRows`."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int) -> tuple[dict[str, Any], Triplet]: ...


Prompter = Callable[[dict[str, Any], tuple[object, ...]], str]
"""(a row's plain values, a key) -> the prompt to train with."""


@dataclass(frozen=True)
class ExampleRules:
    """resolution: side in pixels. factor: pixels per latent cell. masks: `olrd`, the triplets' own;
    `random`, random masks on the same clean backgrounds (the ablation's first row). mirror: half of them.
    batch: samples of one step, over all devices."""

    resolution: int = 512
    factor: int = 8
    masks: str = "olrd"
    mirror: bool = True
    batch: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.masks not in MASKS:
            raise did_you_mean("kind of training mask", self.masks, MASKS)
        if self.resolution < 8 or self.resolution % self.factor:
            raise UsageError(
                f"--resolution must be a multiple of {self.factor} (pixels per latent cell), got {self.resolution}"
            )
        if self.batch < 1:
            raise UsageError(f"--batch must be at least 1, got {self.batch}")


class Examples:
    """The stream of examples as a function of (step, place): workers and resumes cannot change it."""

    def __init__(self, rows: Rows, rules: ExampleRules, prompter: Prompter) -> None:
        self.rows, self.rules, self.prompter = rows, rules, prompter
        self._orders: dict[int, npt.NDArray[np.int64]] = {}

    def number_at(self, step: int, place: int) -> int:
        """Which row stands at that place of that step: every row once an epoch, in an order of its own."""
        epoch, position = divmod(step * self.rules.batch + place, len(self.rows))
        if epoch not in self._orders:
            while len(self._orders) >= _KEPT_ORDERS:
                del self._orders[min(self._orders)]
            stream = np.random.Philox(key=digest(self.rules.seed, "order", epoch))
            # Raw bits, sorted: NumPy promises them to stay the same, and no permutation.
            self._orders[epoch] = np.argsort(stream.random_raw(len(self.rows)), kind="stable")
        return int(self._orders[epoch][position])

    def sample_at(self, step: int, place: int) -> Example:
        """The example of that place. Raises `IntegrityError` for a damaged row."""
        row, triplet = self.rows[self.number_at(step, place)]
        key = (self.rules.seed, step, place)
        return make_example(triplet, self.rules, self.prompter(row, (*key, "prompt")), key)


def make_example(triplet: Triplet, rules: ExampleRules, prompt: str, key: tuple[object, ...]) -> Example:
    """One example of a triplet; crop, mirror and random mask are drawn by `key`."""
    size = rules.resolution
    if rules.masks == "random":
        shown, box = triplet.background, free_crop(triplet.mask.shape, size, key)
        holes = random_mask(box.h, box.w, *key)
    else:
        shown, box = triplet.image, crop_around(triplet.mask, size, key)
        holes = triplet.mask[box.crop()]
    masked, covered = visible(shown[box.crop()], holes, size, rules.factor)
    # Without a hole, so that the target is resized as what surrounds the hole is.
    whole = seen(triplet.background[box.crop()], np.zeros_like(holes), None, (size, size)).photo
    target = _signed(whole)
    hole = covered[:: rules.factor, :: rules.factor]
    if rules.mirror and draw_share(*key, "mirror") < 0.5:
        target, masked, hole = target[:, ::-1], masked[:, ::-1], hole[:, ::-1]
    return Example(_channels_first(target), _channels_first(masked), hole.copy(), prompt)


def crop_around(mask: Mask, least: int, key: tuple[object, ...]) -> Box:
    """A random square inside the photo that holds the mask, with some room.

    Its side is uniform between the smallest that does, not below `least` pixels where the photo has
    them (no enlarged pixels), and the photo's short side. A mask longer than that is cut.
    """
    short, box = min(mask.shape), mask_box(mask)
    need = max(round(ROOM * max(box.w, box.h)), least)
    side = _side(min(need, short), short, key)
    spans = ((box.x, box.w, mask.shape[1]), (box.y, box.h, mask.shape[0]))
    x, y = (_place(*span, side, (*key, axis)) for axis, span in enumerate(spans))
    return Box(x, y, side, side)


def free_crop(shape: tuple[int, ...], least: int, key: tuple[object, ...]) -> Box:
    """A random square anywhere in the photo, its side between `least` and the photo's short side."""
    short = min(shape[:2])
    side = _side(min(least, short), short, key)
    x, y = (_within(0, shape[1 - axis] - side, (*key, axis)) for axis in (0, 1))
    return Box(x, y, side, side)


def _place(start: int, length: int, whole: int, side: int, key: tuple[object, ...]) -> int:
    """Where along one axis a window of `side` starts that holds (or, longer, lies in) start..+length."""
    first, last = max(0, start + length - side), min(start, whole - side)
    return _within(min(first, last), max(first, last), key)


def _side(smallest: int, largest: int, key: tuple[object, ...]) -> int:
    return _within(smallest, largest, (*key, "side"))


def _within(low: int, high: int, key: tuple[object, ...]) -> int:
    """A uniform whole number from low to high."""
    return low + draw_integer(high - low + 1, *key, "crop")


def visible(image: Image, mask: Mask, size: int, factor: int) -> tuple[Floats, Mask]:
    """(what the model may see, float32 [size, size, 3] in -1..1 and 0 in the hole; the hole, bool [size,
    size], in whole cells of `factor` pixels). Through the same functions as when erasing.

    image: uint8 [s, s, 3]. mask: bool [s, s].
    """
    view = seen(image, mask, None, (size, size))
    hole = whole_cells(view.hole, factor)
    return _signed(view.photo) * ~hole[..., None], hole


def _signed(pixels: Image) -> Floats:
    """uint8 to float32 in -1..1."""
    return pixels.astype(np.float32) / 127.5 - 1


def _channels_first(pixels: Floats) -> Floats:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
