"""The array contract: every trap of photo files, maps and masks."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageCms, ImageOps

from olrd.arrays import (
    decode_ids,
    decode_mask,
    decode_photo,
    encode_ids,
    encode_image,
    encode_mask,
    resize_ids,
    resize_image,
)
from olrd.errors import PHOTO_REASONS, Rejected
from olrd.triplets.photo import working_photo, working_size

Bits = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]
shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))


def picture(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    """Smooth and lopsided, so that no two orientations look alike."""
    y, x = np.mgrid[: size[1], : size[0]]
    pixels = np.stack([x * 6, y * 8, (x + 2 * y) * 2], axis=-1) % 256
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def file_of(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def code_of(call: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(Rejected) as caught:
        call(*args, **options)
    assert caught.value.code in PHOTO_REASONS
    return caught.value.code


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_orientation_is_applied_as_pillow_does(orientation: int, kind: str) -> None:
    image = picture()
    exif = image.getexif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    data = file_of(image, kind, exif=exif, **options)
    photo = decode_photo(data)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(photo.pixels, np.asarray(expected))
    assert photo.pixels.shape == ((40, 30, 3) if orientation > 4 else (30, 40, 3))
    assert not photo.as_stored


def test_a_plain_photo_is_as_stored() -> None:
    """A reader with Pillow sees exactly our pixels in the very bytes that we pass on."""
    data = file_of(picture(), quality=90)
    photo = decode_photo(data)
    assert photo.as_stored
    assert photo.pixels.dtype == np.uint8
    assert np.array_equal(photo.pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("size", [None, 20])
def test_the_stored_photo_gives_the_working_pixels(orientation: int, size: int | None) -> None:
    """What goes into the `background` column decodes, with Pillow, to what was worked on."""
    image = picture()
    exif = image.getexif()
    exif[0x0112] = orientation
    data = file_of(image, exif=exif)
    photo = working_photo(data, "folder/a.jpg", size)
    stored = photo.stored("name")["bytes"]
    assert isinstance(stored, bytes)
    read = Image.open(io.BytesIO(stored))
    assert np.array_equal(np.asarray(read), photo.pixels)
    assert (stored == data) == (orientation == 1 and size is None)


def test_greyscale_becomes_rgb() -> None:
    data = file_of(picture("L"))
    pixels = decode_photo(data).pixels
    assert pixels.shape == (30, 40, 3)
    for channel in range(3):
        assert np.array_equal(pixels[..., channel], np.asarray(Image.open(io.BytesIO(data))))


OTHER_MODES = [
    ("RGBA", "PNG"),
    ("RGBA", "WEBP"),
    ("RGBA", "TIFF"),
    ("LA", "PNG"),
    ("P", "PNG"),
    ("P", "BMP"),
    ("CMYK", "TIFF"),
]


@pytest.mark.parametrize(("mode", "kind"), OTHER_MODES)
def test_other_modes_are_read_as_rgb(mode: str, kind: str) -> None:
    """An opaque alpha channel is dropped. A reader that knows only RGB sees other pixels, so a build stores a copy."""
    whole = picture("L" if mode == "LA" else "RGB")
    image = whole.quantize(256) if mode == "P" else whole.convert(mode)
    data = file_of(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert Image.open(io.BytesIO(data)).mode == ("RGB" if (mode, kind) == ("RGBA", "WEBP") else mode)
    photo = decode_photo(data)
    assert np.array_equal(photo.pixels, np.asarray(image.convert("RGB")))
    assert photo.pixels.dtype == np.uint8 and photo.pixels.flags.c_contiguous
    plain = (mode, kind) == ("RGBA", "WEBP")  # libwebp writes no alpha channel that is opaque
    assert photo.as_stored is plain and working_photo(data, "a", None).original is plain
    stored = working_photo(data, "a", None).stored("row")["bytes"]
    assert isinstance(stored, bytes) and np.array_equal(decode_photo(stored).pixels, photo.pixels)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_keep_the_upper_byte(kind: str) -> None:
    levels = np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50
    pixels = decode_photo(file_of(Image.fromarray(levels), kind)).pixels
    assert np.array_equal(pixels, np.repeat((levels >> 8).astype(np.uint8)[..., None], 3, axis=-1))
    colour = np.stack([levels, levels[::-1], levels[:, ::-1]], axis=-1)
    data = cv2.imencode(".png", colour[..., ::-1])[1].tobytes()
    photo = decode_photo(data)
    assert np.array_equal(photo.pixels, colour >> 8) and not photo.as_stored
    for dark in (Image.fromarray(levels // 256), None):
        black = file_of(dark, kind) if dark else cv2.imencode(".png", colour // 256)[1].tobytes()
        assert code_of(decode_photo, black, "dark") == "photo_mode"


def test_cmyk_is_converted_by_its_profile() -> None:
    """Without a profile, or with one that does not fit, Pillow's formula is taken. The result has no profile."""
    image = picture().convert("CMYK")
    expected = np.asarray(image.convert("RGB"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (None, b"damaged", srgb):
        photo = decode_photo(file_of(image, "TIFF", icc_profile=profile))
        assert np.array_equal(photo.pixels, expected) and photo.icc is None and not photo.as_stored
    jpeg = decode_photo(file_of(image, "JPEG", quality=95)).pixels
    assert np.abs(jpeg.astype(int) - expected).mean() < 4
    turned = image.getexif()
    turned[0x0112] = 6
    assert decode_photo(file_of(image, "JPEG", exif=turned)).pixels.shape == (40, 30, 3)


def test_a_profile_of_cmyk_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def converted(image: Image.Image, profile: Any, target: Any, outputMode: str) -> Image.Image:
        seen.append(outputMode)
        return Image.new(outputMode, image.size, (1, 2, 3))

    monkeypatch.setattr(ImageCms, "ImageCmsProfile", lambda file: file)
    monkeypatch.setattr(ImageCms, "profileToProfile", converted)
    photo = decode_photo(file_of(picture().convert("CMYK"), "TIFF", icc_profile=b"a profile"))
    assert seen == ["RGB"] and (photo.pixels == (1, 2, 3)).all()


@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "PNG"), ("RGBA", "WEBP"), ("LA", "PNG"), ("P", "PNG")])
def test_a_transparent_photo_is_rejected(mode: str, kind: str) -> None:
    image = picture().quantize(16) if mode == "P" else picture().convert(mode)
    options: dict[str, Any] = {"transparency": image.getpixel((0, 0))} if mode == "P" else {}
    if mode != "P":
        image.putpixel((0, 0), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    with pytest.raises(Rejected, match="pixels are transparent") as caught:
        decode_photo(file_of(image, kind, **options), "odd")
    assert caught.value.code == "photo_mode"


@pytest.mark.parametrize(("mode", "kind"), [("1", "PNG"), ("F", "TIFF")])
def test_modes_of_no_photo_are_rejected(mode: str, kind: str) -> None:
    assert code_of(decode_photo, file_of(picture("L").convert(mode), kind), "odd") == "photo_mode"


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_truncated_photo_is_rejected(kind: str, keep: float) -> None:
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    data = file_of(noisy, kind)
    assert code_of(decode_photo, data[: int(len(data) * keep)]) == "photo_unreadable"


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"<html>404</html>", bytes(5000)])
def test_what_is_no_image_is_rejected(data: bytes) -> None:
    assert code_of(decode_photo, data, "a.jpg") == "photo_unreadable"
    assert code_of(decode_ids, data, "a.png") == "panoptic_unreadable"
    assert code_of(decode_mask, data, "a.png") == "panoptic_unreadable"


