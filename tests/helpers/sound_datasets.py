"""What every dataset promises, and drawn samples for tests of datasets."""

from __future__ import annotations

import numpy as np

from benchmark.datasets import DataSet
from olrd.arrays import Image, Mask


def check(data: DataSet) -> None:
    """What every dataset promises."""
    ids = data.ids()
    assert ids and len(set(ids)) == len(ids)
    assert data.name and data.fingerprint
    assert all(isinstance(text, str) and text for text in data.warnings)
    for index, name in enumerate(ids):
        one = data.sample(index)
        assert one.id == name and one.cluster
        assert one.image.dtype == np.uint8 and one.image.shape == (*one.mask.shape, 3)
        # A bool of any other byte than 0 and 1 would be a mask that OpenCV reads differently.
        assert one.mask.dtype == np.bool_ and one.mask.view(np.uint8).max() <= 1
        assert one.truth is None or one.truth.shape == one.image.shape


def drawn(seed: int, height: int = 24, width: int = 36) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def box(height: int = 24, width: int = 36) -> Mask:
    mask = np.zeros((height, width), bool)
    mask[6:14, 10:22] = True
    return mask
