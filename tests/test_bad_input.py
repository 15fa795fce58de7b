"""Bad input through the whole build: the right reason, counted; the other photos lose nothing."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from folders import command, digest
from PIL import Image as Pillow
from PIL import ImageOps
from synthetic_coco import write_coco

from olrd.build import build
from olrd.cli.build import main as olrd_build
from olrd.config import BuildConfig
from olrd.dataset import Dataset
from olrd.errors import OlrdError, OutputError, Rejected, SourceError
from olrd.sources import SourceSpec
from olrd.verify import verify

COUNT = 6
VICTIM = 0
"""The photo that is damaged: one with several movable objects."""
GREY = 3
"""The drawn series has one greyscale photo."""
Json = dict[str, Any]


@dataclass
class Folder:
    """A private copy of the drawn photos, and the document to change."""

    root: Path
    document: Json

    def __post_init__(self) -> None:
        self.images: list[Json] = self.document["images"]
        self.notes = {note["image_id"]: note for note in self.document["annotations"]}

    @property
    def image(self) -> Json:
        return self.images[VICTIM]

    @property
    def note(self) -> Json:
        return self.notes[self.image["id"]]

    @property
    def things(self) -> list[Json]:
        """The victim's segments of movable classes."""
        kinds = {kind["id"]: kind for kind in self.document["categories"]}
        return [s for s in self.note["segments_info"] if kinds[s["category_id"]]["isthing"]]

    def photo(self, number: int = VICTIM) -> Path:
        return self.root / "train2017" / str(self.images[number]["file_name"])

    @property
    def png(self) -> Path:
        return self.root / "annotations" / "panoptic_train2017" / str(self.note["file_name"])

    def save(self) -> Path:
        path = self.root / "annotations" / "panoptic_train2017.json"
        path.write_text(json.dumps(self.document))
        return self.root


def config_of(root: Path, **change: Any) -> BuildConfig:
    return replace(BuildConfig(SourceSpec("coco", str(root)), per_object=1), **change)


def rows_by_photo(out: Path) -> dict[str, list[Json]]:
    rows: dict[str, list[Json]] = {}
    for row in Dataset(out).rows():
        rows.setdefault(row["image_id"], []).append(row)
    return rows


def assert_balanced(totals: Json, document: Json) -> None:
    """Read = used + left out, against what the JSON itself lists."""
    photos = totals["photos_used"] + totals["photos_without_triplet"]
    assert totals["photos_read"] == len(document["images"])
    assert totals["photos_read"] == photos + sum(totals["photos_rejected"].values())
    listed = sum(len(note["segments_info"]) for note in document["annotations"])
    assert totals["objects_read"] == listed
    assert listed == totals["objects_used"] + sum(totals["objects_rejected"].values())


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coco(tmp_path_factory.mktemp("pristine"), count=COUNT, seed=5)


@pytest.fixture(scope="module")
def good(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Json]]:
    """The rows of the undamaged photos, by photo."""
    out = tmp_path_factory.mktemp("good") / "out"
    totals = build(config_of(pristine), out)["totals"]
    assert totals["photos_rejected"] == {}
    return rows_by_photo(out)


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Folder:
    root = shutil.copytree(pristine, tmp_path / "photos")
    text = (root / "annotations" / "panoptic_train2017.json").read_text()
    return Folder(root, json.loads(text))


