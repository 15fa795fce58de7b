"""Finds the cast shadow of a masked object on the ground.

In linear light a shadow is a factor: the ground keeps its texture and, up to a little blue, its colour, and only gets
darker. So the search works on logarithms, where a shadow is a constant offset to the lit ground beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask

Floats = npt.NDArray[np.float32]

FAINTEST, DEEPEST, UNDERNEATH = 0.3, 2.6, 4.5
"""Least and largest darkening, as a natural logarithm: the shadow keeps 74 % to 7 % of the light. It is deeper only
right under the object, as below a car, where the sky is hidden too."""
COLOUR_SHIFT = 0.16
"""Largest change of the logarithms of red/green and blue/green across the shadow's edge, plus a tenth of its depth."""
LARGEST, SMALLEST_SHARE = 1.2, 0.03
"""Bounds on the shadow's area, as multiples of the object's."""
SMALLEST = 100
"""Fewest pixels of a shadow in the copy that is searched."""
REACH = 1.5
"""How far from the object the ground is looked at, as a multiple of the object's longer side."""
LIT_RIM = 0.75
"""Share of the shadow's rim beyond which the ground must be lit."""


class _Window(NamedTuple):
    """The part of the photo around the object in which its shadow is looked for.

    Attributes:
        log: float32 [h, w, 3], logarithms of linear light.
        smooth: the same, blurred without the object.
        hole: bool [h, w], the object.
        near: bool [h, w], the object and the pixels at its outline, which mix two things.
        level: the row of the object's middle. Above it there is no ground that the object stands on.
        size: square root of the object's area, in pixels.
        end: bool [h, w], the window's outermost pixels where the photo goes on.
        frame: bool [h, w], those at the photo's edge.
    """

    log: Floats
    smooth: Floats
    hole: Mask
    near: Mask
    level: float
    size: float
    end: Mask
    frame: Mask


class _Ground(NamedTuple):
    """The lit ground that is assumed around an object.

    Attributes:
        darker: float32 [h, w], how much darker each pixel is than the lit ground, in logarithms.
        tint: float32 [h, w], how far its colour is from the ground's.
        spread: deviation of `darker` on lit ground.
    """

    darker: Floats
    tint: Floats
    spread: float


class _Evidence(NamedTuple):
    """What tells a shadow from other dark regions.

    Attributes:
        area: its area, as a multiple of the object's.
        depth: median of how much darker it is than the lit ground, in logarithms.
        clear: depth over the spread of the lit ground.
        above: share of it above the object's middle.
        drop: how far it goes below the object, as a multiple of the object's height.
        cut: pixels at the edge of the search over those of its free rim.
        framed: pixels at the photo's edge over those of its free rim.
        lit: share of the surroundings beyond its rim that are lit ground.
        deviation: spread of the depth inside, over the depth.
        shift: distance of its colour from that of the lit ground beyond its rim.
        blue: how much bluer it is than that ground, as a logarithm of blue over red.
        texture: logarithm of its texture's strength over that of the ground.
        touching: share of its rim at the object.
        ragged: its outline squared over its area; 1 for a disc.
    """

    area: float
    depth: float
    clear: float
    above: float
    drop: float
    cut: float
    framed: float
    lit: float
    deviation: float
    shift: float
    blue: float
    texture: float
    touching: float
    ragged: float


def shadow_of(image: Image, mask: Mask) -> Mask:
    """Find the masked object's cast shadow.

    Args:
        image: uint8 [H, W, 3] RGB.
        mask: bool [H, W], the object; at least one pixel.

    Returns:
        bool [H, W], all False where there is no convincing shadow. Pixels right at the outline are left out.
    """
    window, box = _window(image, mask)
    best, best_score = np.zeros_like(mask), 0.0
    for lit in _lit_colours(window):
        ground = _ground(window, lit)
        if ground is None:
            continue
        together, score = np.zeros_like(window.hole), 0.0
        for part in _attached(window, ground):
            evidence = _evidence(part, window, ground)
            if _convincing(evidence):
                together |= part
                score += evidence.lit * evidence.area
        if score > best_score:
            best, best_score = np.zeros_like(mask), score
            best[box] = together
    return best


