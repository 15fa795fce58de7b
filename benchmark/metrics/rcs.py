"""RC-S: are the filled region's features distributed like those of its surroundings, according to DINOv2?

Li et al., "PROVE: A Perceptual RemOVal cohErence Benchmark for Visual Media", ACM Multimedia 2026, arXiv 2605.14534.
Written from the definition in the authors' published code; it needs no truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from benchmark.metrics import MetricInfo, MetricSpec, Score
from benchmark.metrics.encoders import check_installed, exact, find_checkpoint, fingerprint, load_encoder
from benchmark.metrics.pictures import as_batch, batches, check_fits
from olrd.arrays import Image, Mask
from olrd.panoptic import Box

Features = npt.NDArray[np.float64]
CHECKPOINT = "facebook/dinov2-giant"
MODEL = "Dinov2Model"
# DINOv2's own normalisation, for inputs in 0..1: that of ImageNet.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PADDING = (123, 116, 103)
"""RGB beside a crop that is rounded to less than the network's size."""
CELLS = 32
"""Side of the grid of features. With patches of 14 pixels the crops are 448 x 448, as the authors' are."""
WINDOW, STRIDE = 8, 4
"""Side and step of the sliding window in cells: the authors' 16 and 8 for 64 cells, at 32 cells."""
FEWEST = 6
"""Smallest number of cells on each side of a comparison."""
SIGMA, SCALE, TAU = 10.0, 1000.0, 3.0
SMALLEST_PIECE = 200
"""Pieces of the mask below this number of pixels count only if all are smaller."""
MOST_PIECES = 64
"""Largest number of pieces that are scored: a mask of specks must not take hours. The authors have no limit."""


class RcS:
    """exp(-MMD / 3), averaged over the pieces of the mask: 1 if fill and surroundings look alike to DINOv2.

    Each 4-connected piece is cropped to a square, grown by up to a third. A window of 8 x 8 cells slides over the crop's
    features; the maximum mean discrepancy of the features inside and outside the mask is averaged over the windows that
    hold both. In a window inside the mask the outside is that of the whole crop.

    Where the authors' code gives a number, this is the same one. A piece that fills its crop, as in a picture's corner,
    leaves nothing to compare with: there their code gives no number for the whole picture, and here the other pieces
    count.

    The kernels of all windows come from one matrix in float64, instead of one after the other in float32, where the
    digits of their differences cancel.
    """

    def __init__(self, spec: MetricSpec, folder: Path) -> None:
        self.info = MetricInfo(
            spec.name,
            "sample",
            higher_is_better=True,
            unit="",
            definition=(
                "RC-S of PROVE: exp(-MMD / 3), Gaussian kernel, sigma 10, x 1000, of DINOv2's features in and outside "
                "the mask, in windows of 8 x 8 of 32 x 32 cells over each piece of the mask (the paper: ViT-g; revision "
                "names the one used)"
            ),
            needs_truth=False,
            revision=f"2+{fingerprint(folder)}",
            region="mask",
        )
        self._device, self._folder = spec.device, folder

    @cached_property
    def _network(self) -> tuple[str, Any]:
        return load_encoder(self.info.name, self._folder, MODEL, self._device)

    def scores(self, outputs: Sequence[Image], mask: Mask, truth: Image | None) -> list[Score]:
        """0 to 1. No value if the mask is empty, or no window has at least 6 cells on both sides."""
        for output in outputs:
            check_fits(self.info.name, output, mask)
        if not mask.any():
            return [Score(None, "empty_region") for _ in outputs]
        squares = [square_around(piece, mask.shape) for piece in pieces_of(mask)]
        return [self._score(output, mask, squares) for output in outputs]

    def _score(self, output: Image, mask: Mask, squares: Sequence[Box]) -> Score:
        found = []
        for some in batches(squares, 8):
            grids = self._features([output[square.crop()] for square in some])
            for square, grid in zip(some, grids, strict=True):
                distance = window_distance(grid, cells_of(mask[square.crop()]))
                if distance is not None:
                    found.append(math.exp(-max(0.0, distance) / TAU))
        return Score(float(np.mean(found))) if found else Score(None, "no_cell")

    def _features(self, crops: Sequence[Image]) -> Features:
        """The features of square crops, float64 [n, CELLS * CELLS, c], each of length 1."""
        device, model = self._network
        side = CELLS * model.config.patch_size
        resized = [fitted(crop, side, cv2.INTER_LINEAR, PADDING) for crop in crops]
        with exact():
            x = as_batch(resized, device) / 255
            mean, deviation = (x.new_tensor(v)[:, None, None] for v in (MEAN, DEVIATION))
            hidden = model(pixel_values=(x - mean) / deviation).last_hidden_state
            features = hidden[:, -CELLS * CELLS :].cpu().double()  # the first token is of the whole picture
            return (features / features.norm(dim=2, keepdim=True).clamp_min(1e-12)).numpy()


