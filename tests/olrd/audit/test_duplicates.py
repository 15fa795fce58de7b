"""Near duplicates and shared sources."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageEnhance
from synthetic_dataset import draw_photo, write_dataset

from olrd.arrays import Image
from olrd.audit.duplicates import duplicates
from olrd.audit.hashes import SIDE, near_pairs, perceptual_hash, thumbnail
from olrd.audit.pictures import collect
from olrd.dataset.folder import Dataset
from olrd.errors import SourceError

words = st.lists(st.integers(0, 2**64 - 1), max_size=25)


def _jpeg(picture: Pillow.Image, quality: int = 80) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def photograph(number: int) -> Image:
    """A photo with enough structure for a hash."""
    return draw_photo(number)[0]


@given(words, words, st.integers(0, 63), st.lists(st.integers(0, 63), max_size=6))
def test_near_pairs_equals_the_plain_loop(a: list[int], b: list[int], radius: int, flips: list[int]) -> None:
    for bit in flips:  # neighbours at known distances, which random words hardly ever are
        a = a + [word ^ (1 << bit) for word in b[:2]]
    left, right = np.array(a, np.uint64), np.array(b, np.uint64)
    expected = {
        (i, j, bin(x ^ y).count("1"))
        for i, x in enumerate(a)
        for j, y in enumerate(b)
        if bin(x ^ y).count("1") <= radius
    }
    found = list(near_pairs(left, right, radius))
    assert set(found) == expected and len(found) == len(expected)


def test_near_pairs_in_many_blocks() -> None:
    rng = np.random.default_rng(0)
    b = rng.integers(0, 2**64, 5000, dtype=np.uint64)
    a = b[:2000] ^ np.uint64(0b101)
    found = list(near_pairs(a, b, 4))
    assert {(i, i, 2) for i in range(2000)} == set(found)


def test_hash_bits_are_the_signs_of_the_dct() -> None:
    from scipy.fft import dctn

    thumb = np.random.default_rng(4).uniform(0, 255, (SIDE, SIDE))
    low = dctn(thumb, norm="ortho")[:8, :8].ravel()
    middle = np.median(low[1:])
    bits = "".join("1" if value > middle else "0" for value in low[1:])
    assert perceptual_hash(thumb).bits == int("0" + bits, 2)
    assert perceptual_hash(thumb).mirrored == perceptual_hash(thumb[:, ::-1]).bits
    assert perceptual_hash(thumb).bits == perceptual_hash(thumb * 0.5 + 20).bits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dup") / "set", photos=8, per_photo=2)


def _names(finding: dict[str, Any]) -> set[str]:
    return {example["name"] for example in finding["examples"]}


def test_a_clean_dataset_has_no_findings(folder: Path) -> None:
    result = duplicates(Dataset(folder), flips=True)
    assert result["photos"] == result["with_pixels"] == 8
    assert result["low_information"]["count"] == 0
    assert all(finding["count"] == 0 for finding in result["within"].values())
    assert result["against"] == []


def test_copies_in_an_image_folder_are_found_and_others_are_not(folder: Path, tmp_path: Path) -> None:
    originals = [Pillow.fromarray(photograph(number)) for number in range(6)]
    nested = tmp_path / "deep" / "er"
    nested.mkdir(parents=True)
    (nested / "small.jpg").write_bytes(_jpeg(originals[0].resize((90, 64)), 50))
    (nested / "000001.jpg").write_bytes(_jpeg(ImageEnhance.Brightness(originals[1]).enhance(1.15)))
    originals[2].save(nested / "same.png")
    mirror = Pillow.Transpose.FLIP_LEFT_RIGHT
    (nested / "mirrored.jpg").write_bytes(_jpeg(originals[3].transpose(mirror)))
    (nested / "stranger.jpg").write_bytes(_jpeg(Pillow.fromarray(photograph(500))))
    (nested / "broken.jpg").write_bytes(b"not a picture")
    exif = Pillow.Exif()
    exif[0x0112] = 6
    turned = originals[4].transpose(Pillow.Transpose.ROTATE_90)
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", exif=exif)
    (nested / "turned.jpg").write_bytes(buffer.getvalue())
    plain = duplicates(Dataset(folder), [tmp_path])["against"][0]
    assert (plain["kind"], plain["pictures"], plain["unreadable"]) == ("images", 7, 1)
    assert _names(plain["near"]) == {"drawn/0", "drawn/1", "drawn/2", "drawn/4"}
    assert _names(plain["same_file_name"]) == {"drawn/1"}
    assert plain["same_bytes"]["count"] == 0
    flipped = duplicates(Dataset(folder), [tmp_path], flips=True)["against"][0]
    assert _names(flipped["near"]) == {"drawn/0", "drawn/1", "drawn/2", "drawn/3", "drawn/4"}
    assert [e["name"] for e in flipped["near"]["examples"] if e["mirrored"]] == ["drawn/3"]


def test_the_photos_own_file_is_found_by_its_bytes(folder: Path, tmp_path: Path) -> None:
    """The recipe holds the sha256 of the photo's file; the drawn files are the text `file K`."""
    (tmp_path / "renamed.jpg").write_bytes(b"file 5")
    (tmp_path / "other.jpg").write_bytes(b"file 99")
    result = duplicates(Dataset(folder), [tmp_path])["against"][0]
    assert _names(result["same_bytes"]) == {"drawn/5"}
    assert result["same_bytes"]["examples"][0]["other"] == "renamed.jpg"


