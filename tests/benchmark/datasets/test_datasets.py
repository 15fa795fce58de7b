"""The benchmark's datasets: layouts, errors that name the file, and fingerprints that tell sets apart."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow
from seven_pairs import STEMS, write_seven
from sound_datasets import box, check, drawn
from synthetic_coco import write_coco
from synthetic_dataset import write_dataset

from benchmark.datasets import open_dataset
from olrd.arrays import encode_mask
from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.errors import IntegrityError, OlrdError, Rejected, SourceError, UsageError
from olrd.sources import SourceSpec
from olrd.sources.pairs.layouts import LAYOUTS
from olrd.sources.pairs.names import duplicates


@pytest.fixture(scope="module", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Builds and `datasets` cache elsewhere."""
    import datasets

    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "hf")
        patch.setenv("OLRD_CACHE", str(cache / "olrd"))
        yield cache / "olrd"


# --- olrd ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def triplets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One build in both forms, and its photos."""
    root = tmp_path_factory.mktemp("triplets")
    photos = write_coco(root / "photos", count=3)
    config = BuildConfig(SourceSpec("coco", str(photos)), per_object=1)
    for form in ("full", "recipes"):
        build(replace(config, form=form), root / form)
    return {"photos": photos, "full": root / "full", "recipes": root / "recipes"}


def test_a_built_folder_is_a_data_set_with_an_exact_truth(triplets: dict[str, Path]) -> None:
    data = open_dataset("olrd", str(triplets["full"]))
    check(data)
    assert data.name == "olrd" and data.warnings == ()
    for index in range(len(data.ids())):
        one = data.sample(index)
        assert one.truth is not None and one.twin is not None
        np.testing.assert_array_equal(one.image[~one.mask], one.truth[~one.mask])
        assert one.category and one.prompt
        assert one.id.split("-")[1] == one.cluster


