"""COCO instances: the COCO API as oracle, damaged and odd annotations."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_instances import (
    CATEGORIES,
    HEIGHT,
    WIDTH,
    DrawnInstances,
    config_of,
    disc,
    draw_instances,
    ids_of,
    opened,
    outline,
    packed,
    record_of,
    runs,
    spec_of,
)
from PIL import Image as Pillow
from PIL import ImageDraw
from pycocotools.coco import COCO

from olrd.builder.build import build
from olrd.dataset.folder import Dataset
from olrd.errors import OlrdError, Rejected, SourceError, UsageError
from olrd.sources import Source
from olrd.tools.verify import verify

pytestmark = pytest.mark.usefixtures("no_sample_sheets")


def refusal(source: Source, image_id: str) -> Rejected:
    with pytest.raises(Rejected) as caught:
        source.panoptic(record_of(source, image_id), WIDTH, HEIGHT)
    return caught.value


def test_maps_are_those_of_the_coco_api(instances: DrawnInstances) -> None:
    """The masks of pycocotools.coco.COCO, painted by a loop from the largest to the smallest."""
    root = instances.save()
    source = opened(root)
    reference = COCO(str(root / "annotations/instances_train.json"))
    objects = 0
    for image in instances.images:
        record = record_of(source, str(image["id"]))
        found = reference.loadAnns(reference.getAnnIds(image["id"]))
        if not found:
            assert record.panoptic_name is None
            continue
        expected = np.full((HEIGHT, WIDTH), 0xFFFFFFFF, np.uint32)
        masks = [(reference.annToMask(one).astype(bool), number) for number, one in enumerate(found)]
        kept = [segment.id for segment in record.segments]
        for mask, number in sorted(masks, key=lambda one: -one[0].sum()):
            expected[mask] = kept[number]
        assert np.array_equal(ids_of(source, record), expected)
        names = [source.categories[segment.category_id].name for segment in record.segments]
        assert names == [*(CATEGORIES[one["category_id"] - 1] for one in found), "background"]
        assert [segment.iscrowd for segment in record.segments] == [*(bool(one["iscrowd"]) for one in found), False]
        objects += len(found)
    assert objects == len(instances.annotations)


def pillow_mask(polygon: list[float]) -> np.ndarray:
    picture = Pillow.new("1", (WIDTH, HEIGHT))
    ImageDraw.Draw(picture).polygon(polygon, fill=1)
    return np.array(picture)


def test_polygons_are_those_that_pillow_draws(instances: DrawnInstances) -> None:
    """But for pixels of the rim."""
    source = opened(instances.save())
    record = record_of(source, "1")
    ids = ids_of(source, record)
    for annotation, segment in zip([instances.annotations[0], instances.annotations[3]], record.segments, strict=False):
        drawn_mask = pillow_mask(annotation["segmentation"][0])
        assert np.count_nonzero(drawn_mask ^ (ids == segment.id)) < 0.1 * np.count_nonzero(drawn_mask)


def test_the_smaller_lies_over_the_larger_whatever_the_order(instances: DrawnInstances) -> None:
    ids = ids_of(source := opened(instances.save()), record_of(source, "2"))
    instances.annotations.reverse()
    again = opened(instances.save("annotations/instances_other.json", "other"), "other")
    assert np.array_equal(ids_of(again, record_of(again, "2")), ids)
    assert ids[82, 82] == 101 and ids[60, 100] == 104


def test_ids_are_those_of_the_annotations_where_they_fit(instances: DrawnInstances) -> None:
    """The ids of COCO's crowds have more than 32 bits."""
    record = record_of(opened(instances.save()), "2")
    assert [segment.id for segment in record.segments] == [101, 104, 1, 0xFFFFFFFF]


@pytest.mark.slow
def test_a_build_verifies_and_its_rows_say_that_the_background_is_unlabelled(
    instances: DrawnInstances, tmp_path: Path
) -> None:
    build(config_of(spec_of(instances.save())), tmp_path / "out")
    verify(tmp_path / "out")
    rows = [triplet.row for triplet in Dataset(tmp_path / "out")]
    assert len(rows) >= 4
    assert {row["background_kind"] for row in rows} == {"unlabelled"}
    assert {row["license"] for row in rows} == {"CC-BY-2.0"}
    assert {row["prompt"] for row in rows} == {"A photo of R* background"}


