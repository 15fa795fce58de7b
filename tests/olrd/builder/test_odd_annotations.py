"""Annotations as tools and people write them: each gives the triplets of the undisturbed set, or says what is wrong."""

from __future__ import annotations

import codecs
import gzip
import json
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_folder import Folder, Json, config_of, rows_by_photo
from cases import every
from damages import area_is_one_off, box_has_moved, box_is_negative, box_is_one_off, segment_is_not_in_the_png
from PIL import Image as Pillow

from olrd.builder.build import build
from olrd.builder.nothing import NothingBuiltError
from olrd.cli.build import main as olrd_build
from olrd.errors import SourceError
from olrd.sources import SourceSpec, open_source

pytestmark = pytest.mark.usefixtures("no_sample_sheets")
Change = Callable[[Folder], object]


@pytest.fixture(scope="module")
def good(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Json]]:
    out = tmp_path_factory.mktemp("good") / "out"
    build(config_of(pristine), out)
    return pixels_of(out)


def pixels_of(out: Path) -> dict[str, list[Json]]:
    """What must not change: the pictures and where they come from, by photo and segment."""
    kept = ("segment_id", "image", "mask", "bbox", "source_bbox", "category", "background_labels")
    return {
        image_id: sorted(
            (
                {name: row[name] for name in kept} | {"image": row["image"]["bytes"], "mask": row["mask"]["bytes"]}
                for row in rows
            ),
            key=lambda row: str(row["segment_id"]) + str(row["bbox"]),
        )
        for image_id, rows in rows_by_photo(out).items()
    }


def png_folder(folder: Folder) -> Path:
    return folder.png.parent


def rewrite_pngs(folder: Folder, draw: Callable[[Any], Pillow.Image], suffix: str = ".png") -> None:
    for path in sorted(png_folder(folder).iterdir()):
        with Pillow.open(path) as image:
            drawn = draw(np.asarray(image))
        path.unlink()
        drawn.save(path.with_suffix(suffix))


def drop_from_segments(*names: str) -> Change:
    def change(folder: Folder) -> None:
        for note in folder.notes.values():
            for segment in note["segments_info"]:
                for name in names:
                    segment.pop(name, None)

    return change


def set_in_segments(**values: Callable[[Any], Any]) -> Change:
    def change(folder: Folder) -> None:
        for note in folder.notes.values():
            for segment in note["segments_info"]:
                for name, new in values.items():
                    segment[name] = new(segment[name])

    return change


def drop_from(part: str, *names: str) -> Change:
    def change(folder: Folder) -> None:
        for entry in folder.document[part]:
            for name in names:
                entry.pop(name, None)

    return change


def set_in(part: str, name: str, value: Any) -> Change:
    def change(folder: Folder) -> None:
        for entry in folder.document[part]:
            entry[name] = value(entry) if callable(value) else value

    return change


def set_top(name: str, value: Any) -> Change:
    return lambda folder: folder.document.update({name: value})


def renumbered(number: Callable[[int], int]) -> Change:
    """Other ids of the classes."""

    def change(folder: Folder) -> None:
        for kind in folder.document["categories"]:
            kind["id"] = number(kind["id"])
        for note in folder.notes.values():
            for segment in note["segments_info"]:
                segment["category_id"] = number(segment["category_id"])

    return change


def zero_is(isthing: int) -> Change:
    """The most frequent class of things, or of stuff, gets the id 0."""

    def change(folder: Folder) -> None:
        kinds = {kind["id"] for kind in folder.document["categories"] if kind["isthing"] == isthing}
        used = [s["category_id"] for note in folder.notes.values() for s in note["segments_info"]]
        chosen = max(sorted(kinds), key=used.count)
        renumbered(lambda number: 0 if number == chosen else number)(folder)

    return change


def isthing_in_segments(folder: Folder) -> None:
    kinds = {kind["id"]: kind.pop("isthing") for kind in folder.document["categories"]}
    for note in folder.notes.values():
        for segment in note["segments_info"]:
            segment["isthing"] = kinds[segment["category_id"]]


