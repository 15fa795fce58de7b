"""The eraser `ffc-small`: a small FFC network that ships with the package. It can be MagicEraser's initialiser."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from baselines.checkpoints import content_hash
from baselines.eraser import Eraser, EraserInfo, EraserSpec, Hints, WeightsMissingError, WeightsUnusableError
from baselines.finite import to_uint8
from magiceraser_ref.erase.canvas import canvas_of, enlarged, padded, seen
from magiceraser_ref.erase.pasting import paste_back
from magiceraser_ref.erase.windows import Part, parts_of
from magiceraser_ref.extras import need
from olrd.arrays import Image, Mask, resize_ids
from olrd.models.checkpoints import choose_device
from olrd.registry import checked_options
from olrd.trust import one_line, parse_json, shown

NAME = "ffc-small"
FOLDER = Path(__file__).parents[1] / "weights" / "ffc"
RESOLUTION = 256
"""Short side in pixels at which windows are filled; the result is enlarged."""
SIZES = ("widths", "blocks", "share")
LARGEST_WIDTH, LARGEST_BLOCKS = 2048, 100
LICENSE = "research use, see docs/small-model.md"


def open_ffc(spec: EraserSpec) -> Eraser:
    """Open the eraser.

    Options:
        model: Folder with config.json and model.safetensors; by default the shipped one.
    """
    options = checked_options(spec, {"model": ""})
    need("torch", f"the eraser {NAME}")
    folder = Path(options["model"] or FOLDER)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise WeightsMissingError(
                f"{NAME}: {folder / name} is missing: install the package again, or give the folder of "
                "a trained one as --option model=FOLDER"
            )
    return FfcEraser(folder, options, spec.device)


class FfcEraser:
    """Erases window by window with the network in `folder`."""

    def __init__(self, folder: Path, options: dict[str, str], device: str) -> None:
        self.folder, self._options = folder, options
        self.device = choose_device(device, f"the eraser {NAME}", mps=False)  # Fourier transforms

    @cached_property
    def info(self) -> EraserInfo:
        """The revision is a hash of the weights."""
        return EraserInfo(NAME, content_hash(self.folder), LICENSE, options=self._options, device=self.device)

    @cached_property
    def network(self) -> Any:
        """The loaded generator. Raises `WeightsUnusableError` if the files are not such a network."""
        from safetensors.torch import load_file

        from magiceraser_ref.ffc.network import FfcGenerator, FfcSizes

        try:
            sizes = _sizes(self.folder / "config.json")
            network = FfcGenerator(FfcSizes(**sizes))
            network.load_state_dict(load_file(self.folder / "model.safetensors"))
        except WeightsUnusableError:
            raise
        except Exception as error:  # torch and safetensors raise many kinds of errors
            raise WeightsUnusableError(f"{self.folder} has no weights of {NAME}: {one_line(str(error))}") from error
        return network.to(self.device).float().eval().requires_grad_(False)

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        """See `Eraser.erase`. Pixels outside the mask do not change."""
        keys = [hint.key for hint in hints] if hints else [""] * len(images)
        return [self._erased(*one) for one in zip(images, masks, keys, strict=True)]

    def _erased(self, image: Image, mask: Mask, key: str) -> Image:
        left, image = mask, image.copy()
        for part in parts_of(mask, RESOLUTION):
            image = self._filled(image, part, left, key)
            left = left & ~part.mask
        return image

    def _filled(self, image: Image, part: Part, left: Mask, key: str) -> Image:
        import torch

        from magiceraser_ref.ffc.network import FACTOR

        window, crop = part.window, part.window.crop()
        canvas = canvas_of(window.w, window.h, RESOLUTION, FACTOR)
        view = seen(image[crop], left[crop], None, canvas.content)
        photo, hole = padded(view.photo, canvas.padded), padded(view.hole, canvas.padded)
        with torch.inference_mode():
            tensor = torch.from_numpy(photo.transpose(2, 0, 1).copy()).to(self.device).float()
            found = self.network(tensor[None] / 127.5 - 1, torch.from_numpy(hole[None, None]).to(self.device).float())[
                0
            ]
        levels = (found.cpu().numpy().transpose(1, 2, 0) + 1) * 127.5
        filled = to_uint8(levels, f"{NAME}, {key or 'the photo'}", "give other weights")
        size = window.w, window.h
        repainted = resize_ids(view.hole, size) | left[crop]
        return paste_back(image, enlarged(filled, canvas, size), window, part.mask, repainted)


def _sizes(path: Path) -> dict[str, Any]:
    """Read the sizes of a network. Those that would fill the memory before the weights are compared are refused."""
    found: Any = parse_json(path.read_bytes(), path, WeightsUnusableError)
    if not isinstance(found, dict) or set(found) != set(SIZES) or not _fits(**found):
        raise WeightsUnusableError(
            f"{path}: expected three widths up to {LARGEST_WIDTH:,}, up to {LARGEST_BLOCKS} blocks, and a share; found "
            f"{shown(found)}"
        )
    return found | {"widths": tuple(found["widths"])}


def _fits(widths: Any, blocks: Any, share: Any) -> bool:
    if not isinstance(widths, list) or len(widths) != 3:
        return False
    small = all(type(width) is int and 1 <= width <= LARGEST_WIDTH for width in widths)
    return small and type(blocks) is int and 0 <= blocks <= LARGEST_BLOCKS and type(share) is float and 0 < share <= 1
