"""The array contract and the codecs behind it.

Image: uint8 [H, W, 3], RGB, EXIF orientation applied. Mask: bool [H, W], True = erase.
Panoptic ids: uint32 [H, W], 0 = void. Everything lossless on the way out.
"""

from __future__ import annotations

import io
from contextlib import suppress
from typing import NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image as Pillow
from PIL import ImageOps

from olrd.errors import Rejected

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.uint32]
Labels = TypeVar("Labels", bound=npt.NDArray[np.generic])

MAX_PIXELS = 64_000_000
"""Photos and maps above this many pixels are refused before they are decoded."""

_EXIF_ORIENTATION = 0x0112
_WEBP_LONGEST = 16383


class Header(NamedTuple):
    """A photo's file, opened but not decoded. size: (width, height), orientation applied.
    orientation: the EXIF value, 1 for none. icc: its colour profile, if any."""

    image: Pillow.Image
    size: tuple[int, int]
    orientation: int
    icc: bytes | None


class Photo(NamedTuple):
    """A decoded photo.

    pixels: uint8 [H, W, 3], RGB, orientation applied. as_stored: whether a reader of the file's own
    bytes sees exactly these pixels without applying an orientation. icc: its colour profile, if any.
    """

    pixels: Image
    as_stored: bool
    icc: bytes | None


def _open(data: bytes, name: str, what: str, max_pixels: int) -> Pillow.Image:
    """Open without decoding; raises `Rejected` for a non-image or an image bomb."""
    pillows_own, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None  # ours is the only limit
    try:
        image = Pillow.open(io.BytesIO(data))
    except (OSError, SyntaxError, ValueError):
        # Without Pillow's text: it holds a memory address, and reports are compared byte for byte.
        raise Rejected(f"{what}_unreadable", f"{name}: not a readable image") from None
    finally:
        Pillow.MAX_IMAGE_PIXELS = pillows_own
    if image.width * image.height > max_pixels:
        raise Rejected(
            f"{what}_too_large",
            f"{name}: {image.width} x {image.height} is more than the allowed "
            f"{max_pixels} pixels (--max-pixels raises the limit)",
        )
    return image


def _load(image: Pillow.Image, name: str, what: str) -> None:
    """Decode the pixels now; raises `Rejected` for truncated or corrupt data."""
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError, RuntimeError) as error:
        raise Rejected(f"{what}_unreadable", f"{name}: truncated or corrupt ({error})") from error


def _true_mode(image: Pillow.Image, data: bytes) -> str:
    """Pillow's mode, but `RGB;16` for 16-bit PNGs, which Pillow would cut to 8 bits unasked."""
    sixteen = data[:8] == b"\x89PNG\r\n\x1a\n" and data[24:25] == b"\x10"
    return f"{image.mode};16" if sixteen else image.mode


def _orientation(image: Pillow.Image, name: str) -> int:
    """The EXIF orientation, read before the pixels: a TIFF forgets it when it is decoded."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError) as error:
        raise Rejected("photo_unreadable", f"{name}: truncated or corrupt ({error})") from error


def photo_header(data: bytes, name: str = "photo", max_pixels: int = MAX_PIXELS) -> Header:
    """What a photo's file says of itself; `Rejected` if `decode_photo` would refuse it unseen."""
    image = _open(data, name, "photo", max_pixels)
    mode = _true_mode(image, data)
    if mode not in ("RGB", "L"):
        raise Rejected("photo_mode", f"{name}: expected an 8-bit RGB or grey photo, got mode {mode}; convert it first")
    orientation = _orientation(image, name)
    # The profile of a grey photo does not fit its RGB form.
    icc = image.info.get("icc_profile") if mode == "RGB" else None
    size = image.size[::-1] if orientation in (5, 6, 7, 8) else image.size
    return Header(image, size, orientation, icc)


def decode_photo(data: bytes, name: str = "photo", max_pixels: int = MAX_PIXELS) -> Photo:
    """Decode a photo's file into the contract.

    JPEGs are decoded by simplejpeg, which shares libjpeg-turbo with Pillow and gives the same pixels
    (tested) in two thirds of the time.

    Greyscale becomes RGB. CMYK, 16-bit, palette and alpha images are rejected (`photo_mode`):
    turning them into RGB is a choice that belongs to the owner of the photo.
    """
    image, _, orientation, icc = photo_header(data, name, max_pixels)
    if image.format == "JPEG" and orientation == 1:
        with suppress(ValueError):  # damaged: Pillow shall say whether it can be read
            return Photo(simplejpeg.decode_jpeg(data, strict=True), True, icc)
    _load(image, name, "photo")
    if orientation != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return Photo(np.asarray(image), orientation == 1, icc)


