"""Open Images: layouts that people have, and the optional files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_openimages import BALL, DOG, IMAGE_HEADER, PIZZA, Drawn, by_id, config_of, draw, ids_of, opened

from olrd.builder.build import build
from olrd.dataset.folder import Dataset
from olrd.errors import SourceError, UsageError
from olrd.sources import SourceSpec, open_source


@pytest.fixture
def drawn(tmp_path: Path) -> Drawn:
    return draw(tmp_path / "openimages")


@pytest.mark.parametrize(
    ("folder", "by_first"),
    [
        ("test-masks", False),
        ("masks", False),
        ("masks/test", False),
        ("test-masks/test-masks-?", False),
        ("masks/test-masks-?", False),
        ("test-masks-?", False),
        ("labels/masks", True),
    ],
)
def test_mask_layouts_that_people_have(folder: str, by_first: bool, tmp_path: Path) -> None:
    plain = draw(tmp_path / "plain")
    other = draw(tmp_path / "other")
    for drawn in (plain, other):  # photos of several first digits
        far = "f" + "0" * 15
        drawn.photo(far)
        drawn.mask(far, DOG, "12345678", (0.2, 0.3, 0.2, 0.2))
    expected, source = opened(plain.save()), opened(other.save(folder, by_first))
    records = by_id(source)
    assert records.keys() == by_id(expected).keys()
    for image_id, record in by_id(expected).items():
        if record.panoptic_name:
            assert np.array_equal(ids_of(source, records[image_id]), ids_of(expected, record))


@pytest.mark.parametrize("photos", ["test", "images/test", "data", "images"])
def test_photo_layouts_that_people_have(photos: str, drawn: Drawn) -> None:
    root = drawn.save()
    (root / photos).parent.mkdir(parents=True, exist_ok=True)
    (root / "test").rename(root / "moved")
    (root / "moved").rename(root / photos)
    source = opened(root)
    data = (root / photos / f"{1:016x}.jpg").read_bytes()
    assert source.photo_bytes(by_id(source)[f"{1:016x}"]) == data


def test_the_csv_may_lie_in_a_folder_of_its_own(drawn: Drawn) -> None:
    root = drawn.save()
    (root / "annotations").mkdir()
    shutil.move(root / "test-annotations-object-segmentation.csv", root / "annotations")
    assert len(opened(root)) == 3


def test_the_fiftyone_download_is_read(tmp_path: Path) -> None:
    """data/, labels/segmentations.csv, labels/masks/<HEX>/: what its zoo leaves on disk."""
    drawn = draw(tmp_path / "test")
    root = drawn.save("labels/masks", by_first=True)
    (root / "test").rename(root / "data")
    csv_file = root / "test-annotations-object-segmentation.csv"
    csv_file.rename(root / "labels" / "segmentations.csv")
    assert len(opened(root)) == 3


def test_names_come_from_the_class_descriptions(drawn: Drawn, tmp_path: Path) -> None:
    pairs = [[DOG, "Dog"], [BALL, 'Ball, "round"'], [PIZZA, "Pizza"], ["/m/01g317", "Person"]]
    drawn.write("class-descriptions-boxable.csv", None, pairs)
    root = drawn.save()
    names = {category.name for category in opened(root).categories.values() if category.isthing}
    assert names == {"Dog", 'Ball, "round"', "Pizza"}
    build(config_of(root), tmp_path / "out")
    assert "Dog" in {row["category"] for row in Dataset(tmp_path / "out").rows(["category"])}


def test_names_come_from_the_file_with_a_header_too(drawn: Drawn) -> None:
    rows = [[DOG, "Dog"], [BALL, "Ball"], [PIZZA, "Pizza"]]
    drawn.write("oidv6-class-descriptions.csv", ["LabelName", "DisplayName"], rows)
    source = opened(drawn.save())
    names = {category.name for category in source.categories.values() if category.isthing}
    assert names == {"Dog", "Ball", "Pizza"}


def test_without_names_the_label_ids_stay(drawn: Drawn) -> None:
    source = opened(drawn.save())
    names = {category.name for category in source.categories.values() if category.isthing}
    assert names == {DOG, BALL, PIZZA}


def test_terms_come_from_the_image_metadata(drawn: Drawn, tmp_path: Path) -> None:
    """Author, licence and address; empty Rotation; a title with a comma."""
    cc = "https://creativecommons.org/licenses"
    one, two = f"{1:016x}", f"{2:016x}"
    rows = [
        [
            two,
            "test",
            "https://farm2.example/2.jpg",
            "https://x/2",
            f"{cc}/by-sa/2.0/",
            "https://x/a",
            "Anna, B.",
            "Hello, world",
            1,
            "md5",
            "",
            "",
        ],
        ["e" * 16, "test", "u", "l", f"{cc}/by/2.0/", "p", "No One", "t", 1, "m", "", "0.0"],
    ]
    drawn.write("test-images-with-rotation.csv", IMAGE_HEADER, rows)
    root = drawn.save()
    records = by_id(opened(root))
    assert records[two].author == "Anna, B."
    assert records[two].license == "CC-BY-SA-2.0"
    assert records[two].license_url == "https://creativecommons.org/licenses/by-sa/2.0/"
    assert records[two].source_url == "https://farm2.example/2.jpg"
    assert records[one].author == ""
    assert records[one].license == "CC-BY-2.0"
    assert records[one].source_url.endswith(f"/test/{one}.jpg")
    totals = build(config_of(root, licenses="cc-by"), tmp_path / "out")["totals"]
    assert totals["photos_rejected"]["license_refused"] == 1


def test_clicks_and_predicted_iou_may_be_filled(drawn: Drawn) -> None:
    before = by_id(opened(drawn.save()))
    for row in drawn.rows:
        row[8:] = ["0.87654", "0.5 0.25 1;0.75 0.5 0"]
    assert by_id(opened(drawn.save())) == before


def test_a_new_photo_or_csv_makes_a_new_index(drawn: Drawn) -> None:
    root = drawn.save()
    first = opened(root)
    drawn.photo(f"{9:016x}")
    assert len(opened(root)) == len(first) + 1
    drawn.mask(f"{9:016x}", DOG, "99999999", (0.3, 0.3, 0.2, 0.2))
    second = opened(drawn.save())
    assert second.fingerprint != first.fingerprint
    assert by_id(second)[f"{9:016x}"].panoptic_name


def test_subsets_are_chosen_and_misspellings_met(drawn: Drawn) -> None:
    root = drawn.save()
    with pytest.raises(UsageError, match="Did you mean 'test'"):
        opened(root, subset="tset")
    shutil.copy(
        root / "test-annotations-object-segmentation.csv", root / "validation-annotations-object-segmentation.csv"
    )
    with pytest.raises(UsageError, match="several subsets"):
        opened(root)
    assert len(opened(root, subset="test")) == 3


def test_what_is_missing_is_said(tmp_path: Path, drawn: Drawn) -> None:
    with pytest.raises(UsageError, match="--root"):
        open_source(SourceSpec("openimages"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="expected <subset>-annotations"):
        opened(tmp_path / "empty")
    root = drawn.save()
    shutil.rmtree(root / "test-masks")
    with pytest.raises(SourceError, match="mask PNGs"):
        opened(root)
    shutil.rmtree(root / "test")
    with pytest.raises(SourceError, match="photos"):
        opened(root)