def stuff_listed_in_pieces(folder: Folder) -> None:
    kinds = {kind["id"]: kind["isthing"] for kind in folder.document["categories"]}
    for note in folder.notes.values():
        stuff = [s for s in note["segments_info"] if not kinds[s["category_id"]]]
        note["segments_info"].append(dict(stuff[0]))


def photos_upper_case(folder: Folder) -> None:
    for number in range(len(folder.images)):
        photo = folder.photo(number)
        photo.rename(photo.with_suffix(photo.suffix.upper()))


def photos_in_subfolders(folder: Folder) -> None:
    for number, image in enumerate(folder.images):
        photo = folder.photo(number)
        (photo.parent / f"job{number % 2}").mkdir(exist_ok=True)
        photo.rename(photo.parent / f"job{number % 2}" / str(image["file_name"]))


def names_with_backslashes(folder: Folder) -> None:
    photos_in_subfolders(folder)
    for number, image in enumerate(folder.images):
        image["file_name"] = f"job{number % 2}\\{image['file_name']}"


def names_decomposed(folder: Folder) -> None:
    for number, image in enumerate(folder.images):
        name = f"Größe {number} é.jpg"
        folder.photo(number).rename(folder.photo(number).with_name(unicodedata.normalize("NFD", name)))
        image["file_name"] = unicodedata.normalize("NFC", name)


def pngs_named_jpg(folder: Folder) -> None:
    for note in folder.notes.values():
        note["file_name"] = str(Path(note["file_name"]).with_suffix(".jpg"))


def hidden_files(folder: Folder) -> None:
    for number in range(len(folder.images)):
        photo = folder.photo(number)
        photo.with_name(f"._{photo.name}").write_bytes(b"\0\5\x16\7")


def no_iscrowd(folder: Folder) -> None:
    for note in folder.notes.values():
        for segment in note["segments_info"]:
            if not segment["iscrowd"]:
                del segment["iscrowd"]


READ: dict[str, Change] = {
    "area one off": area_is_one_off,
    "box one off": box_is_one_off,
    "box moved": box_has_moved,
    "box negative": box_is_negative,
    "ghost segment": segment_is_not_in_the_png,
    "no area and box": drop_from_segments("area", "bbox"),
    "no area": drop_from_segments("area"),
    "no box": drop_from_segments("bbox"),
    "no iscrowd": no_iscrowd,
    "iscrowd as text": set_in_segments(iscrowd=str),
    "no name of the PNG": drop_from("annotations", "file_name"),
    "null area and box": set_in_segments(area=lambda _: None, bbox=lambda _: None),
    "fractions": set_in_segments(area=lambda a: a * 0.97, bbox=lambda b: [v + 0.37 for v in b]),
    "floats": set_in_segments(area=float, bbox=lambda b: [float(v) for v in b], id=float),
    "texts": set_in_segments(area=str, id=str, category_id=str),
    "box of three": set_in_segments(bbox=lambda b: b[:3]),
    "box beyond 32 bits": set_in_segments(bbox=lambda b: [1 << 60, *b[1:]]),
    "no size": drop_from("images", "width", "height"),
    "null size": set_in("images", "width", None),
    "size is a word": set_in("images", "width", "wide"),
    "no licences": lambda folder: folder.document.pop("licenses", None),
    "null info": set_top("info", None),
    "null licences": set_top("licenses", None),
    "licence without id": set_top("licenses", [{"url": None}, 5, {"id": []}]),
    "licence is null": set_in("images", "license", None),
    "huge class ids": renumbered(lambda number: number + (1 << 40)),
    "class 0 is a thing": zero_is(1),
    "class 0 is stuff": zero_is(0),
    "isthing as text": set_in("categories", "isthing", lambda kind: str(kind["isthing"])),
    "isthing as truth": set_in("categories", "isthing", lambda kind: bool(kind["isthing"])),
    "isthing in segments": isthing_in_segments,
    "stuff in pieces": stuff_listed_in_pieces,
    "class listed twice": lambda folder: folder.document["categories"].append(dict(folder.document["categories"][0])),
    "image listed twice": lambda folder: folder.images.append(dict(folder.images[1])),
    "text as image id": set_in("annotations", "image_id", lambda note: str(note["image_id"])),
    "upper-case suffix": photos_upper_case,
    "base names of nested photos": photos_in_subfolders,
    "backslashes": names_with_backslashes,
    "decomposed names": names_decomposed,
    "PNGs named JPG": pngs_named_jpg,
    "hidden files": hidden_files,
    "opaque RGBA": lambda folder: rewrite_pngs(folder, lambda p: Pillow.fromarray(p).convert("RGBA")),
    "TIFF": lambda folder: rewrite_pngs(folder, Pillow.fromarray, ".tif"),
}