@given(st.data())
def test_a_damaged_photo_is_decoded_or_rejected(data: st.DataObject) -> None:
    """Flipped bytes anywhere, EXIF and checksums included, never give another kind of error."""
    kind = data.draw(st.sampled_from(["JPEG", "PNG"]))
    image = picture()
    exif = image.getexif()
    exif[0x0112] = 6
    content = bytearray(file_of(image, kind, exif=exif))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        photo = decode_photo(bytes(content))
    except Rejected as error:
        assert error.code in PHOTO_REASONS
    else:
        assert photo.pixels.ndim == 3


def bomb(side: int, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of a few bytes that declares a picture of side x side."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    body = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_001, 12_000, 50_000])
@pytest.mark.parametrize(
    ("decode", "what"), [(decode_photo, "photo"), (decode_ids, "panoptic"), (decode_mask, "panoptic")]
)
def test_a_bomb_is_refused_before_it_is_decoded(decode: Any, what: str, side: int) -> None:
    """50,000 x 50,000 pixels would be 7.5 GB."""
    depth, colour = (1, 0) if decode is decode_mask else (8, 2)
    assert code_of(decode, bomb(side, depth, colour)) == f"{what}_too_large"


def test_the_limit_is_the_callers() -> None:
    data = file_of(picture())
    assert code_of(decode_photo, data, "a.jpg", max_pixels=1199) == "photo_too_large"
    assert decode_photo(data, "a.jpg", max_pixels=1200).pixels.shape == (30, 40, 3)
    assert code_of(decode_ids, file_of(picture(), "PNG"), max_pixels=1199) == "panoptic_too_large"


@pytest.mark.parametrize("mode", ["P", "1", "LA", "transparent"])
def test_a_map_that_holds_no_ids_is_rejected(mode: str) -> None:
    image = picture("RGBA" if mode == "transparent" else mode)
    if mode == "transparent":
        image.putpixel((0, 0), (1, 0, 0, 254))
    assert code_of(decode_ids, file_of(image, "PNG")) == "panoptic_unreadable"


def test_a_jpeg_is_no_map() -> None:
    with pytest.raises(Rejected, match="a JPEG changes the ids"):
        decode_ids(file_of(picture(), "JPEG"))


def test_grey_and_opaque_maps_are_read() -> None:
    grey = picture("L")
    assert np.array_equal(decode_ids(file_of(grey, "PNG")), np.asarray(grey))
    deep = np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50
    assert np.array_equal(decode_ids(file_of(Image.fromarray(deep), "PNG")), deep)
    assert np.array_equal(decode_ids(file_of(picture("RGBA"), "PNG")), decode_ids(file_of(picture(), "PNG")))


@pytest.mark.parametrize("decode", [decode_ids, decode_mask])
def test_a_truncated_map_is_rejected(decode: Any) -> None:
    noisy = np.random.default_rng(0).integers(0, 2, (200, 200), dtype=np.uint8) * 255
    image = Image.fromarray(noisy)
    data = file_of(image.convert("RGB") if decode is decode_ids else image, "PNG")
    assert code_of(decode, data[: len(data) // 2]) == "panoptic_unreadable"


def test_an_id_is_r_and_256_g_and_65536_b() -> None:
    pixels = np.array([[[7, 0, 0], [0, 2, 0], [0, 0, 3], [255, 255, 255]]], np.uint8)
    ids = decode_ids(file_of(Image.fromarray(pixels), "PNG"))
    assert ids.dtype == np.uint32
    assert ids.tolist() == [[7, 512, 196_608, 16_777_215]]


@given(hnp.arrays(np.uint32, shapes, elements=st.integers(0, (1 << 24) - 1)))
def test_ids_survive_a_round_trip(ids: npt.NDArray[np.uint32]) -> None:
    assert np.array_equal(decode_ids(encode_ids(ids)), ids)


def test_an_id_too_large_for_a_png_is_an_error() -> None:
    with pytest.raises(ValueError, match="below 2"):
        encode_ids(np.array([[1 << 24]], np.uint32))


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3))))
def test_images_are_stored_without_loss(pixels: Pixels) -> None:
    data = encode_image(pixels)
    assert np.array_equal(decode_photo(data).pixels, pixels)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
    assert encode_image(pixels.copy()) == data


