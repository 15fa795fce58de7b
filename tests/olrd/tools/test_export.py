"""`olrd export`: what other people's readers find in it is what is in the dataset."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from synthetic_dataset import write_dataset

from olrd.cli.main import main
from olrd.dataset.folder import Dataset, row_triplet
from olrd.errors import IntegrityError, OutputError, UsageError
from olrd.tools import export as module
from olrd.tools.export import FORMS, export, stem_of

DRAWN = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos with two triplets each, in two splits. Shared: do not write into it."""
    return write_dataset(tmp_path_factory.mktemp("export") / "set", photos=3)


def hashes(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pixels(path: Path) -> Any:
    with Pillow.open(path) as picture:
        return np.asarray(picture)


def test_folders_hold_the_pixels_and_the_columns(folder: Path, tmp_path: Path) -> None:
    result = export(folder, "folders", tmp_path / "out")
    rows = {row["id"]: row for row in Dataset(folder).rows()}
    assert result["triplets"] == len(rows) == DRAWN and result["splits"] == {"train": 4, "test": 2}
    seen = 0
    for split in ("train", "test"):
        for line in (tmp_path / "out" / split / "metadata.jsonl").read_text().splitlines():
            entry = json.loads(line)
            row, triplet = rows[entry["id"]], row_triplet(rows[entry["id"]])
            home = tmp_path / "out" / split
            assert entry["split"] == row["split"] == split and entry["bbox"] == row["bbox"] and "recipe" not in entry
            assert np.array_equal(pixels(home / entry["image_file_name"]), triplet.image)
            assert np.array_equal(pixels(home / entry["mask_file_name"]), triplet.mask * np.uint8(255))
            assert np.array_equal(pixels(home / entry["background_file_name"]), triplet.background)
            seen += 1
    assert seen == DRAWN and len(hashes(tmp_path / "out")) == result["files"] + 1


def test_a_jpeg_photo_stays_its_own_file(tmp_path: Path, drawn: Any) -> None:
    from olrd.config import BuildConfig
    from olrd.sources import SourceSpec

    built = drawn.built(BuildConfig(SourceSpec("coco", str(drawn.photos())), per_object=1, shard_bytes=500_000))
    export(built, "folders", tmp_path / "out")
    own = {hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(drawn.photos()).rglob("*.jpg")}
    found = list((tmp_path / "out").glob("*/background/*.jpg"))
    assert found and {hashlib.sha256(path.read_bytes()).hexdigest() for path in found} <= own


@pytest.mark.slow
def test_datasets_reads_the_tar_files_and_the_folders(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    export(folder, "folders", tmp_path / "folders")
    listed = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "folders"), streaming=True)
    truths = {row["id"]: row_triplet(row) for row in Dataset(folder).rows()}
    for row in (row for part in listed.values() for row in part):
        truth = truths.pop(row["id"])
        assert np.array_equal(np.asarray(row["image"]), truth.image)
        assert np.array_equal(np.asarray(row["mask"]) > 0, truth.mask)
        assert np.array_equal(np.asarray(row["background"]), truth.background)
    assert not truths
    export(folder, "webdataset", tmp_path / "out", per_file=3)
    names = [f"train-{number:06d}.tar" for number in range(2)]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.tar")) == ["test-000000.tar", *names]
    files = [str(tmp_path / "out" / name) for name in names]
    rows = list(datasets.load_dataset("webdataset", data_files={"train": files}, split="train", streaming=True))
    expected = [row for row in Dataset(folder).rows() if row["split"] == "train"]
    assert [row["json"]["id"] for row in rows] == [row["id"] for row in expected]
    for row, truth in zip(rows, expected, strict=True):
        assert row["json"]["prompt"] == truth["prompt"]
        assert np.array_equal(np.asarray(row["image.png"]), row_triplet(truth).image)
        assert np.array_equal(np.asarray(row["mask.png"]) > 0, row_triplet(truth).mask)


