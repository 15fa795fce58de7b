"""`pairs`: triplets of two pictures of one scene, from folders of published sets and from tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from built_folders import digest
from cases import every
from drawn_pairs import three, write_pairs
from PIL import Image as Pillow

from benchmark.datasets import open_dataset
from olrd.arrays import Image, encode_mask, encode_png
from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.errors import IntegrityError, OutputError, Rejected, SourceError, UsageError
from olrd.sources import SourceSpec, open_source
from olrd.sources.seen import picture_files
from olrd.sources.seen.hub_pictures import HubPictures, hub_id
from olrd.tools.rebuild import rebuild
from olrd.tools.verify import verify
from tools.drawn_clip import Frame, Scene, overlap

SCENE = Scene(noise=1.5)
FRAMES = {f"{number:03d}": SCENE.frame(number) for number in (3, 5, 8)}


def config_of(root: Path | str, **options: str) -> BuildConfig:
    return BuildConfig(SourceSpec("pairs", str(root), options=options))


def built(root: Path, out: Path, **options: str) -> Dataset:
    build(config_of(root, **options), out)
    assert not verify(out)["problems"]
    return Dataset(out)


def folders(root: Path, image: str, truth: str, mask: str = "", effect: str = "") -> Path:
    """The drawn pairs in these folders; an empty name is left out."""
    for name, frame in FRAMES.items():
        other = SCENE.frame(0).clean  # taken at another moment: with other noise
        for folder, pixels in ((image, frame.pixels), (truth, other), (mask, frame.mask), (effect, frame.effect)):
            if folder:
                (root / folder).mkdir(parents=True, exist_ok=True)
                Pillow.fromarray(pixels).save(root / folder / f"{name}.png", compress_level=1)
    return root


def check(dataset: Dataset, mask: float = 0.9, effect: float = 0.8, names: dict[str, Frame] = FRAMES) -> None:
    """Check that every frame gave a row, with masks that overlap the drawn ones at least so far."""
    rows = {sample.row["donor_image_id"]: sample for sample in dataset}
    assert set(rows) == set(names)
    for name, sample in rows.items():
        assert sample.effect is not None
        assert overlap(sample.mask, names[name].mask) >= mask
        assert overlap(sample.effect, names[name].effect) >= effect
        assert np.array_equal(sample.image, names[name].pixels)
        assert np.array_equal(sample.image[~sample.effect], sample.background[~sample.effect])
        error = np.abs(sample.background.astype(int) - names[name].clean)[sample.effect].mean()
        assert error < 4


LAYOUTS = {
    "plain": ["image", "gt", "mask"],
    "rord": ["img", "gt", "mask"],
    "removalbench": ["images", "gt", "masks"],
    "rorem": ["source", "GT", "mask"],
    "corne": ["shot", "bg", "mask_sam", "mask_eff"],
}


@pytest.mark.parametrize(("layout", "names"), every(4, {name: (name, folders) for name, folders in LAYOUTS.items()}))
def test_published_layouts_are_read(layout: str, names: list[str], tmp_path: Path) -> None:
    root = folders(tmp_path / "in", *names)
    check(built(root, tmp_path / "out", layout=layout), mask=1.0, effect=1.0 if layout == "corne" else 0.8)


@pytest.mark.slow
def test_objects_are_found_without_masks_and_recipes_rebuild_them(tmp_path: Path) -> None:
    root = folders(tmp_path / "in", "with", "without")
    options = {"photos": "with", "truth": "without", "masks": "none"}
    check(built(root, tmp_path / "out", **options))
    build(replace(config_of(root, **options), form="recipes"), tmp_path / "recipes")
    rebuild(tmp_path / "recipes", root, tmp_path / "again")
    assert digest(tmp_path / "again") == digest(tmp_path / "out")
    build(config_of(root, **options), tmp_path / "two", workers=2)
    assert digest(tmp_path / "two") == digest(tmp_path / "out")


def table(path: Path, columns: dict[str, list[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=2)


@pytest.mark.parametrize("nested", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_tables_are_read_and_rebuilt(nested: bool, tmp_path: Path) -> None:
    """OBER's columns, as bytes or as the Hub's pictures."""
    cells: dict[str, list[Any]] = {"input": [], "object_mask": [], "gt": [], "object_effect_mask": []}
    for frame in FRAMES.values():
        files = (encode_png(frame.pixels), encode_mask(frame.mask), encode_png(frame.clean), encode_mask(frame.effect))
        for name, data in zip(cells, files, strict=True):
            cells[name].append({"bytes": data, "path": None} if nested else data)
    table(tmp_path / "in" / "data" / "train-00000-of-00001.parquet", cells)
    dataset = built(tmp_path / "in", tmp_path / "out", layout="ober")
    check(dataset, 1.0, 1.0, dict(zip(("000000", "000001", "000002"), FRAMES.values(), strict=True)))
    build(replace(config_of(tmp_path / "in", layout="ober"), form="recipes"), tmp_path / "recipes")
    rebuild(tmp_path / "recipes", tmp_path / "in", tmp_path / "again")
    assert digest(tmp_path / "again") == digest(tmp_path / "out")
    cells["gt"][1] = cells["gt"][0]
    table(tmp_path / "in" / "data" / "train-00000-of-00001.parquet", cells)
    with pytest.raises(IntegrityError, match="is not the file the recipe was made from"):
        rebuild(tmp_path / "recipes", tmp_path / "in", tmp_path / "other")


def hub_set(folder: Path, form: str) -> None:
    """A dataset as the Hub has them: Parquet files of two splits, or picture files with a list of their names."""
    rows = []
    for name, frame in FRAMES.items():
        rows.append(
            {"before": frame.pixels, "clean": frame.clean, "object": frame.mask, "shade": frame.effect, "key": name}
        )
    if form == "parquet":
        for split, part in {"train": rows[:2], "test": rows[2:]}.items():
            cells: dict[str, list[Any]] = {"key": [row["key"] for row in part]}
            for column in ("before", "clean", "object", "shade"):
                data = [
                    encode_mask(row[column]) if row[column].dtype == bool else encode_png(row[column]) for row in part
                ]
                cells[column] = [{"bytes": one, "path": None} for one in data]
            table(folder / "data" / f"{split}-00000-of-00001.parquet", cells)
        return
    lines = []
    for row in rows:
        line = {"key": row["key"]}
        for column in ("before", "clean", "object", "shade"):
            name = f"{column}/{row['key']}.png"
            (folder / "train" / column).mkdir(parents=True, exist_ok=True)
            data = encode_mask(row[column]) if row[column].dtype == bool else encode_png(row[column])
            (folder / "train" / name).write_bytes(data)
            line[f"{column}_file_name"] = name
        lines.append(json.dumps(line))
    (folder / "train" / "metadata.jsonl").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("form", ["parquet", pytest.param("pictures", marks=pytest.mark.slow)])
def test_sets_of_the_hub_are_read_and_rebuilt(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` opens the id; here it finds a folder of that name, since the Hub is out of reach."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    hub_set(tmp_path / "who" / "pairs", form)
    monkeypatch.chdir(tmp_path)
    columns = "image:before,truth:clean,mask:object,effect:shade,id:key"
    config = replace(config_of("hf://who/pairs", columns=columns), splits=(("train", 1.0),))
    build(config, tmp_path / "out")
    check(Dataset(tmp_path / "out"), 1.0, 1.0, FRAMES)
    build(replace(config, form="recipes"), tmp_path / "recipes")
    rebuild(tmp_path / "recipes", "hf://who/pairs", tmp_path / "again")
    assert digest(tmp_path / "again") == digest(tmp_path / "out")
    if form == "parquet":
        build(config_of("hf://who/pairs", columns=columns, split="test"), tmp_path / "test")
        assert len(Dataset(tmp_path / "test")) == 1
        build(config_of("who/pairs", columns=columns, split="test"), tmp_path / "files")
        assert [one.id for one in Dataset(tmp_path / "files")] == [one.id for one in Dataset(tmp_path / "test")]
    with pytest.raises(UsageError, match="Did you mean 'train'"):
        build(config_of("hf://who/pairs", columns=columns, split="trains"), tmp_path / "no")
    with pytest.raises(
        UsageError, match=r"who/pairs has the columns .*before.*: say which hold the image and the truth"
    ):
        build(config_of("hf://who/pairs"), tmp_path / "no")


def test_what_is_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a" / "folder").mkdir(parents=True)
    assert hub_id("who/pairs") == hub_id("hf://who/pairs") == hub_id("hf://who/pairs/") == "who/pairs"
    for other in (
        "a/folder",
        "hf://datasets/who/pairs",
        "hf://datasets/pairs",
        "s3://who/pairs",
        "who",
        "/who/pairs",
        "a/b/c",
    ):
        assert hub_id(other) is None

    def offline(name: str) -> None:
        raise ConnectionError("no route to\nthe hub")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    said = "who/pairs does not exist here, and `datasets` cannot open it as a dataset of the Hub: ConnectionError: no route to"
    with pytest.raises(SourceError, match=said):
        build(config_of("who/pairs"), tmp_path / "out")


def test_rows_of_the_hub_name_no_files_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"mine")
    rows = datasets.Dataset.from_dict({"image": [{"path": str(secret), "bytes": None}, {"path": None, "bytes": None}]})
    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"train": rows})
    hub = HubPictures("who/pairs")
    with pytest.raises(Rejected, match="is no file of the dataset"):
        hub.read("train", "row:0:image")
    for part in ("row:1:image", "row:2:image", "row:0:other", "frame:1", ""):
        with pytest.raises(Rejected):
            hub.read("train", part)
    with pytest.raises(Rejected):
        hub.read("test", "row:0:image")


def hand_held(frame: Frame, shift: float = 5) -> Image:
    """The clean picture, taken from a little to the side, and brighter."""
    turn = np.array([[1.004, 0.015, shift], [-0.012, 0.998, -shift / 2], [1e-5, 1e-5, 1]])
    size = frame.clean.shape[1::-1]
    moved = cv2.warpPerspective(frame.clean, turn, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.clip(moved * 1.06 + 3, 0, 255).astype(np.uint8)


@pytest.mark.slow
def test_hand_held_pictures_are_aligned_and_their_tone_is_matched(tmp_path: Path) -> None:
    frame = SCENE.frame(5)
    files = {"image/a.png": frame.pixels, "gt/a.png": hand_held(frame), "mask/a.png": frame.mask}
    root = write_pairs(tmp_path / "in", files)
    dataset = built(root, tmp_path / "out")
    check(dataset, 1.0, 0.7, {"a": frame})
    build(replace(config_of(root), form="recipes"), tmp_path / "recipes")
    rebuild(tmp_path / "recipes", root, tmp_path / "again")
    assert digest(tmp_path / "again") == digest(tmp_path / "out")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (np.rot90(SCENE.frame(0).clean, 2).copy(), r"camera_moved.*\d"),
        ((SCENE.frame(0).clean * 0.4).astype(np.uint8), r"light_changed.*levels differ by up to \d+"),
        (SCENE.frame(0).clean[:60], r"camera_moved.*features match"),
        (cv2.resize(SCENE.frame(0).clean, None, fx=2, fy=2), r"camera_moved.*differ in size"),
    ],
    ids=["another-place", "night", "cut", "nearer"],
)
def test_pictures_that_do_not_fit_are_refused_with_the_figure(other: Image, message: str, tmp_path: Path) -> None:
    frame = SCENE.frame(5)
    files = {"image/a.png": frame.pixels, "gt/a.png": other, "mask/a.png": frame.mask}
    with pytest.raises(OutputError, match=message):
        build(config_of(write_pairs(tmp_path / "in", files)), tmp_path / "out")


def test_scenes_by_folder_or_prefix_are_of_one_split(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "in", three("image/clip_{}.png", "mask/clip_{}.png", "gt/clip_{}.png"))
    source: Any = open_source(SourceSpec("pairs", str(root), options={"cluster": "prefix"}))
    assert [source.scene_id(k) for k in range(3)] == ["clip"] * 3
    assert len({source.image_id(k) for k in range(3)}) == 3
    rows = built(root, tmp_path / "out", cluster="prefix").table(["split", "image_id"]).to_pylist()
    assert len(rows) == 3 and len({row["split"] for row in rows}) == 1


@pytest.mark.slow
def test_the_benchmark_reads_the_effect_of_a_built_set(tmp_path: Path) -> None:
    root = folders(tmp_path / "in", "shot", "bg", "mask_sam", "mask_eff")
    built(root, tmp_path / "out", layout="corne")
    data: Any = open_dataset("olrd", str(tmp_path / "out"))
    assert data.effects
    sample = data.sample(0)
    assert sample.effect is not None and sample.twin is None and (sample.effect & ~sample.mask).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "rod"}, "Did you mean 'rord'"),
        ({"cluster": "all"}, "cluster must be stem or prefix or folder"),
        ({"align": "maybe"}, "align must be auto or no"),
        ({"truht": "gt"}, "Did you mean 'truth'"),
        ({"truth": "clean"}, "--source-option truth=FOLDER"),
        ({"category": " "}, "category: expected a name"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, str], message: str, tmp_path: Path) -> None:
    root = write_pairs(tmp_path, three())
    with pytest.raises((UsageError, SourceError), match=message):
        open_source(SourceSpec("pairs", str(root), options=options))


def test_advice_names_options_of_the_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The benchmark reads the same folders, and has `subfolders` and sets without truth."""
    root = write_pairs(tmp_path / "deep", three() | three("image/a/{}.png", "mask/a/{}.png", ""))
    open_source(SourceSpec("pairs", str(root)))
    said = capsys.readouterr().err
    assert (
        "3 photos in subfolders of image are not read: --root and photos=FOLDER" in said and "subfolders=" not in said
    )
    root = write_pairs(tmp_path / "lost", three(truth=""))
    with pytest.raises(SourceError, match=r"gt does not exist.*--source-option truth=FOLDER$"):
        open_source(SourceSpec("pairs", str(root)))


