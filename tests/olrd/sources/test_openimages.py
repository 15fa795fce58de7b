"""Open Images: instance masks from CSV and PNGs, on a drawn folder with the official columns."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drawn_openimages import (
    BACKGROUND,
    BALL,
    BOX_HEADER,
    DOG,
    HEADER,
    HEIGHT,
    IMAGE_HEADER,
    PIZZA,
    WIDTH,
    Drawn,
    by_id,
    config_of,
    draw,
    ids_of,
    opened,
    segment_of,
)
from mask_forms import FORMS, file_of
from PIL import Image as Pillow
from synthetic_coco import ellipse

from olrd.builder.build import build
from olrd.builder.nothing import NothingBuiltError
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.errors import Rejected, SourceError, UsageError
from olrd.sources import SourceSpec, open_source
from olrd.tools.verify import verify

pytestmark = pytest.mark.usefixtures("no_sample_sheets")


def totals_of(config: BuildConfig, out: Path) -> dict[str, Any]:
    """The counts of a build, also of one without a triplet."""
    try:
        return dict(build(config, out)["totals"])
    except NothingBuiltError as error:
        return error.total.to_dict()


@pytest.fixture
def drawn(tmp_path: Path) -> Drawn:
    return draw(tmp_path / "openimages")


def test_masks_of_another_size_land_where_they_belong(drawn: Drawn) -> None:
    """Nearest neighbour to the photo's size: the ellipse drawn at that size is the oracle."""
    source = opened(drawn.save())
    record = by_id(source)[f"{1:016x}"]
    ids = ids_of(source, record)
    shape = (HEIGHT, WIDTH)
    dog = ellipse(shape, (24, 54, 36, 45), 6.0)
    ball = ellipse(shape, (120, 90, 24, 27), 6.0)
    for name, expected in ((DOG, dog), (BALL, ball)):
        got = ids == segment_of(source, record, name)
        assert np.count_nonzero(got ^ expected) < 0.06 * np.count_nonzero(expected)
        inner = cv2.erode(expected.view(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        outer = cv2.dilate(expected.view(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        assert got[inner].all()
        assert not got[~outer].any()


def test_segment_ids_are_the_box_ids(drawn: Drawn) -> None:
    record = by_id(opened(drawn.save()))[f"{1:016x}"]
    assert {0x9A041D52, 0x0000BEEF} <= {segment.id for segment in record.segments}


def test_the_smaller_lies_over_the_larger(drawn: Drawn) -> None:
    """Whatever the order of the rows."""
    drawn.rows.reverse()
    source = opened(drawn.save())
    record = by_id(source)[f"{2:016x}"]
    ids = ids_of(source, record)
    dog, pizza = (segment_of(source, record, name) for name in (DOG, PIZZA))
    assert ids[63, 84] == pizza
    assert ids[40, 84] == dog
    small = np.count_nonzero(ids == pizza)
    assert small == pytest.approx(0.1 * WIDTH * 0.1 * HEIGHT, rel=0.15)
    assert np.count_nonzero(ids == dog) == pytest.approx(0.25 * WIDTH * HEIGHT - small, rel=0.15)


def test_what_a_box_covers_beside_its_mask_is_void(drawn: Drawn) -> None:
    """An object fills its box in part only; the rest is neither object nor background."""
    one = f"{4:016x}"
    drawn.photo(one)
    drawn.mask(one, DOG, "cccccccc", (0.2, 0.2, 0.2, 0.2), box_around=(0.1, 0.1, 0.5, 0.6))
    source = opened(drawn.save())
    record = by_id(source)[one]
    ids = ids_of(source, record)
    dog = segment_of(source, record, DOG)
    (background,) = [s.id for s in record.segments if s.category_id == BACKGROUND]
    box = np.zeros((HEIGHT, WIDTH), bool)
    box[18:126, 24:144] = True
    assert set(np.unique(ids[box]).tolist()) == {0, dog}
    assert set(np.unique(ids[~box]).tolist()) == {background}


def test_boxes_without_a_mask_are_void_too(drawn: Drawn) -> None:
    """The official box CSV (its own column names): an object that has no mask is no background."""
    one = f"{1:016x}"
    row = [one, "xclick", "/m/01g317", 1, 0.7, 0.95, 0.1, 0.9, 0, 0, 0, 0, 0]
    drawn.write("test-annotations-bbox.csv", BOX_HEADER, [row, ["f" * 16, *row[1:]]])
    source = opened(drawn.save())
    record = by_id(source)[one]
    ids = ids_of(source, record)
    assert not ids[18:162, 168:228].any()
    assert ids[18:162, 229:].all()
    assert ids[:18].all()


def test_group_boxes_make_a_crowd(drawn: Drawn) -> None:
    """IsGroupOf sits in the box CSV; the mask row of the same label and corners is a group."""
    one = f"{1:016x}"
    rows = [
        [one, "xclick", label, 1, x, round(x + w, 6), y, round(y + h, 6), 0, 0, group, 0, 0]
        for label, (x, y, w, h), group in (
            (DOG, (0.1, 0.3, 0.15, 0.25), 1),
            (BALL, (0.5, 0.5, 0.1, 0.15), 0),
            (BALL, (0.8, 0.8, 0.1, 0.1), 1),
        )
    ]
    drawn.write("test-annotations-bbox.csv", BOX_HEADER, rows)
    root = drawn.save()
    source = opened(root)
    record = by_id(source)[one]
    crowds = {s.id for s in record.segments if s.iscrowd}
    assert crowds == {segment_of(source, record, DOG)}
    totals = totals_of(config_of(root), root.parent / "out")
    assert totals["objects_rejected"]["crowd"] == 1


def test_photos_without_a_mask_are_counted(drawn: Drawn, tmp_path: Path) -> None:
    totals = totals_of(config_of(drawn.save()), tmp_path / "out")
    assert totals["photos_read"] == 3
    assert totals["photos_rejected"] == {"annotation_missing": 1}
    assert f"{3:016x}" in totals["failures"][0]["message"]


def test_rows_say_that_the_background_is_not_labelled(drawn: Drawn, tmp_path: Path) -> None:
    root, out = drawn.save(), tmp_path / "out"
    build(config_of(root), out)
    rows = list(Dataset(out).rows())
    assert {row["image_id"] for row in rows} >= {f"{1:016x}"}
    assert {row["background_kind"] for row in rows} == {"unlabelled"}
    assert {row["source"] for row in rows} == {"openimages"}
    assert verify(out)["problems"] == []
    source = opened(root)
    for row in rows:
        ids = ids_of(source, by_id(source)[row["image_id"]])
        (background,) = [s.id for s in by_id(source)[row["image_id"]].segments if s.category_id == BACKGROUND]
        x, y, width, height = row["bbox"]
        mask = cv2.imdecode(np.frombuffer(row["mask"]["bytes"], np.uint8), cv2.IMREAD_GRAYSCALE) > 0
        assert (ids[mask] == background).all()  # it lands on background alone
        assert mask[y : y + height, x : x + width].sum() == mask.sum()


@pytest.mark.slow
def test_all_the_objects_find_the_same_bytes_with_two_workers(drawn: Drawn, tmp_path: Path) -> None:
    from built_folders import digest

    root = drawn.save()
    build(config_of(root), tmp_path / "one")
    build(config_of(root), tmp_path / "two", workers=2)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


# --- layouts that people have, and the optional files -------------------------------------------


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
    assert records[one].license == "unknown"
    declared = by_id(opened(root, options={"license": "cc-by-4.0"}))
    assert (declared[one].license, declared[two].license) == ("CC-BY-4.0", "CC-BY-SA-2.0")
    assert records[one].source_url.endswith(f"/test/{one}.jpg")
    totals = totals_of(config_of(root, licenses="cc-by"), tmp_path / "out")
    assert totals["photos_rejected"]["license_refused"] == 3  # one is CC BY-SA, of two the licence is not known


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


# --- what is bad is counted or named ------------------------------------------------------------


def test_a_missing_mask_file_rejects_its_photo(drawn: Drawn, tmp_path: Path) -> None:
    name = next(iter(drawn.masks))
    root = drawn.save()
    (root / "test-masks" / name).unlink()
    totals = totals_of(config_of(root), tmp_path / "out")
    assert totals["photos_rejected"] == {"annotation_missing": 1, "panoptic_missing": 1}
    assert any(name in failure["message"] for failure in totals["failures"])


def test_a_mask_of_another_shape_rejects_its_photo(drawn: Drawn, tmp_path: Path) -> None:
    name = drawn.mask(f"{1:016x}", PIZZA, "dddddddd", (0.7, 0.7, 0.1, 0.1), (300, 300))
    totals = totals_of(config_of(drawn.save()), tmp_path / "out")
    assert totals["photos_rejected"] == {"annotation_missing": 1, "panoptic_size": 1}
    (said,) = [f["message"] for f in totals["failures"] if f["code"] == "panoptic_size"]
    assert name in said
    assert "300 x 300" in said


@pytest.mark.parametrize("size", [(321, 240), (319, 240), (1600, 1200), (60, 45), (240, 180)])
def test_a_mask_a_pixel_off_is_accepted(size: tuple[int, int], drawn: Drawn, tmp_path: Path) -> None:
    drawn.mask(f"{1:016x}", PIZZA, "dddddddd", (0.7, 0.7, 0.1, 0.1), size)
    totals = totals_of(config_of(drawn.save()), tmp_path / "out")
    assert totals["photos_rejected"] == {"annotation_missing": 1}


def test_a_mask_that_is_no_mask_rejects_its_photo(drawn: Drawn, tmp_path: Path) -> None:
    root = drawn.save()
    Pillow.new("RGB", (320, 240), (90, 200, 140)).save(root / "test-masks" / drawn.rows[0][0])
    totals = totals_of(config_of(root), tmp_path / "out")
    assert totals["photos_rejected"] == {"annotation_missing": 1, "panoptic_unreadable": 1}


def test_a_mask_with_two_meanings_names_no_option_that_is_not_there(drawn: Drawn, tmp_path: Path) -> None:
    root = drawn.save()
    labels = np.zeros((240, 320), np.uint8)
    labels[:80], labels[80:120] = 3, 7
    Pillow.fromarray(labels).save(root / "test-masks" / drawn.rows[0][0])
    (said,) = [
        failure["message"]
        for failure in totals_of(config_of(root), tmp_path / "out")["failures"]
        if failure["code"] == "panoptic_unreadable"
    ]
    assert "save it as white on black" in said and "--mask-from" not in said


@pytest.mark.parametrize("form", ["RGB", "opaque RGBA", "grey 0/1", "palette VOC", "16-bit"])
def test_masks_that_were_saved_again_give_the_same_rows(form: str, drawn: Drawn, tmp_path: Path) -> None:
    root = drawn.save()
    build(config_of(root), tmp_path / "before")
    for name, mask in drawn.masks.items():
        (root / "test-masks" / name).write_bytes(file_of(FORMS[form][0](mask)))
    build(config_of(root), tmp_path / "after")
    before, after = (Dataset(tmp_path / name) for name in ("before", "after"))
    assert len(before) and [row["recipe"] for row in before.rows()] == [row["recipe"] for row in after.rows()]


def test_an_empty_mask_is_an_object_too_small(drawn: Drawn, tmp_path: Path) -> None:
    drawn.masks[drawn.rows[0][0]][:] = False
    totals = totals_of(config_of(drawn.save()), tmp_path / "out")
    assert totals["photos_rejected"] == {"annotation_missing": 1}
    assert totals["objects_rejected"]["too_small"] == 1


def test_a_mask_path_that_climbs_out_is_refused(drawn: Drawn, tmp_path: Path) -> None:
    root = drawn.save()
    shutil.move(root / "test-masks" / drawn.rows[0][0], root.parent / "outside.png")
    drawn.rows[0][0] = "../../outside.png"
    drawn.write("test-annotations-object-segmentation.csv", HEADER, drawn.rows)
    totals = totals_of(config_of(root), tmp_path / "out")
    assert totals["photos_rejected"] == {"annotation_missing": 1, "path_outside_root": 1}


def test_an_annotated_photo_that_is_not_there_is_counted(drawn: Drawn, tmp_path: Path) -> None:
    root = drawn.save()
    (root / "test" / f"{2:016x}.jpg").unlink()
    totals = totals_of(config_of(root), tmp_path / "out")
    assert totals["photos_read"] == 3
    assert totals["photos_rejected"] == {"annotation_missing": 1, "photo_missing": 1}


@pytest.mark.parametrize("column", ["MaskPath", "ImageID", "LabelName", "BoxXMax"])
def test_a_missing_column_names_the_file(column: str, drawn: Drawn) -> None:
    place = HEADER.index(column)
    root = drawn.save()
    name = "test-annotations-object-segmentation.csv"
    shorter = [[v for k, v in enumerate(row) if k != place] for row in (HEADER, *drawn.rows)]
    drawn.write(name, None, shorter)
    with pytest.raises(SourceError, match=f"{name}.*{column}"):
        opened(root)


@pytest.mark.parametrize(
    ("name", "header", "gone"),
    [
        ("test-annotations-bbox.csv", BOX_HEADER, "IsGroupOf"),
        ("test-annotations-bbox.csv", BOX_HEADER, "XMin"),
        ("test-images-with-rotation.csv", IMAGE_HEADER, "Author"),
    ],
)
def test_a_missing_column_of_an_extra_file_names_it(name: str, header: list[str], gone: str, drawn: Drawn) -> None:
    kept = [column for column in header if column != gone]
    drawn.write(name, kept, [["0"] * len(kept)])
    with pytest.raises(SourceError, match=f"{name}.*{gone}"):
        opened(drawn.save())


@pytest.mark.parametrize("text", ["", "\n", "MaskPath,ImageID\na", "\x00\xff\xfe"])
def test_a_csv_that_is_none_is_named(text: str, drawn: Drawn) -> None:
    root = drawn.save()
    path = root / "test-annotations-object-segmentation.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(SourceError, match=path.name):
        opened(root)


def test_coordinates_that_are_no_numbers_are_named(drawn: Drawn) -> None:
    drawn.rows[0][4] = "left"
    with pytest.raises(SourceError, match=r"object-segmentation\.csv"):
        opened(drawn.save())


def test_boxes_beyond_the_frame_are_cut(drawn: Drawn) -> None:
    """Bad boxes exist (openimages/dataset #94): never a wrapped slice, never a crash."""
    one = f"{1:016x}"
    drawn.rows[0][4:8] = ["-0.2", "1.3", "-0.1", "0.6"]
    source = opened(drawn.save())
    record = by_id(source)[one]
    ids = ids_of(source, record)
    dog = segment_of(source, record, DOG)
    top = ids[: int(0.49 * HEIGHT)]
    assert set(np.unique(top).tolist()) == {0, dog}


@pytest.mark.parametrize("corner", ["", "inf", "-inf", "nan"])
def test_the_extent_of_a_mask_stands_for_a_box_without_numbers(corner: str, drawn: Drawn) -> None:
    number = drawn.rows[0][1]
    expected = opened(drawn.save())
    before = ids_of(expected, by_id(expected)[number])
    drawn.rows[0][4] = corner
    source = opened(drawn.save())
    after = ids_of(source, by_id(source)[number])
    assert (before != after).mean() < 0.05  # the edges of the box


@pytest.mark.parametrize("corner", ["", "inf", "-inf", "nan"])
def test_a_box_without_numbers_costs_one_photo(corner: str, drawn: Drawn) -> None:
    header = ["ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax", "IsGroupOf"]
    drawn.write("test-annotations-bbox.csv", header, [[drawn.rows[0][1], DOG, corner, "0.5", "0.1", "0.2", "0"]])
    source = opened(drawn.save())
    one, two = by_id(source)[drawn.rows[0][1]], by_id(source)[f"{2:016x}"]
    with pytest.raises(Rejected, match="corners") as refused:
        source.panoptic(one, WIDTH, HEIGHT)
    assert refused.value.code == "panoptic_unreadable"
    assert len(np.unique(ids_of(source, two))) > 2
