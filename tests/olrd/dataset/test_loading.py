"""What a person gets who opens the folder with `datasets`, with `olrd.load`, or in a DataLoader."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from built_folders import digest, emptied
from drawn_sets import DrawnSets
from PIL import Image as Pillow
from synthetic_coco import write_coco

import olrd
from olrd.audit import audit
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.dataset.loading import open_splits
from olrd.errors import IntegrityError, SourceError, UsageError
from olrd.sources import SourceSpec
from olrd.tools.show import show
from olrd.tools.verify import verify

PICTURES = ("image", "mask", "background")


@pytest.fixture(scope="module", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`datasets` caches elsewhere, quietly."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("datasets-cache")
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
        patch.setattr(datasets.config, "HF_MODULES_CACHE", str(cache / "modules"))
        datasets.disable_progress_bars()
        yield
        datasets.enable_progress_bars()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve drawn photos; photo 0 lies on its side and EXIF turns it as annotated."""
    root = write_coco(tmp_path_factory.mktemp("photos"), count=12, seed=5)
    path = min((root / "train2017").iterdir())
    exif = Pillow.Exif()
    exif[0x0112] = 6
    with Pillow.open(path) as image:
        turned = image.transpose(Pillow.Transpose.ROTATE_90)
    turned.save(path, quality=92, exif=exif)
    return root


@pytest.fixture(scope="module")
def full(root: Path, drawn: DrawnSets) -> Path:
    return drawn.built(BuildConfig(SourceSpec("coco", str(root)), per_object=1))


@pytest.fixture(scope="module")
def recipes(root: Path, drawn: DrawnSets) -> Path:
    return drawn.built(BuildConfig(SourceSpec("coco", str(root)), per_object=1, form="recipes"))


def stored(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in Dataset(folder).rows()}


def assert_pictures_fit(row: dict[str, Any]) -> None:
    """PIL pictures of one size, and the proof seen through somebody else's reader."""
    size = row["width"], row["height"]
    assert [row[name].size for name in PICTURES] == [size] * 3
    assert (row["image"].mode, row["background"].mode) == ("RGB", "RGB")
    image, mask, background = (np.asarray(row[name]) for name in PICTURES)
    assert mask.ndim == 2
    assert set(np.unique(mask).tolist()) == {False, True}
    assert np.array_equal(image[~mask.astype(bool)], background[~mask.astype(bool)])
    assert mask.astype(bool).mean() == pytest.approx(row["mask_area"])


def test_load_dataset_gives_the_features_and_sizes(full: Path) -> None:
    loaded = datasets.load_dataset(str(full))
    assert set(loaded) == {"train", "validation", "test"}
    expected = {shard["split"]: shard["rows"] for shard in Dataset(full).record.to_json()["shards"]}
    assert {split: len(part) for split, part in loaded.items()} == expected
    kinds = loaded["train"].features
    assert kinds["image"] == datasets.Image(mode="RGB")
    assert kinds["background"] == datasets.Image(mode="RGB")
    assert kinds["mask"] == datasets.Image()
    assert kinds["bbox"] == datasets.List(datasets.Value("int32"), length=4)
    assert kinds["source_bbox"] == datasets.List(datasets.Value("int32"), length=4)
    assert kinds["shift"] == datasets.List(datasets.Value("int32"), length=2)
    assert kinds["background_labels"] == datasets.List(datasets.Value("string"))
    for name, kind in {
        "id": "string",
        "source": "string",
        "image_id": "string",
        "segment_id": "int64",
        "category": "string",
        "prompt": "string",
        "caption": "string",
        "scale": "float64",
        "mask_area": "float64",
        "blend": "string",
        "license": "string",
        "license_url": "string",
        "source_url": "string",
        "recipe": "string",
    }.items():
        assert kinds[name] == datasets.Value(kind), name
    for part in loaded.values():
        for row in part:
            assert_pictures_fit(row)


def test_streaming_gives_the_same_rows(full: Path) -> None:
    whole = datasets.load_dataset(str(full), split="train")
    stream = datasets.load_dataset(str(full), split="train", streaming=True)
    assert stream.features == whole.features
    rows = list(stream)
    assert [row["id"] for row in rows] == whole["id"][:]
    for row in rows:
        assert_pictures_fit(row)