def test_the_colour_profile_is_kept() -> None:
    data = file_of(picture(), icc_profile=b"a profile")
    photo = decode_photo(data)
    assert photo.icc == b"a profile"
    assert decode_photo(encode_image(photo.pixels, photo.icc)).icc == b"a profile"


@pytest.mark.parametrize("shape", [(1, 17_000), (17_000, 1)])
def test_long_photos_are_stored_too(shape: tuple[int, int]) -> None:
    """A panorama far below --max-pixels; WebP ends at 16,383 pixels a side."""
    pixels = np.arange(17_000 * 3, dtype=np.uint32).astype(np.uint8).reshape(*shape, 3)
    assert np.array_equal(decode_photo(encode_image(pixels)).pixels, pixels)


@given(hnp.arrays(np.bool_, shapes))
def test_masks_survive_as_canonical_bools(mask: Bits) -> None:
    """The bytes are 0 and 1, not Pillow's 255, so that views, sums and hashes are right."""
    data = encode_mask(mask)
    found = decode_mask(data)
    assert found.dtype == np.bool_
    assert np.array_equal(found, mask)
    assert set(np.unique(found.view(np.uint8))) <= {0, 1}
    assert Image.open(io.BytesIO(data)).mode == "1"


@pytest.mark.parametrize("top", [1, 200, 255])
def test_a_grey_mask_of_two_values_is_read(top: int) -> None:
    mask = np.random.default_rng(0).random((20, 30)) < 0.4
    grey = Image.fromarray(mask.astype(np.uint8) * np.uint8(top))
    assert np.array_equal(decode_mask(file_of(grey, "PNG")), mask)


def test_a_jpeg_mask_is_never_thresholded_silently() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[10:23, 11:30] = 255
    assert code_of(decode_mask, file_of(Image.fromarray(mask), quality=75)) == "panoptic_unreadable"
    assert code_of(decode_mask, file_of(picture(), "PNG")) == "panoptic_unreadable"


@given(hnp.arrays(np.uint32, shapes), shapes)
def test_ids_are_resized_by_pixel_centres(ids: npt.NDArray[np.uint32], size: tuple[int, int]) -> None:
    """Each new pixel takes the old pixel under its centre."""
    resized = resize_ids(ids, size)
    assert resized.shape == (size[1], size[0])
    for y in range(size[1]):
        for x in range(size[0]):
            v = int((y + 0.5) * ids.shape[0] / size[1] + 1e-9)
            u = int((x + 0.5) * ids.shape[1] / size[0] + 1e-9)
            assert resized[y, x] == ids[v, u]


def test_a_flat_image_stays_flat_when_resized() -> None:
    flat = np.full((37, 53, 3), (10, 200, 90), np.uint8)
    assert (resize_image(flat, (20, 11)) == (10, 200, 90)).all()
    assert resize_image(flat, (20, 11)).shape == (11, 20, 3)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(16, 2048))
def test_the_short_side_gets_the_size(width: int, height: int, size: int) -> None:
    new = working_size(width, height, size)
    assert min(new) == size
    assert new[0] == pytest.approx(width * size / min(width, height), abs=0.5)
    assert new[1] == pytest.approx(height * size / min(width, height), abs=0.5)