@pytest.mark.parametrize("change", every(4, READ))
def test_it_is_read_as_the_undisturbed_set(
    change: Change, folder: Folder, good: dict[str, list[Json]], tmp_path: Path
) -> None:
    change(folder)
    build(config_of(folder.save()), tmp_path / "out")
    assert pixels_of(tmp_path / "out") == good


def test_without_supercategories_the_rules_that_ask_for_them_do_not_apply(folder: Folder, tmp_path: Path) -> None:
    set_in("categories", "supercategory", None)(folder)
    totals = build(config_of(folder.save()), tmp_path / "out")["totals"]
    assert totals["triplets"] > 0 and totals["photos_rejected"] == {}


ENCODED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "byte order mark": ("", lambda data: codecs.BOM_UTF8 + data),
    "UTF-16": ("", lambda data: data.decode().encode("utf-16")),
    "UTF-16 big-endian": ("", lambda data: codecs.BOM_UTF16_BE + data.decode().encode("utf-16-be")),
    "gzip": (".gz", gzip.compress),
}


@pytest.mark.parametrize(("suffix", "encode"), ENCODED.values(), ids=ENCODED)
def test_every_encoding_of_the_json_is_read(suffix: str, encode: Callable[[bytes], bytes], folder: Folder) -> None:
    root = folder.save()
    expected = [open_source(SourceSpec("coco", str(root))).record(k) for k in range(len(folder.images))]
    path = root / "annotations" / "panoptic_train2017.json"
    data = path.read_bytes()
    path.unlink()
    Path(f"{path}{suffix}").write_bytes(encode(data))
    source = open_source(SourceSpec("coco", str(root)))
    assert [source.record(k) for k in range(len(source))] == expected


