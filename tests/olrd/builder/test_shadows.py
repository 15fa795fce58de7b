"""Builds with shadows: what they change."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from cases import every
from drawn_sets import DrawnSets
from sealed_copy import Copy

import olrd
from benchmark.datasets import open_dataset
from olrd.arrays import encode_mask
from olrd.config import SHADOWS, BuildConfig
from olrd.dataset.croissant import Publication, croissant
from olrd.dataset.folder import Dataset, Sample
from olrd.dataset.schema import features
from olrd.errors import IntegrityError, UsageError
from olrd.sources import SourceSpec
from olrd.tools.verify import verify
from olrd.triplets.recipe import Recipe


@pytest.fixture(scope="module")
def root(drawn: DrawnSets) -> Path:
    return drawn.photos(7, 9)


@pytest.fixture(scope="module")
def config(root: Path) -> BuildConfig:
    spec = SourceSpec("coco", str(root))
    return BuildConfig(
        spec, shadow="cast", objects=(1, 2), mask_style=("exact", "grown"), per_object=2, shard_bytes=400_000
    )


@pytest.mark.parametrize("kind", every(2, {kind: kind for kind in SHADOWS[1:]}))
def test_only_ground_is_darkened_and_the_truth_is_untouched(kind: str, root: Path, drawn: DrawnSets) -> None:
    plain = BuildConfig(SourceSpec("coco", str(root)), blend="hard")
    without = {sample.id: sample for sample in Dataset(drawn.built(plain))}
    shaded = list(Dataset(drawn.built(replace(plain, shadow=kind))))
    assert len(shaded) == len(without)
    outside = 0
    for sample in shaded:
        other = without[sample.id]
        assert sample.effect is not None and other.effect is None
        assert not (sample.mask & ~sample.effect).any() and not sample.effect.all()
        assert np.array_equal(sample.mask, other.mask) and np.array_equal(sample.background, other.background)
        assert np.array_equal(sample.image[~sample.effect], sample.background[~sample.effect])
        assert np.array_equal(sample.image[sample.mask], other.image[sample.mask])  # the object itself is not shaded
        assert (sample.image[~sample.mask] <= sample.background[~sample.mask]).all()
        outside += np.count_nonzero(sample.effect & ~sample.mask)
    assert outside > 1000


def test_both_kinds_are_there(full: Path) -> None:
    shadows = [Recipe.from_json(row["recipe"]).shadow for row in Dataset(full).rows(["recipe"])]
    assert all(shadow is not None for shadow in shadows)
    assert {shadow.cast > 0 for shadow in shadows if shadow} >= {True}
    assert len({shadow.lean for shadow in shadows if shadow}) > 3


@pytest.mark.slow
def test_datasets_opens_full_rows_and_recipes_alike(
    full: Path, recipes: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    optional = ("effect", "masks", "categories")
    stored = datasets.load_dataset(str(full), split="train")  # by the card
    rendered = olrd.load(recipes, split="train", root=root)
    assert stored.column_names == list(features("full", optional))
    for one, other in zip(stored, rendered, strict=True):
        assert np.array_equal(np.asarray(one["effect"]), np.asarray(other["effect"]))


def test_cards_say_what_the_column_is(full: Path) -> None:
    values = croissant(Dataset(full), Publication())
    (field,) = [one for one in values["recordSet"][0]["field"] if one["name"] == "effect"]
    assert "shadow" in field["description"]
    assert "shadow" in " ".join(values["rai:dataPreprocessingProtocol"])
    assert "effect" in pq.ParquetFile(Dataset(full).shards[0]).schema_arrow.names


def test_a_build_without_shadows_is_the_build_of_before(root: Path) -> None:
    plain = BuildConfig(SourceSpec("coco", str(root)))
    assert plain.hash("a") == replace(plain, shadow="none").hash("a") != replace(plain, shadow="cast").hash("a")


def test_sources_that_paste_nothing_refuse_the_option(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--shadow has no effect"):
        olrd.build("pairs", root=_pair(tmp_path), out=tmp_path / "out", shadow="cast")


def _pair(folder: Path) -> Path:
    from drawn_pairs import three, write_pairs

    return write_pairs(folder / "pairs", three())


@pytest.fixture(scope="module")
def shadowed(full: Path) -> Sample:
    """A triplet whose shadow has a region."""
    return next(one for one in Dataset(full) if (found := Recipe.from_json(one.row["recipe"]).shadow) and found.box.w)


@pytest.mark.parametrize(
    "damage", every(3, {name: name for name in ("effect is the mask", "effect is larger", "no shadow", "lighter")})
)
def test_other_effects_are_a_problem(full: Path, shadowed: Sample, tmp_path: Path, damage: str) -> None:
    copy = Copy(Path(shutil.copytree(full, tmp_path / "copy")))

    def change(rows: list[dict[str, object]]) -> None:
        (row,) = [row for row in rows if row["id"] == shadowed.id] or [None]
        if row is None:
            return
        recipe = json.loads(str(row["recipe"]))
        if damage == "effect is the mask":
            row["effect"] = row["mask"]
        elif damage == "effect is larger":
            larger = np.asarray(shadowed.effect).copy()
            larger[0] = True
            row["effect"] = {"bytes": encode_mask(larger), "path": "a.png"}
        elif damage == "no shadow":
            del recipe["shadow"]
            row["recipe"] = json.dumps(recipe | {"version": 2})
        else:
            recipe["shadow"]["box"][2] += 1
            row["recipe"] = json.dumps(recipe)

    copy.edit(change)
    assert any(shadowed.id in problem for problem in verify(copy.folder)["problems"])


@pytest.mark.parametrize(
    "change",
    [
        {"lean": [4000, 0]},
        {"lean": [1]},
        {"lean": [0.5, 1]},
        {"cast": 256},
        {"contact": -1},
        {"softness": 65},
        {"softness": True},
        {"box": [0, 0, 0, 5]},
        {"box": [0, 0, -4, 5]},
        {"box": [1, 2, 3]},
        {"rle": 7},
        {"rle": ""},
        {"more": 1},
    ],
)
def test_recipes_with_other_shadows_are_refused(shadowed: Sample, change: dict[str, object]) -> None:
    recipe = shadowed.row["recipe"]
    values = json.loads(recipe)
    assert Recipe.from_json(recipe).to_json() == recipe and values["version"] == 3
    with pytest.raises(IntegrityError):
        Recipe.from_json(json.dumps(values | {"shadow": values["shadow"] | change}))
    with pytest.raises(IntegrityError, match="version"):
        Recipe.from_json(json.dumps(values | {"version": 2}))


@pytest.mark.slow
def test_the_benchmark_reads_every_triplet(full: Path, recipes: Path, root: Path) -> None:
    """The hash of a row with several objects covers their masks."""
    whole = open_dataset("olrd", str(full), {"split": "all"})
    rendered = open_dataset("olrd", str(recipes), {"split": "all", "photos": str(root)})
    assert whole.ids() == rendered.ids()
    for index in range(len(whole.ids())):
        one, other = whole.sample(index), rendered.sample(index)
        assert one.effect is not None and one.twin is not None
        assert np.array_equal(one.effect, np.asarray(other.effect)) and np.array_equal(one.image, other.image)
