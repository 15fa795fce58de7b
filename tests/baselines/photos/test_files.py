"""Photos in every mode: read as erasers see them, and written again with only the erased pixels changed."""

from __future__ import annotations

import io
import os
import warnings
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from baselines.photos.files import PhotoFile, check_out, doubt, read_photo, write_photo
from olrd.errors import OutputError, Rejected, UsageError

HEIGHT, WIDTH = 22, 30
RNG = np.random.default_rng(7)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def levels(*shape: int, deep: bool = False) -> Any:
    top, kind = (1 << 16, np.uint16) if deep else (1 << 8, np.uint8)
    return RNG.integers(0, top, shape, dtype=kind)


def deep_png(pixels: Any) -> bytes:
    order = pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return bytes(cv2.imencode(".png", order)[1])


def png(pixels: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def palette(transparent: bool) -> bytes:
    image = Pillow.fromarray(levels(HEIGHT, WIDTH, 3)).quantize(20)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **({"transparency": 3} if transparent else {}))
    return buffer.getvalue()


MODES = {
    "RGB": (png(levels(HEIGHT, WIDTH, 3)), np.uint8, 3),
    "grey": (png(levels(HEIGHT, WIDTH)), np.uint8, 0),
    "grey with alpha": (png(levels(HEIGHT, WIDTH, 2)), np.uint8, 2),
    "RGBA": (png(levels(HEIGHT, WIDTH, 4)), np.uint8, 4),
    "16-bit grey": (deep_png(levels(HEIGHT, WIDTH, deep=True)), np.uint16, 0),
    "16-bit RGB": (deep_png(levels(HEIGHT, WIDTH, 3, deep=True)), np.uint16, 3),
    "16-bit RGBA": (deep_png(levels(HEIGHT, WIDTH, 4, deep=True)), np.uint16, 4),
    "palette": (palette(False), np.uint8, 3),
    "palette with a clear entry": (palette(True), np.uint8, 4),
}
"""Name: the file, and the type and channels (0: none) of the result."""


def decoded(path: Path) -> Any:
    """By OpenCV, which keeps 16 bits and alpha."""
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    return pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


@pytest.fixture
def hole() -> Any:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:12, 8:20] = True
    return mask