def test_a_row_group_that_is_too_large_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = three()
    cells: dict[str, list[Any]] = {
        part: [encode_mask(files[f"{folder}/1.png"]) if part == "mask" else encode_png(files[f"{folder}/1.png"])]
        for part, folder in (("image", "image"), ("truth", "gt"), ("mask", "mask"))
    }
    table(tmp_path / "in" / "a.parquet", cells)
    monkeypatch.setattr(picture_files, "MAX_GROUP", 100)
    with pytest.raises(OutputError, match=r"photo_too_large.*its row group is larger than"):
        build(config_of(tmp_path / "in"), tmp_path / "out")


def test_tables_without_the_columns_say_which_there_are(tmp_path: Path) -> None:
    table(tmp_path / "a.parquet", {"photo": [b""], "clean_plate": [b""]})
    with pytest.raises(UsageError, match=r"columns photo, clean_plate: say which hold the truth with --source-option"):
        open_source(SourceSpec("pairs", str(tmp_path)))
    (tmp_path / "a.parquet").write_bytes(b"no table")
    with pytest.raises(SourceError, match=r"a\.parquet cannot be read as Parquet"):
        open_source(SourceSpec("pairs", str(tmp_path)))


@pytest.mark.slow
def test_the_traffic_pairs(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "static_pairs"
    if not folder.is_dir():
        pytest.skip("the pairs of the traffic camera are not here")
    rows = list(built(folder, tmp_path / "out"))
    assert len(rows) == 12
    for sample in rows:
        truth = np.asarray(Pillow.open(folder / "gt" / f"{sample.row['donor_image_id']}.png"))
        assert np.array_equal(sample.background, truth)  # outside the masks these pairs are equal
