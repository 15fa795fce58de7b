"""The blend `guided` against a loop over pixels that follows the formulas."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from olrd.triplets.guided import COLOURS, GUIDED, NOISE, STEEPNESS, WINDOW, guided

Bits = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]


def scene(seed: int) -> tuple[Pixels, Bits, Pixels]:
    """A soft red disc with grain on green, its mask (one pixel off), and another background with grain."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:46, :46]
    alpha = np.clip(14.5 - np.hypot(y - 22, x - 22), 0, 2)[..., None] / 2
    patch = alpha * (180, 60, 40) + (1 - alpha) * (40, 140, 60) + random.normal(0, 8, (46, 46, 3))
    under = random.normal((90, 90, 160), 8, (46, 46, 3))
    mask: Bits = np.hypot(y - 22, x - 23) <= 14
    return np.clip(patch, 0, 255).astype(np.uint8), mask, np.clip(under, 0, 255).astype(np.uint8)


def window(values: npt.NDArray[np.float64], y: int, x: int, reach: int) -> npt.NDArray[np.float64]:
    rows = np.clip(np.arange(y - reach, y + reach + 1), 0, len(values) - 1)
    columns = np.clip(np.arange(x - reach, x + reach + 1), 0, values.shape[1] - 1)
    return values[rows[:, None], columns].reshape((2 * reach + 1) ** 2, -1)


def naive_alpha(patch: Pixels, mask: Bits, band: int, trust: float) -> npt.NDArray[np.float64]:
    """Ridge regression of the mask on the colours in a window, pixel by pixel; 0 and 1 outside the band."""
    colours, inside = patch.astype(float), mask.astype(float)
    far = np.argwhere(~mask)
    near = np.argwhere(mask)
    alpha = inside.copy()
    for y, x in np.ndindex(mask.shape):
        other = far if mask[y, x] else near
        if (((other - (y, x)) ** 2).sum(axis=1)).min() > band * band:
            continue
        here, labels = window(colours, y, x, WINDOW), window(inside, y, x, WINDOW)[:, 0]
        centred = here - here.mean(axis=0)
        matrix = centred.T @ centred / len(here) + NOISE * np.eye(3)
        slope = np.linalg.solve(matrix, centred.T @ (labels - labels.mean()) / len(here))
        share = labels.mean() + slope @ (colours[y, x] - here.mean(axis=0))
        share = (share - 0.5) * STEEPNESS + 0.5
        gap = ((here[labels == 1].mean(axis=0) - here[labels == 0].mean(axis=0)) ** 2).sum()
        known = gap / (gap + trust)
        share = np.clip(known * share + (1 - known) * window(inside, y, x, 1).mean(), 0, 1)
        alpha[y, x] = 0 if share < 7.5 / 255 else 1 if share >= 247.5 / 255 else share
    return alpha


@pytest.mark.parametrize(("band", "trust"), [(4, 1000.0), (4, 50.0)])
def test_guided_is_the_regression_pixel_by_pixel(band: int, trust: float) -> None:
    patch, mask, under = scene(0)
    alpha = naive_alpha(patch, mask, band, trust)
    expected = under.astype(float)
    for y, x in np.argwhere(alpha > 0):
        a = alpha[y, x]
        shares = window(alpha, y, x, COLOURS)
        colours = window(patch.astype(float), y, x, COLOURS)
        front = (shares * colours).sum(axis=0) / shares.sum()
        back = ((1 - shares) * colours).sum(axis=0) / max((1 - shares).sum(), 1e-9)
        rest = patch[y, x] - a * front - (1 - a) * back
        expected[y, x] = a * front + (1 - a) * under[y, x] + np.sqrt(1 - (1 - a) ** 2) * rest
    pasted = guided(patch, mask, under, {"band": band, "trust": trust})
    difference = np.abs(pasted.pixels - np.clip(expected, 0, 255)).max(axis=2)
    assert np.quantile(difference, 0.99) <= 1.5  # alpha is rounded to 1 / 255
    assert difference.max() <= 4
    assert np.array_equal(pasted.footprint, (alpha > 0) | mask)


def test_the_rim_keeps_its_grain() -> None:
    """The same disc on its own colour: the deviation in the rim is that of both sides, where plain alpha loses a third."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:90, :90]
    distance = np.hypot(y - 45, x - 45)
    mask: Bits = distance <= 30
    grain = lambda: np.clip(128 + random.normal(0, 10, (90, 90, 3)), 0, 255).astype(np.uint8)  # noqa: E731
    pixels = guided(grain(), mask, grain(), GUIDED.defaults).pixels.astype(float)
    rim = pixels[np.abs(distance - 30) < 1].std()
    assert 0.9 < rim / pixels[np.abs(distance - 30) > 6].std() < 1.1


def test_a_thin_part_survives() -> None:
    """A dark line of two pixels is thinner than the band: no pixel of it is certain."""
    patch = np.full((60, 60, 3), 150, np.uint8)
    patch[10:50, 29:31] = (60, 20, 20)
    mask = np.zeros((60, 60), np.bool_)
    mask[10:50, 29:31] = True
    pixels = guided(patch, mask, np.full((60, 60, 3), 90, np.uint8), GUIDED.defaults).pixels
    assert np.abs(pixels[14:46, 29:31].astype(int) - (60, 20, 20)).mean() < 8
    assert np.abs(pixels[14:46, [26, 33]].astype(int) - 90).max() <= 6