def test_recipes_render_to_the_same_samples(triplets: dict[str, Path]) -> None:
    full = open_dataset("olrd", str(triplets["full"]))
    data = open_dataset("olrd", str(triplets["recipes"]), {"photos": str(triplets["photos"])})
    check(data)
    assert (data.ids(), data.fingerprint) == (full.ids(), full.fingerprint)
    for index in range(len(data.ids())):
        one, other = data.sample(index), full.sample(index)
        for name in ("image", "mask", "truth"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        assert (one.cluster, one.twin, one.prompt) == (other.cluster, other.twin, other.prompt)


def test_recipes_without_their_photos_say_which_option_is_missing(triplets: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--data-option photos=FOLDER"):
        open_dataset("olrd", str(triplets["recipes"]))
    with pytest.raises(UsageError, match="is not a folder"):
        open_dataset("olrd", str(triplets["recipes"]), {"photos": str(tmp_path / "none")})


def test_a_photo_that_changed_since_is_an_error_of_its_samples(triplets: dict[str, Path], tmp_path: Path) -> None:
    photos = shutil.copytree(triplets["photos"], tmp_path / "photos")
    for path in (photos / "train2017").iterdir():
        path.write_bytes(path.read_bytes() + b" ")
    data = open_dataset("olrd", str(triplets["recipes"]), {"photos": str(photos)})
    with pytest.raises(OlrdError, match="photo"):
        data.sample(0)


@pytest.mark.slow
def test_one_split_may_be_chosen(tmp_path: Path) -> None:
    folder = str(write_dataset(tmp_path / "drawn", photos=4, per_photo=1, splits=("train", "test")))
    every = open_dataset("olrd", folder)
    parts = {s: open_dataset("olrd", folder, {"split": s}) for s in ("train", "test")}
    check(parts["test"])
    assert sorted(every.ids()) == sorted(parts["train"].ids() + parts["test"].ids())
    assert len({every.fingerprint, *(part.fingerprint for part in parts.values())}) == 3
    with pytest.raises(UsageError, match=r"no split is called 'tset'\. Did you mean 'test'\?"):
        open_dataset("olrd", folder, {"split": "tset"})
    with pytest.raises(UsageError, match=r"Did you mean 'split'\?"):
        open_dataset("olrd", folder, {"splt": "test"})


def test_a_twin_is_known_only_where_the_object_comes_from_the_same_photo(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "drawn", photos=3, per_photo=1, splits=("test",), donor="other")
    assert open_dataset("olrd", str(folder)).sample(0).twin is None


@pytest.mark.parametrize("column", ["recipe", "background", "source_bbox"])
def test_missing_columns_are_named(column: str, tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "drawn", photos=1, per_photo=1, splits=("test",))
    (path,) = (folder / "data").iterdir()
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    with pytest.raises(IntegrityError, match=f"{column} is missing"):
        open_dataset("olrd", str(folder))
    (folder / "build.json").unlink()  # a folder of somebody else, which `datasets` opens
    with pytest.raises(SourceError, match=f"expected the columns .* missing {column}"):
        open_dataset("olrd", str(folder))


def test_ids_that_repeat_are_refused(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "drawn", photos=2, per_photo=1, splits=("test",), meta={"id": "x"})
    with pytest.raises(SourceError, match=r"ids must be unique, but \['x'\] occur twice"):
        open_dataset("olrd", str(folder))
    assert duplicates("abcabxa") == ["a", "b"]


def test_a_build_without_a_triplet_says_where_the_reason_is(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "drawn", photos=0, splits=("test",))
    (folder / "data" / "test-00000-of-00001.parquet").unlink()
    build_json = json.loads((folder / "build.json").read_text())
    (folder / "build.json").write_text(json.dumps(build_json | {"shards": []}))
    with pytest.raises(SourceError, match=r"holds no triplets; its build\.json says why"):
        open_dataset("olrd", str(folder))


def test_a_folder_that_is_none_says_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="olrd-build"):
        open_dataset("olrd", str(tmp_path / "none"))


@pytest.mark.slow
def test_the_demo_is_built_once(private_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = open_dataset("olrd")
    check(data)
    assert data.name == "olrd-demo"
    assert "building" in capsys.readouterr().err
    before = {p: p.stat().st_mtime_ns for p in private_cache.glob("demo-*/data/*")}
    again = open_dataset("olrd")
    assert "building" not in capsys.readouterr().err
    assert before and before == {p: p.stat().st_mtime_ns for p in private_cache.glob("demo-*/data/*")}
    assert (again.fingerprint, again.ids()) == (data.fingerprint, data.ids())


# --- pairs ---------------------------------------------------------------------------------------


def write_pairs(root: Path, stems: tuple[str, ...] = ("a", "b"), layout: str = "plain") -> Path:
    for number, folder in enumerate(LAYOUTS[layout][:3]):
        (root / folder).mkdir(parents=True)
        for k, stem in enumerate(stems):
            if number == 1:
                (root / folder / f"{stem}.png").write_bytes(encode_mask(box()))
            else:
                Pillow.fromarray(drawn(10 * k + number)).save(root / folder / f"{stem}.png")
    return root


@pytest.mark.parametrize("layout", ["plain", "rord", "removalbench", "rorem", "syn4removal", "corne"])
def test_every_published_layout_opens(layout: str, tmp_path: Path) -> None:
    data = open_dataset("pairs", str(write_pairs(tmp_path, layout=layout)), {"layout": layout})
    check(data)
    assert data.ids() == ["a", "b"]
    one = data.sample(1)
    np.testing.assert_array_equal(one.image, drawn(10))
    np.testing.assert_array_equal(one.mask, box())
    np.testing.assert_array_equal(one.truth, drawn(12))


def test_frames_of_one_scene_may_share_a_cluster(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, ("in-a_01", "in-a-02", "out_01", "single"))
    own = open_dataset("pairs", str(root))
    shared = open_dataset("pairs", str(root), {"cluster": "prefix"})
    assert [own.sample(k).cluster for k in range(4)] == own.ids()
    assert [shared.sample(k).cluster for k in range(4)] == ["in_a", "in_a", "out", "single"]
    assert shared.fingerprint != own.fingerprint  # the intervals differ


def test_a_jpeg_mask_is_thresholded_not_taken_where_it_is_above_nothing(tmp_path: Path) -> None:
    root = write_pairs(tmp_path)
    (root / "mask" / "a.png").unlink()
    Pillow.fromarray(box().astype(np.uint8) * 255).save(root / "mask" / "a.jpg", quality=60)
    grey = np.asarray(Pillow.open(root / "mask" / "a.jpg"))
    assert ((grey > 0) != box()).any()
    data = open_dataset("pairs", str(root))
    np.testing.assert_array_equal(data.sample(0).mask, box())
    low = open_dataset("pairs", str(root), {"threshold": "0"})
    np.testing.assert_array_equal(low.sample(0).mask, grey > 0)
    assert low.fingerprint != data.fingerprint


def test_a_mask_in_colour_or_with_alpha_is_read_by_its_grey_level(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, ("a",))
    for mode in ("RGB", "RGBA", "P", "LA"):
        Pillow.fromarray(box().astype(np.uint8) * 255).convert(mode).save(root / "mask" / "a.png")
        np.testing.assert_array_equal(open_dataset("pairs", str(root)).sample(0).mask, box())


@pytest.mark.parametrize("scale", [2, 3])
def test_a_mask_of_another_size_is_fitted_and_one_of_another_shape_refused(scale: int, tmp_path: Path) -> None:
    root = write_pairs(tmp_path, ("a",))
    path = root / "mask" / "a.png"
    path.write_bytes(encode_mask(np.repeat(np.repeat(box(), scale, 0), scale, 1)))
    np.testing.assert_array_equal(open_dataset("pairs", str(root)).sample(0).mask, box())
    path.write_bytes(encode_mask(box(24, 36 * scale)))
    with pytest.raises(Rejected, match=r"a\.png: the mask is .* another shape"):
        open_dataset("pairs", str(root)).sample(0)


def test_a_truth_of_another_size_is_refused(tmp_path: Path) -> None:
    root = write_pairs(tmp_path)
    Pillow.fromarray(drawn(0, 24, 35)).save(root / "gt" / "b.png")
    data = open_dataset("pairs", str(root))
    assert data.sample(0).id == "a"
    with pytest.raises(Rejected, match=r"b\.png: the truth is 35 x 24, the photo 36 x 24"):
        data.sample(1)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    root = write_pairs(tmp_path)
    (root / "mask" / "a.png").write_bytes(b"no picture")
    (root / "image" / "b.png").write_bytes(b"")
    data = open_dataset("pairs", str(root))
    with pytest.raises(Rejected, match=r"a\.png: not a readable image"):
        data.sample(0)
    with pytest.raises(Rejected, match=r"b\.png: not a readable image"):
        data.sample(1)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "pairs")
    (root / "gt" / "b.png").unlink()
    with pytest.raises(SourceError, match=r"gt holds no file for 1 of 2 photos \(first: b\)"):
        open_dataset("pairs", str(root))
    shutil.rmtree(root / "mask")
    with pytest.raises(SourceError, match=r"the folder .*mask does not exist\. .* holds gt/ \(1 picture\), image/"):
        open_dataset("pairs", str(root))
    (tmp_path / "empty" / "image").mkdir(parents=True)
    for name in ("mask", "gt"):
        (tmp_path / "empty" / name).mkdir()
    with pytest.raises(SourceError, match="image holds no picture"):
        open_dataset("pairs", str(tmp_path / "empty"))


def test_two_pictures_of_one_name_are_not_chosen_between(tmp_path: Path) -> None:
    root = write_pairs(tmp_path)
    Pillow.fromarray(drawn(3)).save(root / "gt" / "a.jpg")
    with pytest.raises(SourceError, match="gt holds several pictures called a"):
        open_dataset("pairs", str(root))


@pytest.mark.parametrize("folder", ["image", "mask", "gt"])
def test_the_fingerprint_follows_every_file(folder: str, tmp_path: Path) -> None:
    root = write_pairs(tmp_path)
    before = open_dataset("pairs", str(root)).fingerprint
    assert open_dataset("pairs", str(root)).fingerprint == before
    path = root / folder / "b.png"
    if folder == "mask":
        path.write_bytes(encode_mask(~box()))
    else:
        Pillow.fromarray(drawn(77)).save(path)
    assert open_dataset("pairs", str(root)).fingerprint != before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layout": "rordd"}, "Did you mean 'rord'?"),
        ({"cluster": "scene"}, "cluster must be stem, prefix or folder, got 'scene'"),
        ({"threshold": "255"}, "a grey level from 0 to 254, got '255'"),
        ({"threshold": "half"}, "got 'half'"),
        ({"treshold": "3"}, "Did you mean 'threshold'?"),
    ],
)
def test_a_wrong_option_of_pairs_is_named(options: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_dataset("pairs", "anywhere", options)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["pairs", "realhm", "openimages-shift", "openimages-original"])
def test_without_a_root_the_folder_is_asked_for(name: str) -> None:
    with pytest.raises(UsageError, match="--root"):
        open_dataset(name)


def test_an_unknown_data_set_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'realhm'\?"):
        open_dataset("realmh")


@pytest.mark.parametrize("where", ["image", "mask"])
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_among_pictures_is_named_and_never_opened(
    where: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    root = write_seven(tmp_path)
    strange = root / where / f"{STEMS[0]}.png"
    strange.unlink()
    make(strange)
    with pytest.raises(SourceError, match=rf"{where}/{STEMS[0]}\.png is called like a picture, but it is not a file"):
        open_dataset("pairs", str(root))


def test_a_mask_that_would_start_another_program_is_refused(tmp_path: Path) -> None:
    root = write_seven(tmp_path)
    (root / "mask" / f"{STEMS[0]}.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 30 24\n%%EOF\n")
    with pytest.raises(Rejected, match="expected JPEG, PNG"):
        open_dataset("pairs", str(root)).sample(0)