def test_licences_can_be_declared(instances: DrawnInstances) -> None:
    instances.images[0]["license"] = None
    source = opened(instances.save(), license="CC-BY-4.0")
    assert [source.record(k).license for k in range(2)] == ["CC-BY-4.0", "CC-BY-2.0"]


def test_the_categories_that_are_things_can_be_picked(instances: DrawnInstances) -> None:
    """The others are background, and a small one lies below a thing."""
    root = instances.save()
    source, plain = opened(root, things="dog"), opened(root)
    assert {c.name: c.isthing for c in source.categories.values()} == {
        "background": False,
        "dog": True,
        "sports ball": False,
        "person": False,
    }
    assert ids_of(source, record_of(source, "2"))[82, 82] == 104
    assert source.fingerprint != plain.fingerprint
    with pytest.raises(UsageError, match=r"no category is called 'dgo'\. Did you mean 'dog'"):
        opened(root, things="dgo")


def test_a_seam_between_objects_and_stuff_is_void(instances: DrawnInstances) -> None:
    """Else every object would stand on the seam. Where stuff covers little, the rest stays background."""
    ground = np.ones((HEIGHT, WIDTH), np.bool_)
    for annotation in (instances.annotations[0], instances.annotations[3]):
        ground &= ~pillow_mask(annotation["segmentation"][0])
    instances.categories.append({"id": 9, "name": "grass", "supercategory": "ground"})
    instances.add(1, 9, packed(ground))
    instances.add(4, 9, packed(disc(200, 140, 20, 20)))
    source = opened(instances.save(), things="dog,sports ball,person")
    first, last = (ids_of(source, record_of(source, image)) for image in ("1", "4"))
    assert not (first == 0xFFFFFFFF).any() and 0 < np.count_nonzero(first == 0) < 400
    assert (last == 0xFFFFFFFF).any() and not (last == 0).any()


def test_isthing_is_respected_where_it_is_said(instances: DrawnInstances) -> None:
    for category in instances.categories:
        category["isthing"] = int(category["name"] == "dog")
    source = opened(instances.save())
    assert [c.name for c in source.categories.values() if c.isthing] == ["dog"]


def test_an_object_with_a_box_alone_leaves_its_pixels_out(
    instances: DrawnInstances, capsys: pytest.CaptureFixture[str]
) -> None:
    instances.add(1, 1, [], bbox=[200, 10, 20.5, 30])
    instances.add(3, 1, None, bbox=[10, 10, 20, 30])
    source = opened(instances.save())
    assert "2 of 10 annotations have no segmentation" in capsys.readouterr().err
    ids = ids_of(source, record_of(source, "1"))
    assert (ids[10:40, 200:221] == 0).all() and np.count_nonzero(ids == 0) == 30 * 21


def test_boxes_alone_are_refused(instances: DrawnInstances) -> None:
    for annotation in instances.annotations:
        annotation |= {"segmentation": [], "bbox": [1, 2, 3, 4]}
    with pytest.raises(SourceError, match="none of its 8 annotations has a 'segmentation'"):
        opened(instances.save())


def test_a_photo_of_another_size_is_refused(instances: DrawnInstances) -> None:
    instances.images[0] |= {"width": HEIGHT, "height": WIDTH}
    error = refusal(opened(instances.save()), "1")
    assert error.code == "photo_size"
    assert "annotated as 180 x 240, but the photo (orientation applied) is 240 x 180" in str(error)


def test_an_unknown_category_is_said_and_its_photo_left_out(
    instances: DrawnInstances, capsys: pytest.CaptureFixture[str]
) -> None:
    instances.annotations[0]["category_id"] = 77
    source = opened(instances.save())
    assert "annotations with categories that the list 'categories' lacks: 1 (77)" in capsys.readouterr().err
    with pytest.raises(Rejected) as caught:
        ids_of(source, record_of(source, "1"))
    assert caught.value.code == "category_unknown"


