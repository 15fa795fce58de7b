"""Builds with several objects in a photo: their masks."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from cases import every
from drawn_sets import DrawnSets
from pycocotools.coco import COCO
from sealed_copy import Copy

import olrd
from olrd.config import BuildConfig
from olrd.dataset.croissant import Publication, croissant
from olrd.dataset.folder import Dataset, Sample
from olrd.dataset.schema import features, schema
from olrd.panoptic import decode_rle
from olrd.sources import SourceSpec
from olrd.tools.export import export
from olrd.tools.verify import verify
from olrd.triplets.compose import transformed
from olrd.triplets.recipe import Recipe


@pytest.fixture(scope="module")
def root(drawn: DrawnSets) -> Path:
    return drawn.photos()


@pytest.fixture(scope="module")
def config(root: Path) -> BuildConfig:
    spec = SourceSpec("coco", str(root))
    return BuildConfig(
        spec, objects=(1, 3), flip=True, mask_style=("exact", "grown", "box"), per_object=2, shard_bytes=400_000
    )


@pytest.fixture(scope="module")
def samples(full: Path) -> list[Sample]:
    return list(Dataset(full))


def test_the_mask_is_the_union_of_the_masks(samples: list[Sample]) -> None:
    counts = set()
    for sample in samples:
        assert sample.masks is not None
        assert np.array_equal(np.any(sample.masks, axis=0), sample.mask)
        assert np.array_equal(sample.image[~sample.mask], sample.background[~sample.mask])
        assert len(sample.row["categories"]) == len(sample.masks) == len(Recipe.from_json(sample.row["recipe"]).parts)
        assert sample.row["categories"][0] == sample.row["category"]
        counts.add(len(sample.masks))
    assert counts == {1, 2, 3}


def test_objects_do_not_overlap(samples: list[Sample]) -> None:
    classes = set()
    for sample in samples:
        covered = np.zeros(sample.mask.shape, np.uint8)
        assert sample.masks is not None
        for part, mask in zip(Recipe.from_json(sample.row["recipe"]).parts, sample.masks, strict=True):
            cut = decode_rle(part.rle, part.source_bbox.h, part.source_bbox.w)
            moved, (x, y) = transformed(cut, part.scale, part.flip), part.position
            covered[y : y + moved.shape[0], x : x + moved.shape[1]] += moved
            assert mask[y : y + moved.shape[0], x : x + moved.shape[1]][moved].all()
        assert covered.max() == 1
        first, *others = sample.row["categories"]
        classes |= {first == other for other in others}
    assert classes == {True, False}


@pytest.mark.slow
def test_datasets_opens_full_rows_and_recipes_alike(
    full: Path, recipes: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    stored = datasets.load_dataset(str(full), split="train")  # by the card
    rendered = olrd.load(recipes, split="train", root=root)
    assert stored.column_names == list(features("full", ("masks", "categories")))
    for one, other in zip(stored, rendered, strict=True):
        assert one["categories"] == other["categories"]
        assert [mask.mode for mask in one["masks"]] == ["1"] * len(one["categories"])
        assert [mask.tobytes() for mask in one["masks"]] == [mask.tobytes() for mask in other["masks"]]


def test_only_builds_with_several_objects_have_the_columns(full: Path) -> None:
    assert not {"masks", "categories"} & set(schema("full").names)
    values = croissant(Dataset(full), Publication())
    assert values["rai:annotationsPerItem"] == "1 mask, computed from the paste, and 1 per pasted object"
    made = " ".join(values["rai:dataPreprocessingProtocol"])
    assert "has 1-3 objects" in made and "as users draw them (exact, grown, box)" in made
    fields = values["recordSet"][0]["field"]
    assert [field["name"] for field in fields] == list(features("full", ("masks", "categories")))
    assert pq.ParquetFile(Dataset(full).shards[0]).schema_arrow.names == [field["name"] for field in fields]


@pytest.mark.slow
def test_an_exact_number_and_objects_of_another_photo(config: BuildConfig, tmp_path: Path) -> None:
    out = olrd.build("coco", root=config.source.root, out=tmp_path / "out", objects="2", donor="other", limit=12)
    assert {len(sample.masks or ()) for sample in out} == {2}
    assert verify(out.folder)["problems"] == []
    assert all(row["image_id"] != row["donor_image_id"] for row in out.rows(["image_id", "donor_image_id"]))


OTHER_MASKS = {
    "one less": (lambda masks: masks[:-1], "masks of single objects, the recipe pastes"),
    "another order": (lambda masks: masks[::-1], "sha256 differs"),
    "no mask": (lambda masks: [], "expected 1 to 8 masks"),
    "null": (lambda masks: None, "expected 1 to 8 masks"),
    "no bytes": (lambda masks: [{"bytes": None, "path": None}] * len(masks), "expected 1 to 8 masks"),
    "one again": (lambda masks: masks[:1] * len(masks), "not the union"),
    "too many": (lambda masks: masks * 5, "expected 1 to 8 masks|the recipe pastes"),
}


@pytest.mark.parametrize(("damage", "said"), every(3, OTHER_MASKS))
def test_other_masks_are_a_problem(full: Path, tmp_path: Path, damage: object, said: str) -> None:
    copy = Copy(Path(shutil.copytree(full, tmp_path / "copy")))

    def change(rows: list[dict[str, object]]) -> None:
        row = next(row for row in rows if len(row["masks"]) > 1)  # type: ignore[arg-type]
        row["masks"] = damage(row["masks"])  # type: ignore[operator]

    copy.edit(change)
    found = verify(copy.folder)["problems"]
    assert found and re.search(said, " ".join(found))


@pytest.mark.slow
def test_an_export_to_coco_holds_every_object(full: Path, tmp_path: Path) -> None:
    result = export(full, "coco", tmp_path / "coco")
    samples = list(Dataset(full))
    seen = 0
    for split in result["splits"]:
        found = COCO(str(tmp_path / "coco" / "annotations" / f"instances_{split}.json"))
        part = [sample for sample in samples if sample.row["split"] == split]
        for number, sample in enumerate(part, 1):
            objects = found.loadAnns(found.getAnnIds([number]))
            assert [found.cats[one["category_id"]]["name"] for one in objects] == sample.row["categories"]
            for one, mask in zip(objects, sample.masks or (), strict=True):
                assert np.array_equal(found.annToMask(one) > 0, mask)
            seen += len(objects)
    assert seen == sum(len(sample.masks or ()) for sample in samples) > len(samples)
