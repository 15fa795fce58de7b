"""Pairs as people have them: names, layouts, subfolders, hidden files, sets without truth."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from drawn_pairs import AppleDouble, mask_of, photo_of, three, truth_of, write_pairs
from sound_datasets import check

from benchmark.datasets import DataSet, open_dataset
from olrd.errors import SourceError, UsageError


def opened(root: Path, **options: str) -> DataSet:
    data = open_dataset("pairs", str(root), options)
    check(data)
    return data


def as_drawn(data: DataSet) -> None:
    """The samples are the pairs 1, 2 and 3."""
    assert len(data.ids()) == 3
    for index, seed in enumerate((1, 2, 3)):
        one = data.sample(index)
        np.testing.assert_array_equal(one.image, photo_of(seed))
        np.testing.assert_array_equal(one.mask, mask_of(seed))
        if one.truth is not None:
            np.testing.assert_array_equal(one.truth, truth_of(seed))
        assert one.facts == {}


def test_hidden_files_of_macos_and_windows_are_no_pictures(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, three())
    clean = opened(root).fingerprint
    for folder in ("image", "mask", "gt"):
        for name in ("._1.png", "._2.png", ".DS_Store", "Thumbs.db"):
            (root / folder / name).write_bytes(AppleDouble)
    data = opened(root)
    as_drawn(data)
    assert data.ids() == ["1", "2", "3"] and data.fingerprint == clean and data.warnings == ()


@pytest.mark.parametrize(
    "names",
    [
        ("image/{}.PNG", "mask/{}.Png", "gt/{}.PNG"),
        ("image/{}.tif", "mask/{}.TIFF", "gt/{}.tiff"),
        ("image/{}.png", "mask/{}_mask001.png", "gt/{}.png"),
        ("image/{}.png", "mask/{}_mask.png", "gt/{}_gt.png"),
        ("image/{}.png", "mask/mask_{}.png", "gt/{}.png"),
        ("image/{}_image.png", "mask/{}_mask.png", "gt/{}_gt.png"),
        ("image/{}.png", "mask/{}/a.png", "gt/{}.png"),
        ("image/s/{}.png", "mask/s/{}.png", "gt/s/{}.png"),
        ("image/s{0}/x.png", "mask/s{0}/x.png", "gt/s{0}/x.png"),
        ("image/{}.png", "mask/{}_mask2.png", "gt/{}_mask2.png"),
        ("image/{}.png", "mask/{}.jpg.png", "gt/{}.png.png"),
    ],
)
def test_names_that_differ_by_a_word_a_number_or_a_folder_belong_together(
    names: tuple[str, str, str], tmp_path: Path
) -> None:
    as_drawn(opened(write_pairs(tmp_path, three(*names))))


def test_names_in_subfolders_are_ids(tmp_path: Path) -> None:
    files = three("image/clip1/{}.png", "mask/clip1/{}.png", "gt/clip1/{}.png")
    files |= three("image/clip2/{}.png", "mask/clip2/{}.png", "gt/clip2/{}.png")
    root = write_pairs(tmp_path, files)
    data = opened(root)
    assert data.ids() == [f"clip{c}/{k}" for c in (1, 2) for k in (1, 2, 3)]
    assert [data.sample(k).cluster for k in range(6)] == data.ids()
    clips = opened(root, cluster="folder")
    assert [clips.sample(k).cluster for k in range(6)] == ["clip1"] * 3 + ["clip2"] * 3
    assert clips.fingerprint != data.fingerprint


def test_subfolders_beside_pictures_are_read_when_asked_for(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, three() | three("image/more/{}.png", "mask/more/{}.png", "gt/more/{}.png"))
    data = opened(root)
    assert data.ids() == ["1", "2", "3"]
    assert data.warnings == ("3 photos in subfolders of image are not read: subfolders=yes reads them",)
    every = opened(root, subfolders="yes")
    assert len(every.ids()) == 6 and every.warnings == ()


def test_every_mask_of_a_photo_is_a_sample_of_one_cluster(tmp_path: Path) -> None:
    files = three(mask="mask/{}_mask001.png") | {"mask/2_mask002.png": mask_of(7), "mask/stray.png": mask_of(1)}
    data = opened(write_pairs(tmp_path, files))
    assert data.ids() == ["1", "2_mask001", "2_mask002", "3"]
    assert [data.sample(k).cluster for k in range(4)] == ["1", "2", "2", "3"]
    np.testing.assert_array_equal(data.sample(2).mask, mask_of(7))
    np.testing.assert_array_equal(data.sample(2).truth, truth_of(2))
    assert data.warnings == ("1 mask belongs to no photo and is not used (first: stray.png)",)


def test_a_second_mask_beside_one_of_the_photos_name_is_said(tmp_path: Path) -> None:
    data = opened(write_pairs(tmp_path, three() | {"mask/1_2.png": mask_of(3)}))
    as_drawn(data)
    (said,) = data.warnings
    assert "files of mask that look like further masks of a photo and are not used: 1 (first: 1_2.png)" in said


def test_an_accent_in_two_spellings_is_one_name(tmp_path: Path) -> None:
    one, two = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    assert one != two
    files = {f"image/{one}.png": photo_of(1), f"mask/{two}.png": mask_of(1), f"gt/{two}.png": truth_of(1)}
    assert opened(write_pairs(tmp_path, files)).ids() == [one]


@pytest.mark.parametrize("names", [("{}.png", "{}_mask001.png"), ("a/{}.png", "a/{}_mask001.png")])
def test_lama_keeps_photos_and_masks_in_one_folder(names: tuple[str, str], tmp_path: Path) -> None:
    """https://github.com/advimman/lama names its results after the masks."""
    root = write_pairs(tmp_path, three(*names, truth=""))
    data = opened(root, layout="lama")
    as_drawn(data)
    assert data.ids() == [names[1][:-4].format(k) for k in (1, 2, 3)]
    assert data.sample(0).truth is None
    assert "there is no truth (no folder gt)" in data.warnings[0]
    assert opened(root, photos=".", masks=".", truth="none").ids() == data.ids()
    same = opened(root, layout="lama", truth=".")
    assert same.sample(0).facts == {"truth_equals_input_in_mask": 1.0}