def pieces_of(mask: Mask) -> list[Box]:
    """The boxes of the 4-connected pieces of a mask that is not empty, the largest `MOST_PIECES` at most."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4)
    areas = stats[1:count, cv2.CC_STAT_AREA]
    smallest = min(SMALLEST_PIECE, int(areas.max()))
    order = [k for k in np.argsort(-areas, kind="stable")[:MOST_PIECES] if areas[k] >= smallest]
    return [Box(*(int(value) for value in stats[1 + k, :4])) for k in sorted(order)]


def square_around(box: Box, size: tuple[int, int]) -> Box:
    """The square around a box, grown by a third on each side as far as the picture allows on all sides alike.

    A square that is larger than the picture is cut to its left or upper part, as in the authors' code. size: height and
    width.
    """
    height, width = size
    side = max(box.w, box.h)
    left, top = round(box.x + box.w / 2 - side / 2), round(box.y + box.h / 2 - side / 2)
    room = min(left, top, width - left - side, height - top - side, side // 2)
    grow = max(0, min(round(side / 3), room))
    final = min(side + 2 * grow, width, height)
    x, y = (max(0, min(start - grow, n - final)) for start, n in ((left, width), (top, height)))
    return Box(x, y, final, final)


def fitted(
    square: npt.NDArray[np.uint8], side: int, interpolation: int, padding: Sequence[int] = (0,)
) -> npt.NDArray[np.uint8]:
    """A square picture in the network's size, as the authors' code rounds it.

    The product of a length and of `side / length` may lie just below `side`, e.g. for 166 and 448. The picture is then
    one pixel smaller, and its last row and column are padding. This is so for 9 % of the lengths from 14 to 640.

    Args:
        square: uint8 [n, n] or [n, n, 3].
        side: of the result in pixels.
        interpolation: of OpenCV.
        padding: a value per channel.
    """
    length = len(square)
    rounded = int(length * (side / length))
    resized = cv2.resize(square, (rounded, rounded), interpolation=interpolation)
    missing = side - rounded
    return cv2.copyMakeBorder(resized, 0, missing, 0, missing, cv2.BORDER_CONSTANT, value=padding)


def cells_of(mask: Mask) -> npt.NDArray[np.bool_]:
    """The cells that hold a masked pixel, bool [CELLS * CELLS], of a square mask at the crops' size."""
    resized = fitted(mask.view(np.uint8), CELLS * 14, cv2.INTER_NEAREST)
    return resized.reshape(CELLS, 14, CELLS, 14).max(axis=(1, 3)).ravel() > 0


def window_distance(features: Features, inside: npt.NDArray[np.bool_]) -> float | None:
    """The mean squared MMD of the features inside and outside the mask over all windows, times 1000.

    Args:
        features: float64 [CELLS * CELLS, c], rows of length 1.
        inside: bool [CELLS * CELLS], the cells of the mask.

    Returns:
        None if no window can be compared.
    """
    # 1 - kernel: with this sigma all kernels are near 1. Constant terms cancel in an MMD but for their sign.
    far = -np.expm1(-np.maximum(0, 2 - 2 * features @ features.T) / (2 * SIGMA**2))
    numbers = np.arange(CELLS * CELLS).reshape(CELLS, CELLS)
    windows = np.lib.stride_tricks.sliding_window_view(numbers, (WINDOW, WINDOW))[::STRIDE, ::STRIDE]
    windows = windows.reshape(-1, WINDOW * WINDOW)
    masked = inside[windows]
    count = masked.sum(1)
    both = (count >= FEWEST) & (WINDOW * WINDOW - count >= FEWEST)
    within = (count == WINDOW * WINDOW) & ~inside.all()
    found = [*_mixed(far, windows[both], masked[both]), *_inner(far, windows[within], ~inside)]
    return SCALE * float(np.mean(found)) if found else None


def _mixed(far: Features, windows: npt.NDArray[np.intp], masked: npt.NDArray[np.bool_]) -> Features:
    """The MMD of the cells in and outside the mask of each window [n, 64], with all its windows at once."""
    block = far[windows[:, :, None], windows[:, None, :]]
    # Weights a on the cells inside and -b outside, each of sum 1: the MMD is the form w' K w, and 1 - K changes its sign.
    weights = masked / masked.sum(1, keepdims=True) - ~masked / (~masked).sum(1, keepdims=True)
    return -np.einsum("ni,nij,nj->n", weights, block, weights, optimize=True)


def _inner(far: Features, windows: npt.NDArray[np.intp], outside: npt.NDArray[np.bool_]) -> Features:
    """The MMD of each window inside the mask and all cells outside."""
    among = far[np.ix_(outside, outside)].mean() if len(windows) else 0.0
    own = far[windows[:, :, None], windows[:, None, :]].mean((1, 2))
    cross = far[windows][:, :, outside].mean((1, 2)) if len(windows) else own
    return 2 * cross - own - among


def open_rcs(spec: MetricSpec) -> RcS:
    """Open `rc-s`. It needs DINOv2: $RCS_MODEL, or ViT-g from the hub's cache."""
    check_installed(spec.name, "torch", "transformers")
    return RcS(spec, find_checkpoint(spec.name, "RCS_MODEL", CHECKPOINT, MODEL))