DAMAGED: dict[str, tuple[Any, str, str]] = {
    "far": ([[1, 1, 1e9, 1, 9, 9]], "panoptic_unreadable", r"coordinate 1e\+09, far outside"),
    "odd": ([[1, 1, 9, 1, 9, 9, 5]], "panoptic_unreadable", "7 numbers, expected pairs"),
    "text": ([["1", "1", "9", "1", "9", "9"]], "panoptic_unreadable", "expected numbers"),
    "word": ("mask.png", "panoptic_unreadable", "expected polygons or run lengths"),
    "short runs": ({"size": [HEIGHT, WIDTH], "counts": [5, 5]}, "panoptic_unreadable", "describe 10 pixels"),
    "long runs": ({"size": [HEIGHT, WIDTH], "counts": [1 << 30, 5]}, "panoptic_unreadable", "pixels, expected"),
    "negative": ({"size": [HEIGHT, WIDTH], "counts": [-5, HEIGHT * WIDTH + 5]}, "panoptic_unreadable", "at least 0"),
    "packed": ({"size": [HEIGHT, WIDTH], "counts": "ooooooooo"}, "panoptic_unreadable", "do not describe"),
    "no size": ({"counts": [5]}, "panoptic_unreadable", "KeyError"),
    "other size": (runs(disc(9, 9, 40, 40)[:90]), "panoptic_size", "of a picture of 240 x 90, the photo is 240 x 180"),
    "huge size": ({"size": [1 << 20, 1 << 20], "counts": "0"}, "panoptic_size", "the photo is 240 x 180"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_shape_refuses_its_photo_alone(name: str, instances: DrawnInstances) -> None:
    segmentation, code, text = DAMAGED[name]
    instances.annotations[0]["segmentation"] = segmentation
    source = opened(instances.save())
    error = refusal(source, "1")
    assert error.code == code
    assert error.args[0].startswith("000000000001.jpg: annotation 100: ")
    with pytest.raises(Rejected, match=text):
        raise error
    ids_of(source, record_of(source, "2"))


@pytest.mark.slow
def test_a_polygon_of_a_million_points_takes_little_memory(instances: DrawnInstances) -> None:
    """Short steps are drawn, long ones are refused before they are drawn."""
    turns = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    circle = np.stack([40 + 20 * np.cos(turns), 80 + 20 * np.sin(turns)], axis=1)
    instances.annotations[0]["segmentation"] = [circle.round(2).ravel().tolist()]
    instances.annotations[3]["segmentation"] = [[0.0, 0.0, 200.0, 170.0] * 100_000]
    source = opened(instances.save())
    assert "polygons are 40,200,000 pixels long" in str(refusal(source, "1"))


def test_degenerate_polygons_have_no_pixels(instances: DrawnInstances) -> None:
    """Two points are no box, as the COCO API takes them for."""
    instances.annotations[0]["segmentation"] = [[20, 20, 60, 60], [], outline(disc(20, 60, 40, 50))[0]]
    source, plain = opened(instances.save()), opened(draw_instances(instances.root.parent / "plain").save())
    assert np.array_equal(ids_of(source, record_of(source, "1")), ids_of(plain, record_of(plain, "1")))


def test_odd_forms_of_shapes_are_read(instances: DrawnInstances) -> None:
    """One polygon without its list, points as pairs, and run lengths with empty runs."""
    flat = outline(disc(20, 60, 40, 50))[0]
    pairs = np.reshape(outline(disc(140, 90, 30, 30))[0], (-1, 2)).tolist()
    split = runs(disc(150, 60, 30, 40))
    first, second, *rest = split["counts"]
    instances.annotations[0]["segmentation"] = flat
    instances.annotations[3]["segmentation"] = [pairs]
    instances.annotations[5]["segmentation"] = split | {"counts": [first - 7, 0, 7, second, *rest, 0]}
    source, plain = opened(instances.save()), opened(draw_instances(instances.root.parent / "plain").save())
    for image in ("1", "4"):
        assert np.array_equal(ids_of(source, record_of(source, image)), ids_of(plain, record_of(plain, image)))


@pytest.mark.parametrize(
    ("number", "text"),
    [("NaN", "not valid JSON: .*write null instead"), ("-Infinity", "not valid JSON"), ("1e400", ": ")],
)
def test_numbers_that_are_none_are_refused(number: str, text: str, instances: DrawnInstances) -> None:
    """JSON has no NaN; 1e400 is legal and is more than a float holds."""
    path = instances.save() / "annotations/instances_train.json"
    path.write_text(path.read_text().replace('"segmentation": [[', f'"segmentation": [[1, {number}, ', 1))
    with pytest.raises((SourceError, Rejected), match=text):
        ids_of(source := opened(instances.root), record_of(source, "1"))


def _same_file(instances: DrawnInstances) -> None:
    instances.images[1]["file_name"] = instances.images[0]["file_name"]


def _twice(instances: DrawnInstances) -> None:
    instances.images.append(instances.images[0] | {"width": 7})


def _no_image(instances: DrawnInstances) -> None:
    instances.annotations[0]["image_id"] = 999


def _panoptic(instances: DrawnInstances) -> None:
    instances.annotations[0] = {"image_id": 1, "file_name": "1.png", "segments_info": []}


def _no_annotation(instances: DrawnInstances) -> None:
    instances.annotations.clear()


def _two_names(instances: DrawnInstances) -> None:
    instances.categories.append({"id": 1, "name": "cat"})


def _no_category(instances: DrawnInstances) -> None:
    instances.categories.clear()


def _list(instances: DrawnInstances) -> None:
    instances.document = lambda: instances.annotations  # type: ignore[assignment,method-assign,return-value]


WRONG: dict[str, tuple[Callable[[DrawnInstances], None], str]] = {
    "one file for two ids": (_same_file, r"'000000000001.jpg' is listed for the images 1 and 2"),
    "an image twice": (_twice, "image 1 is listed twice, with different contents"),
    "an image that is not listed": (_no_image, "annotation 100 is of the image 999, which the list 'images' lacks"),
    "panoptic": (_panoptic, "is a COCO panoptic JSON.*--source coco"),
    "no annotation": (_no_annotation, "its list 'annotations' is missing or empty"),
    "two names of a category": (_two_names, "category 1 is listed twice, as 'dog' and 'cat'"),
    "no category": (_no_category, "found 4 images and 0 categories"),
    "a list": (_list, "expected a COCO instances JSON .* found 0 images"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_json_is_refused_with_its_fault(name: str, instances: DrawnInstances) -> None:
    change, text = WRONG[name]
    change(instances)
    with pytest.raises(SourceError, match=text):
        opened(instances.save())


def test_an_identical_entry_twice_is_one_photo(instances: DrawnInstances) -> None:
    instances.images.append(dict(instances.images[0]))
    instances.categories.append(dict(instances.categories[0]))
    assert len(opened(instances.save())) == 4


def test_names_that_would_become_one_file_are_refused(instances: DrawnInstances) -> None:
    """Frames of two clips, whose photos somebody put into one folder."""
    for image, clip in zip(instances.images, "abcd", strict=True):
        image["file_name"] = f"{clip}/frame.jpg"
    instances.pixels = {"frame.jpg": instances.pixels["000000000001.jpg"]}
    with pytest.raises(SourceError, match=r"'a/frame.jpg' and 'b/frame.jpg' would both be 'frame.jpg'"):
        opened(instances.save())


@pytest.mark.parametrize("end", [0.1, 0.5, 0.99])
def test_a_truncated_json_is_an_error(end: float, instances: DrawnInstances) -> None:
    path = instances.save() / "annotations/instances_train.json"
    path.write_bytes(path.read_bytes()[: int(end * path.stat().st_size)])
    with pytest.raises(SourceError, match=r"instances_train.json"):
        opened(instances.root)


def test_a_truncated_gzip_is_an_error(instances: DrawnInstances) -> None:
    path = instances.save() / "annotations/instances_train.json"
    path.with_name("instances_train.json.gz").write_bytes(gzip.compress(path.read_bytes())[:-30])
    path.unlink()
    with pytest.raises(SourceError, match=r"instances_train.json.gz is truncated or damaged"):
        opened(instances.root)


def test_deep_nesting_is_refused(instances: DrawnInstances) -> None:
    path = instances.save() / "annotations/instances_train.json"
    path.write_text('{"images": ' + "[" * 1000 + "]" * 1000 + "}")
    with pytest.raises(SourceError, match="nested more than"):
        opened(instances.root)


def test_a_file_name_stays_in_its_folder(instances: DrawnInstances) -> None:
    instances.images[0]["file_name"] = "../../secret.jpg"
    source = opened(instances.save())
    with pytest.raises(Rejected) as caught:
        source.photo_bytes(source.record(0))
    assert caught.value.code == "path_outside_root"


def test_unknown_options_and_a_missing_root_are_named(instances: DrawnInstances) -> None:
    root = instances.save()
    with pytest.raises(UsageError, match="Did you mean 'photos'"):
        opened(root, photo="x")
    with pytest.raises(OlrdError, match="is not a folder"):
        opened(root / "nowhere")


def test_a_damaged_second_index_is_made_again(instances: DrawnInstances, tmp_path: Path) -> None:
    root = instances.save()
    before = ids_of(source := opened(root), record_of(source, "1"))
    for path in (tmp_path / "cache" / "index").glob("*-shapes.arrow"):
        path.write_bytes(path.read_bytes()[:100])
    source = opened(root)
    assert np.array_equal(ids_of(source, record_of(source, "1")), before)