# --- damages: each changes one photo of the folder ---------------------------------------------


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def huge_png(side: int = 50_000) -> bytes:
    """A valid 1-bit grey PNG of side x side pixels, all black, in a few hundred kB."""
    packer = zlib.compressobj(1)
    row = bytes(1 + side // 8)
    blocks = [packer.compress(row * 500) for _ in range(side // 500)] + [packer.flush()]
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    body = png_chunk(b"IDAT", b"".join(blocks))
    return b"\x89PNG\r\n\x1a\n" + head + body + png_chunk(b"IEND", b"")


def photo_missing(folder: Folder) -> None:
    folder.photo().unlink()


def photo_is_a_folder(folder: Folder) -> None:
    folder.photo().unlink()
    folder.photo().mkdir()


def photo_of_another_size(folder: Folder) -> None:
    with Pillow.open(folder.photo()) as image:
        image.crop((0, 0, image.width - 1, image.height)).save(folder.photo())


def photo_truncated(folder: Folder) -> None:
    data = folder.photo().read_bytes()
    folder.photo().write_bytes(data[: len(data) // 2])


def photo_empty(folder: Folder) -> None:
    folder.photo().write_bytes(b"")


def photo_is_text(folder: Folder) -> None:
    folder.photo().write_text("<html>404 Not Found</html>")


def photo_is_a_truncated_png(folder: Folder) -> None:
    with Pillow.open(folder.photo()) as image:
        image.load()
        image.save(folder.photo(), "PNG")
    data = folder.photo().read_bytes()
    folder.photo().write_bytes(data[: len(data) // 2])


def _as_mode(mode: str, kind: str) -> Callable[[Folder], None]:
    def damage(folder: Folder) -> None:
        with Pillow.open(folder.photo()) as image:
            image.load()
        if mode == "I;16":
            levels = np.asarray(image.convert("L"), np.uint16) * 257
            Pillow.fromarray(levels).save(folder.photo(), kind)
        else:
            image.convert(mode).save(folder.photo(), kind)

    damage.__name__ = f"photo_is_{mode}_{kind}".replace(";", "")
    return damage


def photo_is_16_bit_rgb(folder: Folder) -> None:
    with Pillow.open(folder.photo()) as image:
        levels = np.asarray(image.convert("RGB"), np.uint16) * 257 + 3
    folder.photo().write_bytes(cv2.imencode(".png", levels)[1].tobytes())


def photo_in_the_unrotated_frame(folder: Folder) -> None:
    """The file says "turn me by 90 degrees", the annotation was made without turning."""
    exif = Pillow.Exif()
    exif[0x0112] = 6
    with Pillow.open(folder.photo()) as image:
        image.save(folder.photo(), exif=exif)


def photo_climbs_out(folder: Folder) -> None:
    outside = folder.root.parent / "outside.jpg"
    shutil.move(folder.photo(), outside)
    folder.image["file_name"] = "../../outside.jpg"


def photo_is_absolute(folder: Folder) -> None:
    folder.image["file_name"] = str(folder.photo())


def panoptic_climbs_out(folder: Folder) -> None:
    shutil.move(folder.png, folder.root.parent / "outside.png")
    folder.note["file_name"] = "../../../outside.png"


def panoptic_is_absolute(folder: Folder) -> None:
    folder.note["file_name"] = str(folder.png)


def photo_is_huge(folder: Folder) -> None:
    folder.photo().write_bytes(huge_png())


def panoptic_is_huge(folder: Folder) -> None:
    folder.png.write_bytes(huge_png())


def panoptic_missing(folder: Folder) -> None:
    folder.png.unlink()


def panoptic_truncated(folder: Folder) -> None:
    data = folder.png.read_bytes()
    folder.png.write_bytes(data[: len(data) // 2])


def panoptic_is_text(folder: Folder) -> None:
    folder.png.write_text("version https://git-lfs.github.com/spec/v1")


def _panoptic_as(mode: str) -> Callable[[Folder], None]:
    def damage(folder: Folder) -> None:
        with Pillow.open(folder.png) as image:
            image.load()
        image.convert(mode).save(folder.png)

    damage.__name__ = f"panoptic_is_{mode}"
    return damage


def panoptic_of_another_size(folder: Folder) -> None:
    with Pillow.open(folder.png) as image:
        image.resize((image.width * 2, image.height), Pillow.Resampling.NEAREST).save(folder.png)


def _edit_ids(folder: Folder, change: Callable[[np.ndarray], None]) -> None:
    with Pillow.open(folder.png) as image:
        pixels = np.array(image)
    change(pixels)
    Pillow.fromarray(pixels).save(folder.png)


def panoptic_has_an_unlisted_id(folder: Folder) -> None:
    """In void, so that every listed segment stays as it is."""

    def change(pixels: np.ndarray) -> None:
        assert not pixels[0].any()
        pixels[0, :5] = (250, 1, 2)

    _edit_ids(folder, change)


def panoptic_lost_a_pixel(folder: Folder) -> None:
    first = folder.things[0]

    def change(pixels: np.ndarray) -> None:
        ids = pixels.astype(np.int64) @ np.array([1, 256, 65536])
        rows, columns = np.nonzero(ids == first["id"])
        pixels[rows[len(rows) // 2], columns[len(rows) // 2]] = 0

    _edit_ids(folder, change)


def area_is_one_off(folder: Folder) -> None:
    folder.things[0]["area"] += 1


def box_is_one_off(folder: Folder) -> None:
    folder.things[0]["bbox"][2] += 1


def box_has_moved(folder: Folder) -> None:
    folder.things[0]["bbox"][0] -= 1


def box_is_negative(folder: Folder) -> None:
    folder.things[0]["bbox"][1] = -7


def segment_is_not_in_the_png(folder: Folder) -> None:
    ghost = dict(folder.things[0], id=0xABCDEF)
    folder.note["segments_info"].append(ghost)


def segment_is_listed_twice(folder: Folder) -> None:
    folder.note["segments_info"].append(dict(folder.things[0]))


def segment_id_is_beyond_24_bits(folder: Folder) -> None:
    folder.things[0]["id"] = 1 << 40


def segment_id_is_negative(folder: Folder) -> None:
    folder.things[0]["id"] = -3


def one_category_does_not_exist(folder: Folder) -> None:
    folder.things[0]["category_id"] = 999


def every_object_has_a_category_that_does_not_exist(folder: Folder) -> None:
    for segment in list(folder.things):
        segment["category_id"] = 999


def stuff_has_a_category_that_does_not_exist(folder: Folder) -> None:
    taken = {segment["id"] for segment in folder.things}
    next(s for s in folder.note["segments_info"] if s["id"] not in taken)["category_id"] = 999


def annotation_missing(folder: Folder) -> None:
    folder.document["annotations"].remove(folder.note)


DAMAGES: list[tuple[Callable[[Folder], None], str]] = [
    (photo_missing, "photo_missing"),
    (photo_is_a_folder, "photo_unreadable"),
    (photo_of_another_size, "photo_size"),
    (photo_truncated, "photo_unreadable"),
    (photo_empty, "photo_unreadable"),
    (photo_is_text, "photo_unreadable"),
    (photo_is_a_truncated_png, "photo_unreadable"),
    (_as_mode("CMYK", "JPEG"), "photo_mode"),
    (_as_mode("I;16", "PNG"), "photo_mode"),
    (photo_is_16_bit_rgb, "photo_mode"),
    (_as_mode("RGBA", "PNG"), "photo_mode"),
    (_as_mode("LA", "PNG"), "photo_mode"),
    (_as_mode("P", "PNG"), "photo_mode"),
    (photo_in_the_unrotated_frame, "photo_size"),
    (photo_climbs_out, "path_outside_root"),
    (photo_is_absolute, "path_outside_root"),
    (panoptic_climbs_out, "path_outside_root"),
    (panoptic_is_absolute, "path_outside_root"),
    (photo_is_huge, "photo_too_large"),
    (panoptic_is_huge, "panoptic_too_large"),
    (panoptic_missing, "panoptic_missing"),
    (panoptic_truncated, "panoptic_unreadable"),
    (panoptic_is_text, "panoptic_unreadable"),
    (_panoptic_as("P"), "panoptic_unreadable"),
    (_panoptic_as("L"), "panoptic_unreadable"),
    (_panoptic_as("RGBA"), "panoptic_unreadable"),
    (panoptic_of_another_size, "panoptic_size"),
    (panoptic_has_an_unlisted_id, "panoptic_unknown_id"),
    (panoptic_lost_a_pixel, "panoptic_area"),
    (area_is_one_off, "panoptic_area"),
    (box_is_one_off, "panoptic_area"),
    (box_has_moved, "panoptic_area"),
    (box_is_negative, "panoptic_area"),
    (segment_is_not_in_the_png, "panoptic_area"),
    (segment_is_listed_twice, "panoptic_unknown_id"),
    (segment_id_is_beyond_24_bits, "panoptic_unknown_id"),
    (segment_id_is_negative, "panoptic_unknown_id"),
    (one_category_does_not_exist, "category_unknown"),
    (every_object_has_a_category_that_does_not_exist, "category_unknown"),
    (stuff_has_a_category_that_does_not_exist, "category_unknown"),
    (annotation_missing, "annotation_missing"),
]


@pytest.fixture
def no_sample_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The card's picture takes half the time of a small build and is not looked at here."""
    monkeypatch.setattr("olrd.show.contact_sheet", lambda rows: np.zeros((8, 8, 3), np.uint8))


@pytest.mark.usefixtures("no_sample_sheet")
@pytest.mark.parametrize(
    ("damage", "code"), [pytest.param(*pair, id=pair[0].__name__) for pair in DAMAGES]
)
def test_damage_is_counted_and_the_others_lose_nothing(
    damage: Callable[[Folder], None],
    code: str,
    folder: Folder,
    good: dict[str, list[Json]],
    tmp_path: Path,
) -> None:
    name = folder.photo().stem
    damage(folder)
    root, out = folder.save(), tmp_path / "out"
    totals = build(config_of(root), out)["totals"]

    assert totals["photos_rejected"] == {code: 1}
    assert_balanced(totals, folder.document)
    (failure,) = totals["failures"]
    assert failure["code"] == code
    assert failure["image_id"] == str(folder.image["id"])
    assert any(word in failure["message"] for word in (name, "outside."))
    rows = rows_by_photo(out)
    assert rows == {key: value for key, value in good.items() if key != failure["image_id"]}
    assert verify(out)["problems"] == []

    with pytest.raises(Rejected) as stopped:
        build(config_of(root, on_error="stop"), tmp_path / "stopped")
    assert stopped.value.code == code
    assert str(stopped.value) == failure["message"]
    assert not (tmp_path / "stopped" / "build.json").exists()


def test_the_build_equals_one_that_never_listed_the_photo(folder: Folder, tmp_path: Path) -> None:
    """Whole shards, byte for byte, not only rows."""
    folder.photo().write_bytes(b"no photo")
    build(config_of(folder.save()), tmp_path / "with")
    bad = folder.image
    folder.document["annotations"].remove(folder.note)
    folder.images.remove(bad)
    build(config_of(folder.save()), tmp_path / "without")
    one, other = (
        {name: value for name, value in digest(tmp_path / out).items() if "parquet" in name}
        for out in ("with", "without")
    )
    assert len(one) >= 2
    assert one == other


def test_several_bad_photos_are_counted_apart(folder: Folder, tmp_path: Path) -> None:
    folder.photo(0).unlink()
    folder.photo(1).unlink()
    folder.photo(2).write_bytes(b"no photo")
    totals = build(config_of(folder.save()), tmp_path / "out", workers=2)["totals"]
    assert totals["photos_rejected"] == {"photo_missing": 2, "photo_unreadable": 1}
    assert_balanced(totals, folder.document)
    said = {failure["image_id"]: failure["message"] for failure in totals["failures"]}
    assert len(said) == 3
    for number in range(3):
        image = folder.images[number]
        assert image["file_name"] in said[str(image["id"])]


def test_the_command_skips_and_says_so(folder: Folder, tmp_path: Path) -> None:
    photo_truncated(folder)
    out = tmp_path / "out"
    done = command("--source", "coco", "--root", folder.save(), "--out", out, "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "photo_unreadable" in done.stdout
    assert folder.photo().name in done.stdout
    assert verify(out)["problems"] == []


@pytest.mark.parametrize("workers", [1, 2])
def test_the_command_stops_with_a_message(folder: Folder, tmp_path: Path, workers: int) -> None:
    """One line, exit code 1; what was done is kept and a later skip goes on from there."""
    photo_truncated(folder)
    words = ["--source", "coco", "--root", folder.save(), "--workers", workers]
    out = tmp_path / "out"
    done = command(*words, "--out", out, "--on-error", "stop")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert folder.photo().name in said
    if workers == 1:
        config = BuildConfig(SourceSpec("coco", str(folder.root)))
        build(config, out)
        build(config, tmp_path / "direct")
        assert digest(out) == digest(tmp_path / "direct")


# --- photos that look odd and are good ----------------------------------------------------------


def test_a_photo_annotated_in_the_rotated_frame_is_used(folder: Folder, tmp_path: Path) -> None:
    """The pixels lie on their side, EXIF turns them, the annotation fits what is seen."""
    exif = Pillow.Exif()
    exif[0x0112] = 6
    with Pillow.open(folder.photo()) as image:
        turned = image.transpose(Pillow.Transpose.ROTATE_90)
    turned.save(folder.photo(), quality=92, exif=exif)
    out = tmp_path / "out"
    totals = build(config_of(folder.save()), out)["totals"]
    assert totals["photos_rejected"] == {}
    rows = rows_by_photo(out)[str(folder.image["id"])]
    assert rows
    with Pillow.open(folder.photo()) as image:
        seen = np.asarray(ImageOps.exif_transpose(image))
    assert seen.shape == (folder.image["height"], folder.image["width"], 3)
    data = folder.photo().read_bytes()
    for row in rows:
        assert row["background"]["bytes"] != data
        assert (row["height"], row["width"]) == seen.shape[:2]
        # As a reader that knows nothing of orientation sees it:
        plain = cv2.imdecode(
            np.frombuffer(row["background"]["bytes"], np.uint8), cv2.IMREAD_UNCHANGED
        )
        assert np.array_equal(plain[:, :, ::-1], seen)
    assert verify(out)["problems"] == []


def test_a_greyscale_photo_is_used_as_it_is(
    folder: Folder, good: dict[str, list[Json]], tmp_path: Path
) -> None:
    rows = good[str(folder.images[GREY]["id"])]
    assert rows
    with Pillow.open(folder.photo(GREY)) as image:
        assert image.mode == "L"
        grey = np.asarray(image)
    for row in rows:
        assert row["background"]["bytes"] == folder.photo(GREY).read_bytes()
        composite = cv2.imdecode(np.frombuffer(row["image"]["bytes"], np.uint8), cv2.IMREAD_COLOR)
        x, y, width, height = row["bbox"]
        outside = np.ones(grey.shape, bool)
        outside[y : y + height, x : x + width] = False
        assert np.array_equal(composite[outside], np.repeat(grey[outside][:, None], 3, axis=1))


def test_a_grey_colour_profile_does_not_stop_anything(folder: Folder, tmp_path: Path) -> None:
    """The composite of a greyscale photo is RGB: a grey profile does not fit it any more."""
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = profile[:16] + b"GRAY" + profile[20:]
    with Pillow.open(folder.photo(GREY)) as image:
        image.save(folder.photo(GREY), quality=92, icc_profile=grey)
    out = tmp_path / "out"
    assert build(config_of(folder.save()), out)["totals"]["photos_rejected"] == {}
    assert verify(out)["problems"] == []
    for row in rows_by_photo(out)[str(folder.images[GREY]["id"])]:
        assert b"ICCP" not in row["image"]["bytes"][:200]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_stop_the_build(folder: Folder, tmp_path: Path) -> None:
    """Orientation out of range, an EXIF block that is garbage: used, or rejected with a code."""
    with Pillow.open(folder.photo(0)) as image:
        image.save(folder.photo(0), exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x00\x01")
    exif = Pillow.Exif()
    exif[0x0112] = 77
    with Pillow.open(folder.photo(1)) as image:
        image.save(folder.photo(1), exif=exif)
    totals = build(config_of(folder.save()), tmp_path / "out")["totals"]
    assert_balanced(totals, folder.document)
    assert set(totals["photos_rejected"]) <= {"photo_unreadable"}
    assert verify(tmp_path / "out")["problems"] == []


def test_no_segments_is_a_photo_without_triplet(
    folder: Folder, good: dict[str, list[Json]], tmp_path: Path
) -> None:
    folder.note["segments_info"].clear()
    totals = build(config_of(folder.save()), tmp_path / "out")["totals"]
    assert (totals["photos_without_triplet"], totals["photos_rejected"]) == (1, {})
    assert_balanced(totals, folder.document)
    expected = {key: value for key, value in good.items() if key != str(folder.image["id"])}
    assert rows_by_photo(tmp_path / "out") == expected


# --- limits -------------------------------------------------------------------------------------


def test_max_pixels_refuses_what_is_larger(folder: Folder, tmp_path: Path) -> None:
    """Exactly the photos over the limit; the message says how to raise it."""
    sizes = sorted(image["width"] * image["height"] for image in folder.images)
    limit = sizes[2]
    root = folder.save()
    spec = SourceSpec("coco", str(root), max_pixels=limit)
    totals = build(BuildConfig(spec), tmp_path / "out")["totals"]
    assert totals["photos_rejected"] == {"photo_too_large": sum(size > limit for size in sizes)}
    assert all("--max-pixels" in failure["message"] for failure in totals["failures"])
    assert_balanced(totals, folder.document)


def test_max_pixels_can_be_raised_above_pillows_own_limit(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message promises that --max-pixels raises the limit: it must be the only one."""
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 10_000)
    totals = build(config_of(folder.save()), tmp_path / "out")["totals"]
    assert totals["photos_rejected"] == {}


def test_what_was_built_with_raised_max_pixels_verifies_and_rebuilds(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands for a photo over the default 64 million pixels, built with --max-pixels."""
    from olrd import arrays, working
    from olrd.rebuild import rebuild

    root = folder.save()
    monkeypatch.setattr(arrays.decode_photo, "__defaults__", ("photo", 10_000))
    monkeypatch.setattr(arrays.decode_mask, "__defaults__", ("mask", 10_000))
    monkeypatch.setattr(working.working_photo, "__defaults__", (10_000,))
    assert build(config_of(root), tmp_path / "full")["totals"]["photos_rejected"] == {}
    assert verify(tmp_path / "full")["problems"] == []
    build(config_of(root, form="recipes"), tmp_path / "recipes")
    rebuild(tmp_path / "recipes", root, tmp_path / "again")
    assert digest(tmp_path / "again") == digest(tmp_path / "full")


# --- licences -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_sample_sheet")
@pytest.mark.parametrize("licenses", ["any", "permissive", "cc-by", "4,7", "unknown", "4,unknown"])
def test_unknown_licences_are_refused_unless_asked_for(
    licenses: str, folder: Folder, tmp_path: Path
) -> None:
    """Photo 0 has a licence id that is not listed, photo 1 has none at all."""
    folder.images[0]["license"] = 77
    del folder.images[1]["license"]
    numbers = [None, None] + [image["license"] for image in folder.images[2:]]
    allowed = {
        "any": {*numbers},
        "permissive": {4, 5, 7, 8},
        "cc-by": {4},
        "4,7": {4, 7},
        "unknown": {None},
        "4,unknown": {4, None},
    }[licenses]
    refused = [n for n in numbers if n not in allowed]
    config = config_of(folder.save(), licenses=licenses, on_error="stop")
    totals = build(config, tmp_path / "out")["totals"]
    assert totals["photos_rejected"].get("license_refused", 0) == len(refused)
    assert totals["failures"] == []
    assert_balanced(totals, folder.document)
    used = set(rows_by_photo(tmp_path / "out"))
    wanted = {i["id"] for i, n in zip(folder.images, numbers, strict=True) if n in allowed}
    assert used == set(map(str, wanted))


# --- annotation files that are not what they should be ------------------------------------------


def _drop(key: str) -> Callable[[Folder], None]:
    def damage(folder: Folder) -> None:
        del folder.image[key]

    damage.__name__ = f"image_without_{key}"
    return damage


def image_listed_twice(folder: Folder) -> None:
    folder.images.append(dict(folder.image))


def annotated_twice(folder: Folder) -> None:
    folder.document["annotations"].append(folder.note)


def box_beyond_32_bits(folder: Folder) -> None:
    folder.things[0]["bbox"][0] = 1 << 60


def width_is_text(folder: Folder) -> None:
    folder.image["width"] = "wide"


def category_without_name(folder: Folder) -> None:
    del folder.document["categories"][0]["name"]


def annotation_is_text(folder: Folder) -> None:
    folder.document["annotations"][0] = "broken"


def box_is_null(folder: Folder) -> None:
    folder.things[0]["bbox"] = None


@pytest.mark.parametrize(
    "damage",
    [
        *map(_drop, ("id", "file_name", "width")),
        image_listed_twice,
        annotated_twice,
        box_beyond_32_bits,
        width_is_text,
        category_without_name,
        annotation_is_text,
        box_is_null,
    ],
    ids=lambda damage: damage.__name__,
)
def test_an_annotation_file_that_is_none_is_named(
    damage: Callable[[Folder], None], folder: Folder, tmp_path: Path
) -> None:
    damage(folder)
    with pytest.raises(SourceError, match=r"panoptic_train2017\.json"):
        build(config_of(folder.save()), tmp_path / "out")


# --- a full disk --------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 kB that `enlarge` enlarges; skips where mounting is forbidden."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def enlarge(disk: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(disk)], check=True)


def assert_nothing_broken(out: Path) -> None:
    """No half-written file under a final name, none left under a temporary one."""
    assert not (out / "build.json").exists()
    assert [str(p) for p in out.rglob("*.tmp")] == []
    for path in out.rglob("*.parquet"):
        pq.read_table(path)
    for path in out.rglob("*.json"):
        json.loads(path.read_text())


def test_a_full_disk_is_said_and_the_rerun_gives_the_same_bytes(
    pristine: Path, small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk is enlarged a little after each failure, so it is full at many different moments."""
    words = ["--source", "coco", "--root", str(pristine), "--workers", "1"]
    assert olrd_build([*words, "--out", str(tmp_path / "roomy")]) == 0
    out, failures, kilobytes = small_disk / "out", 0, 8
    capsys.readouterr()
    while olrd_build([*words, "--out", str(out)]) != 0:
        said = capsys.readouterr().err
        assert "disk is full" in said
        assert "Traceback" not in said
        assert_nothing_broken(out)
        failures += 1
        kilobytes = int(kilobytes * 1.25) + 8
        enlarge(small_disk, kilobytes)
        assert kilobytes < 100_000
    assert failures >= 5
    assert digest(out) == digest(tmp_path / "roomy")


def test_a_full_disk_in_a_worker_is_said(pristine: Path, small_disk: Path) -> None:
    enlarge(small_disk, 200)
    words = ["--source", "coco", "--root", pristine, "--workers", 2]
    done = command(*words, "--out", small_disk / "out")
    assert done.returncode == 1
    assert "disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert_nothing_broken(small_disk / "out")


def test_a_full_cache_disk_is_said(
    folder: Folder, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLRD_CACHE", str(small_disk / "cache"))
    with pytest.raises(OutputError, match="disk is full"):
        build(config_of(folder.save()), tmp_path / "out")
    enlarge(small_disk, 10_000)
    build(config_of(folder.root), tmp_path / "out")
    assert verify(tmp_path / "out")["problems"] == []


@pytest.mark.parametrize(
    "where",
    ["olrd.shards.pq.ParquetWriter.write_table", "olrd.shards.os.replace", "olrd.files.os.fsync"],
)
def test_no_space_left_is_an_output_error(
    where: str, pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same where no file system can be mounted: the call fails as on a full disk."""

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    build(config_of(pristine), tmp_path / "roomy")
    monkeypatch.setattr(where, full)
    with pytest.raises(OutputError, match="disk is full"):
        build(config_of(pristine), tmp_path / "out")
    monkeypatch.undo()
    assert_nothing_broken(tmp_path / "out")
    build(config_of(pristine), tmp_path / "out")
    assert digest(tmp_path / "out") == digest(tmp_path / "roomy")


# --- output folders that are taken --------------------------------------------------------------


def test_a_folder_with_another_build_is_left_alone(pristine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(config_of(pristine), out)
    before = digest(out)
    words = ["--source", "coco", "--root", str(pristine), "--out", str(out), "--per-object", "1"]
    assert olrd_build([*words, "--seed", "1"]) == 1
    assert digest(out) == before
    assert olrd_build(words) == 0
    assert digest(out) == before


def test_a_file_in_the_place_of_the_output_folder_is_refused(
    pristine: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("precious")
    with pytest.raises(OlrdError):
        build(config_of(pristine), tmp_path / "out")
    assert (tmp_path / "out").read_text() == "precious"


def test_a_build_record_that_is_damaged_is_refused(pristine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    build(config_of(pristine), out)
    for text in ("", "[]", "{}", '{"config": {"form": "full"}, "shards": []}'):
        (out / "build.json").write_text(text)
        with pytest.raises(OlrdError):
            build(config_of(pristine), out)


def test_bad_input_needs_little_memory(folder: Folder, tmp_path: Path) -> None:
    """The 50,000 x 50,000 PNGs are never decoded: 2.5 GB of pixels do not appear anywhere."""
    photo_is_huge(folder)
    root = folder.save()
    # VmHWM: a child's ru_maxrss starts at the peak of the process that forked it.
    code = (
        "import re, sys; from pathlib import Path; from olrd.cli.build import main;"
        "done = main(sys.argv[1:]); status = Path('/proc/self/status').read_text();"
        r"sys.exit(done or int(int(re.search(r'VmHWM:\s+(\d+)', status)[1]) > 500_000))"
    )
    words = ["--source", "coco", "--root", str(root), "--out", str(tmp_path / "out")]
    argv = [sys.executable, "-c", code, *words, "--workers", "1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "photo_too_large" in done.stdout
