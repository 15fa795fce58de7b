"""COCO instances: the COCO API as oracle, exports of labelling tools, damaged and odd annotations."""

from __future__ import annotations

import gzip
import shutil
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
    outline,
    packed,
    runs,
    spec_of,
)
from PIL import Image as Pillow
from PIL import ImageDraw
from pycocotools.coco import COCO

from olrd.builder.build import build
from olrd.dataset.folder import Dataset
from olrd.errors import OlrdError, Rejected, SourceError, UsageError
from olrd.panoptic import Record, check_panoptic
from olrd.sources import Source, open_source
from olrd.tools.verify import verify

pytestmark = pytest.mark.usefixtures("no_sample_sheets")


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DrawnInstances:
    monkeypatch.setenv("OLRD_CACHE", str(tmp_path / "cache"))
    return draw_instances(tmp_path / "set")


def opened(root: Path, subset: str | None = None, **options: str) -> Source:
    return open_source(spec_of(root, subset, **options))


def record_of(source: Source, image_id: str) -> Record:
    (found,) = [source.record(k) for k in range(len(source)) if source.image_id(k) == image_id]
    return found


def ids_of(source: Source, record: Record) -> np.ndarray:
    panoptic = source.panoptic(record, WIDTH, HEIGHT)
    check_panoptic(record.file_name, panoptic, (WIDTH, HEIGHT), source.categories)
    return panoptic.ids


def refusal(source: Source, image_id: str) -> Rejected:
    with pytest.raises(Rejected) as caught:
        source.panoptic(record_of(source, image_id), WIDTH, HEIGHT)
    return caught.value


def test_maps_are_those_of_the_coco_api(drawn: DrawnInstances) -> None:
    """The masks of pycocotools.coco.COCO, painted by a loop from the largest to the smallest."""
    root = drawn.save()
    source = opened(root)
    reference = COCO(str(root / "annotations/instances_train.json"))
    objects = 0
    for image in drawn.images:
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
    assert objects == len(drawn.annotations)


def pillow_mask(polygon: list[float]) -> np.ndarray:
    picture = Pillow.new("1", (WIDTH, HEIGHT))
    ImageDraw.Draw(picture).polygon(polygon, fill=1)
    return np.array(picture)


def test_polygons_are_those_that_pillow_draws(drawn: DrawnInstances) -> None:
    """But for pixels of the rim."""
    source = opened(drawn.save())
    record = record_of(source, "1")
    ids = ids_of(source, record)
    for annotation, segment in zip([drawn.annotations[0], drawn.annotations[3]], record.segments, strict=False):
        drawn_mask = pillow_mask(annotation["segmentation"][0])
        assert np.count_nonzero(drawn_mask ^ (ids == segment.id)) < 0.1 * np.count_nonzero(drawn_mask)


def test_the_smaller_lies_over_the_larger_whatever_the_order(drawn: DrawnInstances) -> None:
    ids = ids_of(source := opened(drawn.save()), record_of(source, "2"))
    drawn.annotations.reverse()
    again = opened(drawn.save("annotations/instances_other.json", "other"), "other")
    assert np.array_equal(ids_of(again, record_of(again, "2")), ids)
    assert ids[82, 82] == 101 and ids[60, 100] == 104


def test_ids_are_those_of_the_annotations_where_they_fit(drawn: DrawnInstances) -> None:
    """The ids of COCO's crowds have more than 32 bits."""
    record = record_of(opened(drawn.save()), "2")
    assert [segment.id for segment in record.segments] == [101, 104, 1, 0xFFFFFFFF]


@pytest.mark.slow
def test_a_build_verifies_and_its_rows_say_that_the_background_is_unlabelled(
    drawn: DrawnInstances, tmp_path: Path
) -> None:
    build(config_of(spec_of(drawn.save())), tmp_path / "out")
    verify(tmp_path / "out")
    rows = [triplet.row for triplet in Dataset(tmp_path / "out")]
    assert len(rows) >= 4
    assert {row["background_kind"] for row in rows} == {"unlabelled"}
    assert {row["license"] for row in rows} == {"CC-BY-2.0"}
    assert {row["prompt"] for row in rows} == {"A photo of R* background"}


# --- where exports lie ---------------------------------------------------------------------------


def _roboflow(drawn: DrawnInstances) -> Path:
    drawn.save("train/_annotations.coco.json", "train")
    return drawn.save("valid/_annotations.coco.json", "valid")


