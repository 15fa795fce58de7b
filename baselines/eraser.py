"""The interface `Eraser`: takes photos and masks, returns photos without the masked objects.

To add an eraser, write one file with a function `open_<name>(spec: EraserSpec) -> Eraser` and add one line to
`ERASERS` in registry.py (from another distribution: one entry point in the group `baselines.erasers`). The
conformance suite in tests/baselines/test_erasers.py runs on every registered eraser.

`open_<name>` is cheap: it checks that weights and libraries are present and downloads nothing. The first call of
`erase` loads the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from olrd.arrays import Image, Mask
from olrd.errors import OlrdError, SourceError
from olrd.models.checkpoints import check_device
from olrd.options import fitted
from olrd.panoptic import Box, Category, PanopticMap


class WeightsMissingError(SourceError):
    """An eraser's weights are not on this machine. The message says how to get them."""


class WeightsUnusableError(SourceError):
    """An eraser's weights are damaged, or they belong to another network. No sample can be erased: a run stops."""


class WeightsUnknownError(WeightsUnusableError):
    """A weights file is not the published one and is not on the list of trusted checksums. It is not run."""


class WrongOutputError(OlrdError):
    """An eraser returned something else than one picture per photo, uint8, of the photo's size."""


@dataclass(frozen=True)
class Hints:
    """What may be known of a sample in addition to its photo and mask. An eraser uses what it can.

    Attributes:
        key: Name of the sample. Random draws depend on (seed, key) alone, never on the batch or the order.
        prompt: Short prompt that describes the background.
        caption: Long description of the photo.
        panoptic: Panoptic map of the photo without the object to erase, uint32 [H, W]. Only erasers that ask for it
            (`EraserInfo.wants`) receive it.
        twin: Box of the object's untouched original in the same photo: x, y, width, height in pixels.
        truth: The photo without the object, uint8 [H, W, 3]. Only controls (`EraserInfo.control`) receive it.
        categories: Meaning of the category numbers of `panoptic`.
        category: Name of the category of the object to erase.
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
    """What a table of results says about an eraser.

    Attributes:
        name: The name under which it is registered, or the value of its option `name`, if it has one.
        revision: Identifies code and weights together. Results of two revisions are never mixed.
        license: Licence of the weights, or of the code if there are no weights.
        needs: What must be installed or fetched, in words, e.g. "Big-LaMa weights (196 MB)"; empty if nothing.
        options: All options with their final values, so that the run can be repeated.
        control: True for a trivial method that serves for comparison and may see the truth.
        device: The device that it runs on.
        wants: Hints that are costly to make and that it uses: `panoptic`.
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
    """Fills the masked part of photos. It is opened once, holds its weights, and erases many batches.

    This is what the author of an eraser writes. `open_eraser` wraps it in a `CheckedEraser`, which also takes
    single arrays and checks inputs and outputs.
    """

    @property
    def info(self) -> EraserInfo:
        """What the results say about it. May read the weights' checksum, but loads no network."""

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        """Return the photos without the masked objects.

        The inputs are not modified. The result for a sample depends neither on the batch nor on its order.

        Args:
            images: Photos, uint8 [H, W, 3] each. Sizes may differ.
            masks: One mask per photo, bool [H, W], True = erase. For an empty mask the result is a copy of the photo.
                A mask may cover the whole photo.
            hints: One entry per photo, or None.

        Returns:
            One picture per photo, uint8 [H, W, 3] of the photo's size. This is the eraser's own output, also outside
            the mask: the benchmark composites it with the photo where it needs to.
        """


@dataclass(frozen=True)
class EraserSpec:
    """Everything that is needed to open an eraser, in any process.

    Attributes:
        name: The name under which it is registered.
        options: Its own settings, from `--option KEY=VALUE`. An unknown key is an error.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        seed: Seed of its random draws.
    """

    kind: ClassVar[str] = "eraser"
    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise `UsageError` for a value of another type. Numbers among the options become texts."""
        for one, hint in (("name", str), ("options", Mapping[str, str]), ("seed", int)):
            object.__setattr__(self, one, fitted(hint, getattr(self, one), f"the eraser's {one}"))
        check_device(self.device)
