"""ReMOVE: weights of cells against a plain loop, padding, the score against its definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmark.metrics import Score, open_metric
from benchmark.metrics.remove import region_weights
from olrd.errors import UsageError

torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
transformers = pytest.importorskip("transformers", reason="pip install '.[models]'")
from small_encoders import sam_folder  # noqa: E402


@pytest.mark.parametrize("size", [(32, 32), (24, 40), (40, 17), (5, 3)])
def test_a_cell_weighs_what_it_covers(size: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random(size) < 0.3
    inside, outside = region_weights(mask, 8)
    # Eight small squares a pixel side: every cell is a whole number of them.
    fine = np.kron(mask, np.ones((8, 8)))
    side = max(size)
    padded = np.full((8 * side, 8 * side), np.nan)
    padded[: fine.shape[0], : fine.shape[1]] = fine
    cells = padded.reshape(8, side, 8, side)
    np.testing.assert_allclose(inside, (cells == 1).sum((1, 3)) / 64, atol=1e-9)
    np.testing.assert_allclose(outside, (cells == 0).sum((1, 3)) / 64, atol=1e-9)


def test_score_is_the_cosine_of_weighted_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SAM's own preprocessing, and a mask of whole cells beside padding."""
    folder = sam_folder(tmp_path)
    monkeypatch.setenv("REMOVE_MODEL", str(folder))
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    mask = np.zeros((48, 64), bool)
    mask[8:24, 16:40] = True
    processor = transformers.SamImageProcessor(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    model = transformers.SamVisionModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        pixels = processor(image, return_tensors="pt")["pixel_values"]
        grid = model(pixels.float()).last_hidden_state[0].double().numpy()
    inside = np.zeros((8, 8), bool)
    inside[1:3, 2:5] = True
    picture = np.zeros((8, 8), bool)
    picture[:6] = True
    a, b = grid[:, inside].mean(1), grid[:, picture & ~inside].mean(1)
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    metric = open_metric("remove", "cpu")
    (score,) = metric.scores([image], mask, None)
    assert score.value == pytest.approx(expected, abs=1e-5)
    thin = np.zeros_like(mask)
    thin[20, 5:50] = True  # no cell is fully inside
    assert -1 <= metric.scores([image], thin, None)[0].value <= 1
    assert metric.scores([image], mask & False, None) == [Score(None, "empty_region")]
    assert metric.scores([image], mask | True, None) == [Score(None, "full_region")]
    with pytest.raises(UsageError, match="64 x 48"):
        metric.scores([image], mask.T, None)