def test_the_stored_bytes_arrive_verbatim(full: Path, root: Path) -> None:
    """Not re-encoded at JPEG quality 75: each background is its photo's file, byte for byte."""
    rows = stored(full)
    photos = {path.name: path.read_bytes() for path in (root / "train2017").iterdir()}
    seen = 0
    for part in datasets.load_dataset(str(full)).values():
        for name in PICTURES:
            part = part.cast_column(name, datasets.Image(decode=False))
        for row in part:
            for name in PICTURES:
                assert row[name]["bytes"] == rows[row["id"]][name]["bytes"]
            if row["background"]["path"] in photos:
                assert row["background"]["bytes"] == photos[row["background"]["path"]]
                seen += 1
    assert seen > 10


def test_a_rotated_photo_has_one_size_everywhere(full: Path) -> None:
    """`datasets` applies EXIF on decode: photo, composite and mask must agree all the same."""
    rows = [r for part in datasets.load_dataset(str(full)).values() for r in part]
    rotated = [row for row in rows if row["image_id"] == "139"]
    assert rotated
    for row in rotated:
        assert_pictures_fit(row)
        assert row["width"] > row["height"]  # as annotated; the file's own pixels are upright


def test_masks_and_composites_are_lossless_files(full: Path) -> None:
    for row in stored(full).values():
        with Pillow.open(io.BytesIO(row["mask"]["bytes"])) as mask:
            assert (mask.format, mask.mode) == ("PNG", "1")
        data = row["image"]["bytes"]
        with Pillow.open(io.BytesIO(data)) as image:
            assert image.format in ("WEBP", "PNG")
            if image.format == "WEBP":
                assert b"VP8L" in data[:60] or b"ICCP" in data[:40]
                assert b"VP8 " not in data[:60]


def test_a_greyscale_photo_arrives_as_rgb(full: Path) -> None:
    grey = {
        row["id"] for row in stored(full).values() if Pillow.open(io.BytesIO(row["background"]["bytes"])).mode == "L"
    }
    assert grey
    seen = set()
    for part in datasets.load_dataset(str(full)).values():
        for row in part:
            if row["id"] in grey:
                assert_pictures_fit(row)
                seen.add(row["id"])
    assert seen == grey


# --- olrd.load -----------------------------------------------------------------------------------


def test_load_of_a_full_folder_is_load_dataset(full: Path) -> None:
    ours, theirs = olrd.load(full), datasets.load_dataset(str(full))
    assert isinstance(ours, datasets.DatasetDict)
    assert {k: v["id"][:] for k, v in ours.items()} == {k: v["id"][:] for k, v in theirs.items()}
    part = olrd.load(full, split="test")
    assert isinstance(part, datasets.Dataset)
    assert_pictures_fit(part[0])


def test_recipes_are_rendered_to_the_stored_pixels(full: Path, recipes: Path, root: Path) -> None:
    whole = olrd.load(full)
    lean = olrd.load(recipes, root=root)
    assert set(whole) == set(lean)
    for split in whole:
        assert len(whole[split]) == len(lean[split])
        for one, other in zip(whole[split], lean[split], strict=True):
            assert one["id"] == other["id"]
            assert_pictures_fit(other)
            for name in PICTURES:
                assert np.array_equal(np.asarray(one[name]), np.asarray(other[name]))


def test_recipes_can_be_read_in_batches_and_columns(recipes: Path, root: Path) -> None:
    part = olrd.load(recipes, split="train", root=str(root))
    batch = part[:5]
    assert len(batch["image"]) == len(batch["id"]) == 5
    assert batch["image"][0].mode == "RGB"
    assert batch["mask"][0].size == batch["image"][0].size
    assert list(part["id"]) == list(datasets.load_dataset(str(recipes), split="train")["id"])


