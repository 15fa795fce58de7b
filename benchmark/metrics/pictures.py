"""Prepare pictures for a metric: check them, resize them in float, stack them for a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from olrd.arrays import Image, Mask
from olrd.errors import UsageError


def check_picture(metric: str, image: Image, what: str = "a picture") -> None:
    """Raise `UsageError` unless `image` is uint8 [H, W, 3] with at least one pixel."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise UsageError(f"{metric}: {what} must be RGB, uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")


def check_fits(metric: str, image: Image, mask: Mask, what: str = "an output") -> None:
    """Raise `UsageError` unless `image` is a picture of the mask's size."""
    check_picture(metric, image, what)
    if image.shape[:2] != mask.shape:
        raise UsageError(
            f"{metric}: the mask is {mask.shape[1]} x {mask.shape[0]}, {what} is {image.shape[1]} x {image.shape[0]}; "
            "expected one size"
        )


def check_pairs(metric: str, outputs: Sequence[Image], truth: Image | None) -> Image:
    """Return the truth. Raises `UsageError` if there is none, or if it and the outputs are not pictures of one size."""
    if truth is None:
        raise UsageError(f"{metric} compares with the truth, and this sample has none")
    check_picture(metric, truth, "the truth")
    for output in outputs:
        check_picture(metric, output, "an output")
        if output.shape != truth.shape:
            raise UsageError(
                f"{metric}: the output is {output.shape[1]} x {output.shape[0]}, the truth "
                f"{truth.shape[1]} x {truth.shape[0]}; bring both to one size first"
            )
    return truth


Item = TypeVar("Item")


def batches(images: Sequence[Item], size: int = 16) -> Iterator[Sequence[Item]]:
    """The pictures, or what stands for them, in order, `size` at a time."""
    return (images[start : start + size] for start in range(0, len(images), size))


def as_batch(images: Sequence[npt.NDArray[Any]], device: str) -> Any:
    """Stack pictures [H, W, 3] of one size as a float32 tensor [n, 3, H, W]. Values are not scaled."""
    import torch

    stacked = torch.from_numpy(np.stack(images)).to(device)
    return stacked.permute(0, 3, 1, 2).float()


def resize_float(image: Image, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Resize bicubically with antialiasing, channel by channel in float, without rounding.

    See Parmar et al., "On Aliased Resizing", CVPR 2022. size: (width, height). Returns float32 [height, width, 3] in
    about 0..255; the filter may overshoot.
    """
    channels = [
        Pillow.fromarray(image[..., c].astype(np.float32)).resize(size, Pillow.Resampling.BICUBIC) for c in range(3)
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=2)
