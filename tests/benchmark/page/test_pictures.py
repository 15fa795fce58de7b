"""The pictures beside a report: crops in the photo's own pixels, whole photos where they say more, nothing stale."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from benchmark.crops import crop_box
from benchmark.page.pictures import PHOTO_SIDE, Keep, Pictures, encode, equal_outside
from olrd.arrays import Image, Mask
from olrd.errors import IntegrityError
from olrd.panoptic import Box

STEMS = ("input", "truth", "1-a")


@pytest.fixture(scope="module")
def scene() -> tuple[list[Image | None], Mask]:
    """A photo of 500 x 300, its truth and an output that differ in the mask only. Shared: do not write into it."""
    photo = np.random.Generator(np.random.Philox(3)).integers(0, 256, (300, 500, 3), np.uint8)
    mask = np.zeros((300, 500), bool)
    mask[130:170, 200:240] = True
    truth, output = photo.copy(), photo.copy()
    truth[mask], output[mask] = 0, 255
    return [photo, truth, output], mask


def read(path: Path) -> Image:
    with Pillow.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def test_lossless_crops_are_the_photos_own_pixels(scene: tuple[list[Image | None], Mask], tmp_path: Path) -> None:
    pictures, mask = scene
    made = Pictures(tmp_path, Keep(quality=100))
    entry = made.add("s-1", STEMS, pictures, mask)
    box = crop_box(mask)
    assert (entry["box"], entry["scale"]) == (list(box), 1.0)
    for file, pixels in zip(entry["files"], pictures, strict=True):
        assert pixels is not None
        assert np.array_equal(read(tmp_path / "pictures" / "s-1" / file), pixels[box.crop()])
    # Truth and output equal the input outside the crop, so one whole photo shows all three.
    assert entry["wholes"] == ["whole-input.webp", None, None]
    assert max(read(tmp_path / "pictures" / "s-1" / "whole-input.webp").shape) == PHOTO_SIDE


def test_an_output_that_differs_outside_its_crop_has_a_whole_photo(
    scene: tuple[list[Image | None], Mask], tmp_path: Path
) -> None:
    pictures, mask = scene
    assert pictures[2] is not None
    other = pictures[2].copy()
    other[0, 0, 0] ^= 1
    entry = Pictures(tmp_path, Keep()).add("s-1", STEMS, [*pictures[:2], other], mask)
    assert entry["wholes"] == ["whole-input.webp", None, "whole-1-a.webp"]


def test_everything_is_kept_on_request(scene: tuple[list[Image | None], Mask], tmp_path: Path) -> None:
    pictures, mask = scene
    entry = Pictures(tmp_path, Keep("all", 100)).add("s-1", STEMS, [*pictures[:2], None], mask)
    assert entry["wholes"] == ["whole-input.webp", "whole-truth.webp", None]
    for file, pixels in zip(entry["wholes"], pictures, strict=True):
        if file:
            assert np.array_equal(read(tmp_path / "pictures" / "s-1" / file), pixels)
    # A crop that is the whole photo is not written twice.
    again = Pictures(tmp_path / "b", Keep("all")).add("s-1", STEMS, pictures, np.zeros_like(mask))
    assert again["wholes"] == [None, None, None]


def test_a_crop_that_is_too_long_is_reduced_and_says_by_how_much(
    scene: tuple[list[Image | None], Mask], tmp_path: Path
) -> None:
    pictures, mask = scene
    entry = Pictures(tmp_path, Keep(side=96)).add("s-1", STEMS, pictures, mask)
    assert entry["scale"] == 0.5 and entry["box"][2:] == [192, 192]
    assert read(tmp_path / "pictures" / "s-1" / "input.webp").shape == (96, 96, 3)


def test_a_sample_without_mask_or_pictures() -> None:
    nothing = Pictures(Path("never-written"), Keep()).add("s-1", STEMS, [None] * 3, None)
    assert nothing["box"] is None and nothing["files"] == [None] * 3
    assert not Path("never-written").exists()


def test_what_an_earlier_report_wrote_is_removed_and_nothing_else(
    scene: tuple[list[Image | None], Mask], tmp_path: Path
) -> None:
    pictures, mask = scene
    first = Pictures(tmp_path, Keep(quality=50))
    for name in ("s-1", "s-2"):
        first.add(name, STEMS, pictures, mask)
    first.finish()
    mine = tmp_path / "pictures" / "s-1" / "mine.png"
    mine.write_bytes(b"mine")
    second = Pictures(tmp_path, Keep(quality=50))
    second.add("s-1", STEMS[:2], pictures[:2], mask)
    second.finish()
    found = sorted(str(p.relative_to(tmp_path / "pictures")) for p in tmp_path.rglob("*") if p.is_file())
    assert found == ["files.json", "s-1/input.webp", "s-1/mine.png", "s-1/truth.webp", "s-1/whole-input.webp"]
    assert not (tmp_path / "pictures" / "s-2").exists()


@pytest.mark.parametrize(
    "listed",
    [
        {"files": ["../victim.txt"]},
        {"files": ["s-1/../../victim.txt"]},
        {"files": ["s-1/a/b"]},
        {"files": [7]},
        {"files": "s-1/x"},
        [],
    ],
)
def test_a_list_of_files_that_leads_elsewhere_is_refused(listed: object, tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("stays")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "files.json").write_text(json.dumps(listed))
    with pytest.raises(IntegrityError, match=r"files\.json"):
        Pictures(tmp_path, Keep())
    assert victim.read_text() == "stays"


def test_quality_sets_the_size_of_a_file(scene: tuple[list[Image | None], Mask]) -> None:
    photo = scene[0][0]
    assert photo is not None
    small, large = (encode(photo[:64, :64], 1024, quality) for quality in (30, 95))
    assert len(small) < len(large)
    assert Pillow.open(io.BytesIO(small)).format == "WEBP"


def test_equal_outside_sees_every_pixel_that_is_not_in_the_box() -> None:
    one = np.zeros((5, 6, 3), np.uint8)
    box = Box(2, 1, 3, 2)
    for y in range(5):
        for x in range(6):
            other = one.copy()
            other[y, x, 1] = 1
            assert equal_outside(one, other, box) == (2 <= x < 5 and 1 <= y < 3)
