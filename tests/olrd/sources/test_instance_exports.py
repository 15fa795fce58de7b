"""COCO instances where labelling tools and people put them: each export is read as the official layout."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_instances import DrawnInstances, draw_instances, ids_of, opened

from olrd.errors import Rejected, SourceError, UsageError


def _roboflow(instances: DrawnInstances) -> Path:
    instances.save("train/_annotations.coco.json", "train")
    return instances.save("valid/_annotations.coco.json", "valid")


def _label_studio(instances: DrawnInstances) -> Path:
    """Windows separators, categories from 0, no licences."""
    for image in instances.images:
        image["file_name"] = f"images\\{image['file_name']}"
        del image["license"]
    for category in instances.categories:
        category["id"] -= 1
    for annotation in instances.annotations:
        annotation["category_id"] -= 1
    return instances.save("result.json", "images")


def _label_studio_media(instances: DrawnInstances) -> Path:
    """Names that begin with folders of its server."""
    for image in instances.images:
        image["file_name"] = f"../../label-studio/data/media/upload/1/{image['file_name']}"
    return instances.save("result.json", "images")


def _cvat(instances: DrawnInstances) -> Path:
    return instances.save("annotations/instances_default.json", "images/default")


def _lvis(instances: DrawnInstances) -> Path:
    """No file names, and lists of the categories that were checked."""
    for image in instances.images:
        del image["file_name"]
        image |= {"neg_category_ids": [2], "not_exhaustive_category_ids": [1]}
    return instances.save("lvis_v1_train.json", "train")


def _photos_beside_the_json(instances: DrawnInstances) -> Path:
    return instances.save("export.json", ".")


def _detectron(instances: DrawnInstances) -> Path:
    (instances.root / "annotations").mkdir(parents=True)
    for other in ("captions_train.json", "person_keypoints_train.json", "stuff_train.json"):
        (instances.root / "annotations" / other).write_text("{}")
    return instances.save("annotations/instances_train.json", "images")


def _flask(instances: DrawnInstances) -> Path:
    """Sizes that nobody wrote, ids that are texts, and a byte order mark."""
    for image in instances.images:
        image["id"] = f"{image['id']:08d}-aaaa"
        del image["width"], image["height"]
    for annotation in instances.annotations:
        annotation["image_id"] = f"{annotation['image_id']:08d}-aaaa"
        annotation["category_id"] = str(annotation["category_id"])
        del annotation["iscrowd"]
    root = instances.save("annotations.json", "photos")
    path = root / "annotations.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    for photo in (root / "photos").glob("*.jpg"):
        photo.rename(photo.with_suffix(".JPG"))
    return root


def _datumaro(instances: DrawnInstances) -> Path:
    """Photos in folders below that of the subset."""
    for image in instances.images:
        image["file_name"] = f"clip/{image['file_name']}"
    return instances.save("annotations/instances_train.json", "images/train/clip")


def _fiftyone(instances: DrawnInstances) -> Path:
    return instances.save("labels.json", "data")


def _labelme(instances: DrawnInstances) -> Path:
    for image in instances.images:
        image["file_name"] = f"JPEGImages/{image['file_name']}"
    return instances.save("annotations.json", "JPEGImages")


def _packed(instances: DrawnInstances) -> Path:
    root = instances.save()
    path = root / "annotations/instances_train.json"
    (root / "annotations/instances_train.json.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    return root


def _utf16(instances: DrawnInstances) -> Path:
    """As Windows PowerShell writes a text."""
    root = instances.save()
    path = root / "annotations/instances_train.json"
    path.write_text(path.read_text(), encoding="utf-16")
    return root


def _archive_of_coco(instances: DrawnInstances) -> Path:
    """annotations_trainval2017.zip as downloaded, and the photos in an archive too."""
    root = instances.save()
    shutil.make_archive(str(root / "annotations_trainval2017"), "zip", root, "annotations")
    shutil.make_archive(str(root / "train"), "zip", root, "train")
    shutil.rmtree(root / "annotations")
    shutil.rmtree(root / "train")
    return root


def _under_the_panoptic_name(instances: DrawnInstances) -> Path:
    return instances.save("annotations/panoptic_train.json")


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
def test_exports_are_found_and_read(name: str, instances: DrawnInstances, tmp_path: Path) -> None:
    """Photos, names and maps are those of the official layout."""
    source = opened(draw_instances(tmp_path / "plain").save())
    arrange, subset = LAYOUTS[name]
    other = opened(arrange(instances), subset)
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


def test_options_name_the_json_and_the_photos(instances: DrawnInstances, tmp_path: Path) -> None:
    root = instances.save("work/labels-v2.json", "work/shots")
    source = opened(root, json="work/labels-v2.json", photos="work/shots")
    assert source.photo_bytes(source.record(0))
    elsewhere = tmp_path / "elsewhere"
    shutil.move(root / "work", elsewhere)
    again = opened(root, json=str(elsewhere / "labels-v2.json"), photos=str(elsewhere / "shots"))
    assert again.photo_bytes(again.record(0))
    with pytest.raises(SourceError, match="photos=shots: there is no such file or folder"):
        opened(root, json=str(elsewhere / "labels-v2.json"), photos="shots")


def test_an_archive_is_read_without_unpacking(instances: DrawnInstances) -> None:
    root = instances.save("train/_annotations.coco.json", "train")
    shutil.make_archive(str(root.parent / "export"), "zip", root)
    source = opened(root.parent / "export.zip")
    assert source.photo_bytes(source.record(1))
    assert len(source) == 4


def test_a_wrong_guess_names_what_is_there(instances: DrawnInstances) -> None:
    root = instances.save("a.json", "images")
    shutil.copy(root / "a.json", root / "b.json")
    with pytest.raises(UsageError, match=r"several annotation files: choose one with --subset \{a,b\}"):
        opened(root)
    assert len(opened(root, "b")) == 4
    (root / "a.json").unlink()
    (root / "b.json").rename(root / "b.txt")
    with pytest.raises(SourceError, match=r"found b.txt, images\. --source-option json=FILE"):
        opened(root)


def test_photos_that_are_nowhere_name_the_folders_that_were_tried(instances: DrawnInstances) -> None:
    root = instances.save(photos="holiday")
    (root / "images").mkdir()
    with pytest.raises(
        SourceError, match=r"'000000000001.jpg', found none of 4 .*images \(holds nothing\).*photos=FOLDER"
    ):
        opened(root)
    assert opened(root, photos="holiday").photo_bytes(opened(root, photos="holiday").record(0))


def test_one_missing_photo_is_missing_alone(instances: DrawnInstances) -> None:
    root = instances.save()
    (root / "train/000000000002.jpg").unlink()
    source = opened(root)
    with pytest.raises(Rejected, match=r"000000000002\.jpg is not in the folder of the photos") as caught:
        source.photo_bytes(source.record(1))
    assert caught.value.code == "photo_missing"
    source.photo_bytes(source.record(0))
