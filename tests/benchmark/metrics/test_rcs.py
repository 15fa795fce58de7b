"""RC-S: against loops over windows by the published formula, with a small DINOv2 of the real class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmark.metrics import Score, open_metric
from benchmark.metrics.rcs import pieces_of, square_around, window_distance
from olrd.errors import UsageError
from olrd.panoptic import Box

torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
transformers = pytest.importorskip("transformers", reason="pip install '.[models]'")
from small_encoders import dinov2_folder, one_thread  # noqa: E402


def naive(features: np.ndarray, inside: np.ndarray) -> float | None:
    """Window by window: biased squared MMDs with a Gaussian kernel of sigma 10, times 1000, their mean.

    features [32, 32, c] of length 1, inside bool [32, 32].
    """
    found = []
    for top in range(0, 25, 4):
        for left in range(0, 25, 4):
            part = (slice(top, top + 8), slice(left, left + 8))
            masked, values = inside[part].ravel(), features[part].reshape(64, -1)
            if masked.sum() > 5 and (~masked).sum() > 5:
                x, y = values[masked], values[~masked]
            elif masked.all() and not inside.all():
                x, y = values, features[~inside]
            else:
                continue
            kernels = [np.exp(-np.square(a[:, None] - b).sum(2) / 200).mean() for a, b in ((x, x), (y, y), (x, y))]
            found.append(1000 * (kernels[0] + kernels[1] - 2 * kernels[2]))
    return float(np.mean(found)) if found else None


def unit(seed: int, channels: int = 3) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(32, 32, channels)) + 1
    return drawn / np.linalg.norm(drawn, axis=2, keepdims=True)


def test_windows_are_compared_as_in_a_plain_loop() -> None:
    features, inside = unit(0), np.zeros((32, 32), bool)
    inside[9:22, 9:22] = True
    inside[20:30, 3:5] = True
    assert inside[12:20, 12:20].all()  # a window inside the mask
    found = window_distance(features.reshape(1024, -1), inside.ravel())
    assert found == pytest.approx(naive(features, inside), rel=1e-9)


def test_without_two_sides_there_is_no_distance() -> None:
    features = unit(1).reshape(1024, -1)
    few = np.zeros(1024, bool)
    few[500:505] = True
    assert window_distance(features, few) is None
    assert window_distance(features, few | True) is None


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box(100, 100, 30, 30), Box(90, 90, 50, 50)),  # a third on each side
        (Box(100, 110, 30, 10), Box(90, 90, 50, 50)),  # around the middle of a flat piece
        (Box(4, 100, 30, 30), Box(0, 96, 38, 38)),  # as far as the nearest border allows, on all sides
        (Box(0, 0, 200, 5), Box(0, 0, 200, 200)),  # moved inside
        (Box(0, 0, 300, 40), Box(0, 0, 200, 200)),  # larger than the picture: its first part
    ],
)
def test_the_square_grows_by_a_third_inside_the_picture(box: Box, expected: Box) -> None:
    assert square_around(box, (200, 300)) == expected


def test_small_pieces_count_only_if_all_are_small() -> None:
    mask = np.zeros((60, 80), bool)
    mask[5:10, 5:10] = mask[20, 20] = True
    assert pieces_of(mask) == [Box(5, 5, 5, 5)]
    mask[30:50, 30:50] = True
    mask[50, 50] = True  # touches at a corner only
    assert pieces_of(mask) == [Box(30, 30, 20, 20)]


@pytest.mark.slow
def test_the_score_is_that_of_the_formula_with_a_real_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = dinov2_folder(tmp_path)
    monkeypatch.setenv("RCS_MODEL", str(folder))
    image = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    mask = np.zeros((70, 90), bool)
    mask[20:45, 20:35] = mask[10:30, 60:80] = True
    processor = transformers.BitImageProcessor(do_resize=False, do_center_crop=False)
    processor.image_mean, processor.image_std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    model = transformers.Dinov2Model.from_pretrained(folder).eval()
    expected = []
    with one_thread(), torch.inference_mode():
        for x, y, side in ((7, 12, 41), (53, 3, 34)):
            part = (slice(y, y + side), slice(x, x + side))
            crop = cv2.resize(image[part], (448, 448), interpolation=cv2.INTER_LINEAR)
            tokens = model(**processor(crop, return_tensors="pt")).last_hidden_state[0, 1:].double().numpy()
            tokens = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
            small = cv2.resize(mask[part].astype(np.uint8), (448, 448), interpolation=cv2.INTER_NEAREST)
            inside = torch.nn.functional.max_pool2d(torch.from_numpy(small)[None].float(), 14)[0].numpy() > 0
            expected.append(np.exp(-naive(tokens.reshape(32, 32, -1), inside) / 3))
        metric: Any = open_metric("rc-s", "cpu")
        (score,) = metric.scores([image], mask, None)
    assert score.value == pytest.approx(np.mean(expected), abs=1e-5)
    assert metric.scores([image], mask & False, None) == [Score(None, "empty_region")]
    with pytest.raises(UsageError, match="90 x 70"):
        metric.scores([image], mask.T, None)
