"""Motion between two pictures of one place: estimated, and undone.

A motion is a 3 x 3 projective map, nine numbers in the order of its rows, from the coordinates of one picture (x to the
right, y down, in pixels, centres at whole numbers) to those of another. None stands for no motion. Estimates are
rounded before they are used, so that what a recipe stores is exactly what was applied.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from olrd.arrays import Image, Mask
from olrd.panoptic import Box
from olrd.trust import counted

Motion = tuple[float, ...]
STILL = 0.2
"""Displacement in pixels that counts as none. Below it, resampling costs more sharpness than it gains."""
_DIGITS = 9
_STEPS = 32
"""Positions are rounded to 1/32 pixel, as OpenCV's are."""
_LONG_SIDE = 640
_TILES = 3
"""Tiles along the shorter side; they overlap by half."""
_LEAST_TILES, _LEAST_RESPONSE = 4, 0.03
_TILE_SPREAD = 2.0
"""Distance in pixels within which tiles share a shift."""
_SHARED = 0.4
"""Share of the tiles that must share it."""
_STEPS_OF_NEWTON, _ENOUGH = 12, 0.01
_TERMS = cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-5
_FEATURES = 2000
_LEAST_MATCHES = 12
_RANSAC = 3.0


def grey_of(picture: Image) -> np.ndarray:
    """float32 [H, W]: the luma."""
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)


def small_motion(still: Image, moved: Image) -> Motion | None:
    """The motion of a shaking camera: a shift and a small rotation.

    Phase correlation finds the shift of each of some dozens of tiles. The shift that most of them share is that of the
    camera; tiles with passing objects do not count. It is refined on the whole picture (see `_refined`). If no shift is
    shared, the camera was moved far, and the shift of the whole picture is returned. Pictures of less than two pixels
    a side, once they are reduced, show no motion.
    """
    one, other = grey_of(still), grey_of(moved)
    scale = min(1.0, _LONG_SIDE / max(one.shape))
    if _too_thin(one, scale):
        return None
    one, other = _reduced(one, scale), _reduced(other, scale)
    shift = _shared_shift(one, other)
    if shift is None:
        window = cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F)
        (dx, dy), _ = cv2.phaseCorrelate(one, other, window)
        matrix = np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]])
    else:
        matrix = _refined(one, other, shift)
    return _usable(_enlarged(matrix, scale), still.shape)