def decode_ids(data: bytes, name: str = "panoptic map", max_pixels: int = MAX_PIXELS) -> Ids:
    """Decode a COCO panoptic PNG: id = R + 256 G + 65536 B, uint32 [H, W]."""
    image = _open(data, name, "panoptic", max_pixels)
    if (mode := _true_mode(image, data)) != "RGB":
        raise Rejected(
            "panoptic_unreadable", f"{name}: expected an 8-bit RGB PNG (id = R + 256 G + 65536 B), got mode {mode}"
        )
    import cv2  # here, so that the command line need not load it

    # OpenCV is faster than Pillow here, and checks the checksums of the file too.
    how = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    if pixels is None:
        raise Rejected("panoptic_unreadable", f"{name}: truncated or corrupt")
    # A fourth byte makes a pixel an integer, so one view and one mask give the id.
    packed = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGBA).view("<u4")[..., 0]
    return np.bitwise_and(packed, np.uint32(0xFFFFFF), out=packed)


def encode_ids(ids: Ids) -> bytes:
    """Encode panoptic ids (uint32 [H, W], all below 2**24) as a COCO panoptic PNG."""
    if ids.size and int(ids.max()) >= 1 << 24:
        raise ValueError(f"panoptic ids must be below 2**24, got {int(ids.max())}")
    rgb = np.stack([(ids >> shift & 255).astype(np.uint8) for shift in (0, 8, 16)], axis=-1)
    return _save(Pillow.fromarray(rgb), "PNG", optimize=True)


def encode_image(pixels: Image, icc: bytes | None = None) -> bytes:
    """Encode an image losslessly: WebP at its fastest (docs/decisions.md has the table), or PNG where
    a side is longer than WebP allows."""
    extra = {"icc_profile": icc} if icc else {}
    if max(pixels.shape[:2]) > _WEBP_LONGEST:
        return encode_png(pixels, **extra)
    import cv2  # here, so that the command line need not load it

    # With the fourth byte that Pillow and libwebp add to a pixel in any case, nothing is copied.
    padded = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA)
    image = Pillow.frombuffer("RGBX", pixels.shape[1::-1], padded, "raw", "RGBX", 0, 1)
    return _save(image, "WEBP", lossless=True, method=0, quality=20, **extra)


def encode_png(pixels: Image, **options: object) -> bytes:
    """Encode an image as PNG, quickly rather than small."""
    return _save(Pillow.fromarray(pixels), "PNG", compress_level=1, **options)


def image_name(stem: str, data: bytes) -> str:
    """`stem` with the extension of what `encode_image` gave."""
    return f"{stem}.{'webp' if data[:4] == b'RIFF' else 'png'}"


def encode_mask(mask: Mask) -> bytes:
    """Encode a mask as a 1-bit PNG."""
    return _save(Pillow.fromarray(mask), "PNG", compress_level=1)


def decode_mask(data: bytes, name: str = "mask", max_pixels: int = MAX_PIXELS) -> Mask:
    """Decode a binary mask file to bool [H, W]. Grey values other than 0 and the maximum are refused."""
    image = _open(data, name, "panoptic", max_pixels)
    if image.mode not in ("1", "L"):
        raise Rejected("panoptic_unreadable", f"{name}: expected a 1-bit or grey mask, got {image.mode}")
    _load(image, name, "panoptic")
    # Not np.asarray of a 1-bit image: its True is the byte 255, which is no valid bool.
    pixels = np.asarray(image.convert("L"))
    top = pixels.max(initial=0)
    if top and not np.isin(pixels, (0, top)).all():
        raise Rejected("panoptic_unreadable", f"{name}: a mask must have two values, found more")
    return pixels > 0


def _save(image: Pillow.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def resize_image(
    pixels: Image, size: tuple[int, int], window: tuple[float, float, float, float] | None = None
) -> Image:
    """Resize to (width, height) with Lanczos antialiasing (fixed-point, the same on any machine).

    window: the part to take, (left, top, right, bottom) in pixels, fractions allowed; else all.
    """
    return np.asarray(Pillow.fromarray(pixels).resize(size, Pillow.Resampling.LANCZOS, window))


def resize_ids(ids: Labels, size: tuple[int, int]) -> Labels:
    """Resize a panoptic map, index map or mask to (width, height), nearest neighbour, pixel centres."""
    rows = ((np.arange(size[1]) * 2 + 1) * ids.shape[0]) // (2 * size[1])
    columns = ((np.arange(size[0]) * 2 + 1) * ids.shape[1]) // (2 * size[0])
    return cast(Labels, ids[rows[:, None], columns[None, :]])
