"""Bad input through the whole build: the right reason, counted; the other photos lose nothing."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from bad_folder import GREY, Folder, Json, assert_balanced, config_of, rows_by_photo
from built_folders import command, digest
from damages import DAMAGES, photo_truncated
from PIL import Image as Pillow
from PIL import ImageOps

from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.errors import Rejected, SourceError
from olrd.sources import SourceSpec
from olrd.tools.rebuild import rebuild
from olrd.tools.verify import verify

pytestmark = pytest.mark.usefixtures("no_sample_sheets")


@pytest.fixture(scope="module")
def good(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Json]]:
    """The rows of the undamaged photos, by photo."""
    out = tmp_path_factory.mktemp("good") / "out"
    totals = build(config_of(pristine), out)["totals"]
    assert totals["photos_rejected"] == {}
    return rows_by_photo(out)


@pytest.mark.parametrize(("damage", "code"), [pytest.param(*pair, id=pair[0].__name__) for pair in DAMAGES])
@pytest.mark.slow
def test_damage_is_counted_and_the_others_lose_nothing(
    damage: Callable[[Folder], None], code: str, folder: Folder, good: dict[str, list[Json]], tmp_path: Path
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
    assert any(word in failure["message"] for word in (name, "leaves the folder", "name no file"))
    assert str(folder.root) not in failure["message"]  # the record of a build names no folder of this machine
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


@pytest.mark.slow
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


@pytest.mark.slow
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
@pytest.mark.slow
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
        plain = cv2.imdecode(np.frombuffer(row["background"]["bytes"], np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(plain[:, :, ::-1], seen)
    assert verify(out)["problems"] == []


def test_a_greyscale_photo_is_used_as_it_is(folder: Folder, good: dict[str, list[Json]], tmp_path: Path) -> None:
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


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGBA", "CMYK", "I;16"])
def test_a_photo_of_another_mode_is_used_and_a_lossless_copy_stored(
    mode: str, folder: Folder, good: dict[str, list[Json]], tmp_path: Path
) -> None:
    with Pillow.open(folder.photo()) as image:
        pixels = np.asarray(image.convert("L" if mode == "I;16" else "RGB"))
    changed = Pillow.fromarray(pixels.astype(np.uint16) * 257 if mode == "I;16" else pixels)
    file_format = "TIFF" if mode == "CMYK" else "PNG"
    (changed if mode == "I;16" else changed.convert(mode)).save(folder.photo(), file_format)
    assert build(config_of(folder.save()), tmp_path / "out")["totals"]["photos_rejected"] == {}
    rows = rows_by_photo(tmp_path / "out")
    key = str(folder.image["id"])
    # Without colour, an outline may have too little contrast (rough_outline).
    assert len(rows) == len(good) and len(rows[key]) in range(
        1 if mode == "I;16" else len(good[key]), len(good[key]) + 1
    )
    seen = np.repeat(pixels[..., None], 3, axis=-1) if pixels.ndim == 2 else pixels
    for row in rows[key]:
        with Pillow.open(io.BytesIO(row["background"]["bytes"])) as image:
            assert (image.mode, image.format) == ("RGB", "WEBP") and np.array_equal(np.asarray(image), seen)
    assert verify(tmp_path / "out")["problems"] == []
    build(config_of(folder.root, form="recipes"), tmp_path / "recipes")
    rebuild(tmp_path / "recipes", folder.root / "train2017", tmp_path / "again")
    assert digest(tmp_path / "again") == digest(tmp_path / "out")


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


@pytest.mark.slow
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


def test_no_segments_is_a_photo_without_triplet(folder: Folder, good: dict[str, list[Json]], tmp_path: Path) -> None:
    folder.note["segments_info"].clear()
    totals = build(config_of(folder.save()), tmp_path / "out")["totals"]
    assert (totals["photos_without_triplet"], totals["photos_rejected"]) == (1, {})
    assert_balanced(totals, folder.document)
    expected = {key: value for key, value in good.items() if key != str(folder.image["id"])}
    assert rows_by_photo(tmp_path / "out") == expected


# --- annotation files that are not what they should be ------------------------------------------


def _drop(key: str) -> Callable[[Folder], None]:
    def damage(folder: Folder) -> None:
        del folder.image[key]

    damage.__name__ = f"image_without_{key}"
    return damage


def annotated_twice(folder: Folder) -> None:
    folder.document["annotations"].append(folder.note)


def category_without_name(folder: Folder) -> None:
    del folder.document["categories"][0]["name"]


def annotation_is_text(folder: Folder) -> None:
    folder.document["annotations"][0] = "broken"


@pytest.mark.parametrize(
    "damage",
    [_drop("id"), annotated_twice, category_without_name, annotation_is_text],
    ids=lambda damage: damage.__name__,
)
def test_an_annotation_file_that_is_none_is_named(
    damage: Callable[[Folder], None], folder: Folder, tmp_path: Path
) -> None:
    damage(folder)
    with pytest.raises(SourceError, match=r"panoptic_train2017\.json"):
        build(config_of(folder.save()), tmp_path / "out")