def _window(image: Image, mask: Mask) -> tuple[_Window, tuple[slice, slice]]:
    """Cut out the surroundings, and say where they were."""
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    far = round(REACH * max(bottom - top, right - left)) + 4
    box = slice(max(0, top - far), bottom + far), slice(max(0, left - far), right + far)
    hole = mask[box]
    size = float(np.sqrt(np.count_nonzero(mask)))
    log = _logarithms(image[box])
    smooth = _smoothed(log, _grown(hole, 1), float(np.clip(size / 60, 0.8, 3.0)))
    outermost, frame = (np.zeros(m.shape, np.bool_) for m in (hole, mask))
    for edges in (outermost, frame):
        edges[[0, -1]] = edges[:, [0, -1]] = True
    frame = frame[box]
    level = (top + bottom) / 2 - box[0].start
    return _Window(log, smooth, hole, _grown(hole, 2), level, size, outermost & ~frame, frame), box


def _logarithms(image: Image) -> Floats:
    """Logarithms of linear light, float32 [h, w, 3], from sRGB. The floor keeps noise in black pixels small."""
    codes = np.arange(256, dtype=np.float64) / 255
    linear = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    return np.log(linear + 0.006).astype(np.float32)[image]


def _grown(mask: Mask, by: int) -> Mask:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
    return cv2.dilate(mask.astype(np.uint8), disc) > 0


def _smoothed(log: Floats, without: Mask, sigma: float) -> Floats:
    """Blur `log` [h, w, 3] with no colour of the object mixed in."""
    known = (~without).astype(np.float32)
    weights = cv2.GaussianBlur(known, (0, 0), sigma)
    sums = cv2.GaussianBlur(log * known[..., None], (0, 0), sigma)
    return np.where(weights[..., None] > 0.01, sums / np.maximum(weights, 0.01)[..., None], log)


def _lit_colours(window: _Window) -> list[Floats]:
    """Up to four candidates for the lit ground's colour: the peaks of brightness around the object's lower half."""
    ring = _grown(window.near, max(4, round(window.size * 0.5))) & ~window.near
    ring[: int(window.level)] = False
    if np.count_nonzero(ring) < 30:
        return []
    pixels = window.smooth[ring]
    bright = pixels.mean(axis=1)
    counts, edges = np.histogram(bright, bins=48, range=(-5.2, 0.1))
    counts = np.convolve(counts, [1, 2, 3, 2, 1], "same").astype(np.float64)
    peaks = [
        k for k in range(48) if counts[k] >= 0.12 * counts.max() and counts[k] == counts[max(0, k - 3) : k + 4].max()
    ]
    peaks = sorted(peaks, key=lambda k: -counts[k])[:4]
    found = []
    for k in peaks:
        middle = (edges[k] + edges[k + 1]) / 2
        among = pixels[np.abs(bright - middle) < 0.15]
        if len(among) >= 15:
            found.append(np.median(among, axis=0).astype(np.float32))
    return found


