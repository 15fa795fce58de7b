"""`open_eraser(name).erase`: single arrays and lists, wrong inputs, erasers that return something wrong."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

import baselines
from baselines import open_eraser
from baselines.checked import CheckedEraser
from baselines.eraser import EraserInfo, Hints, WrongOutputError
from olrd.arrays import Image, Mask
from olrd.errors import UsageError

PHOTO = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
MASK = np.zeros((20, 30), bool)
MASK[5:12, 8:20] = True


class Returning:
    """An eraser whose output the test chooses."""

    info = EraserInfo("toy", "1", "MIT")

    def __init__(self, make: Callable[[list[Image]], Any]) -> None:
        self.make = make

    def erase(self, images: Any, masks: Any, hints: Any = None) -> Any:
        return self.make(list(images))


def test_the_example_of_the_package_is_true() -> None:
    assert doctest.testmod(baselines).attempted > 5
    assert doctest.testmod(baselines).failed == 0


def test_the_package_is_imported_without_torch() -> None:
    code = "import sys, baselines; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["opencv-telea", "mean-fill"])
def test_one_photo_gives_the_pixels_of_a_list_with_one_photo(name: str) -> None:
    eraser = open_eraser(name)
    one = eraser.erase(PHOTO, MASK)
    (listed,) = eraser.erase([PHOTO], [MASK])
    assert isinstance(one, np.ndarray)
    np.testing.assert_array_equal(one, listed)
    np.testing.assert_array_equal(one, eraser.erase(PHOTO, MASK, Hints("key")))


def test_the_hints_of_one_photo_reach_the_eraser() -> None:
    truth = PHOTO[::-1].copy()
    np.testing.assert_array_equal(open_eraser("ground-truth").erase(PHOTO, MASK, Hints(truth=truth)), truth)


@pytest.mark.parametrize(
    ("images", "masks", "hints", "said"),
    [
        (PHOTO, [MASK], None, "one mask"),
        ([PHOTO], MASK, None, "list of masks"),
        (PHOTO, MASK, [Hints()], "one `Hints`"),
        ([PHOTO], [MASK], Hints(), "list of hints"),
        ([PHOTO, PHOTO], [MASK], None, "2 photos and 1 mask"),
        ([PHOTO], [MASK], [], "1 photo and 0 hints"),
        (PHOTO.astype(np.float32), MASK, None, r"uint8 \[H, W, 3\].*float32 \[20, 30, 3\]"),
        (PHOTO[..., 0], MASK, None, r"uint8 \[20, 30\]"),
        (PHOTO[None], MASK[None], None, r"uint8 \[1, 20, 30, 3\]"),
        ([PHOTO, "photo.jpg"], [MASK, MASK], None, "photo 1: .* got a str"),
        (PHOTO, MASK.astype(np.uint8), None, r"bool \[20, 30\] \(True = erase\).*uint8"),
        (None, MASK, None, "expected a photo .* or a list of photos, got a NoneType"),
        (5, 5, None, "expected a photo .* or a list of photos, got a int"),
        ("photo.jpg", "mask.png", None, "expected a photo .* or a list of photos, got a str"),
        (Pillow.fromarray(PHOTO), Pillow.fromarray(MASK), None, "expected a photo .*, got a Image"),
        ([PHOTO], None, None, "list of masks for a list of photos, got a NoneType"),
        ([PHOTO], [MASK], 5, "list of hints for a list of photos, got a int"),
        ([PHOTO], [MASK], [5], "list of `Hints`, found a int in it"),
        (PHOTO[:0], MASK[:0], None, r"not empty; got uint8 \[0, 30, 3\]"),
        (PHOTO, MASK.T, None, r"photo of 30 x 20 pixels; got bool \[30, 20\]"),
    ],
)
def test_inputs_of_another_form_are_refused(images: Any, masks: Any, hints: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        open_eraser("identity").erase(images, masks, hints)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda images: [], "list of 1 picture; it returned 0 pictures"),
        (lambda images: images * 2, "it returned 2 pictures"),
        (lambda images: images[0], "it returned a ndarray"),
        (lambda images: None, "it returned a NoneType"),
        (lambda images: [None], r"must return uint8 \[20, 30, 3\].* a NoneType"),
        (lambda images: [images[0][:-1]], r"it returned uint8 \[19, 30, 3\]"),
        (lambda images: [images[0] / 255], r"it returned float64 \[20, 30, 3\]"),
    ],
)
def test_an_eraser_that_returns_something_wrong_is_named(make: Callable[[list[Image]], Any], said: str) -> None:
    with pytest.raises(WrongOutputError, match=f"the eraser toy .*{said}"):
        CheckedEraser(Returning(make)).erase(PHOTO, MASK)


def test_an_eraser_may_be_written_against_the_protocol_alone() -> None:
    mask: Mask = MASK
    eraser = CheckedEraser(Returning(lambda images: [255 - image for image in images]))
    np.testing.assert_array_equal(eraser.erase([PHOTO], [mask])[0], 255 - PHOTO)
    assert eraser.info.name == "toy"


def test_an_eraser_shows_its_name() -> None:
    assert repr(open_eraser("opencv-telea")) == "<CheckedEraser opencv-telea>"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": None}, "expected a text, the name of an eraser, got None"),
        ({"name": []}, r"expected a text, the name of an eraser, got \[\]"),
        ({"name": "x" * 5000}, "no eraser is called 'xxx"),
        ({"options": {"radius": None}}, "the eraser's options expects a mapping of names to texts, got .* in it None"),
        ({"options": {"radius": "nan"}}, "radius is a number from 1 to 100, not 'nan'"),
        ({"options": 5}, "the eraser's options expects a mapping of names to texts, got 5"),
        ({"options": []}, "the eraser's options expects a mapping of names to texts"),
        ({"device": "cud"}, "device: expected auto, cpu, cuda or cuda:N, got 'cud'"),
        ({"device": None}, "device: expected auto, cpu, cuda or cuda:N, got None"),
        ({"seed": "a"}, "the eraser's seed expects a whole number, got 'a'"),
        ({"seed": float("nan")}, "the eraser's seed expects a whole number, got nan"),
    ],
)
def test_an_eraser_opened_with_something_of_another_type_says_what_is_expected(
    arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        open_eraser(**{"name": "opencv-telea"} | arguments)


def test_a_number_among_the_options_is_a_text() -> None:
    assert open_eraser("opencv-telea", {"radius": 7}).info.options == {"radius": "7"}