@pytest.mark.slow
def test_recipes_work_in_a_torch_dataloader_with_workers(recipes: Path, root: Path) -> None:
    torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    part = olrd.load(recipes, split="train", root=root)
    alone = [np.asarray(row["image"]) for row in part]
    loader = torch.utils.data.DataLoader(part, batch_size=2, num_workers=2, collate_fn=lambda rows: rows)
    seen = [row for rows in loader for row in rows]
    assert len(seen) == len(alone)
    for row, pixels in zip(seen, alone, strict=True):
        assert_pictures_fit(row)
        assert np.array_equal(np.asarray(row["image"]), pixels)


def test_an_unknown_split_gets_the_nearest(full: Path, recipes: Path, root: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'train'"):
        olrd.load(full, split="trian")
    with pytest.raises(UsageError, match="Known: test, train, validation"):
        olrd.load(recipes, split="dev", root=root)


def test_recipes_without_root_say_what_is_missing(recipes: Path) -> None:
    with pytest.raises(UsageError, match="root="):
        olrd.load(recipes)


def test_a_root_that_is_no_folder_is_said(recipes: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        olrd.load(recipes, root=tmp_path / "nowhere")


def test_a_folder_without_a_build_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no finished build"):
        olrd.load(tmp_path)
    (tmp_path / "parts").mkdir()
    with pytest.raises(SourceError, match="run the same olrd-build command again"):
        olrd.load(tmp_path)


def test_a_missing_and_a_wrong_photo_are_named_when_read(recipes: Path, root: Path, tmp_path: Path) -> None:
    photos = shutil.copytree(root / "train2017", tmp_path / "photos")
    part = olrd.load(recipes, split="train", root=photos)
    texts = [row["recipe"] for row in stored(recipes).values() if row["split"] == "train"]
    needed = [json.loads(text)["background"]["file_name"] for text in texts]
    (photos / needed[0]).unlink()
    with pytest.raises(SourceError, match=needed[0]):
        part[0]
    (photos / needed[-1]).write_bytes(b"other")
    with pytest.raises(IntegrityError, match=needed[-1]):
        part[len(part) - 1]


def test_loading_writes_nothing_into_the_folder(full: Path, recipes: Path, root: Path) -> None:
    before = digest(full), digest(recipes)
    _ = olrd.load(full)["train"][0], olrd.load(recipes, root=root)["train"][0]
    assert (digest(full), digest(recipes)) == before


def test_a_dataset_without_any_triplet_says_so(full: Path, tmp_path: Path) -> None:
    """A clear error of every command, not one from deep inside `datasets`."""
    out = emptied(Path(shutil.copytree(full, tmp_path / "out")))
    for read in (olrd.load, open_splits, audit, show):
        with pytest.raises(SourceError, match="holds no triplets"):
            read(str(out))
    assert any("holds no triplets" in problem for problem in verify(out)["problems"])


def test_a_missing_shard_is_named(full: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(full, tmp_path / "copy"))
    shard = sorted((copy / "data").iterdir())[0]
    shard.unlink()
    for read in (olrd.load, open_splits):
        with pytest.raises(IntegrityError, match=shard.name):
            read(str(copy))
    shard.write_bytes(b"PAR1 no shard")
    with pytest.raises(IntegrityError, match=shard.name):
        open_splits(str(copy))


def test_the_card_cannot_name_other_rows(full: Path, tmp_path: Path) -> None:
    """`load_dataset` follows the card; build.json lists the shards that are proven."""
    copy = Path(shutil.copytree(full, tmp_path / "set [1]*"))
    (copy / "extra").mkdir()
    for shard in (copy / "data").iterdir():
        shutil.copy(shard, copy / "extra" / f"train-{shard.name}")
    card = (copy / "README.md").read_text()
    (copy / "README.md").write_text(card.replace("path: data/", "path: extra/"))
    shutil.copy(next((copy / "data").iterdir()), copy / "data" / "train-99999-of-99999.parquet")
    expected = sorted(stored(full))
    for read in (olrd.load, open_splits):
        splits = read(str(copy))
        assert sorted(row for name in splits for row in splits[name]["id"]) == expected


def test_a_file_is_not_looked_up_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.load_dataset", lambda root: pytest.fail(f"{root} was looked up"))
    (tmp_path / "README.md").touch()
    with pytest.raises(SourceError, match=r"README\.md is a file; expected a built dataset folder"):
        open_splits(str(tmp_path / "README.md"))
