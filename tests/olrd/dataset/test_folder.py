"""A dataset as a person reads it: a length, items, a loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_sets import DrawnSets

from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.errors import UsageError
from olrd.sources import SourceSpec


@pytest.fixture(scope="module")
def config(drawn: DrawnSets) -> BuildConfig:
    return BuildConfig(SourceSpec("coco", str(drawn.photos())), per_object=1, shard_bytes=500_000)


def test_a_loop_gives_every_row_with_decoded_pictures(config: BuildConfig, drawn: DrawnSets) -> None:
    dataset = Dataset(drawn.built(config))
    rows = list(dataset.rows())
    assert len(dataset.shards) > 1
    assert [sample.id for sample in dataset] == [row["id"] for row in rows]
    for sample, row in zip(dataset, rows, strict=True):
        assert sample.image.shape == sample.background.shape == (row["height"], row["width"], 3)
        assert sample.mask.dtype == np.bool_ and sample.mask.shape == sample.image.shape[:2]
        assert (sample.image == sample.background)[~sample.mask].all() and sample.mask.any()
        assert sample.row == {name: value for name, value in row.items() if name not in ("image", "mask", "background")}


def test_items_are_those_of_the_loop(config: BuildConfig, drawn: DrawnSets) -> None:
    dataset = Dataset(drawn.built(config))
    ids = [sample.id for sample in dataset]
    assert [dataset[number].id for number in range(len(dataset))] == ids
    assert dataset[-1].id == ids[-1]
    for number in (len(dataset), -len(dataset) - 1):
        with pytest.raises(IndexError, match=rf"triplet {number} of {len(dataset)}"):
            dataset[number]


def test_recipes_say_how_to_get_pictures(drawn: DrawnSets) -> None:
    spec = SourceSpec("coco", str(drawn.photos()))
    dataset = Dataset(drawn.built(BuildConfig(spec, per_object=1, form="recipes")))
    assert len(dataset) > 0
    for read in (lambda: next(iter(dataset)), lambda: dataset[0]):
        with pytest.raises(UsageError, match=r"recipes without pictures.*olrd rebuild.*olrd\.load"):
            read()


def test_a_path_may_be_a_text(config: BuildConfig, drawn: DrawnSets) -> None:
    folder: Path = drawn.built(config)
    assert len(Dataset(str(folder))) == len(Dataset(folder))