def test_parquet_folders_of_any_image_column(folder: Path, tmp_path: Path) -> None:
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            "n": [1, 2, 3],
            "photo": pa.array(
                [{"bytes": _jpeg(Pillow.fromarray(photograph(k))), "path": None} for k in (2, 600, 601)], struct
            ),
            "raw": pa.array([None, _jpeg(Pillow.fromarray(photograph(6))), None], pa.binary()),
        }
    )
    pq.write_table(table, tmp_path / "some.parquet")
    result = duplicates(Dataset(folder), [tmp_path])["against"][0]
    assert (result["kind"], result["pictures"]) == ("parquet", 4)
    assert {(e["name"], e["other"]) for e in result["near"]["examples"]} == {
        ("drawn/2", "some.parquet[0].photo"),
        ("drawn/6", "some.parquet[1].raw"),
    }


def test_another_dataset_is_compared_by_id_file_and_picture(folder: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "other", photos=3, per_photo=1, blend="feather")
    result = duplicates(Dataset(folder), [other])["against"][0]
    assert result["kind"] == "olrd"
    for key in ("same_id", "same_bytes", "same_file_name", "near"):
        assert _names(result[key]) == {"drawn/0", "drawn/1", "drawn/2"}
    recipes = write_dataset(tmp_path / "recipes", photos=3, per_photo=1, form="recipes")
    result = duplicates(Dataset(folder), [recipes])["against"][0]
    assert result["same_id"]["count"] == 3 and result["near"]["count"] == 0
    assert duplicates(Dataset(recipes), [folder])["with_pixels"] == 0


def test_a_photo_in_two_splits_is_reported(tmp_path: Path) -> None:
    """With another photo as donor, photo k + 1 is a donor in the split of photo k."""
    folder = write_dataset(tmp_path / "set", photos=4, per_photo=1, donor="other")
    within = duplicates(Dataset(folder))["within"]
    assert within["shared_by_splits"]["count"] == 4
    assert within["shared_by_splits"]["examples"][0]["splits"] == ["test", "train"]


@pytest.mark.parametrize(
    ("splits", "finding"), [(("train", "test"), "near_across_splits"), (("train",), "near_same_split")]
)
def test_near_copies_under_different_ids_inside_a_dataset(
    tmp_path: Path, splits: tuple[str, ...], finding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import synthetic_dataset

    def twins(number: int) -> Any:
        pixels, mask = draw_photo(0 if number == 3 else number)
        return np.clip(pixels.astype(int) + (5 if number == 3 else 0), 0, 255).astype(np.uint8), mask

    monkeypatch.setattr(synthetic_dataset, "draw_photo", twins)
    folder = write_dataset(tmp_path / "set", photos=6, per_photo=1, splits=splits)
    within = duplicates(Dataset(folder))["within"]
    assert within["shared_by_splits"]["count"] == 0
    assert {k: v["count"] for k, v in within.items() if v["count"]} == {finding: 1}
    example = within[finding]["examples"][0]
    assert (example["name"], example["other"]) == ("drawn/0", "drawn/3")


def test_flat_pictures_are_set_apart(folder: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for number, level in enumerate((30, 128, 220)):
        flat = np.clip(noise.normal(level, 2, (96, 128, 3)), 0, 255).astype(np.uint8)
        Pillow.fromarray(flat).save(tmp_path / f"flat{number}.png")
    ramp = np.repeat(np.linspace(0, 255, 128).astype(np.uint8)[None], 96, 0)
    Pillow.fromarray(ramp).save(tmp_path / "ramp.png")
    result = duplicates(Dataset(folder), [tmp_path])["against"][0]
    assert result["low_information"]["count"] == 4
    assert result["near"]["count"] == 0 and result["unreadable"] == 0


def test_masks_are_no_pictures(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Pillow.new("1", (40, 40)).save(buffer, "PNG")
    assert thumbnail(buffer.getvalue()) is None
    assert thumbnail(b"") is None


def test_folders_without_pictures_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not a folder"):
        duplicates(Dataset(folder), [tmp_path / "nowhere"])
    with pytest.raises(SourceError, match="no image"):
        duplicates(Dataset(folder), [tmp_path])


def test_a_damaged_parquet_file_is_named(folder: Path, tmp_path: Path) -> None:
    for data in (b"", b"PAR1 and no more PAR1"):
        (tmp_path / "some.parquet").write_bytes(data)
        with pytest.raises(SourceError, match=r"some\.parquet"):
            collect(tmp_path)
