"""Annotated outlines that run beside the object, and outlines that follow it."""

from __future__ import annotations

import numpy as np
import pytest

from olrd.masks import disc, largest_piece
from olrd.panoptic import Box
from olrd.triplets.outlines import core, refined_outline, without_crumbs

SIDE = 160


def scene(texture: float = 4) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc of radius 40 with a stalk of 8 pixels, on a dark ground, with noise: uint8 [H, W, 3], and its mask."""
    y, x = np.mgrid[:SIDE, :SIDE]
    mask = ((y - 60) ** 2 + (x - 80) ** 2 <= 40**2) | ((abs(x - 80) < 4) & (y >= 60) & (y < 140))
    pixels = np.random.default_rng(0).normal(70, texture, (SIDE, SIDE, 3)) + mask[..., None] * (90, 40, 60)
    return np.clip(pixels, 0, 255).astype(np.uint8), mask


def box_of(mask: np.ndarray) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return Box(int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)


def refined(pixels: np.ndarray, mask: np.ndarray, outward: int = 4) -> np.ndarray:
    box, whole = box_of(mask), np.zeros_like(mask)
    whole[box.crop()] = refined_outline(pixels, box, np.ascontiguousarray(mask[box.crop()]), outward)
    return whole


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def octagon() -> np.ndarray:
    """An annotation with few corners, which includes strips of the ground."""
    y, x = np.mgrid[:SIDE, :SIDE]
    body = (abs(y - 60) <= 44) & (abs(x - 82) <= 42) & (abs(y - 60) + abs(x - 82) <= 64)
    return body | ((abs(x - 80) < 7) & (y >= 60) & (y < 140))


def test_an_outline_with_few_corners_moves_to_the_edge() -> None:
    pixels, truth = scene()
    drawn = octagon()
    assert iou(drawn, truth) < 0.8
    assert iou(refined(pixels, drawn), truth) > 0.94


@pytest.mark.parametrize("texture", [4, 12])
def test_an_outline_on_the_edge_stays(texture: float) -> None:
    pixels, truth = scene(texture)
    assert iou(refined(pixels, truth), truth) > 0.98


def test_thin_parts_stay() -> None:
    pixels, truth = scene()
    found = refined(pixels, truth)
    assert largest_piece(found) == 1.0
    assert found[130:138, 80].all()


def test_where_the_picture_has_no_edge_the_annotation_stays() -> None:
    pixels = np.random.default_rng(1).normal(90, 6, (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
    drawn = octagon()
    assert iou(refined(pixels, drawn), drawn) > 0.97


def test_it_grows_no_farther_than_it_may() -> None:
    pixels, truth = scene()
    drawn = np.zeros_like(truth)
    drawn[24:97, 44:117] = truth[24:97, 44:117]  # the disc reaches four pixels beyond it
    kept, grown = refined(pixels, drawn, 0), refined(pixels, drawn, 4)
    assert not (kept & ~drawn).any()
    assert not (grown & ~np.pad(np.ones((73, 73), np.bool_), ((24, SIDE - 97), (44, SIDE - 117)))).any()


def test_an_object_at_the_frame_keeps_its_side() -> None:
    pixels, truth = scene()
    pixels, truth = pixels[:, 80:].copy(), truth[:, 80:].copy()
    assert (refined(pixels, truth)[:, 0] == truth[:, 0]).mean() > 0.98


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (3, 3), (400, 2)])
def test_any_size_is_taken(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (420, 420, 3), np.uint8)
    found = refined_outline(pixels, Box(5, 5, shape[1], shape[0]), np.ones(shape, np.bool_), 4)
    assert found.shape == shape and found.dtype == np.bool_ and found.any()


def test_small_pieces_are_dropped_and_large_ones_are_not() -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[5:30, 5:30] = mask[10:20, 40:50] = mask[35:37, 50:53] = True
    expected = mask.copy()
    expected[35:37, 50:53] = False
    assert (without_crumbs(mask) == expected).all()
    dust = np.zeros((40, 60), np.bool_)
    dust[::2, ::2] = True  # nothing but small pieces
    assert (without_crumbs(dust) == dust).all()


def test_the_core_is_inside_and_reaches_into_thin_parts() -> None:
    _, truth = scene()
    inner = core(truth.view(np.uint8), 6).astype(np.bool_)
    assert not (inner & ~truth).any()
    far = np.zeros_like(truth)
    far[6:-6, 6:-6] = True
    for y, x in np.argwhere(disc(6)) - 6:  # the naive erosion
        far &= np.roll(truth, (-y, -x), axis=(0, 1))
    assert (inner & far == far).all()
    assert inner[120:130, 80].all()