def test_lamas_names_in_folders(tmp_path: Path) -> None:
    as_drawn(opened(write_pairs(tmp_path, three(mask="mask/{}_mask001.png")), layout="lama"))
    with pytest.raises(SourceError, match=r"3 of 3 photos \(first: 1\): expected 1_mask001.png, found 1\.png"):
        opened(write_pairs(tmp_path / "other", three()), layout="lama")


def test_published_layouts_without_truth(tmp_path: Path) -> None:
    data = opened(write_pairs(tmp_path, three("images/{}.png", "masks/{}.png", "")), layout="dor")
    as_drawn(data)
    assert data.sample(0).truth is None and data.warnings == ()


def test_black_means_erase_where_the_layout_or_an_option_says_so(tmp_path: Path) -> None:
    files = three("images/{}.png", "masks/{}.png", "")
    inverted = {name: ~pixels if pixels.dtype == bool else pixels for name, pixels in files.items()}
    root = write_pairs(tmp_path / "black", inverted)
    as_drawn(opened(root, layout="mi-gan"))
    as_drawn(opened(root, layout="dor", invert="yes"))
    as_drawn(opened(write_pairs(tmp_path / "white", files), layout="mi-gan", invert="no"))
    assert opened(root, layout="dor").sample(0).facts == {"mask_over_half": 1.0}
    assert opened(root, layout="dor").fingerprint != opened(root, layout="dor", invert="yes").fingerprint
    with pytest.raises(UsageError, match="invert must be yes or no, got 'true'"):
        opened(root, layout="dor", invert="true")


def test_folders_are_named_by_options(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, three("a b/{}.png", "c/{}.png", "d/e/{}.png"))
    as_drawn(opened(root, photos="a b", masks="c", truth="d/e"))
    data = open_dataset("pairs", None, {"photos": str(root / "a b"), "masks": str(root / "c"), "truth": "none"})
    as_drawn(data)
    assert data.sample(0).truth is None and data.warnings == ()


