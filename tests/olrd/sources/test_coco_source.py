"""The source `coco`: layouts, messages, joins, the index, and file names that climb out."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic_coco import write_coco

from olrd.config import BuildConfig
from olrd.errors import Rejected, SourceError, UsageError
from olrd.sources import Source, SourceSpec, open_source, safe_path
from olrd.sources.panoptic import index as panoptic_index
from olrd.triplets.maker import TripletMaker
from olrd.triplets.tally import Tally

SUBSET = "train2017"


@pytest.fixture
def root(coco_root: Path, tmp_path: Path) -> Path:
    """A copy of the drawn dataset that a test may spoil."""
    return Path(shutil.copytree(coco_root, tmp_path / "coco"))


def opened(root: Path, subset: str | None = None) -> Source:
    return open_source(SourceSpec("coco", str(root), subset))


def pair(source: Source, index: int = 0) -> tuple[bytes, Any]:
    """A photo's bytes and its map."""
    record = source.record(index)
    return source.photo_bytes(record), source.panoptic(record, record.width, record.height)


def json_path(root: Path) -> Path:
    return root / "annotations" / f"panoptic_{SUBSET}.json"


def edit(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(json_path(root).read_text())
    change(document)
    json_path(root).write_text(json.dumps(document))


def test_photos_and_annotations_are_joined_by_id(coco_root: Path) -> None:
    """The lists of the JSON are in different orders."""
    document = json.loads(json_path(coco_root).read_text())
    images = {image["id"]: image for image in document["images"]}
    notes = {note["image_id"]: note for note in document["annotations"]}
    assert list(images) != list(notes)
    source = opened(coco_root)
    assert len(source) == len(images)
    for index in range(len(source)):
        record = source.record(index)
        image, note = images[int(record.image_id)], notes[int(record.image_id)]
        assert source.image_id(index) == record.image_id
        assert (record.file_name, record.width, record.height) == (image["file_name"], image["width"], image["height"])
        assert record.panoptic_name == note["file_name"]
        assert record.source_url == image["coco_url"]
        listed = [(s["id"], s["category_id"], s["area"], s["iscrowd"]) for s in note["segments_info"]]
        assert [(s.id, s.category_id, s.area, s.iscrowd) for s in record.segments] == listed
        assert [list(s.bbox) for s in record.segments] == [s["bbox"] for s in note["segments_info"]]
    assert {source.record(k).license for k in range(6)} == {
        "CC-BY-2.0",
        "CC-BY-NC-SA-2.0",
        "CC-BY-SA-2.0",
        "no-known-copyright",
        "CC-BY-NC-2.0",
        "US-government-work",
    }
    assert len(source.categories) == 133
    assert source.categories[187].label == "sky"
    assert not source.categories[187].isthing


MOVES = {
    "official": [],
    "photos under images": [(SUBSET, f"images/{SUBSET}")],
    "photos in images": [(SUBSET, "images")],
    "PNG folder at the root": [(f"annotations/panoptic_{SUBSET}", f"panoptic_{SUBSET}")],
    "both": [(SUBSET, f"images/{SUBSET}"), (f"annotations/panoptic_{SUBSET}", f"panoptic_{SUBSET}")],
}


@pytest.mark.parametrize("layout", MOVES)
def test_layouts_that_people_have(layout: str, root: Path, coco_root: Path) -> None:
    for old, new in MOVES[layout]:
        (root / new).parent.mkdir(exist_ok=True)
        (root / old).rename(root / new)
    photo, panoptic = pair(opened(root))
    expected_photo, expected = pair(opened(coco_root))
    assert photo == expected_photo
    assert (panoptic.ids == expected.ids).all()


@pytest.mark.parametrize(
    ("archive", "folder"),
    [
        (f"annotations/panoptic_{SUBSET}.zip", f"annotations/panoptic_{SUBSET}"),
        (f"panoptic_{SUBSET}.zip", f"annotations/panoptic_{SUBSET}"),
        (f"{SUBSET}.zip", SUBSET),
        (f"images/{SUBSET}.zip", SUBSET),
    ],
)
def test_an_archive_that_is_damaged_is_named(archive: str, folder: str, root: Path) -> None:
    shutil.rmtree(root / folder)
    with pytest.raises(SourceError, match="expected"):
        opened(root)
    (root / archive).parent.mkdir(exist_ok=True)
    (root / archive).write_bytes(b"PK")
    with pytest.raises(SourceError, match=f"{Path(archive).name} is not a whole zip file"):
        opened(root)


def test_a_folder_without_annotations_says_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"panoptic_annotations_trainval2017\.zip"):
        opened(tmp_path)
    with pytest.raises(SourceError, match="is not a folder"):
        opened(tmp_path / "nowhere")


