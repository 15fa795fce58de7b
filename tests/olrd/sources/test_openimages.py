"""Open Images: instance masks from CSV and PNGs, on a drawn folder with the official columns."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_openimages import (
    BACKGROUND,
    BALL,
    BOX_HEADER,
    DOG,
    HEIGHT,
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
from synthetic_coco import ellipse

from olrd.builder.build import build
from olrd.dataset.folder import Dataset
from olrd.tools.verify import verify

pytestmark = pytest.mark.usefixtures("no_sample_sheets")


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
    totals = build(config_of(root), root.parent / "out")["totals"]
    assert totals["objects_rejected"]["crowd"] == 1


def test_photos_without_a_mask_are_counted(drawn: Drawn, tmp_path: Path) -> None:
    totals = build(config_of(drawn.save()), tmp_path / "out")["totals"]
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
