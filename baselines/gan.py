"""Erasers with a generator that takes noise: the common part of MAT and Co-Mod-GAN."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from baselines.eraser import EraserInfo, EraserSpec, Hints
from baselines.fill import one_by_one
from baselines.finite import check_finite
from baselines.weights import Pinned, check_unchanged, revision_of
from olrd.arrays import Image, Mask
from olrd.draws import digest
from olrd.errors import UsageError
from olrd.models.checkpoints import choose_device, require

NOISES = ("const", "random", "none")
Drawn = npt.NDArray[np.float32]


class Frame(Protocol):
    """Fits photos of any size to a network that takes only some sizes."""

    def enter(self, image: Image, mask: Mask) -> tuple[Image, Mask]:
        """Return the network's input: uint8 [h, w, 3], and bool [h, w] where True is to be drawn."""

    def leave(self, drawn: Drawn, size: tuple[int, int]) -> Image:
        """Return the network's output as uint8 of the photo's size.

        drawn: float32 [h, w, 3], in [-1, 1] or slightly outside. size: (height, width) of the photo.
        """


class Sampling(NamedTuple):
    """How the generator draws.

    truncation: StyleGAN's psi, from 0 to 1; smaller values give less diverse results, 1 is no truncation.
    noise: `const`, `random` or `none`, see `nets.stylegan_ops.Draws`.
    """

    truncation: float
    noise: str


def sampling(name: str, options: Mapping[str, str]) -> Sampling:
    """Check the options `truncation` and `noise` of the eraser `name`."""
    try:
        truncation = float(options["truncation"])
    except ValueError:
        truncation = -1.0
    if not 0 <= truncation <= 1:
        raise UsageError(f"{name}: truncation must be between 0 and 1, got '{options['truncation']}'")
    if options["noise"] not in NOISES:
        raise UsageError(f"{name}: noise is one of {', '.join(NOISES)}, not '{options['noise']}'")
    return Sampling(truncation, options["noise"])


class Gan:
    """An eraser with a generator.

    It erases one sample at a time, because another batch size would change the last bits. All random draws of a sample
    come from (seed, key) alone.
    """

    def __init__(
        self,
        spec: EraserSpec,
        pinned: Pinned,
        weights: Path,
        *,
        load: Callable[[Path, str], Any],
        frame: Frame,
        chosen: Sampling,
        options: Mapping[str, str],
    ) -> None:
        """Keep everything that is needed to load the generator on first use.

        Args:
            spec: Name, device and seed of the eraser.
            pinned: The published weights, for name and licence.
            weights: The weights file on this machine.
            load: (weights, device) -> generator.
            frame: Fits photos to the generator.
            chosen: How the generator draws.
            options: The eraser's options, for the results.
        """
        self.spec, self.pinned, self.weights = spec, pinned, weights
        self.load, self.frame, self.chosen = load, frame, chosen
        self.options = {**options, "weights": weights.name, "seed": str(spec.seed)}
        self.device = choose_device(spec.device, f"the eraser {spec.name}", mps=False)

    @cached_property
    def info(self) -> EraserInfo:
        """The revision is a hash of the weights file."""
        return EraserInfo(
            self.spec.name,
            revision_of(self.weights),
            self.pinned.license,
            f"{self.pinned.file_name} ({self.pinned.size / 1e6:.0f} MB)",
            self.options,
            device=self.device,
        )

    @cached_property
    def _network(self) -> Any:
        check_unchanged(self.weights, self.info.revision)
        return self.load(self.weights, self.device)

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        """See `Eraser.erase`. The result is the network's own output, also outside the mask."""
        return one_by_one(self._one, images, masks, hints)

    def _one(self, image: Image, mask: Mask, hint: Hints) -> Image:
        torch = require("torch", f"the eraser {self.spec.name}")
        from baselines.nets.stylegan_ops import Draws

        pixels, hole = self.frame.enter(image, mask)
        photo = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)
        known = torch.from_numpy((~hole)[None, None].astype(np.float32))
        draws = Draws(digest(self.spec.seed, hint.key, self.spec.name), self.chosen.noise)
        network = self._network
        z = draws.normal(1, network.shape.latent)
        with torch.inference_mode():
            drawn = network(*(part.to(self.device) for part in (photo, known, z)), draws, self.chosen.truncation)
        result: Drawn = drawn[0].permute(1, 2, 0).float().cpu().numpy()
        check_finite(result, f"{self.spec.name}, {hint.key or 'the photo'}")
        return self.frame.leave(result, (image.shape[0], image.shape[1]))


def resize_hole(mask: Mask, size: tuple[int, int]) -> Mask:
    """Resize a mask to (width, height).

    A pixel of the result is True if any part of it was, so that no colour of the object counts as known.
    """

    def spans(now: int, then: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        place = np.arange(now)
        return place * then // now, -((place + 1) * then // -now)

    (top, bottom), (left, right) = spans(size[1], mask.shape[0]), spans(size[0], mask.shape[1])
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    sums[1:, 1:] = mask.cumsum(axis=0).cumsum(axis=1)
    rows = sums[bottom] - sums[top]
    return np.asarray(rows[:, right] - rows[:, left] > 0)
