"""Rim features: measurements in the neighbourhood of an outline point.

At an outline point the picture is sampled on a grid: rows along the outward normal, columns along the tangent. All
features are measured in this frame. They do not depend on the position in the photo or on the direction of the normal,
and a mirrored outline gives the same values.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask
from olrd.masks import disc, mask_box

Floats = npt.NDArray[np.float64]

REACH = 10
"""The grid spans REACH pixels to either side of the outline; negative offsets lie inside."""
SPAN = 7
"""The grid spans SPAN pixels along the outline in either direction: patches of 21 x 15 pixels."""
_BLOCK_WINDOW = 31
_FREE = 4
"""Number of outermost rows on either side (offsets 7 to 10). No blend and no 3x3 filter reaches them."""
_BANDS = {"deep": (-10, -7), "inner": (-6, -2), "rim": (-1, 1), "outer": (2, 6), "far": (7, 10)}
_MIDDLE = slice(SPAN - 3, SPAN + 4)
"""The columns on which context is measured. In columns farther out, a bent outline would enter the outermost rows."""
_NEAR = disc(6)
_BORDER = 24
"""Pixels around the object's box that the maps are computed on (grid and block window fit in)."""


class Outline(NamedTuple):
    """Points on an outline. points: float [n, 2] as (x, y). normals: float [n, 2], outward, unit."""

    points: Floats
    normals: Floats

    def grid(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """The pixels (x, y) of every point's grid, two int arrays [n, 21, 15], nearest neighbour.

        Nearest, because interpolation would smooth the noise that is to be measured.
        """
        across = np.arange(-REACH, REACH + 1)[None, :, None]
        along = np.arange(-SPAN, SPAN + 1)[None, None, :]
        (px, py), (nx, ny) = self.points.T[:, :, None, None], self.normals.T[:, :, None, None]
        x = np.floor(px + across * nx - along * ny + 0.5).astype(np.intp)
        y = np.floor(py + across * ny + along * nx + 0.5).astype(np.intp)
        return x, y

    def inside(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """bool [n]: the points whose grid lies completely inside a frame of `shape` (H, W)."""
        x, y = self.grid()
        good = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[0])
        return np.asarray(good.all(axis=(1, 2)))


def trace(mask: Mask, spacing: int = 2) -> Outline:
    """The outline of the largest piece of `mask` (bool [H, W]), one point about every `spacing` pixels.

    The points are pixels of the mask. The normals are those of the smoothed mask, so they do not jump with the pixel
    steps.
    """
    padded = np.pad(mask, 1).astype(np.uint8)
    contours, _ = cv2.findContours(padded, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=cv2.contourArea)[::spacing, 0, :] - 1
    soft = cv2.GaussianBlur(np.pad(mask, 8).astype(np.float64), (0, 0), 2.0)
    rows, columns = contour[:, 1] + 8, contour[:, 0] + 8
    slope = np.stack(
        [soft[rows, columns - 1] - soft[rows, columns + 1], soft[rows - 1, columns] - soft[rows + 1, columns]], axis=-1
    )
    length = np.linalg.norm(slope, axis=1)
    sound = length > 1e-3  # on a sliver, the smoothed mask has no slope
    return Outline(contour[sound].astype(np.float64), slope[sound] / length[sound, None])


class Rim(NamedTuple):
    """Features of n patches.

    Attributes:
        seam: float64 [n, k], features that see the outline.
        context: float64 [n, m], features that see nothing within six pixels of the outline point. No blend reaches
            farther, so they describe the surroundings, not the seam. (Across a thin or sharply bent part they can see
            the seam on its other side.)
    """

    seam: Floats
    context: Floats


def rim_features(image: Image, mask: Mask, outline: Outline) -> Rim:
    """Features of the patches at the points of `outline`.

    There are four groups: step profiles across and along the outline; noise residuals in bands (Laplacian, and the 3x3
    filter of Fridrich & Kodovsky 2012), with their energy, the share of small values, and the correlation of
    neighbours; the colours at the rim as a mix of those on both sides; and the step energy on JPEG's 8x8 grid.

    Args:
        image: uint8 [H, W, 3].
        mask: bool [H, W].
        outline: its points; all grids must lie inside the frame (see `Outline.inside`).
    """
    box = mask_box(mask)
    # The window starts on the 8x8 grid, so that the phase of JPEG blocks is that of the frame.
    x0, y0 = (max(0, box.x - _BORDER) // 8 * 8, max(0, box.y - _BORDER) // 8 * 8)
    window = slice(y0, box.y + box.h + _BORDER), slice(x0, box.x + box.w + _BORDER)
    moved = Outline(outline.points - (x0, y0), outline.normals)
    x, y = moved.grid()
    ycc = cv2.cvtColor(np.ascontiguousarray(image[window]), cv2.COLOR_RGB2YCrCb).astype(np.float64)
    parts = [
        _profiles(ycc[y, x]),
        _residuals(ycc[..., 0], x, y),
        _colours(image[window][y, x].astype(np.float64)),
        _blocks(ycc[..., 0], mask[window], moved),
    ]
    return Rim(*(np.concatenate(side, axis=1) for side in zip(*parts, strict=True)))


def _profiles(patch: Floats) -> Rim:
    """Mean steps across and along the outline at every offset. patch: [n, 21, 15, 3], Y Cr Cb."""
    across, along, colour = _steps(patch)
    # Also relative to the patch's contrast, because a seam is a larger step than those around it.
    relative = across / (across.mean(axis=1, keepdims=True) + 1.0)
    near = slice(_FREE, -_FREE)
    seam = [np.log1p(of[:, near]) for of in (across, along, colour)] + [relative[:, near]]
    free = np.r_[0 : _FREE - 1, -_FREE + 1 : 0]
    context = [np.log1p(of[:, free]) for of in _steps(patch[:, :, _MIDDLE])]
    return Rim(np.concatenate(seam, axis=1), np.concatenate(context, axis=1))


def _steps(patch: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean absolute steps per offset: grey across, grey along, colour across."""
    grey, colour = patch[..., 0], patch[..., 1:]
    return (
        np.abs(np.diff(grey, axis=1)).mean(axis=2),
        np.abs(np.diff(grey, axis=2)).mean(axis=2),
        np.abs(np.diff(colour, axis=1)).mean(axis=(2, 3)),
    )


def _residuals(grey: Floats, x: npt.NDArray[np.intp], y: npt.NDArray[np.intp]) -> Rim:
    """Statistics of two high-pass residuals in the bands, and their contrasts across the rim."""
    square = np.array([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]], np.float64) / 4
    seam: list[Floats] = []
    context: list[Floats] = []
    for residual in (cv2.Laplacian(grey, cv2.CV_64F), cv2.filter2D(grey, cv2.CV_64F, square)):
        patch = residual[y, x]
        energy = {}
        for name, (low, high) in _BANDS.items():
            free = name in ("deep", "far")
            band = patch[:, low + REACH : high + REACH + 1, _MIDDLE if free else slice(None)]
            energy[name] = np.log1p(np.abs(band).mean(axis=(1, 2)))
            products = (band[:, :, 1:] * band[:, :, :-1]).mean(axis=(1, 2))
            (context if free else seam).extend(
                [
                    energy[name],
                    (np.abs(band) <= 1).mean(axis=(1, 2)),
                    products / ((band * band).mean(axis=(1, 2)) + 1.0),
                ]
            )
        context.append(energy["deep"] - energy["far"])
        seam += [
            energy["inner"] - energy["outer"],
            energy["rim"] - (energy["inner"] + energy["outer"]) / 2,
            energy["inner"] - energy["deep"],
            energy["outer"] - energy["far"],
        ]
    return Rim(np.stack(seam, axis=1), np.stack(context, axis=1))


def _colours(patch: Floats) -> Rim:
    """The colours at the rim in relation to those on both sides. patch: float [n, 21, 15, 3], RGB.

    With F and B the mean colours inside and outside, a colour C at the rim has the share (C - B)(F - B) / |F - B|^2
    and a remainder that no mix of F and B explains. The halo of another background shows in this remainder.
    """
    rows = patch.mean(axis=2)  # [n, 21, 3]
    front, back = rows[:, :_FREE].mean(axis=1), rows[:, -_FREE:].mean(axis=1)
    gap = front - back
    size = (gap * gap).sum(axis=1) + 100.0
    rim = rows[:, _FREE:-_FREE] - back[:, None]
    share = (rim * gap[:, None]).sum(axis=2) / size[:, None]
    rest = np.linalg.norm(rim - share[..., None] * gap[:, None], axis=2)
    sides = patch[:, :, _MIDDLE].mean(axis=2)
    apart = sides[:, :_FREE].mean(axis=1) - sides[:, -_FREE:].mean(axis=1)
    distance = np.linalg.norm(apart, axis=1, keepdims=True)
    return Rim(np.concatenate([np.clip(share, -2, 3), rest], axis=1), distance)


def _blocks(grey: Floats, mask: Mask, outline: Outline) -> Rim:
    """Log ratio of the steps on the frame's 8x8 grid to the others, inside and outside, x and y.

    In a photo that was a JPEG, steps on the grid are larger. A moved object has a moved grid.
    """
    columns, rows = outline.points.astype(np.intp).T
    size = (_BLOCK_WINDOW, _BLOCK_WINDOW)
    near = cv2.dilate(mask.view(np.uint8), _NEAR) - cv2.erode(mask.view(np.uint8), _NEAR)
    sides = [side & (near == 0) for side in (mask, ~mask)]
    features = []
    for axis in (0, 1):
        step = np.zeros_like(grey)
        ahead = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
        step[ahead] = np.minimum(np.abs(np.diff(grey, axis=axis)), 12.0)  # edges of the picture
        on_grid = (np.arange(grey.shape[axis]) % 8 == 0).astype(np.float64)
        on_grid = on_grid[:, None] if axis == 0 else on_grid[None, :]
        for side in sides:
            ratio = []
            for weight in (side * on_grid, side * (1 - on_grid)):
                total = cv2.boxFilter(step * weight, cv2.CV_64F, size, normalize=False)
                count = cv2.boxFilter(weight, cv2.CV_64F, size, normalize=False)
                ratio.append((total[rows, columns] + 1.0) / (count[rows, columns] + 1.0))
            features.append(np.log(ratio[0] / ratio[1]))
    return Rim(np.zeros((len(rows), 0)), np.stack(features, axis=1))
