"""Is the object gone: what counts as an object that is back, and what does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmark.metrics import Erasure, Score, open_metric
from benchmark.protocol import Protocol
from benchmark.regions import regions_of
from olrd.arrays import Image, Mask
from olrd.errors import UsageError
from olrd.panoptic import Box

torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
from small_encoders import mask2former_folder, one_thread  # noqa: E402

NETWORKS = ("regrowth", "regrowth-lpips", "regrowth-ring")
TRUTHS = ("regrowth", "regrowth-colour", "regrowth-lpips")


def background(seed: int = 0) -> Image:
    """Soft stripes with some noise."""
    y, x = np.mgrid[:96, :128]
    wave = 110 + 40 * np.sin(x / 5 + y / 9)[..., None] + np.random.default_rng(seed).normal(0, 6, (96, 128, 3))
    return np.clip(wave, 0, 255).astype(np.uint8)


def draw_object(image: Image, left: int, top: int) -> Image:
    """A red disc with a black chequered pattern and a dark rim."""
    shown = image.copy()
    y, x = np.mgrid[:40, :40]
    disc = (x - 19.5) ** 2 + (y - 19.5) ** 2 < 340
    colours = np.where(((x // 6 + y // 6) % 2)[..., None], (210, 40, 30), (20, 20, 20)).astype(np.uint8)
    colours[x < 8] = (240, 220, 40)
    shown[top : top + 40, left : left + 40][disc] = colours[disc]
    return shown


MASK: Mask = np.zeros((96, 128), bool)
MASK[26:70, 40:84] = True
TRUTH = background()
INPUT = draw_object(TRUTH, 42, 28)
REGIONS = regions_of(MASK, Protocol("test", 1))
ASKED = Erasure(INPUT, REGIONS, TRUTH)


def judged(name: str, *outputs: Image, asked: Erasure = ASKED) -> list[Score]:
    metric: Any = open_metric(name, "cpu")
    with one_thread():
        return metric.judge(list(outputs), asked)


def values(name: str, *outputs: Image, asked: Erasure = ASKED) -> list[float | None]:
    return [score.value for score in judged(name, *outputs, asked=asked)]


@pytest.mark.parametrize("name", [*NETWORKS, "regrowth-colour"])
def test_the_object_is_back_or_gone(name: str) -> None:
    nearly = cv2.addWeighted(INPUT, 0.8, TRUTH, 0.2, 0)
    other = background(7)  # another draw of the same background
    assert values(name, INPUT, nearly, TRUTH, other) == [1, 1, 0, 0]


def test_a_moved_and_a_mirrored_object_is_back_and_a_flat_fill_is_not() -> None:
    moved, mirrored = draw_object(TRUTH, 44, 30), INPUT.copy()
    mirrored[28:68, 42:82] = INPUT[28:68, 42:82][:, ::-1]
    blurred = cv2.GaussianBlur(TRUTH, (0, 0), 6)
    for name in ("regrowth", "regrowth-ring"):
        assert values(name, moved, mirrored, blurred) == [1, 1, 0], name


@pytest.mark.parametrize("name", [*NETWORKS, "regrowth-colour"])
def test_only_the_pixels_in_the_mask_count(name: str) -> None:
    outside = np.where(MASK[..., None], TRUTH, INPUT // 2)
    assert values(name, outside, np.where(MASK[..., None], INPUT, TRUTH // 2)) == [0, 1]


@pytest.mark.parametrize("name", TRUTHS)
def test_the_twin_is_the_object_too(name: str) -> None:
    """A pasted object was changed by its blend; the untouched original is still in the photo."""
    image = draw_object(TRUTH, 86, 50)
    faded = np.where(MASK[..., None], cv2.addWeighted(INPUT, 0.1, TRUTH, 0.9, 0), image)
    fill = image.copy()
    fill[26:70, 40:84] = image[48:92, 84:128]
    asked = replace(ASKED, image=faded, twin=Box(84, 48, 44, 44))
    assert values(name, fill, TRUTH, asked=asked) == [1, 0]


def test_colour_is_the_squared_difference_of_a_plain_loop() -> None:
    rng = np.random.default_rng(1)
    for _ in range(6):
        fill = cv2.addWeighted(INPUT, (share := rng.uniform(0.4, 0.6)), TRUTH, 1 - share, 0)
        to_object = to_truth = 0
        for y, x in zip(*np.nonzero(MASK), strict=True):
            for c in range(3):
                to_object += (int(fill[y, x, c]) - int(INPUT[y, x, c])) ** 2
                to_truth += (int(fill[y, x, c]) - int(TRUTH[y, x, c])) ** 2
        assert values("regrowth-colour", fill) == [float(to_object < to_truth)]


@pytest.mark.parametrize("name", TRUTHS)
def test_without_a_truth_or_an_object_there_is_no_answer(name: str) -> None:
    with pytest.raises(UsageError, match="has none"):
        judged(name, TRUTH, asked=replace(ASKED, truth=None))
    same = replace(ASKED, truth=INPUT)
    assert judged(name, TRUTH, asked=same) == [Score(None, "no_object")]


def test_the_ring_needs_no_truth() -> None:
    asked = replace(ASKED, truth=None)
    assert values("regrowth-ring", INPUT, TRUTH, asked=asked) == [1, 0]
    whole = replace(asked, regions=regions_of(MASK | True, Protocol("test", 1)))
    assert judged("regrowth-ring", TRUTH, asked=whole) == [Score(None, "full_region")]
    empty = replace(asked, regions=regions_of(MASK & False, Protocol("test", 1)))
    assert judged("regrowth-ring", TRUTH, asked=empty) == [Score(None, "empty_region")]


# --- the erased class ------------------------------------------------------------------------------


class Scripted:
    """A segmenter that knows pictures: cats (17) are red, grass (193) is everything else."""

    def __init__(self) -> None:
        from olrd.models.coco_categories import coco_categories

        self.categories, self.asked = list(coco_categories().values()), 0

    def segment(self, photos: list[Image]) -> list[Any]:
        from olrd.models.mask2former import to_segmentation

        self.asked += len(photos)
        known = {c.id: c for c in self.categories}
        return [to_segmentation(np.where(p[..., 0] == 255, 1, 2), {1: 17, 2: 193}, known, p.shape) for p in photos]


def reddish(share: float) -> Image:
    """A grey picture of which the upper part of the mask is red."""
    picture = np.full((96, 128, 3), 90, np.uint8)
    rows = 26 + round(44 * share)
    picture[26:rows, 40:84, 0] = 255
    return picture


@pytest.mark.parametrize(
    ("before", "truth", "after", "expected"),
    [
        (1.0, 0.0, 0.5, Score(1.0)),
        (1.0, 0.0, 0.1, Score(0.0)),
        (1.0, None, 0.0, Score(0.0)),
        (0.3, 0.0, 0.3, Score(None, "no_class")),
        (1.0, 0.4, 0.4, Score(None, "class_behind")),
    ],
)
def test_the_class_is_back_if_it_covers_a_fifth_of_the_mask(
    before: float, truth: float | None, after: float, expected: Score, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"x" * 100)
    monkeypatch.setenv("REGROWTH_MODEL", str(tmp_path))
    metric: Any = open_metric("regrowth-class", "cpu")
    metric.__dict__["_segmenter"] = segmenter = Scripted()
    asked = Erasure(reddish(before), REGIONS, None if truth is None else reddish(truth))
    fill = reddish(after)
    assert metric.judge([fill, fill], asked) == [expected, expected]
    assert segmenter.asked == 1 + (truth is not None) + (expected.value is not None)  # nothing is segmented twice


@pytest.mark.slow
def test_a_real_segmenter_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are random: the answer means nothing, but it is one."""
    monkeypatch.setenv("REGROWTH_MODEL", str(mask2former_folder(tmp_path)))
    for score in judged("regrowth-class", INPUT, TRUTH):
        assert score.value in (0, 1) or score.reason in ("no_class", "class_behind")