@pytest.mark.parametrize("mode", list(MODES))
def test_the_mode_stays_and_only_the_hole_changes(tmp_path: Path, hole: Any, mode: str) -> None:
    data, kind, channels = MODES[mode]
    (tmp_path / "photo.png").write_bytes(data)
    photo = read_photo(tmp_path / "photo.png")
    assert photo.pixels.shape == (HEIGHT, WIDTH, 3) and photo.pixels.dtype == np.uint8
    fill = np.full((HEIGHT, WIDTH, 3), (10, 130, 250), np.uint8)
    write_photo(tmp_path / "out.png", photo.with_fill(fill, hole), photo)
    result = decoded(tmp_path / "out.png")
    if channels == 2:  # OpenCV reads grey with alpha as RGBA
        result = np.asarray(Pillow.open(tmp_path / "out.png"))
        assert Pillow.open(tmp_path / "out.png").mode == "LA"
    assert result.dtype == kind and result.shape[2:] == ((channels,) if channels else ())
    before = np.asarray(Pillow.open(io.BytesIO(data)).convert("RGBA" if channels == 4 else "RGB"))
    if kind == np.uint16:
        before = decoded(tmp_path / "photo.png")
    elif channels in (0, 2):
        before = np.asarray(Pillow.open(io.BytesIO(data)))
    assert (result[~hole] == before[~hole]).all()
    wide = 257 if kind == np.uint16 else 1
    if channels in (3, 4):
        assert (result[hole][:, :3] == np.array([10, 130, 250]) * wide).all()
    else:
        grey = result[hole] if channels == 0 else result[hole][:, 0]
        assert (grey == 130 * wide).all()
    if channels in (2, 4):
        assert (result[..., -1] == before[..., -1]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_the_orientation_is_applied_and_removed(tmp_path: Path, orientation: int, deep: bool) -> None:
    """Pillow's exif_transpose is the oracle; for 16 bits, of the same pixels with 8."""
    pixels = levels(HEIGHT, WIDTH, 3)
    exif = Pillow.Exif()
    exif[0x0112], exif[0x010F] = orientation, "a camera"
    plain = png(pixels, exif=exif)
    if deep:
        data = deep_png(pixels.astype(np.uint16) * 257)
        start = plain.index(b"eXIf") - 4
        chunk = plain[start : start + 12 + int.from_bytes(plain[start : start + 4], "big")]
        (tmp_path / "photo.png").write_bytes(data[:33] + chunk + data[33:])
    else:
        (tmp_path / "photo.png").write_bytes(plain)
    from PIL import ImageOps

    expected = np.asarray(ImageOps.exif_transpose(Pillow.open(io.BytesIO(plain))))
    photo = read_photo(tmp_path / "photo.png")
    assert (photo.pixels == expected).all()
    write_photo(tmp_path / "out.png", photo.own, photo)
    again = Pillow.open(tmp_path / "out.png").getexif()
    assert again.get(0x0112, 1) == 1 and again[0x010F] == "a camera"
    assert (read_photo(tmp_path / "out.png").pixels == expected).all()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
@pytest.mark.parametrize("deep", [False, True])
def test_profile_and_exif_stay(tmp_path: Path, suffix: str, deep: bool) -> None:
    exif = Pillow.Exif()
    exif[0x8298] = "somebody"
    if deep:
        data = deep_png(levels(HEIGHT, WIDTH, 3, deep=True))
        profile = b"icc\0\0" + zlib.compress(PROFILE)
        chunk = len(profile).to_bytes(4, "big") + b"iCCP" + profile
        chunk += zlib.crc32(b"iCCP" + profile).to_bytes(4, "big")
        data = data[:33] + chunk + data[33:]
    else:
        data = png(levels(HEIGHT, WIDTH, 3), icc_profile=PROFILE, exif=exif)
    (tmp_path / "photo.png").write_bytes(data)
    photo = read_photo(tmp_path / "photo.png")
    written = write_photo(tmp_path / f"out{suffix}", photo.own, photo)
    again = Pillow.open(written.path)
    assert again.info["icc_profile"] == PROFILE
    assert deep or again.getexif()[0x8298] == "somebody"
    assert any("16 bits" in line for line in written.said) == (deep and suffix != ".png")
    if suffix != ".jpg":
        assert (read_photo(written.path).pixels == photo.pixels).all()


def test_a_jpeg_result_says_that_alpha_is_lost_and_quality_counts(tmp_path: Path) -> None:
    photo = PhotoFile(levels(64, 64, 3), levels(64, 64, 4))
    sizes = []
    for quality in (40, 95):
        written = write_photo(tmp_path / f"{quality}.jpg", photo.own, photo, quality)
        assert written.said == ("a JPEG has no alpha channel: it is left out; a .png or .webp keeps it",)
        sizes.append(written.path.stat().st_size)
    assert sizes[0] < sizes[1]
    near = np.asarray(Pillow.open(tmp_path / "95.jpg")).astype(int)
    assert np.abs(near - photo.own[..., :3]).mean() < 8  # noise, at full resolution of colour


def test_a_tiff_of_16_bits_keeps_them(tmp_path: Path, hole: Any) -> None:
    pixels = levels(HEIGHT, WIDTH, 3, deep=True)
    assert cv2.imwrite(str(tmp_path / "photo.tif"), pixels[..., ::-1])
    photo = read_photo(tmp_path / "photo.tif")
    write_photo(tmp_path / "out.png", photo.with_fill(photo.pixels, hole), photo)
    assert (decoded(tmp_path / "out.png")[~hole] == pixels[~hole]).all()
    assert (photo.pixels == pixels >> 8).all()


def test_of_several_pictures_in_a_file_the_first_is_taken_and_it_is_said(tmp_path: Path) -> None:
    frames = [Pillow.fromarray(levels(HEIGHT, WIDTH, 3)) for _ in range(3)]
    frames[0].save(tmp_path / "photo.png", save_all=True, append_images=frames[1:])
    photo = read_photo(tmp_path / "photo.png")
    assert (photo.pixels == np.asarray(frames[0])).all()
    assert photo.said == (f"{tmp_path / 'photo.png'}: the first of 3 pictures in the file is taken",)


def test_a_clear_colour_becomes_alpha(tmp_path: Path) -> None:
    pixels = levels(HEIGHT, WIDTH, 3)
    clear = tuple(int(level) for level in pixels[0, 0])
    (tmp_path / "photo.png").write_bytes(png(pixels, transparency=clear))
    own = read_photo(tmp_path / "photo.png").own
    assert own.shape == (HEIGHT, WIDTH, 4)
    assert ((own[..., 3] == 0) == (pixels == clear).all(axis=2)).all()


@pytest.mark.parametrize("damage", ["truncated", "text", "gif"])
def test_what_is_no_photo_is_refused(tmp_path: Path, damage: str) -> None:
    data = {"truncated": MODES["16-bit RGB"][0][:200], "text": b"hello", "gif": b"GIF89a"}[damage]
    (tmp_path / "photo.png").write_bytes(data)
    with pytest.raises(Rejected, match=r"photo\.png"):
        read_photo(tmp_path / "photo.png")


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(MODES["16-bit RGB"][0])
    with pytest.raises(Rejected, match="more than the allowed 100 pixels"):
        read_photo(tmp_path / "photo.png", max_pixels=100)


def test_damaged_exif_data_are_left_out_without_a_warning(tmp_path: Path) -> None:
    image = Pillow.fromarray(np.zeros((8, 9, 3), np.uint8))
    damaged = b"Exif\0\0II*\0\x08\0\0\0\x09\0" + b"\1" * 50
    image.save(tmp_path / "photo.jpg", exif=damaged)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = read_photo(tmp_path / "photo.jpg")
        write_photo(tmp_path / "out.jpg", found.pixels, found)
    assert found.size == (9, 8) and not said


@pytest.mark.parametrize(
    ("exif", "icc", "said"), [(65_533, 0, 0), (65_534, 0, 1), (0, 255 * 65_519, 0), (0, 255 * 65_519 + 1, 1)]
)
def test_what_a_jpeg_has_no_room_for_is_left_out_and_said(tmp_path: Path, exif: int, icc: int, said: int) -> None:
    pixels = np.zeros((8, 9, 3), np.uint8)
    photo = PhotoFile(pixels, pixels, b"i" * icc or None, (b"Exif\0\0" + b"e" * (exif - 6)) if exif else None)
    written = write_photo(tmp_path / "out.jpg", pixels, photo)
    found = Pillow.open(tmp_path / "out.jpg").info
    assert len(written.said) == said
    assert (len(found.get("exif", b"")), len(found.get("icc_profile", b""))) == ((0, 0) if said else (exif, icc))


@pytest.mark.parametrize(("name", "longest"), [("out.webp", 16_383), ("out.jpg", 65_500)])
def test_a_side_that_is_too_long_for_the_format_is_refused(tmp_path: Path, name: str, longest: int) -> None:
    pixels = np.zeros((1, longest + 1, 3), np.uint8)
    with pytest.raises(UsageError, match=f"at most {longest:,} pixels"):
        write_photo(tmp_path / name, pixels, PhotoFile(pixels, pixels))
    write_photo(tmp_path / name, pixels[:, 1:], PhotoFile(pixels, pixels))
    assert Pillow.open(tmp_path / name).size == (longest, 1)


def test_a_pipe_is_no_result_and_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(OutputError, match="is a pipe or a device"):
        check_out(tmp_path / "pipe.png", True)


def test_a_hole_that_is_the_whole_photo_is_said(tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    mask, flat = np.ones((20, 20), bool), np.full_like(photo, 128)
    assert "covers the whole photo" in (doubt(photo, mask, flat) or "")
    mask[0] = False
    assert "the model may be broken" in (doubt(photo, mask, flat) or "")


def test_results_never_replace_inputs(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(MODES["RGB"][0])
    with pytest.raises(UsageError, match="same file as the input"):
        check_out(photo, True, [photo])
    with pytest.raises(UsageError, match="ends in"):
        check_out(tmp_path / "x.gif", False)
    with pytest.raises(OutputError, match="make it first"):
        check_out(tmp_path / "none" / "x.png", False)