def _label_studio(drawn: DrawnInstances) -> Path:
    """Windows separators, categories from 0, no licences."""
    for image in drawn.images:
        image["file_name"] = f"images\\{image['file_name']}"
        del image["license"]
    for category in drawn.categories:
        category["id"] -= 1
    for annotation in drawn.annotations:
        annotation["category_id"] -= 1
    return drawn.save("result.json", "images")


def _label_studio_media(drawn: DrawnInstances) -> Path:
    """Names that begin with folders of its server."""
    for image in drawn.images:
        image["file_name"] = f"../../label-studio/data/media/upload/1/{image['file_name']}"
    return drawn.save("result.json", "images")


def _cvat(drawn: DrawnInstances) -> Path:
    return drawn.save("annotations/instances_default.json", "images/default")


def _lvis(drawn: DrawnInstances) -> Path:
    """No file names, and lists of the categories that were checked."""
    for image in drawn.images:
        del image["file_name"]
        image |= {"neg_category_ids": [2], "not_exhaustive_category_ids": [1]}
    return drawn.save("lvis_v1_train.json", "train")


def _photos_beside_the_json(drawn: DrawnInstances) -> Path:
    return drawn.save("export.json", ".")


def _detectron(drawn: DrawnInstances) -> Path:
    (drawn.root / "annotations").mkdir(parents=True)
    for other in ("captions_train.json", "person_keypoints_train.json", "stuff_train.json"):
        (drawn.root / "annotations" / other).write_text("{}")
    return drawn.save("annotations/instances_train.json", "images")


def _flask(drawn: DrawnInstances) -> Path:
    """Sizes that nobody wrote, ids that are texts, and a byte order mark."""
    for image in drawn.images:
        image["id"] = f"{image['id']:08d}-aaaa"
        del image["width"], image["height"]
    for annotation in drawn.annotations:
        annotation["image_id"] = f"{annotation['image_id']:08d}-aaaa"
        annotation["category_id"] = str(annotation["category_id"])
        del annotation["iscrowd"]
    root = drawn.save("annotations.json", "photos")
    path = root / "annotations.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    for photo in (root / "photos").glob("*.jpg"):
        photo.rename(photo.with_suffix(".JPG"))
    return root


def _datumaro(drawn: DrawnInstances) -> Path:
    """Photos in folders below that of the subset."""
    for image in drawn.images:
        image["file_name"] = f"clip/{image['file_name']}"
    return drawn.save("annotations/instances_train.json", "images/train/clip")


def _fiftyone(drawn: DrawnInstances) -> Path:
    return drawn.save("labels.json", "data")


def _labelme(drawn: DrawnInstances) -> Path:
    for image in drawn.images:
        image["file_name"] = f"JPEGImages/{image['file_name']}"
    return drawn.save("annotations.json", "JPEGImages")


