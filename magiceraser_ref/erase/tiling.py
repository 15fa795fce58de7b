"""One UNet call on a plane of any size: the UNet sees windows of the size that it was trained at, whose predictions are averaged.

This is MultiDiffusion (Bar-Tal et al. 2023) with smooth weights. It averages the predicted noise and not the latents after
the step. For a scheduler that is linear in the noise, such as DDIM, both are the same; and the scheduler, which may
remember earlier steps, works on one plane.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from magiceraser_ref.extras import need

OVERLAP = 0.25
"""Least share of a window's side that it has in common with the next one (inferred)."""


class Grid(NamedTuple):
    """Windows of one size that cover a plane, in latent cells.

    Attributes:
        height: Height of every window.
        width: Width of every window.
        corners: (top, left) of each window, row by row.
    """

    height: int
    width: int
    corners: tuple[tuple[int, int], ...]


def grid_of(height: int, width: int, side: int) -> Grid:
    """Cover a plane of `height` x `width` cells with windows of `side` cells, fewer along a side that is shorter."""
    rows, columns = starts(height, side), starts(width, side)
    return Grid(min(side, height), min(side, width), tuple((top, left) for top in rows for left in columns))


def starts(length: int, side: int) -> list[int]:
    """Return where intervals of `side` begin that cover [0, length) evenly and overlap by at least `OVERLAP`."""
    if length <= side:
        return [0]
    step = max(1, math.floor(side * (1 - OVERLAP)))
    gaps = -(-(length - side) // step)
    return [round(number * (length - side) / gaps) for number in range(gaps + 1)]


def weights_of(height: int, width: int) -> Any:
    """Return a window's weights, float32 [height, width]: largest in the middle, small and positive at the edge."""
    torch = need("torch", "MagicEraser")
    down, across = (
        torch.sin(math.pi * (torch.arange(side, dtype=torch.float32) + 0.5) / side) ** 2 for side in (height, width)
    )
    return down[:, None] * across


@contextmanager
def tiled_unet(
    unet: Any, grid: Grid, batch: int, factor: int, turn: Callable[[Sequence[int]], object] | None = None
) -> Iterator[None]:
    """Let the UNet work in windows inside a `with` block. Its inputs have one sample in each part of the batch.

    The windows of a call that covers the plane with one window are not weighted, so it is the same bit for bit.

    Args:
        unet: A diffusers UNet, also one that torch compiles. Hooks on it see the windows.
        grid: The windows.
        batch: Windows that the UNet sees at a time.
        factor: Pixels of a latent cell's side.
        turn: Called with the windows' numbers before each call of the UNet.
    """
    name = "_compiled_call_impl"  # torch calls it instead of the module's hooks and `forward` if it is set
    before = unet.__dict__.get(name)
    inner = before or unet._call_impl
    total = len(grid.corners)

    def whole(sample: Any, *inputs: Any, **named: Any) -> Any:
        named = _of_the_window(named, grid, factor)
        if total == 1:
            if turn is not None:
                turn([0])
            return inner(sample, *inputs, **named)
        torch = need("torch", "MagicEraser")
        parts = len(sample)
        weights = weights_of(grid.height, grid.width).to(sample.device)
        sums = shares = None
        for first in range(0, total, batch):
            numbers = range(first, min(first + batch, total))
            places = [_place(grid, number) for number in numbers]
            if turn is not None:
                turn(numbers)
            # Each part, such as the unconditional one, holds all windows, as it holds all samples in diffusers.
            cut = torch.stack([sample[(..., *place)] for place in places], dim=1).flatten(0, 1)
            args = [_repeated(value, parts, len(places)) for value in inputs]
            more = {key: _repeated(value, parts, len(places)) for key, value in named.items()}
            found = inner(cut, *args, **more | {"return_dict": False})[0].unflatten(0, (parts, len(places)))
            if sums is None or shares is None:
                sums = torch.zeros((parts, found.shape[2], *sample.shape[2:]), device=sample.device)
                shares = torch.zeros(sample.shape[2:], device=sample.device)
            for number, place in enumerate(places):
                sums[(..., *place)] += weights * found[:, number].float()
                shares[place] += weights
        assert sums is not None
        return ((sums / shares).to(sample.dtype),)

    unet.__dict__[name] = whole
    try:
        yield
    finally:
        if before is None:
            del unet.__dict__[name]
        else:
            unet.__dict__[name] = before


def _place(grid: Grid, number: int) -> tuple[slice, slice]:
    top, left = grid.corners[number]
    return slice(top, top + grid.height), slice(left, left + grid.width)


def _repeated(value: Any, parts: int, times: int) -> Any:
    """Repeat each part's entry of an input for the windows. Inputs without one entry per part stay as they are."""
    if isinstance(value, dict):
        return {key: _repeated(one, parts, times) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_repeated(one, parts, times) for one in value)
    if hasattr(value, "repeat_interleave") and value.ndim and len(value) == parts:
        return value.repeat_interleave(times, dim=0)
    return value


def _of_the_window(named: dict[str, Any], grid: Grid, factor: int) -> dict[str, Any]:
    """Tell SDXL the window's size instead of the plane's: it paints for the size of picture that it is told.

    `time_ids` are [B, 6]: the photo's height and width, the crop's top and left, the target's height and width.
    """
    added = named.get("added_cond_kwargs") or {}
    ids = added.get("time_ids")
    if ids is None or ids.shape[-1] != 6:
        return named
    height, width = grid.height * factor, grid.width * factor
    told = ids.new_tensor([height, width, 0, 0, height, width]).expand_as(ids)
    return named | {"added_cond_kwargs": added | {"time_ids": told}}


@contextmanager
def tiled_vae(vae: Any, side: int, factor: int) -> Iterator[None]:
    """Let the VAE work in tiles of `side` pixels inside a `with` block, if its class can, so that memory is bounded."""
    names = ("use_tiling", "tile_sample_min_size", "tile_latent_min_size")
    if not (hasattr(vae, "enable_tiling") and all(hasattr(vae, name) for name in names)):
        yield
        return
    before = [getattr(vae, name) for name in names]
    for name, value in zip(names, (True, side, side // factor), strict=True):
        setattr(vae, name, value)
    try:
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            setattr(vae, name, value)