def _ground(window: _Window, lit: Floats) -> _Ground | None:
    """Compare every pixel with the lit ground, whose brightness may change linearly over the window."""
    colour = window.smooth - lit
    tint = _colour_distance(colour)
    bright = colour.mean(axis=2)
    height, width = bright.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    basis = np.stack([np.ones_like(rows), columns / width - 0.5, rows / height - 0.5], axis=-1)
    usable = ~window.near & (tint < COLOUR_SHIFT) & (rows >= window.level - 0.3 * window.size)
    alike = usable & (np.abs(bright) < 0.25)
    off = bright
    for _ in range(3):
        if np.count_nonzero(alike) < 40:
            return None
        some = max(1, int(np.count_nonzero(alike)) // 4000)
        points, values = basis[alike][::some], bright[alike][::some]
        normal = points.T @ points + np.diag(np.array([0, 0.02, 0.02], np.float32)) * len(points)
        off = bright - basis @ np.linalg.solve(normal, points.T @ values).astype(np.float32)
        alike = usable & (np.abs(off) < 0.25)
    if np.count_nonzero(alike) < 40:
        return None
    return _Ground(-off, tint, float(1.4826 * np.median(np.abs(off[alike]))))


def _colour_distance(colour: Floats) -> Floats:
    """How far a change of colour [..., 3] is from a change of brightness alone. Half of a blue shift is forgiven."""
    red, blue = colour[..., 0] - colour[..., 1], colour[..., 2] - colour[..., 1]
    blue = np.where(blue > 0, 0.5 * blue, blue)
    return np.maximum(np.abs(red), np.abs(blue))


def _attached(window: _Window, ground: _Ground) -> Iterator[Mask]:
    """Yield the dark regions that come close to the object's lower half, cut at half of their depth."""
    seeds = _grown(window.near, 2 + round(window.size / 20)) & ~window.near
    seeds[: int(window.level)] = False
    threshold = max(FAINTEST * 0.7, 2.5 * ground.spread)
    for coarse in _touching(window, ground, seeds, threshold):
        depth = float(np.median(ground.darker[coarse]))
        for part in _touching(window, ground, seeds, max(threshold, 0.5 * depth)):
            if (part & coarse).any():
                yield cv2.morphologyEx(part.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) > 0


def _touching(window: _Window, ground: _Ground, seeds: Mask, threshold: float) -> list[Mask]:
    """The connected regions of the ground's colour that are darker than `threshold` and hold some of the seeds."""
    dark = (ground.darker > threshold) & (ground.darker < UNDERNEATH) & ~window.near
    dark &= ground.tint < COLOUR_SHIFT + 0.1 * np.clip(ground.darker, 0, UNDERNEATH)
    opened = cv2.morphologyEx(dark.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, labels = cv2.connectedComponents(opened, connectivity=4)
    touched = np.bincount(labels[seeds & (opened > 0)], minlength=count)
    sizes = np.bincount(labels.ravel(), minlength=count)
    return [labels == k for k in np.nonzero((touched >= 3) & (sizes >= SMALLEST))[0] if k > 0]


def _evidence(part: Mask, window: _Window, ground: _Ground) -> _Evidence:
    """Measure what tells a shadow from other dark regions."""
    area = int(np.count_nonzero(part))
    rows, filled = np.nonzero(part)[0], np.nonzero(window.hole.any(axis=1))[0]
    feet, tall = int(filled[-1]) + 1, int(filled[-1] - filled[0]) + 1
    rim = _grown(part, 1) & ~part
    free, whole = (max(1, int(np.count_nonzero(where))) for where in (rim & ~window.near, rim))
    depth = float(np.median(ground.darker[part]))
    beyond = _grown(part, 5) & ~_grown(part, 3) & ~window.near
    lit = beyond & (np.abs(ground.darker) < 0.5 * depth) & (ground.tint < COLOUR_SHIFT)
    core = cv2.erode(part.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    if np.count_nonzero(core) < 10:
        core = part
    contours = cv2.findContours(part.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)[0]
    outline = sum(float(cv2.arcLength(contour, True)) for contour in contours)
    shift, blue, texture = _change(window.log, core, lit)
    return _Evidence(
        area=area / int(np.count_nonzero(window.hole)),
        depth=depth,
        clear=depth / max(ground.spread, 0.02),
        above=float(np.mean(rows < window.level)),
        drop=float(rows.max() + 1 - feet) / tall,
        cut=int(np.count_nonzero(part & window.end)) / free,
        framed=int(np.count_nonzero(part & window.frame)) / free,
        lit=int(np.count_nonzero(lit)) / max(12, int(np.count_nonzero(beyond))),
        deviation=1.4826 * float(np.median(np.abs(ground.darker[core] - np.median(ground.darker[core])))) / depth,
        shift=shift,
        blue=blue,
        texture=texture,
        touching=1 - free / whole,
        ragged=outline**2 / (4 * np.pi * area),
    )


def _change(log: Floats, core: Mask, lit: Mask) -> tuple[float, float, float]:
    """How colour, blue over red, and the strength of texture change from the lit ground to the dark region."""
    if np.count_nonzero(lit) < 12:
        return np.inf, 0.0, 0.0
    change = (np.median(log[core], axis=0) - np.median(log[lit], axis=0)).astype(np.float32)
    fine = (cv2.GaussianBlur(log, (0, 0), 0.7) - cv2.GaussianBlur(log, (0, 0), 1.4)).mean(axis=2)
    inside, outside = (float(np.sqrt(np.mean(np.square(fine[where])))) for where in (core, lit))
    texture = float(np.log((inside + 0.03) / (outside + 0.03)))
    return float(_colour_distance(change)), float(change[2] - change[0]), texture


def _convincing(e: _Evidence) -> bool:
    """Whether all of the evidence is that of a shadow. The bounds were chosen on rendered and on annotated photos."""
    underneath = e.touching >= 0.15 and e.drop <= 0.5 and e.area <= 0.6
    return (
        SMALLEST_SHARE <= e.area <= LARGEST
        and FAINTEST <= e.depth <= (UNDERNEATH if underneath else DEEPEST)
        and e.clear >= 3
        and e.above <= 0.15
        and e.drop <= 0.9
        and e.ragged <= 9
        and e.cut <= 0.03
        and e.framed <= 0.05
        and e.lit >= LIT_RIM
        and e.deviation <= 0.5
        and e.shift <= 0.06 + (0.1 if e.blue > 0.1 else 0.07) * e.depth
        and -0.2 <= e.blue <= (0.8 if underneath else 0.45)
        and e.touching <= 0.65
        and abs(e.texture) <= 0.9 + 0.2 * max(0.0, e.depth - 1)
    )
