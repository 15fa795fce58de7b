"""The sheet of random triplets: which are shown follows from ids and seed, and each panel is what its head says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from synthetic_dataset import write_dataset

from olrd.dataset.folder import Dataset
from tools.triplet_sheet import EFFECT_COLOUR, GAP, HEAD, TILE, drawn, panels, sheet


def test_draws_follow_from_ids_and_seed(tmp_path: Path) -> None:
    dataset = Dataset(write_dataset(tmp_path / "set", photos=6))
    names = [sample.id for sample in drawn(dataset, 100, 0)]
    assert sorted(names) == sorted(row["id"] for row in dataset.rows(["id"])) != names
    assert [sample.id for sample in drawn(dataset, 3, 0)] == names[:3]
    assert [sample.id for sample in drawn(dataset, 100, 1)] != names


def test_panels_show_image_mask_and_truth(tmp_path: Path) -> None:
    (sample,) = drawn(Dataset(write_dataset(tmp_path / "set", photos=1)), 1, 0)
    image, mask, truth = panels(sample)
    assert np.array_equal(truth, sample.background) and np.array_equal(mask[..., 0] == 255, sample.mask)
    assert not np.array_equal(image, sample.image) and set(np.unique(mask)) == {0, 255}
    effect = sample.mask.copy()
    effect[-3:] = True
    image, mask, _ = panels(sample._replace(effect=effect))
    assert np.array_equal(mask[..., 0] == 128, effect & ~sample.mask) and (image == EFFECT_COLOUR).all(axis=2).any()
    page = sheet([sample] * 3, across=2)
    assert page.height == HEAD + 2 * (TILE[1] + GAP) - GAP and page.width > 6 * TILE[0]
