"""Builds whose masks are drawn as users draw them: exact truth, and the same bytes by every way of building."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from built_folders import digest
from drawn_sets import DrawnSets

from olrd.arrays import encode_image, encode_mask
from olrd.config import MASK_STYLES, BuildConfig
from olrd.dataset.folder import Dataset
from olrd.masks import mask_box
from olrd.sources import SourceSpec
from olrd.tools.rebuild import rebuild
from olrd.tools.verify import row_problems, verify
from olrd.triplets.compose import Triplet, pixels_sha256
from olrd.triplets.recipe import Recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(drawn: DrawnSets) -> Path:
    return drawn.photos(7, 9)


@pytest.fixture(scope="module")
def config(root: Path) -> BuildConfig:
    return BuildConfig(SourceSpec("coco", str(root)), mask_style=MASK_STYLES, mask_grow=1)


@pytest.fixture(scope="module")
def full(config: BuildConfig, drawn: DrawnSets) -> Dataset:
    return Dataset(drawn.built(config))


@pytest.fixture(scope="module")
def exact(root: Path, drawn: DrawnSets) -> Dataset:
    return Dataset(drawn.built(BuildConfig(SourceSpec("coco", str(root)))))


def test_only_the_mask_differs_from_a_build_with_exact_masks(full: Dataset, exact: Dataset) -> None:
    styles = set()
    for drawn_one, exact_one in zip(full, exact, strict=True):
        assert drawn_one.id == exact_one.id
        assert np.array_equal(drawn_one.image, exact_one.image)
        assert np.array_equal(drawn_one.background, exact_one.background)
        assert drawn_one.mask.sum() > exact_one.mask.sum() and not (exact_one.mask & ~drawn_one.mask).any()
        styles.add(json.loads(drawn_one.row["recipe"])["mask_style"]["name"])
    assert styles == set(MASK_STYLES)


def test_strengths_differ_and_follow_from_the_seed(full: Dataset) -> None:
    recipes = [Recipe.from_json(row["recipe"]) for row in full.rows(["recipe"])]
    strengths = [recipe.mask_style.strength for recipe in recipes if recipe.mask_style]
    assert len(set(strengths)) > len(strengths) // 2 and all(0 <= one < 1 for one in strengths)


def test_verify_finds_nothing(full: Dataset) -> None:
    assert verify(full.folder)["problems"] == []
    assert full.record.config["mask_style"] == list(MASK_STYLES)
    assert "--mask-style exact,grown,hull,box,brush,loose --mask-grow 1" in full.record.command


def test_recipes_are_rebuilt_to_the_same_bytes(
    config: BuildConfig, full: Dataset, root: Path, drawn: DrawnSets, tmp_path: Path
) -> None:
    rebuild(drawn.built(replace(config, form="recipes")), root, tmp_path / "out")
    assert digest(tmp_path / "out") == digest(full.folder)


def test_a_mask_that_misses_the_object_is_a_problem(full: Dataset) -> None:
    """Its hash would fit if the same person had edited the recipe too."""
    row = next(full.rows())
    sample = full[0]
    recipe = Recipe.from_json(row["recipe"])
    cut = sample.mask.copy()
    rows = slice(recipe.position[1], recipe.position[1] + recipe.source_bbox.h // 2)
    cut[rows] = False
    image = np.where(cut[..., None], sample.image, sample.background)
    triplet = Triplet(image, cut, sample.background)
    changed = replace(recipe, pixels_sha256=pixels_sha256(triplet))
    row |= {
        "image": {"bytes": encode_image(image), "path": "a.webp"},
        "mask": {"bytes": encode_mask(cut), "path": "a.png"},
        "bbox": list(mask_box(cut)),
        "mask_area": np.count_nonzero(cut) / cut.size,
        "recipe": changed.to_json(),
    }
    assert list(row_problems(row, "full")) == ["the mask does not cover the object that the recipe pastes"]
