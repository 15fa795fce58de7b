"""Outlines that follow the picture, and outlines that do not."""

from __future__ import annotations

import numpy as np
import pytest

from olrd.panoptic import Box
from olrd.triplets.edges import edge_agreement


def picture(apart: int = 60) -> np.ndarray:
    """A square of 40 x 40 at (30, 25), that many grey levels brighter in each channel than the rest, with noise."""
    pixels = np.random.default_rng(0).normal(90, 4, (90, 110, 3))
    pixels[25:65, 30:70] += apart
    return np.clip(pixels, 0, 255).astype(np.uint8)


SQUARE = np.ones((40, 40), np.bool_)


def test_the_true_outline_agrees() -> None:
    assert edge_agreement(picture(), Box(30, 25, 40, 40), SQUARE) == 1.0


def test_an_outline_in_the_plain_does_not() -> None:
    assert edge_agreement(picture(), Box(12, 8, 76, 76), np.ones((76, 76), np.bool_)) < 0.05


@pytest.mark.parametrize("shift", [8, 20])
def test_a_shifted_outline_agrees_in_part(shift: int) -> None:
    """Two of the four sides lie in the square or beyond it."""
    assert 0.2 < edge_agreement(picture(), Box(30 + shift, 25, 40, 40), SQUARE) < 0.8


def test_a_faint_edge_is_none() -> None:
    assert edge_agreement(picture(apart=6), Box(30, 25, 40, 40), SQUARE) < 0.05


def test_thin_things_and_things_at_the_frame_are_not_judged_by_what_is_not_there() -> None:
    assert edge_agreement(picture(), Box(30, 25, 1, 40), np.ones((40, 1), np.bool_)) == 1.0
    pixels = np.full((40, 60, 3), 80, np.uint8)
    pixels[:, :20] = 180
    assert edge_agreement(pixels, Box(0, 0, 20, 40), np.ones((40, 20), np.bool_)) == 1.0
