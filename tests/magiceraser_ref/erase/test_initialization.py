"""Content initialisation: the filler never sees the object, the photo stays outside the mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from micro_model import box_mask, drawn

from baselines import ERASERS, open_eraser, state_of
from baselines.eraser import Eraser, EraserInfo, Hints, WeightsMissingError
from magiceraser_ref.erase.initialization import blanked, content_initialization, open_initializer
from olrd.arrays import Image, Mask
from olrd.errors import UsageError
from olrd.masks import grown
from olrd.progress import say_once

FILLERS = sorted(n for n in ERASERS.builtin if state_of(n).word == "ready" and n != "ground-truth")


class Notes:
    """A filler that notes what it was given and paints it all 7."""

    info = EraserInfo("notes", "1", "none")

    def __init__(self) -> None:
        self.images: list[Image] = []
        self.masks: list[Mask] = []

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        self.images, self.masks = list(images), list(masks)
        return [np.full_like(image, 7) for image in images]


@pytest.fixture(scope="module", params=FILLERS)
def filler(request: pytest.FixtureRequest) -> Eraser:
    return open_eraser(request.param, device="cpu")


@pytest.mark.parametrize("dilate", [0, 2])
def test_pixels_under_the_mask_change_nothing(filler: Eraser, dilate: int) -> None:
    masks = [box_mask(24, 31, (8, 6, 9, 7)), np.ones((9, 9), bool), np.zeros((5, 6), bool)]
    images = [drawn(*mask.shape, seed=k) for k, mask in enumerate(masks)]
    others = [image.copy() for image in images]
    for other, mask in zip(others, masks, strict=True):
        other[mask] = 255 - other[mask]
    first = content_initialization(images, masks, filler, dilate)
    second = content_initialization(others, masks, filler, dilate)
    for one, two, image, mask in zip(first, second, images, masks, strict=True):
        assert np.array_equal(one, two)
        assert np.array_equal(one[~mask], image[~mask])
        assert one.dtype == np.uint8 and one.shape == image.shape


def test_the_filler_gets_a_blank_and_a_dilated_mask() -> None:
    image, mask, notes = drawn(20, 20), box_mask(20, 20, (8, 8, 4, 4)), Notes()
    (out,) = content_initialization([image], [mask], notes, dilate=3)
    assert np.array_equal(notes.masks[0], box_mask(20, 20, (5, 5, 10, 10)))
    wide = notes.masks[0]
    assert (notes.images[0][wide] == np.rint(image[~wide].mean(axis=0))).all()
    assert (out[mask] == 7).all() and np.array_equal(out[~mask], image[~mask])


def test_a_hole_without_surroundings_is_grey() -> None:
    assert (blanked(drawn(3, 4), np.ones((3, 4), bool)) == 128).all()


def test_growing_includes_diagonals() -> None:
    assert np.array_equal(grown(box_mask(9, 9, (4, 4, 1, 1)), 2, square=True), box_mask(9, 9, (2, 2, 5, 5)))


@pytest.mark.parametrize(
    ("image", "mask", "message"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), bool), "photo must be uint8"),
        (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), bool), "photo must be uint8"),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), bool), r"mask must be bool \[4, 5\]"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), "mask must be bool"),
    ],
)
def test_what_does_not_fit_is_named(image: Image, mask: Mask, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        content_initialization([image], [mask], Notes())
    with pytest.raises(UsageError, match="0 or more"):
        content_initialization([], [], Notes(), dilate=-1)


def test_patchmatch_takes_the_place_of_an_initializer_without_weights(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LAMA_MODEL", raising=False)
    say_once.cache_clear()
    assert open_initializer(None, "lama", "cpu").info.name == "patchmatch"
    assert "lama has no weights on this machine: patchmatch takes its place" in capsys.readouterr().err
    assert open_initializer(None, "opencv-telea", "cpu").info.name == "opencv-telea"
    assert open_initializer("opencv-ns", "lama", "cpu").info.name == "opencv-ns"
    with pytest.raises(WeightsMissingError, match="the initializer lama cannot run"):
        open_initializer("lama", "lama", "cpu")