def test_masks_of_shadows_and_reflections_are_handed_on(tmp_path: Path) -> None:
    effects = {f"shadow/{seed}_mask.png": np.roll(mask_of(seed), 9, 0) for seed in (1, 2, 3)}
    root = write_pairs(tmp_path / "any", three() | effects)
    plain, data = opened(root), opened(root, effects="shadow")
    as_drawn(data)
    found = data.sample(1).effect
    assert found is not None and data.effects  # type: ignore[attr-defined]
    np.testing.assert_array_equal(found, effects["shadow/2_mask.png"])
    assert plain.sample(1).effect is None and plain.fingerprint != data.fingerprint
    corne = write_pairs(tmp_path / "corne", three("shot/{}.png", "mask_sam/{}.png", "bg/{}.png"))
    without = opened(corne, layout="corne")
    write_pairs(corne, {name.replace("shadow", "mask_eff"): pixels for name, pixels in effects.items()})
    assert without.sample(0).effect is None and opened(corne, layout="corne").sample(0).effect is not None
    assert opened(corne, layout="corne", effects="none").fingerprint == without.fingerprint
    with pytest.raises(SourceError, match="shade does not exist"):
        opened(root, effects="shade")
    (root / "shadow" / "2_mask.png").unlink()
    with pytest.raises(SourceError, match=r"no file for 1 of 3 photos \(first: 2\)"):
        opened(root, effects="shadow")


def test_a_set_has_the_name_that_is_given(tmp_path: Path) -> None:
    assert opened(write_pairs(tmp_path, three()), name="mine-2").name == "mine-2"
    with pytest.raises(UsageError, match="must consist of letters"):
        opened(tmp_path, name="../x")


def test_photos_and_masks_without_a_truth_are_a_set(tmp_path: Path) -> None:
    data = opened(write_pairs(tmp_path, three(truth="")))
    as_drawn(data)
    assert data.sample(2).truth is None
    assert data.warnings == ("there is no truth (no folder gt): scores that compare with it are empty",)


@pytest.mark.parametrize(
    ("files", "options", "said"),
    [
        (three(truth="GT/{}.png"), {}, r"gt does not exist\. .* holds GT/ \(3 pictures\), .* truth=FOLDER; truth=none"),
        (three(truth=""), {"layout": "rorem"}, r"source does not exist.* photos=FOLDER"),
        (three(truth=""), {"truth": "gone"}, r"gone does not exist"),
        (three("images/{}.png"), {}, r"image does not exist\. .*images/ \(3 pictures\).* --data-option photos=FOLDER"),
        (three("{}.png", "masks/{}.png"), {}, r"itself holds|masks/ \(3 pictures\)"),
        (three("{}.png", "{}_mask.png", ""), {}, r"masks called \.\.\._mask\.\.\. beside them: .* layout=lama"),
        (three(mask="masks/{}.png") | {"mask/x/y/1.txt": mask_of(1)}, {}, r"mask holds no picture .*masks=FOLDER"),
        (
            three("s/image/{}.png", "s/mask/{}.png", "s/gt/{}.png"),
            {},
            r"one level down, e\.g\. in s/gt/: perhaps --root .*s",
        ),
        (
            three() | {"image/4.png": photo_of(4)},
            {},
            r"mask holds no file for 1 of 4 photos \(first: 4\): expected 4\.png",
        ),
        (three(mask="mask/x{}y.png"), {}, r"3 of 3 photos \(first: 1\): expected 1\.png, found x1y\.png"),
        (three(mask="mask/{}0.png"), {}, r"3 of 3 photos \(first: 1\): expected 1\.png, found 10\.png"),
        (three(mask="mask/{}mask.png"), {}, r"3 of 3 photos \(first: 1\): expected 1\.png, found 1mask\.png"),
        (three(mask="") | {"mask/1.png": mask_of(1)}, {}, r"2 of 3 photos \(first: 2\): expected 2\.png, found 1\.png"),
    ],
)
def test_an_error_about_names_shows_what_was_expected_and_what_is_there(
    files: dict[str, np.ndarray], options: dict[str, str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=said):
        opened(write_pairs(tmp_path, files), **options)
