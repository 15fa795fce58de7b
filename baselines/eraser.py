"""The `Eraser` protocol: photos and masks in, photos without the masked object out.

To add an eraser: write one file with a function `open_<name>(options) -> Eraser`, and add one line to
`ERASERS` (or, from another distribution, one entry point in the group `baselines.erasers`). The
conformance suite in tests/baselines/test_erasers.py runs on everything registered.

`open_<name>` is cheap: it checks that weights and libraries are there and downloads nothing. The
network is loaded by the first call of `erase`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from olrd.arrays import Image, Mask
from olrd.errors import SourceError, UsageError
from olrd.panoptic import Box, Category, PanopticMap


class WeightsMissingError(UsageError):
    """An eraser's weights are not on this machine; the message says how to get them (exit code 2)."""


class WeightsUnusableError(SourceError):
    """Weights that are there and damaged, or of another network: no sample can do without them, so a
    run stops."""


@dataclass(frozen=True)
class Hints:
    """What may be known of a sample beyond photo and mask. An eraser uses what it can.

    key: names the sample; random draws depend on (seed, key) alone, never on batch or order.
    prompt: the short background prompt. caption: a long description, if there is one. panoptic: the
    photo's panoptic map, [H, W] as the photo, given to those that want it (`EraserInfo.wants`); never of
    the object to erase. categories: what the map's category numbers mean. category: the name of the
    erased object's category. twin: the box of the object's untouched original in the same photo (x, y,
    width, height in pixels). truth: the photo without the object, uint8 [H, W, 3]; only controls
    (`EraserInfo.control`) are ever given it.
    """

    key: str = ""
    prompt: str | None = None
    caption: str | None = None
    panoptic: PanopticMap | None = None
    twin: Box | None = None
    truth: Image | None = None
    categories: Mapping[int, Category] | None = None
    category: str | None = None


@dataclass(frozen=True)
class EraserInfo:
    """What a results table must say of a method.

    name: as registered. revision: of code and weights together: two revisions never share a row.
    license: of the weights, or of the code where there are none. needs: in words, e.g. "Big-LaMa
    weights (196 MB)"; empty if nothing. options: as resolved, so that the run can be repeated.
    control: whether it is no method but a yardstick that may see the truth. device: where it runs.
    wants: hints that cost something to get, and that it uses: `panoptic`.
    """

    name: str
    revision: str
    license: str
    needs: str = ""
    options: Mapping[str, str] | None = None
    control: bool = False
    device: str = "cpu"
    wants: frozenset[str] = frozenset()


class Eraser(Protocol):
    """Fills the masked part of photos. Holds its weights; opened once and used for many batches."""

    @property
    def info(self) -> EraserInfo:
        """What the results say of it; may read the weights' checksum, but loads no network."""

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        """The photos with the object gone, each uint8 [H, W, 3] of its input's size.

        images: uint8 [H, W, 3], any sizes, also mixed. masks: bool [H, W], True = erase; an empty
        mask returns the photo as it is, a full mask is allowed. hints: one per image, or None. The
        inputs are not modified; a sample's result depends neither on the batch nor on its order.
        The output is the method's own, also outside the mask: compositing is the benchmark's part.
        """


@dataclass(frozen=True)
class EraserSpec:
    """Everything needed to open an eraser again, in any process. options: its own settings, from
    `--option KEY=VALUE`; unknown keys are errors. device: `auto`, `cpu`, `cuda`, `cuda:1`..."""

    kind: ClassVar[str] = "eraser"
    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    seed: int = 0