def test_several_subsets_need_a_choice(root: Path) -> None:
    write_coco(root, 2, seed=1, subset="val2017")
    with pytest.raises(UsageError, match=r"--subset \{train2017,val2017\}"):
        opened(root)
    assert (len(opened(root, "val2017")), len(opened(root, SUBSET))) == (2, 6)


def test_an_unknown_subset_gets_the_nearest(root: Path) -> None:
    with pytest.raises(UsageError, match=r"no subset is called 'train2018'. Did you mean 'train2017'"):
        opened(root, "train2018")


def test_an_unknown_option_is_an_error(root: Path) -> None:
    with pytest.raises(UsageError, match="no option of the source coco is called 'colour'"):
        open_source(SourceSpec("coco", str(root), options={"colour": "red"}))


CLIMBERS = [
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\etc\\passwd",
    "C:\\windows\\win.ini",
    "a/../../b.jpg",
    "\\\\server\\share\\a.jpg",
    "..",
    "a\0b.jpg",
]


@pytest.mark.parametrize("name", CLIMBERS)
def test_a_file_name_that_climbs_out_is_refused(name: str, root: Path) -> None:
    with pytest.raises(Rejected) as caught:
        safe_path(root, name)
    assert caught.value.code == "path_outside_root"


@pytest.mark.parametrize("which", ["images", "annotations"])
@pytest.mark.parametrize("name", [CLIMBERS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in CLIMBERS[1:4])])
def test_climbing_photos_are_counted_and_the_others_built(name: str, which: str, root: Path) -> None:
    (root.parent / "etc").mkdir()
    (root.parent / "etc" / "passwd").write_text("secret")
    edit(root, lambda document: document[which][0].update(file_name=name))
    maker, tally = TripletMaker(opened(root), BuildConfig(SourceSpec("coco", str(root)))), Tally()
    rows = [row for index in range(6) for row in maker.photo(index, tally)]
    assert dict(tally.photos_rejected) == {"path_outside_root": 1}
    assert tally.balanced()
    assert len({row["image_id"] for row in rows}) == 5


@pytest.mark.parametrize("name", ["a.jpg", "folder/a.jpg", "folder\\a.jpg", "./a.jpg", "..a.jpg"])
def test_ordinary_names_stay_inside(name: str, tmp_path: Path) -> None:
    assert tmp_path in safe_path(tmp_path, name).parents


def test_a_photo_without_annotation_is_counted(root: Path) -> None:
    edit(root, lambda document: document["annotations"].pop(1))
    source = opened(root)
    assert len(source) == 6
    maker, tally = TripletMaker(source, BuildConfig(SourceSpec("coco", str(root)))), Tally()
    for index in range(6):
        list(maker.photo(index, tally))
    assert tally.photos_rejected["annotation_missing"] == 1
    assert tally.photos_read == 6
    assert tally.balanced()