def test_pycocotools_reads_the_instances(folder: Path, tmp_path: Path) -> None:
    export(folder, "coco", tmp_path / "out", per_file=1)
    for split in ("train", "test"):
        found = COCO(str(tmp_path / "out" / "annotations" / f"instances_{split}.json"))
        rows = [row for row in Dataset(folder).rows() if row["split"] == split]
        assert len(found.anns) == len(rows)
        for number, row in enumerate(rows, 1):
            (annotation,) = found.loadAnns(found.getAnnIds([number]))
            (image,) = found.loadImgs([number])
            triplet = row_triplet(row)
            assert np.array_equal(found.annToMask(annotation) > 0, triplet.mask)
            assert annotation["bbox"] == row["bbox"] and annotation["area"] == triplet.mask.sum()
            assert found.cats[annotation["category_id"]]["name"] == row["category"]
            assert found.dataset["licenses"][image["license"] - 1]["name"] == row["license"]
            assert np.array_equal(pixels(tmp_path / "out" / split / image["file_name"]), triplet.image)


@pytest.fixture(scope="module")
def shaded(drawn: Any) -> Path:
    """Triplets with effects and masks of single objects. Shared: do not write into it."""
    from olrd.config import BuildConfig
    from olrd.sources import SourceSpec

    root = SourceSpec("coco", str(drawn.photos(14, 9)))
    return Path(drawn.built(BuildConfig(root, shadow="contact", objects=(1, 3), per_object=1)))


def test_effects_and_single_masks_are_in_folders(shaded: Path, tmp_path: Path) -> None:
    result = export(shaded, "folders", tmp_path / "out")
    triplets = {row["id"]: row_triplet(row) for row in Dataset(shaded).rows()}
    files = counts = 0
    for split in result["splits"]:
        home = tmp_path / "out" / split
        for line in (home / "metadata.jsonl").read_text().splitlines():
            entry = json.loads(line)
            triplet = triplets[entry["id"]]
            assert np.array_equal(pixels(home / entry["effect_file_name"]), np.asarray(triplet.effect) * np.uint8(255))
            masks = [pixels(home / name) > 0 for name in entry["masks_file_names"]]
            assert np.array_equal(masks, triplet.masks) and len(entry["categories"]) == len(masks)
            files, counts = files + 4 + len(masks), counts + (len(masks) > 1)
    assert result["files"] == files + len(result["splits"]) == len(hashes(tmp_path / "out")) - 1 and counts


def test_effects_are_in_coco(shaded: Path, tmp_path: Path) -> None:
    result = export(shaded, "coco", tmp_path / "out")
    for split in result["splits"]:
        found = COCO(str(tmp_path / "out" / "annotations" / f"instances_{split}.json"))
        rows = [row for row in Dataset(shaded).rows() if row["split"] == split]
        for image, row in zip(found.loadImgs(sorted(found.imgs)), rows, strict=True):
            assert np.array_equal(coco_masks.decode(image["effect"]) > 0, row_triplet(row).effect)


@pytest.mark.slow
def test_datasets_reads_effects_and_single_masks(shaded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    triplets = {row["id"]: row_triplet(row) for row in Dataset(shaded).rows()}
    export(shaded, "folders", tmp_path / "folders")
    listed = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "folders"), split="train")
    export(shaded, "webdataset", tmp_path / "tars", per_file=5)
    tars = datasets.load_dataset("webdataset", data_files=str(tmp_path / "tars" / "train-*.tar"), split="train")
    assert len(listed) == len(tars) > 0
    for row in listed:
        triplet = triplets[row["id"]]
        assert np.array_equal(np.asarray(row["effect"]) > 0, triplet.effect)
        assert np.array_equal([np.asarray(mask) > 0 for mask in row["masks"]], triplet.masks)
    for row in tars:
        triplet = triplets[row["json"]["id"]]
        assert np.array_equal(np.asarray(row["effect.png"]) > 0, triplet.effect)
        bits = np.asarray(row["masks.png"])
        assert np.array_equal([bits >> k & 1 for k in range(len(triplet.masks or ()))], triplet.masks)


