"""Open Images: what is bad is counted or named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_openimages import (
    BOX_HEADER,
    DOG,
    HEADER,
    HEIGHT,
    IMAGE_HEADER,
    PIZZA,
    Drawn,
    by_id,
    config_of,
    draw,
    ids_of,
    opened,
    segment_of,
)
from PIL import Image as Pillow

from olrd.builder.build import build
from olrd.errors import SourceError

pytestmark = pytest.mark.usefixtures("no_sample_sheets")


@pytest.fixture
def drawn(tmp_path: Path) -> Drawn:
    return draw(tmp_path / "openimages")


def test_a_missing_mask_file_rejects_its_photo(drawn: Drawn, tmp_path: Path) -> None:
    name = next(iter(drawn.masks))
    root = drawn.save()
    (root / "test-masks" / name).unlink()
    totals = build(config_of(root), tmp_path / "out")["totals"]
    assert totals["photos_rejected"] == {"annotation_missing": 1, "panoptic_missing": 1}
    assert any(name in failure["message"] for failure in totals["failures"])


def test_a_mask_of_another_shape_rejects_its_photo(drawn: Drawn, tmp_path: Path) -> None:
    name = drawn.mask(f"{1:016x}", PIZZA, "dddddddd", (0.7, 0.7, 0.1, 0.1), (300, 300))
    totals = build(config_of(drawn.save()), tmp_path / "out")["totals"]
    assert totals["photos_rejected"] == {"annotation_missing": 1, "panoptic_size": 1}
    (said,) = [f["message"] for f in totals["failures"] if f["code"] == "panoptic_size"]
    assert name in said
    assert "300 x 300" in said


@pytest.mark.parametrize("size", [(321, 240), (319, 240), (1600, 1200), (60, 45), (240, 180)])
def test_a_mask_a_pixel_off_is_accepted(size: tuple[int, int], drawn: Drawn, tmp_path: Path) -> None:
    drawn.mask(f"{1:016x}", PIZZA, "dddddddd", (0.7, 0.7, 0.1, 0.1), size)
    totals = build(config_of(drawn.save()), tmp_path / "out")["totals"]
    assert totals["photos_rejected"] == {"annotation_missing": 1}


def test_a_mask_that_is_no_mask_rejects_its_photo(drawn: Drawn, tmp_path: Path) -> None:
    root = drawn.save()
    Pillow.new("RGB", (320, 240)).save(root / "test-masks" / drawn.rows[0][0])
    totals = build(config_of(root), tmp_path / "out")["totals"]
    assert totals["photos_rejected"] == {"annotation_missing": 1, "panoptic_unreadable": 1}


def test_an_empty_mask_is_an_object_too_small(drawn: Drawn, tmp_path: Path) -> None:
    drawn.masks[drawn.rows[0][0]][:] = False
    totals = build(config_of(drawn.save()), tmp_path / "out")["totals"]
    assert totals["photos_rejected"] == {"annotation_missing": 1}
    assert totals["objects_rejected"]["too_small"] == 1


def test_a_mask_path_that_climbs_out_is_refused(drawn: Drawn, tmp_path: Path) -> None:
    root = drawn.save()
    shutil.move(root / "test-masks" / drawn.rows[0][0], root.parent / "outside.png")
    drawn.rows[0][0] = "../../outside.png"
    drawn.write("test-annotations-object-segmentation.csv", HEADER, drawn.rows)
    totals = build(config_of(root), tmp_path / "out")["totals"]
    assert totals["photos_rejected"] == {"annotation_missing": 1, "path_outside_root": 1}


def test_an_annotated_photo_that_is_not_there_is_counted(drawn: Drawn, tmp_path: Path) -> None:
    root = drawn.save()
    (root / "test" / f"{2:016x}.jpg").unlink()
    totals = build(config_of(root), tmp_path / "out")["totals"]
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