@pytest.mark.parametrize(
    ("gone", "code"),
    [
        (f"{SUBSET}/000000000139.jpg", "photo_missing"),
        (f"annotations/panoptic_{SUBSET}/000000000139.png", "panoptic_missing"),
    ],
)
def test_a_missing_file_has_its_reason(gone: str, code: str, root: Path) -> None:
    (root / gone).unlink()
    source = opened(root)
    index = next(k for k in range(6) if source.image_id(k) == "139")
    with pytest.raises(Rejected, match="000000000139") as caught:
        pair(source, index)
    assert caught.value.code == code


def test_a_folder_in_the_place_of_a_photo_has_its_reason(root: Path) -> None:
    photo = root / SUBSET / "000000000139.jpg"
    photo.unlink()
    photo.mkdir()
    source = opened(root)
    record = next(r for r in map(source.record, range(6)) if r.image_id == "139")
    with pytest.raises(Rejected) as caught:
        source.photo_bytes(record)
    assert caught.value.code == "photo_unreadable"


def test_the_index_is_made_once_and_again_after_a_change(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLRD_CACHE", str(tmp_path / "cache"))
    made: list[Path] = []
    write = panoptic_index._write_index

    def counted(path: Path, out: Path) -> None:
        made.append(path)
        write(path, out)

    monkeypatch.setattr(panoptic_index, "_write_index", counted)
    first = opened(root)
    again = opened(root)
    assert len(made) == 1
    assert first.fingerprint == again.fingerprint
    assert [first.record(k) for k in range(6)] == [again.record(k) for k in range(6)]
    stat = json_path(root).stat()
    os.utime(json_path(root), ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert opened(root).fingerprint == first.fingerprint
    assert len(made) == 2
    edit(root, lambda document: document["annotations"].pop())
    assert opened(root).fingerprint != first.fingerprint
    assert len(made) == 3
    assert not list((tmp_path / "cache").rglob("*.tmp"))


BROKEN = {
    "empty": "",
    "not JSON": "<html>404 Not Found</html>",
    "cut off": '{"images": [{"id": 1, "file_name": "1.jpg"',
    "not UTF-8": '{"images": [{"id": 1, "file_name": "\xff\xfe"}]}',
    "two documents": '{"images": []} {"images": []}',
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_json_is_named(text: str, root: Path) -> None:
    json_path(root).write_bytes(text.encode("latin-1"))
    with pytest.raises(SourceError, match=json_path(root).name):
        opened(root)


def test_a_json_cut_off_in_the_annotations_is_named(root: Path) -> None:
    text = json_path(root).read_text()
    json_path(root).write_text(text[: text.index('"annotations"') + 400])
    with pytest.raises(SourceError, match=json_path(root).name):
        opened(root)


def without(*path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        del document[path[-1]]

    return change


def value(new: Any, *path: str | int) -> Callable[[dict[str, Any]], None]:
    def change(document: Any) -> None:
        for step in path[:-1]:
            document = document[step]
        document[path[-1]] = new

    return change


WRONG: dict[str, Callable[[dict[str, Any]], None]] = {
    "no categories": without("categories"),
    "no images": without("images"),
    "no annotations": without("annotations"),
    "instance annotations": without("annotations", 0, "segments_info"),
    "annotation of no image": value(7, "annotations", 0, "image_id"),
    "image without id": without("images", 0, "id"),
    "image is a number": value(3, "images", 0),
    "category without name": without("categories", 0, "name"),
    "annotation is a number": value(3, "annotations", 0),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_json_of_another_kind_is_named(change: Callable[[dict[str, Any]], None], root: Path) -> None:
    """Whatever is wrong in it, the message names the file; nothing ends in a traceback."""
    edit(root, change)
    with pytest.raises(SourceError, match=json_path(root).name):
        opened(root)


def test_an_image_that_is_listed_twice_is_one_image_or_an_error(root: Path) -> None:
    before = len(opened(root))
    edit(root, lambda document: document["images"].append(dict(document["images"][0])))
    assert len(opened(root)) == before
    edit(root, lambda document: document["images"][-1].update(file_name="other.jpg"))
    with pytest.raises(SourceError, match="is listed twice, as"):
        opened(root)


def test_a_file_of_several_images_is_an_error_with_their_ids(root: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["images"][1]["file_name"] = document["images"][0]["file_name"]

    edit(root, change)
    with pytest.raises(SourceError, match=r"the file '.*' is listed for the images \d+ and \d+"):
        opened(root)


def test_a_failed_index_leaves_nothing_behind(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLRD_CACHE", str(tmp_path / "cache"))
    edit(root, without("annotations", 3, "segments_info"))
    with pytest.raises(SourceError):
        opened(root)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("keep", [0, 4, 0.5, -9])
def test_an_index_that_is_damaged_is_made_again(
    keep: float, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OLRD_CACHE", str(tmp_path / "cache"))
    expected = opened(root).record(0)
    (index,) = (tmp_path / "cache" / "index").glob("*.arrow")
    data = index.read_bytes()
    index.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    assert opened(root).record(0) == expected
    assert "made again" in capsys.readouterr().err


@pytest.mark.parametrize("name", [None, "", " \n", [], {}])
def test_a_category_without_a_name_is_an_error_in_one_line(name: object, root: Path) -> None:
    with pytest.raises(SourceError, match=r"panoptic_.*json: a category has the id .* and the name") as error:
        edit(root, lambda document: document["categories"][0].update(name=name))
        opened(root)
    assert "\n" not in str(error.value)


def test_names_in_several_lines_or_digits_are_one_line_of_text(root: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["categories"][0]["name"] = "traffic\n# light"
        document["categories"][1]["name"] = 7
        document["images"][0]["author"] = ["x"]
        document["licenses"][0]["url"] = "https://x/\n# heading"

    edit(root, change)
    source = opened(root)
    assert {"traffic # light", "7"} <= {kind.name for kind in source.categories.values()}
    assert all("\n" not in source.record(k).license_url for k in range(len(source)))


@pytest.mark.parametrize("text", ['{"info": ' + "[" * 5000, '{"images": [' + '{"a":' * 200, "[" * 3000])
def test_json_that_is_nested_deeply_is_refused_before_it_fills_the_memory(text: str, root: Path) -> None:
    (root / "annotations" / f"panoptic_{SUBSET}.json").write_text(text)
    with pytest.raises(SourceError, match="nested more than"):
        opened(root)


DAMAGED: list[tuple[str, Callable[[dict[str, Any]], None]]] = [
    ("no segments", lambda d: d["annotations"][0].update(segments_info=None)),
    ("text as image", lambda d: d["images"].insert(0, "x")),
    ("text as category", lambda d: d["categories"].insert(0, "x")),
    ("list as id", lambda d: d["images"][0].update(id=[])),
    ("an object as images", lambda d: d.update(images={})),
]


@pytest.mark.parametrize(("what", "change"), DAMAGED, ids=[what for what, _ in DAMAGED])
def test_an_annotation_file_that_is_damaged_is_named(
    what: str, change: Callable[[dict[str, Any]], None], root: Path
) -> None:
    with pytest.raises(SourceError, match=r"panoptic_.*\.json"):
        edit(root, change)
        opened(root)


def test_links_may_lead_to_the_folder_of_photos_but_not_out_of_it(root: Path, tmp_path: Path) -> None:
    photos = root / SUBSET
    photos.rename(tmp_path / "elsewhere")
    photos.symlink_to(tmp_path / "elsewhere")
    source = opened(root)
    record = source.record(0)
    data = source.photo_bytes(record)
    inside = photos / record.file_name
    inside.rename(photos / "renamed.jpg")
    inside.symlink_to("renamed.jpg")
    assert source.photo_bytes(record) == data
    inside.unlink()
    (tmp_path / "secret.jpg").write_bytes(data)
    inside.symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(Rejected, match="symbolic link that leaves"):
        source.photo_bytes(record)
