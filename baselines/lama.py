"""Big-LaMa (Suvorov et al., WACV 2022): the published TorchScript file, with or without the library around it.

The library, simple-lama-inpainting, requires numpy<2 and pillow<10 and is therefore installed with
`pip install --no-deps`. Without it the file is loaded directly. The network gets the same tensors in both cases.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from baselines.eraser import Eraser, EraserInfo, EraserSpec, Hints, WeightsUnusableError
from baselines.fill import one_by_one
from baselines.finite import to_uint8
from baselines.weights import Pinned, check_known, check_unchanged, locate, revision_of
from olrd.arrays import Image, Mask
from olrd.errors import UsageError
from olrd.models.checkpoints import choose_device, require
from olrd.registry import checked_options

BIG_LAMA = Pinned(
    eraser="lama",
    file_name="big-lama.pt",
    url="https://github.com/Sanster/models/releases/download/add_big_lama/big-lama.pt",
    sha256="344c77bbcb158f17dd143070d1e789f38a66c04202311ae3a258ef66667a9ea9",
    size=205_669_692,
    license="Apache-2.0",
    code=True,  # TorchScript is a program
)
MODULUS = 8
"""The sides of the input are padded to a multiple of this, because the network halves them three times."""


def open_lama(spec: EraserSpec) -> Eraser:
    """Open Big-LaMa.

    Options:
        weights: Path of big-lama.pt; by default the file that LAMA_MODEL names, or the fetched one.
        runtime: `auto` (default; the library if it is installed), `library` or `direct`.
    """
    options = checked_options(spec, {"weights": "", "runtime": "auto"})
    if options["runtime"] not in ("auto", "library", "direct"):
        raise UsageError(f"lama: runtime is auto, library or direct, not '{options['runtime']}'")
    require("torch", "the eraser lama")
    return Lama(locate(BIG_LAMA, options["weights"], "LAMA_MODEL"), options["runtime"], spec.device)


class Lama:
    """Erases with the TorchScript network.

    It erases one sample at a time: sizes differ, and padding them to one size would change the results, because the
    network uses Fourier transforms.
    """

    def __init__(self, weights: Path, runtime: str, device: str) -> None:
        self.weights, self.runtime = weights, runtime
        self.device = choose_device(device, "the eraser lama", mps=False)  # Fourier transforms

    @cached_property
    def info(self) -> EraserInfo:
        """The revision is a hash of the weights file.

        It does not name the runtime, which does not change the result.
        """
        return EraserInfo(
            "lama",
            revision_of(self.weights),
            BIG_LAMA.license,
            "Big-LaMa weights (206 MB)",
            {"weights": self.weights.name},
            device=self.device,
        )

    @cached_property
    def _network(self) -> Any:
        torch = require("torch", "the eraser lama")
        library = None if self.runtime == "direct" else _library()
        if library is None and self.runtime == "library":
            raise UsageError(
                "lama: runtime=library needs simple-lama-inpainting: "
                "pip install --no-deps simple-lama-inpainting; runtime=direct needs nothing"
            )
        check_known(BIG_LAMA, self.weights)
        check_unchanged(self.weights, self.info.revision)
        try:
            if library is not None:
                return _from_library(library, self.weights, torch.device(self.device))
            return torch.jit.load(str(self.weights), map_location=self.device).eval()
        except RuntimeError as error:
            raise WeightsUnusableError(
                f"{self.weights} is not a TorchScript file ({str(error).splitlines()[0]}); expected "
                f"the published {BIG_LAMA.file_name}"
            ) from error

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        """See `Eraser.erase`. The network keeps the photo outside the mask."""
        return one_by_one(self._one, images, masks, hints)

    def _one(self, image: Image, mask: Mask, hint: Hints) -> Image:
        torch = require("torch", "the eraser lama")
        height, width = mask.shape
        pixels, hole = padded(image), padded(mask)
        photo = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255)
        erase = torch.from_numpy(hole[None, None].astype(np.float32))
        with torch.inference_mode():
            filled = self._network(photo.to(self.device), erase.to(self.device))
        result = filled[0].permute(1, 2, 0).float().cpu().numpy()[:height, :width]
        return to_uint8(result * 255, f"lama, {hint.key or 'the photo'}", truncate=True)  # as the library does


def padded(pixels: Any) -> Any:
    """Pad by mirroring at the right and lower edge to a multiple of 8, as LaMa's evaluation code does."""
    height, width = pixels.shape[:2]
    below, right = -height % MODULUS, -width % MODULUS
    return np.pad(pixels, ((0, below), (0, right), *((0, 0),) * (pixels.ndim - 2)), "symmetric")


def _library() -> Any:
    try:
        return require("simple_lama_inpainting", "lama")
    except Exception:  # its requirements conflict with ours, and a broken installation can raise anything
        return None


def _from_library(library: Any, weights: Path, device: Any) -> Any:
    """Let simple_lama_inpainting.SimpleLama load the network from our checked file."""
    before = os.environ.get("LAMA_MODEL")
    os.environ["LAMA_MODEL"] = str(weights)  # the library takes a path only from this variable
    try:
        return library.SimpleLama(device=device).model
    finally:
        if before is None:
            del os.environ["LAMA_MODEL"]
        else:
            os.environ["LAMA_MODEL"] = before