def test_a_gzip_that_is_cut_off_is_named(folder: Folder) -> None:
    root = folder.save()
    path = root / "annotations" / "panoptic_train2017.json"
    data = gzip.compress(path.read_bytes())
    path.unlink()
    Path(f"{path}.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match=r"\.json\.gz is damaged"):
        open_source(SourceSpec("coco", str(root)))


def test_differences_are_counted_and_said_and_honest_records_have_no_such_count(
    folder: Folder, pristine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    area_is_one_off(folder)
    segment_is_not_in_the_png(folder)
    words = ["--source", "coco", "--root", str(folder.save()), "--out", str(tmp_path / "out"), "--workers", "1"]
    assert olrd_build(words) == 0
    record = json.loads((tmp_path / "out" / "build.json").read_text())
    assert record["totals"]["notes"] == {"segments_measured": 1, "segments_hidden": 1}
    assert "the PNG counts" in capsys.readouterr().out
    assert "notes" not in build(config_of(pristine), tmp_path / "honest")["totals"]


def bgr(folder: Folder) -> None:
    rewrite_pngs(folder, lambda pixels: Pillow.fromarray(np.ascontiguousarray(pixels[..., ::-1])))


def maps_of_others(folder: Folder) -> None:
    for note in folder.notes.values():
        for segment in note["segments_info"]:
            segment["id"] += 7_000_000


def urls(folder: Folder) -> None:
    for image in folder.images:
        image["file_name"] = f"https://example.org/{image['file_name']}"


def nothing_listed(folder: Folder) -> None:
    for note in folder.notes.values():
        note["segments_info"] = []


def swapped_sizes(folder: Folder) -> None:
    for image in folder.images:
        image["width"], image["height"] = image["height"] + 1, image["width"]


def pngs_are_jpegs(folder: Folder) -> None:
    for path in sorted(png_folder(folder).iterdir()):
        with Pillow.open(path) as image:
            image.save(path, "JPEG")


NOTHING: dict[str, tuple[Change, str]] = {
    "BGR": (bgr, "red and blue are exchanged"),
    "maps of other photos": (maps_of_others, "it may be the map of another photo"),
    "URLs": (urls, "path_outside_root"),
    "no segments": (nothing_listed, "list no object of a class that is a thing"),
    "swapped sizes": (swapped_sizes, "photo_size"),
    "JPEG maps": (pngs_are_jpegs, "a JPEG changes the ids"),
}


@pytest.mark.parametrize(("change", "said"), every(3, NOTHING))
def test_a_build_without_a_triplet_fails_with_its_reason_and_leaves_nothing(
    change: Change, said: str, folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = json.loads(json.dumps(folder.document))
    pngs = Path(shutil.copytree(png_folder(folder), tmp_path / "pngs"))
    change(folder)
    out = tmp_path / "out"
    words = ["--source", "coco", "--root", str(folder.save()), "--out", str(out), "--workers", "1"]
    assert olrd_build(words) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: no triplet could be made: ") and said in error
    assert not out.exists()
    # The same command takes up the repaired input.
    folder.document.clear()
    folder.document.update(whole)
    shutil.rmtree(png_folder(folder))
    shutil.copytree(pngs, folder.root / "annotations" / "panoptic_train2017")
    folder.save()
    assert olrd_build(words) == 0


def test_the_error_has_the_counts(folder: Folder, tmp_path: Path) -> None:
    urls(folder)
    with pytest.raises(NothingBuiltError) as error:
        build(config_of(folder.save()), tmp_path / "out")
    assert error.value.total.photos_rejected == {"path_outside_root": len(folder.images)}


SAID: dict[str, tuple[Change, str]] = {
    "instances": (
        lambda folder: [
            (note.pop("segments_info"), note.update(segmentation=[], bbox=[])) for note in folder.notes.values()
        ],
        "it is a COCO instances JSON.*--source instances",
    ),
    "captions": (
        lambda folder: [(note.pop("segments_info"), note.update(caption="x")) for note in folder.notes.values()],
        "it is a COCO captions JSON",
    ),
    "annotation of no image": (set_in("annotations", "image_id", 263), "annotation of image 263"),
    "class with two meanings": (
        lambda folder: folder.document["categories"].append(dict(folder.document["categories"][0], name="other")),
        "is listed twice, as .* and as 'other'",
    ),
    "no thing": (
        lambda folder: [kind.update(name=f"c{kind['id']}", isthing=0) for kind in folder.document["categories"]],
        "no category is a thing.*things=NAME,NAME",
    ),
    "no stuff": (
        lambda folder: [kind.update(name=f"c{kind['id']}", isthing=1) for kind in folder.document["categories"]],
        "no category is stuff.*stuff=NAME,NAME",
    ),
    "NaN": (set_in("images", "date", float("nan")), "It contains NaN, which JSON does not have"),
    "a list": (lambda folder: None, ""),
}


@pytest.mark.parametrize(("change", "said"), SAID.values(), ids=SAID)
def test_a_file_of_another_kind_is_called_what_it_is(change: Change, said: str, folder: Folder) -> None:
    change(folder)
    root = folder.save()
    if not said:
        path = root / "annotations" / "panoptic_train2017.json"
        path.write_text(json.dumps(folder.document["annotations"]))
        said = "expected a COCO panoptic JSON, .*found a list"
    with pytest.raises(SourceError, match=said):
        open_source(SourceSpec("coco", str(root)))