@pytest.mark.slow
@pytest.mark.parametrize("to", FORMS)
def test_an_interrupted_export_goes_on_and_gives_the_same_bytes(folder: Path, tmp_path: Path, to: str) -> None:
    export(folder, to, tmp_path / "whole", per_file=2)
    expected = hashes(tmp_path / "whole")
    export(folder, to, tmp_path / "part", per_file=2)
    victims = sorted(path for path in (tmp_path / "part").rglob("*") if path.is_file() and path.name != "export.json")
    kept = {path: path.stat().st_mtime_ns for path in victims[1::2] if path.suffix in (".png", ".tar")}
    for path in victims[::2]:
        path.unlink()
    export(folder, to, tmp_path / "part", per_file=2)
    assert hashes(tmp_path / "part") == expected
    if to != "folders":  # a triplet's three files are written together
        assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


@pytest.mark.slow
def test_the_number_of_workers_does_not_change_the_files(folder: Path, tmp_path: Path) -> None:
    for workers in (1, 2):
        export(folder, "coco", tmp_path / str(workers), per_file=1, workers=workers)
    assert hashes(tmp_path / "1") == hashes(tmp_path / "2")


def test_a_failure_leaves_no_half_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(100))

    def failing(row: dict[str, Any], triplet: Any) -> Any:
        if next(calls) == 1:
            raise IntegrityError("planted")
        return true_pictures(row, triplet)

    true_pictures = module._pictures
    for to in ("webdataset", "folders"):
        calls = iter(range(100))
        monkeypatch.setattr(module, "_pictures", failing)
        with pytest.raises(IntegrityError, match="planted"):
            export(folder, to, tmp_path / to)
        left = [name for name in hashes(tmp_path / to) if not name.endswith(".png")]
        assert left == ["export.json"] and "finished" not in (tmp_path / to / "export.json").read_text()
        monkeypatch.setattr(module, "_pictures", true_pictures)
        export(folder, to, tmp_path / to)
        assert json.loads((tmp_path / to / "export.json").read_text())["finished"] is True


def test_a_folder_with_something_else_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(OutputError, match="is not empty"):
        export(folder, "folders", tmp_path / "full")
    with pytest.raises(OutputError, match=r"photo\.jpg is a file; expected a folder"):
        export(folder, "folders", tmp_path / "full" / "photo.jpg")
    with pytest.raises(OutputError, match=r"/proc/zz cannot be written to.*Give another folder with --out"):
        export(folder, "folders", "/proc/zz")
    export(folder, "coco", tmp_path / "out")
    with pytest.raises(OutputError, match="another dataset, or with other options"):
        export(folder, "folders", tmp_path / "out")
    with pytest.raises(UsageError, match="expected a place outside"):
        export(folder, "folders", folder / "data")
    with pytest.raises(UsageError, match="Did you mean 'folders'"):
        export(folder, "folder", tmp_path / "new")
    with pytest.raises(UsageError, match="a folder on this machine"):
        export(folder, "coco", "s3://bucket/set")
    recipes = write_dataset(tmp_path / "recipes", photos=1, form="recipes")
    with pytest.raises(UsageError, match="olrd rebuild"):
        export(recipes, "coco", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..", ".hidden", "a/b", "con\x00", "x" * 400, "a.b"]
)
def test_ids_of_a_stranger_do_not_lead_out(name: str) -> None:
    try:
        stem = stem_of(name)
    except IntegrityError:
        return
    assert Path(stem).name == stem and "." not in stem and len(stem.encode()) < 200 and os.sep not in stem
    assert stem != name and stem_of(name + "x") != stem


def test_ids_with_one_file_name_are_refused(tmp_path: Path) -> None:
    twice = write_dataset(tmp_path / "set", photos=1, meta={"id": "same"})
    with pytest.raises(IntegrityError, match="give one file name"):
        export(twice, "folders", tmp_path / "out")
    with pytest.raises(IntegrityError, match="is not a text"):
        stem_of(None)


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["export", str(folder), "--to", "webdataset", "--out", str(tmp_path / "out"), "--workers", "1"]
    assert main(options) == 0
    assert capsys.readouterr().out.startswith("6 triplets (train 4, test 2) in 2 files\n")
    assert main([*options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == 2
    assert main([*options, "--per-file", "0"]) == 2