def _shared_shift(one: np.ndarray, other: np.ndarray) -> np.ndarray | None:
    """The shift (x, y) that most tiles with texture share, or None."""
    side = max(16, min(one.shape) // _TILES)
    window = cv2.createHanningWindow((side, side), cv2.CV_32F)
    found = []
    for top in range(0, one.shape[0] - side + 1, side // 2):
        for left in range(0, one.shape[1] - side + 1, side // 2):
            tile = slice(top, top + side), slice(left, left + side)
            shift, response = cv2.phaseCorrelate(
                np.ascontiguousarray(one[tile]), np.ascontiguousarray(other[tile]), window
            )
            if response > _LEAST_RESPONSE:
                found.append(shift)
    if len(found) < _LEAST_TILES:
        return None
    shifts = np.array(found)
    near = np.hypot(*(shifts - np.median(shifts, axis=0)).T) < _TILE_SPREAD
    return None if near.mean() < _SHARED else np.median(shifts[near], axis=0)


def _refined(one: np.ndarray, other: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """A shift and a rotation by Gauss-Newton steps (Lucas and Kanade 1981) with a gain and an offset of the light.

    Pixels that fit badly get a small weight (Geman and McClure), so that objects do not pull.
    """
    first, second = cv2.GaussianBlur(one, (0, 0), 1.2), cv2.GaussianBlur(other, (0, 0), 1.2)
    height, width = one.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    across, down = cv2.Sobel(first, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(first, cv2.CV_32F, 0, 1, scale=1 / 8)
    columns = np.stack([across, down, down * x - across * y, first, np.ones_like(first)])[:, 4:-4:2, 4:-4:2]
    columns = columns.reshape(5, -1)
    target = first[4:-4:2, 4:-4:2].ravel()
    matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for _ in range(_STEPS_OF_NEWTON):
        seen = cv2.warpAffine(second, matrix[:2], (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        error = seen[4:-4:2, 4:-4:2].ravel() - target
        error = error - np.median(error)
        spread = max(0.5, 1.4826 * float(np.median(np.abs(error))))
        weight = 1 / (1 + (error / (2 * spread)) ** 2) ** 2
        normal = (columns * weight) @ columns.T + 1e-6 * np.eye(5)
        step = np.linalg.solve(normal, (columns * weight) @ error)
        angle = float(np.clip(step[2], -0.02, 0.02))
        cos, sin = np.cos(angle), np.sin(angle)
        centre = np.array([(width - 1) / 2, (height - 1) / 2])
        turn = np.array([[cos, -sin], [sin, cos]])
        back = np.vstack([np.column_stack([turn, centre + step[:2] - turn @ centre]), [0, 0, 1]])
        matrix = matrix @ np.linalg.inv(back)
        if max(abs(step[0]), abs(step[1]), abs(angle) * width / 2) < _ENOUGH:
            break
    return matrix


def large_motion(still: Image, moved: Image) -> Motion | None:
    """The motion of a camera in a hand: a projective map from matched features (ORB), refined by ECC.

    Raises `ValueError` with the number of matches if there are too few, or if a picture is too thin.
    """
    one, other = grey_of(still), grey_of(moved)
    scale = min(1.0, 2 * _LONG_SIDE / max(one.shape))
    if _too_thin(one, scale) or _too_thin(other, scale):
        raise ValueError("they are too thin")
    one, other = _reduced(one, scale), _reduced(other, scale)
    matrix, count = _from_features(one, other)
    if matrix is None:
        raise ValueError(f"{counted(count, 'feature matches', 'features match')}, expected at least {_LEAST_MATCHES}")
    refined = _ecc(one, other, matrix.astype(np.float32), cv2.MOTION_HOMOGRAPHY)
    return _usable(_enlarged(matrix if refined is None else refined, scale), still.shape)


def _too_thin(grey: np.ndarray, scale: float) -> bool:
    """Whether the reduced picture is too thin for OpenCV."""
    return round(min(grey.shape) * scale) < 2


def _reduced(grey: np.ndarray, scale: float) -> np.ndarray:
    return grey if scale == 1 else cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _enlarged(matrix: np.ndarray, scale: float) -> np.ndarray:
    """A map between reduced pictures, for the pictures themselves. Centres of pixels lie at whole numbers."""
    down = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]])
    return np.linalg.inv(down) @ matrix.astype(np.float64) @ down


def _ecc(one: np.ndarray, other: np.ndarray, start: np.ndarray, kind: int) -> np.ndarray | None:
    """The refined map, or None if the method does not converge."""
    try:
        _, found = cv2.findTransformECC(one, other, start.copy(), kind, _TERMS, None, 5)
    except cv2.error:
        return None
    return found


def _from_features(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray | None, int]:
    """The projective map that most matched features agree on, and their number. The draws of RANSAC are seeded."""
    cv2.setRNGSeed(0)
    finder = cv2.ORB.create(_FEATURES)
    (first, a), (second, b) = (finder.detectAndCompute(grey.astype(np.uint8), None) for grey in (one, other))
    if a is None or b is None:
        return None, 0
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(a, b)
    if len(matches) < _LEAST_MATCHES:
        return None, len(matches)
    source = np.array([first[match.queryIdx].pt for match in matches], np.float32)
    target = np.array([second[match.trainIdx].pt for match in matches], np.float32)
    matrix, inliers = cv2.findHomography(source, target, cv2.RANSAC, _RANSAC)
    count = 0 if inliers is None else int(inliers.sum())
    return (matrix if count >= _LEAST_MATCHES else None), count


def _usable(matrix: np.ndarray, shape: Sequence[int]) -> Motion | None:
    """The rounded motion; None if no corner of the picture moves by `STILL` pixels."""
    motion = rounded(matrix)
    return motion if displacement(motion, shape) >= STILL else None


def rounded(matrix: np.ndarray) -> Motion:
    """A matrix as a motion, scaled so that its last number is 1."""
    return tuple(round(float(value), _DIGITS) for value in (matrix / matrix[2, 2]).ravel())


def joined(first: Motion | None, then: Motion | None) -> Motion | None:
    """The motion that applies `first` and then another one."""
    if first is None or then is None:
        return then if first is None else first
    return rounded(_matrix(then) @ _matrix(first))


def undone(motion: Motion | None) -> Motion | None:
    """The motion back."""
    return None if motion is None else rounded(np.linalg.inv(_matrix(motion)))


def _matrix(motion: Motion) -> np.ndarray:
    return np.array(motion, np.float64).reshape(3, 3)


def displacement(motion: Motion | None, shape: Sequence[int]) -> float:
    """The largest distance in pixels by which a corner of a picture of that (height, width) moves."""
    if motion is None:
        return 0.0
    height, width = shape[:2]
    corners = np.array([(x, y, 1.0) for x in (0, width - 1) for y in (0, height - 1)])
    moved = corners @ _matrix(motion).T
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.hypot(*(moved[:, :2] / moved[:, 2:] - corners[:, :2]).T).max()
    return float(far) if np.isfinite(far) else float("inf")


def warped(picture: Image, motion: Motion | None, box: Box) -> tuple[Image, Mask]:
    """The picture as it is seen inside a box after a motion: `picture[motion(x)]` for every x in the box.

    Bilinear in whole numbers, at positions of 1/32 pixel, so that every machine gives the same pixels.

    Returns:
        uint8 [h, w, 3], and bool [h, w]: where the picture reaches.
    """
    if motion is None:
        return picture[box.crop()], np.ones((box.h, box.w), np.bool_)
    m = motion
    x = np.arange(box.x, box.x + box.w, dtype=np.float64)[None, :]
    y = np.arange(box.y, box.y + box.h, dtype=np.float64)[:, None]
    depth = m[6] * x + m[7] * y + m[8]
    depth = np.where(depth == 0, np.nan, depth)
    height, width = picture.shape[:2]
    columns = _position((m[0] * x + m[1] * y + m[2]) / depth, width)
    rows = _position((m[3] * x + m[4] * y + m[5]) / depth, height)
    valid = (columns >= 0) & (columns <= (width - 1) * _STEPS) & (rows >= 0) & (rows <= (height - 1) * _STEPS)
    columns = np.clip(columns, 0, (width - 1) * _STEPS)
    rows = np.clip(rows, 0, (height - 1) * _STEPS)
    left, top = columns // _STEPS, rows // _STEPS
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (columns % _STEPS)[..., None], (rows % _STEPS)[..., None]
    upper = picture[top, left] * (_STEPS - across) + picture[top, right] * across
    lower = picture[bottom, left] * (_STEPS - across) + picture[bottom, right] * across
    mixed = upper * (_STEPS - down) + lower * down
    return ((mixed + _STEPS * _STEPS // 2) // (_STEPS * _STEPS)).astype(np.uint8), valid


def _position(values: np.ndarray, length: int) -> np.ndarray:
    """Coordinates in steps, int64; far outside the picture for those that are not finite."""
    limit = 4.0 * length
    finite = np.where(np.isfinite(values), values, -limit)
    return np.floor(np.clip(finite, -limit, limit) * _STEPS + 0.5).astype(np.int64)