def _packed(drawn: DrawnInstances) -> Path:
    root = drawn.save()
    path = root / "annotations/instances_train.json"
    (root / "annotations/instances_train.json.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return root


def _utf16(drawn: DrawnInstances) -> Path:
    """As Windows PowerShell writes a text."""
    root = drawn.save()
    path = root / "annotations/instances_train.json"
    path.write_text(path.read_text(), encoding="utf-16")
    return root


def _archive_of_coco(drawn: DrawnInstances) -> Path:
    """annotations_trainval2017.zip as downloaded, and the photos in an archive too."""
    root = drawn.save()
    shutil.make_archive(str(root / "annotations_trainval2017"), "zip", root, "annotations")
    shutil.make_archive(str(root / "train"), "zip", root, "train")
    shutil.rmtree(root / "annotations")
    shutil.rmtree(root / "train")
    return root


def _under_the_panoptic_name(drawn: DrawnInstances) -> Path:
    return drawn.save("annotations/panoptic_train.json")


LAYOUTS: dict[str, tuple[Callable[[DrawnInstances], Path], str | None]] = {
    "roboflow": (_roboflow, "valid"),
    "label-studio": (_label_studio, None),
    "label-studio-media": (_label_studio_media, None),
    "cvat": (_cvat, None),
    "lvis": (_lvis, None),
    "flat": (_photos_beside_the_json, None),
    "detectron": (_detectron, None),
    "datumaro": (_datumaro, None),
    "fiftyone": (_fiftyone, None),
    "labelme": (_labelme, None),
    "called panoptic": (_under_the_panoptic_name, None),
    "gzip": (_packed, None),
    "utf-16": (_utf16, None),
    "archives": (_archive_of_coco, None),
    "no-sizes-text-ids": (_flask, None),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_exports_are_found_and_read(name: str, drawn: DrawnInstances, tmp_path: Path) -> None:
    """Photos, names and maps are those of the official layout."""
    source = opened(draw_instances(tmp_path / "plain").save())
    arrange, subset = LAYOUTS[name]
    other = opened(arrange(drawn), subset)
    assert len(other) == len(source) == 4
    for k in range(4):
        one, two = source.record(k), other.record(k)
        assert other.photo_bytes(two) == source.photo_bytes(one)
        assert two.file_name.endswith(one.file_name) and ".." not in two.file_name
        assert [other.categories[s.category_id] for s in two.segments] == [
            source.categories[s.category_id] for s in one.segments
        ]
        if one.segments:
            assert np.array_equal(ids_of(source, one), ids_of(other, two))


def test_options_name_the_json_and_the_photos(drawn: DrawnInstances, tmp_path: Path) -> None:
    root = drawn.save("work/labels-v2.json", "work/shots")
    source = opened(root, json="work/labels-v2.json", photos="work/shots")
    assert source.photo_bytes(source.record(0))
    elsewhere = tmp_path / "elsewhere"
    shutil.move(root / "work", elsewhere)
    again = opened(root, json=str(elsewhere / "labels-v2.json"), photos=str(elsewhere / "shots"))
    assert again.photo_bytes(again.record(0))
    with pytest.raises(UsageError, match="photos=shots: there is no such file or folder"):
        opened(root, json=str(elsewhere / "labels-v2.json"), photos="shots")


def test_an_archive_is_read_without_unpacking(drawn: DrawnInstances) -> None:
    root = drawn.save("train/_annotations.coco.json", "train")
    shutil.make_archive(str(root.parent / "export"), "zip", root)
    source = opened(root.parent / "export.zip")
    assert source.photo_bytes(source.record(1))
    assert len(source) == 4


def test_a_wrong_guess_names_what_is_there(drawn: DrawnInstances) -> None:
    root = drawn.save("a.json", "images")
    shutil.copy(root / "a.json", root / "b.json")
    with pytest.raises(UsageError, match=r"several annotation files: choose one with --subset \{a,b\}"):
        opened(root)
    assert len(opened(root, "b")) == 4
    (root / "a.json").unlink()
    (root / "b.json").rename(root / "b.txt")
    with pytest.raises(SourceError, match=r"found b.txt, images\. --source-option json=FILE"):
        opened(root)


def test_photos_that_are_nowhere_name_the_folders_that_were_tried(drawn: DrawnInstances) -> None:
    root = drawn.save(photos="holiday")
    (root / "images").mkdir()
    with pytest.raises(
        SourceError, match=r"'000000000001.jpg', found none of 4 .*images \(holds nothing\).*photos=FOLDER"
    ):
        opened(root)
    assert opened(root, photos="holiday").photo_bytes(opened(root, photos="holiday").record(0))


def test_one_missing_photo_is_missing_alone(drawn: DrawnInstances) -> None:
    root = drawn.save()
    (root / "train/000000000002.jpg").unlink()
    source = opened(root)
    with pytest.raises(Rejected, match=r"000000000002\.jpg is not in the folder of the photos") as caught:
        source.photo_bytes(source.record(1))
    assert caught.value.code == "photo_missing"
    source.photo_bytes(source.record(0))


# --- what an export says -------------------------------------------------------------------------


def test_licences_can_be_declared(drawn: DrawnInstances) -> None:
    drawn.images[0]["license"] = None
    source = opened(drawn.save(), license="CC-BY-4.0")
    assert [source.record(k).license for k in range(2)] == ["CC-BY-4.0", "CC-BY-2.0"]


def test_the_categories_that_are_things_can_be_picked(drawn: DrawnInstances) -> None:
    """The others are background, and a small one lies below a thing."""
    root = drawn.save()
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


def test_a_seam_between_objects_and_stuff_is_void(drawn: DrawnInstances) -> None:
    """Else every object would stand on the seam. Where stuff covers little, the rest stays background."""
    ground = np.ones((HEIGHT, WIDTH), np.bool_)
    for annotation in (drawn.annotations[0], drawn.annotations[3]):
        ground &= ~pillow_mask(annotation["segmentation"][0])
    drawn.categories.append({"id": 9, "name": "grass", "supercategory": "ground"})
    drawn.add(1, 9, packed(ground))
    drawn.add(4, 9, packed(disc(200, 140, 20, 20)))
    source = opened(drawn.save(), things="dog,sports ball,person")
    first, last = (ids_of(source, record_of(source, image)) for image in ("1", "4"))
    assert not (first == 0xFFFFFFFF).any() and 0 < np.count_nonzero(first == 0) < 400
    assert (last == 0xFFFFFFFF).any() and not (last == 0).any()


def test_isthing_is_respected_where_it_is_said(drawn: DrawnInstances) -> None:
    for category in drawn.categories:
        category["isthing"] = int(category["name"] == "dog")
    source = opened(drawn.save())
    assert [c.name for c in source.categories.values() if c.isthing] == ["dog"]


def test_an_object_with_a_box_alone_leaves_its_pixels_out(
    drawn: DrawnInstances, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn.add(1, 1, [], bbox=[200, 10, 20.5, 30])
    drawn.add(3, 1, None, bbox=[10, 10, 20, 30])
    source = opened(drawn.save())
    assert "2 of 10 annotations have no segmentation" in capsys.readouterr().err
    ids = ids_of(source, record_of(source, "1"))
    assert (ids[10:40, 200:221] == 0).all() and np.count_nonzero(ids == 0) == 30 * 21


def test_boxes_alone_are_refused(drawn: DrawnInstances) -> None:
    for annotation in drawn.annotations:
        annotation |= {"segmentation": [], "bbox": [1, 2, 3, 4]}
    with pytest.raises(SourceError, match="none of its 8 annotations has a 'segmentation'"):
        opened(drawn.save())


def test_a_photo_of_another_size_is_refused(drawn: DrawnInstances) -> None:
    drawn.images[0] |= {"width": HEIGHT, "height": WIDTH}
    error = refusal(opened(drawn.save()), "1")
    assert error.code == "photo_size"
    assert "annotated as 180 x 240, but the photo (orientation applied) is 240 x 180" in str(error)


def test_an_unknown_category_is_said_and_its_photo_left_out(
    drawn: DrawnInstances, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn.annotations[0]["category_id"] = 77
    source = opened(drawn.save())
    assert "1 annotations have categories that the list 'categories' lacks (77)" in capsys.readouterr().err
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
def test_a_damaged_shape_refuses_its_photo_alone(name: str, drawn: DrawnInstances) -> None:
    segmentation, code, text = DAMAGED[name]
    drawn.annotations[0]["segmentation"] = segmentation
    source = opened(drawn.save())
    error = refusal(source, "1")
    assert error.code == code
    assert error.args[0].startswith("000000000001.jpg: annotation 100: ")
    with pytest.raises(Rejected, match=text):
        raise error
    ids_of(source, record_of(source, "2"))


@pytest.mark.slow
def test_a_polygon_of_a_million_points_takes_little_memory(drawn: DrawnInstances) -> None:
    """Short steps are drawn, long ones are refused before they are drawn."""
    turns = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    circle = np.stack([40 + 20 * np.cos(turns), 80 + 20 * np.sin(turns)], axis=1)
    drawn.annotations[0]["segmentation"] = [circle.round(2).ravel().tolist()]
    drawn.annotations[3]["segmentation"] = [[0.0, 0.0, 200.0, 170.0] * 100_000]
    source = opened(drawn.save())
    assert "polygons are 40,200,000 pixels long" in str(refusal(source, "1"))


def test_degenerate_polygons_have_no_pixels(drawn: DrawnInstances) -> None:
    """Two points are no box, as the COCO API takes them for."""
    drawn.annotations[0]["segmentation"] = [[20, 20, 60, 60], [], outline(disc(20, 60, 40, 50))[0]]
    source, plain = opened(drawn.save()), opened(draw_instances(drawn.root.parent / "plain").save())
    assert np.array_equal(ids_of(source, record_of(source, "1")), ids_of(plain, record_of(plain, "1")))


def test_odd_forms_of_shapes_are_read(drawn: DrawnInstances) -> None:
    """One polygon without its list, points as pairs, and run lengths with empty runs."""
    flat = outline(disc(20, 60, 40, 50))[0]
    pairs = np.reshape(outline(disc(140, 90, 30, 30))[0], (-1, 2)).tolist()
    split = runs(disc(150, 60, 30, 40))
    first, second, *rest = split["counts"]
    drawn.annotations[0]["segmentation"] = flat
    drawn.annotations[3]["segmentation"] = [pairs]
    drawn.annotations[5]["segmentation"] = split | {"counts": [first - 7, 0, 7, second, *rest, 0]}
    source, plain = opened(drawn.save()), opened(draw_instances(drawn.root.parent / "plain").save())
    for image in ("1", "4"):
        assert np.array_equal(ids_of(source, record_of(source, image)), ids_of(plain, record_of(plain, image)))


@pytest.mark.parametrize(
    ("number", "text"),
    [("NaN", "not valid JSON: .*write null instead"), ("-Infinity", "not valid JSON"), ("1e400", ": ")],
)
def test_numbers_that_are_none_are_refused(number: str, text: str, drawn: DrawnInstances) -> None:
    """JSON has no NaN; 1e400 is legal and is more than a float holds."""
    path = drawn.save() / "annotations/instances_train.json"
    path.write_text(path.read_text().replace('"segmentation": [[', f'"segmentation": [[1, {number}, ', 1))
    with pytest.raises((SourceError, Rejected), match=text):
        ids_of(source := opened(drawn.root), record_of(source, "1"))


def _same_file(drawn: DrawnInstances) -> None:
    drawn.images[1]["file_name"] = drawn.images[0]["file_name"]


def _twice(drawn: DrawnInstances) -> None:
    drawn.images.append(drawn.images[0] | {"width": 7})


def _no_image(drawn: DrawnInstances) -> None:
    drawn.annotations[0]["image_id"] = 999


def _panoptic(drawn: DrawnInstances) -> None:
    drawn.annotations[0] = {"image_id": 1, "file_name": "1.png", "segments_info": []}


def _no_annotation(drawn: DrawnInstances) -> None:
    drawn.annotations.clear()


def _two_names(drawn: DrawnInstances) -> None:
    drawn.categories.append({"id": 1, "name": "cat"})


def _no_category(drawn: DrawnInstances) -> None:
    drawn.categories.clear()


def _list(drawn: DrawnInstances) -> None:
    drawn.document = lambda: drawn.annotations  # type: ignore[assignment,method-assign,return-value]


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
def test_a_wrong_json_is_refused_with_its_fault(name: str, drawn: DrawnInstances) -> None:
    change, text = WRONG[name]
    change(drawn)
    with pytest.raises(SourceError, match=text):
        opened(drawn.save())


def test_an_identical_entry_twice_is_one_photo(drawn: DrawnInstances) -> None:
    drawn.images.append(dict(drawn.images[0]))
    drawn.categories.append(dict(drawn.categories[0]))
    assert len(opened(drawn.save())) == 4


def test_names_that_would_become_one_file_are_refused(drawn: DrawnInstances) -> None:
    """Frames of two clips, whose photos somebody put into one folder."""
    for image, clip in zip(drawn.images, "abcd", strict=True):
        image["file_name"] = f"{clip}/frame.jpg"
    drawn.pixels = {"frame.jpg": drawn.pixels["000000000001.jpg"]}
    with pytest.raises(SourceError, match=r"'a/frame.jpg' and 'b/frame.jpg' would both be 'frame.jpg'"):
        opened(drawn.save())


@pytest.mark.parametrize("end", [0.1, 0.5, 0.99])
def test_a_truncated_json_is_an_error(end: float, drawn: DrawnInstances) -> None:
    path = drawn.save() / "annotations/instances_train.json"
    path.write_bytes(path.read_bytes()[: int(end * path.stat().st_size)])
    with pytest.raises(SourceError, match=r"instances_train.json"):
        opened(drawn.root)


def test_a_truncated_gzip_is_an_error(drawn: DrawnInstances) -> None:
    path = _packed(drawn) / "annotations/instances_train.json.gz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(SourceError, match=r"instances_train.json.gz is truncated or damaged"):
        opened(drawn.root)


def test_deep_nesting_is_refused(drawn: DrawnInstances) -> None:
    path = drawn.save() / "annotations/instances_train.json"
    path.write_text('{"images": ' + "[" * 1000 + "]" * 1000 + "}")
    with pytest.raises(SourceError, match="nested more than"):
        opened(drawn.root)


def test_a_file_name_stays_in_its_folder(drawn: DrawnInstances) -> None:
    drawn.images[0]["file_name"] = "../../secret.jpg"
    source = opened(drawn.save())
    with pytest.raises(Rejected) as caught:
        source.photo_bytes(source.record(0))
    assert caught.value.code == "path_outside_root"


def test_unknown_options_and_a_missing_root_are_named(drawn: DrawnInstances) -> None:
    root = drawn.save()
    with pytest.raises(UsageError, match="Did you mean 'photos'"):
        opened(root, photo="x")
    with pytest.raises(OlrdError, match="is not a folder"):
        opened(root / "nowhere")


def test_a_damaged_second_index_is_made_again(drawn: DrawnInstances, tmp_path: Path) -> None:
    root = drawn.save()
    before = ids_of(source := opened(root), record_of(source, "1"))
    for path in (tmp_path / "cache" / "index").glob("*-shapes.arrow"):
        path.write_bytes(path.read_bytes()[:100])
    source = opened(root)
    assert np.array_equal(ids_of(source, record_of(source, "1")), before)
