"""The edge leak of a small trained network: it finds a seam on other photos, and nothing where there is nothing."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from synthetic_dataset import draw_photo

from olrd.audit.edge_leak import LeakPair, held_out_leak
from olrd.audit.network import collect, network_leak, patches
from olrd.audit.network import held_out_leak as network_held_out
from olrd.audit.rim import Outline

pytest.importorskip("torch", reason="pip install '.[models]'")


def seams(numbers: range, swap: bool = False) -> Iterator[LeakPair]:
    """A drawn object and the same with a dark rim. swap: chance decides which is called pasted."""
    for number in numbers:
        photo, mask = draw_photo(number)
        again = np.clip(photo + np.random.default_rng(number).normal(0, 2, photo.shape), 0, 255).astype(np.uint8)
        inner = cv2.erode(mask.view(np.uint8), np.ones((5, 5), np.uint8)).view(np.bool_)
        again[mask & ~inner] //= 2
        sides = (photo, again) if swap and np.random.default_rng(number).random() < 0.5 else (again, photo)
        yield LeakPair(str(number), sides[0], mask, sides[1], mask)


@pytest.mark.slow
def test_a_seam_is_found_on_photos_that_were_not_learnt_from() -> None:
    rims = collect(seams(range(16)))
    leak = network_leak(rims)
    assert leak.auc.value > 0.9 and leak.auc_objects.value > 0.97
    assert (leak.objects, leak.photos) == (16, 16)
    assert leak == network_leak(rims)
    other = collect(seams(range(16, 24)))
    assert network_held_out(rims, other).auc.value > 0.9


@pytest.mark.slow
def test_swapped_labels_are_even() -> None:
    leak = network_leak(collect(seams(range(24), swap=True)))
    assert leak.auc_objects.low < 0.5 < leak.auc_objects.high


@pytest.mark.slow
def test_the_classifier_finds_a_seam_on_photos_that_it_did_not_learn_from() -> None:
    found = held_out_leak(seams(range(16)), seams(range(16, 24)))
    assert found.auc.value > 0.9 and found.auc_objects.value > 0.95
    assert (found.objects, found.photos) == (8, 8)
    with pytest.raises(ValueError, match="no pair"):
        held_out_leak([], seams(range(2)))


def test_patches_lie_in_the_frame_of_the_outline() -> None:
    """Rows follow the outward normal, and every channel but the Laplacian has the mean 0."""
    image = np.zeros((60, 60, 3), np.uint8)
    image[:, 30:] = 200  # bright to the right
    outline = Outline(np.array([[29.0, 30.0], [30.0, 30.0]]), np.array([[1.0, 0.0], [-1.0, 0.0]]))
    right, left = patches(image, outline)
    assert right.shape == (4, 21, 15)
    assert np.array_equal(right[1, :, 0] > 0, np.arange(21) > 10)
    assert np.array_equal(left[1, :, 0] < 0, np.arange(21) > 10)
    assert np.abs(right[1:].mean(axis=(1, 2))).max() < 1e-5
    assert np.flatnonzero(np.abs(right[0]).max(axis=1)).tolist() == [10, 11]
