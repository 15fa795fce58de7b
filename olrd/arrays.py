"""The arrays that all packages exchange, and reading and writing them as files.

Image: uint8 [H, W, 3], RGB, EXIF orientation applied. Mask: bool [H, W], True = erase. Panoptic ids: uint32 [H, W],
0 = void. All files are written lossless.
"""

from __future__ import annotations

import io
import warnings
from typing import NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image as Pillow

from olrd.errors import Rejected
from olrd.trust import MAX_SCANS, PICTURE_FORMATS, decoding, jpeg_scans

Image = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.uint32]
Labels = TypeVar("Labels", bound=npt.NDArray[np.generic])

MAX_PIXELS = 64_000_000
"""Largest number of pixels of a photo or map; larger ones are refused before they are decoded."""

_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
"""What each EXIF orientation asks for. `ImageOps.exif_transpose` does the same, but also writes the EXIF data again,
which fails for damaged data."""
_PLAIN_MODES = "RGB", "L"
"""Modes of `_true_mode` that every reader sees alike."""
_COLOUR_MODES = "RGB", "RGBA", "P", "PA", "CMYK", "YCbCr"
_GREY_MODES = "L", "LA", "I;16", "I;16B", "I;16L"
"""With the colour modes: Pillow's modes that are read as photos."""
_WEBP_LONGEST = 16383


class Header(NamedTuple):
    """A photo that is opened but not decoded.

    Attributes:
        image: the opened file.
        size: (width, height) with the orientation applied.
        orientation: the EXIF value; 1 for none.
        icc: the colour profile of the RGB pixels, if any.
        plain: whether it is 8-bit RGB or grey. Other modes are converted, and may prove to be transparent.
    """

    image: Pillow.Image
    size: tuple[int, int]
    orientation: int
    icc: bytes | None
    plain: bool


class Photo(NamedTuple):
    """A decoded photo.

    Attributes:
        pixels: uint8 [H, W, 3], RGB, orientation applied.
        as_stored: whether every reader, also one that ignores the EXIF orientation, sees exactly these pixels.
        icc: the colour profile, if any.
    """

    pixels: Image
    as_stored: bool
    icc: bytes | None


def open_picture(data: bytes, name: str, what: str = "photo", max_pixels: int = MAX_PIXELS) -> Pillow.Image:
    """Open a picture without decoding it.

    Args:
        data: the file.
        name: of the file, for messages.
        what: `photo` or `panoptic`: the first part of the reason code.
        max_pixels: the largest number of pixels.

    Raises:
        Rejected: the file is in none of `PICTURE_FORMATS`, has too many pixels, or is a JPEG of too many scans.
    """
    pillows_own, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None  # the limit below replaces that of Pillow
    try:
        with warnings.catch_warnings():  # Pillow warns of damaged metadata, which is read past
            warnings.simplefilter("ignore")
            image = Pillow.open(io.BytesIO(data), formats=PICTURE_FORMATS)
    except MemoryError:
        raise
    except Exception:  # a decoder can raise anything
        # Pillow's message is left out: it contains a memory address, and equal builds must write equal bytes.
        raise Rejected(
            f"{what}_unreadable", f"{name}: not a readable image; expected JPEG, PNG, WebP, TIFF or BMP"
        ) from None
    finally:
        Pillow.MAX_IMAGE_PIXELS = pillows_own
    if image.width * image.height > max_pixels:
        raise Rejected(
            f"{what}_too_large",
            f"{name}: {image.width} x {image.height} is more than the allowed "
            f"{max_pixels} pixels (--max-pixels raises the limit)",
        )
    if data.startswith(b"\xff\xd8") and jpeg_scans(data) > MAX_SCANS:
        raise Rejected(
            f"{what}_unreadable", f"{name}: a JPEG of more than {MAX_SCANS} scans, which takes very long to decode"
        )
    return image


def _true_mode(image: Pillow.Image, data: bytes) -> str:
    """Pillow's mode, or e.g. `RGB;16` for 16-bit PNGs, which Pillow reduces to 8 bits without a warning."""
    sixteen = data[:8] == b"\x89PNG\r\n\x1a\n" and data[24:25] == b"\x10"
    return f"{image.mode};16" if sixteen and not image.mode.startswith("I") else image.mode


def _orientation(image: Pillow.Image, name: str) -> int:
    """The EXIF orientation. It is read before the pixels, because Pillow loses it when it decodes a TIFF."""
    with decoding("photo_unreadable", name):
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))


def photo_header(data: bytes, name: str = "photo", max_pixels: int = MAX_PIXELS) -> Header:
    """Read the header of a photo. Raises `Rejected` if `decode_photo` would refuse the photo because of it.

    Whether an alpha channel is opaque is known only after decoding.
    """
    image = open_picture(data, name, "photo", max_pixels)
    mode = _true_mode(image, data)
    if image.mode not in _COLOUR_MODES + _GREY_MODES:
        raise Rejected("photo_mode", f"{name}: expected a colour or grey photo, got mode {mode}; save it as RGB")
    orientation = _orientation(image, name)
    # The profile of a grey photo does not apply to RGB pixels. That of a CMYK photo is applied by the conversion.
    icc = image.info.get("icc_profile") if image.mode in _COLOUR_MODES and image.mode != "CMYK" else None
    size = image.size[::-1] if orientation in (5, 6, 7, 8) else image.size
    return Header(image, size, orientation, icc, mode in _PLAIN_MODES)


def decode_photo(data: bytes, name: str = "photo", max_pixels: int = MAX_PIXELS) -> Photo:
    """Decode a photo.

    Grey, palette and CMYK photos become RGB (CMYK by its colour profile, if it has one), 16-bit ones keep their upper
    byte, and an opaque alpha channel is dropped. Transparent photos are rejected (`photo_mode`), because what lies
    behind them is unknown. JPEGs are decoded by simplejpeg: it uses libjpeg-turbo as Pillow does, gives the same
    pixels (tested), and takes two thirds of the time.
    """
    image, _, orientation, icc, plain = photo_header(data, name, max_pixels)
    if not plain:
        with decoding("photo_unreadable", name):
            image = upright(image, orientation)
            deep = image.mode.startswith("I;16") or _true_mode(image, data).endswith(";16")
            return Photo(_as_rgb(image, name, deep), False, icc)
    if image.format == "JPEG" and orientation == 1 and (pixels := _fast_jpeg(data, image.size)) is not None:
        return Photo(pixels, True, icc)
    with decoding("photo_unreadable", name):
        image = upright(image, orientation)
        if image.mode != "RGB":
            image = image.convert("RGB")
        return Photo(np.asarray(image), orientation == 1, icc)


def _as_rgb(image: Pillow.Image, name: str, deep: bool) -> Image:
    """The RGB pixels of a decoded photo of another mode. deep: it has 16 bits. Raises `Rejected` for transparency."""
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        pixels = np.repeat(grey[..., None], 3, axis=-1)
    elif image.mode == "CMYK":
        pixels = np.asarray(_cmyk_as_rgb(image))
    elif image.has_transparency_data and image.mode != "RGB":
        whole = np.asarray(image.convert("RGBA"))
        if clear := int(np.count_nonzero(whole[..., 3] < 255)):
            raise Rejected(
                "photo_mode",
                f"{name}: {clear} of {whole[..., 3].size} pixels are transparent, and what is behind them is unknown: "
                "save the photo without transparency",
            )
        pixels = np.ascontiguousarray(whole[..., :3])
    else:
        pixels = np.asarray(image.convert("RGB"))
    if deep and not pixels.any():
        raise Rejected("photo_mode", f"{name}: a 16-bit photo without a level above 255 is black; save it with 8 bits")
    return pixels


def _cmyk_as_rgb(image: Pillow.Image) -> Pillow.Image:
    """By the photo's own colour profile to sRGB; by Pillow's formula if it has none that fits."""
    if profile := image.info.get("icc_profile"):
        from PIL import ImageCms  # imported here: few photos need it

        try:
            opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, opened, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):  # a damaged profile, or one for other colours
            pass
    return image.convert("RGB")


def upright(image: Pillow.Image, orientation: int | None = None) -> Pillow.Image:
    """Decode a picture and apply its EXIF orientation. orientation: if it is known. Raises what decoders raise."""
    if orientation is None:
        orientation = int(image.getexif().get(_EXIF_ORIENTATION, 1))
    image.load()
    turn = None if image.format == "TIFF" else _TURNS.get(orientation)  # Pillow has turned a TIFF already
    return image if turn is None else image.transpose(turn)


def _fast_jpeg(data: bytes, size: tuple[int, int]) -> Image | None:
    """The pixels of a JPEG of that (width, height). None if it is damaged: then Pillow decides whether it can be
    read."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data, strict=True)
        if (width, height) == size:  # the size that was checked against the limit
            return simplejpeg.decode_jpeg(data, strict=True)
    except ValueError:
        pass
    return None


def decode_ids(data: bytes, name: str = "panoptic map", max_pixels: int = MAX_PIXELS) -> Ids:
    """Decode a panoptic map to ids, uint32 [H, W].

    COCO's PNG has id = R + 256 G + 65536 B. Grey pictures of 8 or 16 bits, whose levels are the ids, and RGBA pictures
    that are opaque everywhere are read too. Raises `Rejected` for others.
    """
    image = open_picture(data, name, "panoptic", max_pixels)
    mode = _true_mode(image, data)
    if image.format == "JPEG":
        raise Rejected("panoptic_unreadable", f"{name}: a JPEG changes the ids; expected a PNG")
    if mode not in ("RGB", "RGBA", "L", "I;16", "I"):
        raise Rejected(
            "panoptic_unreadable", f"{name}: expected an 8-bit RGB PNG (id = R + 256 G + 65536 B), got mode {mode}"
        )
    packed: Ids | None
    with decoding("panoptic_unreadable", name):
        if mode in ("L", "I;16", "I"):
            image.load()
            return np.asarray(image).astype(np.uint32)
        if mode == "RGBA":
            pixels = np.array(image)
            if (pixels[..., 3] != 255).any():
                raise Rejected(
                    "panoptic_unreadable", f"{name}: an RGBA map must be opaque; parts of it are transparent"
                )
            packed = pixels.view("<u4")[..., 0]
        elif image.format == "PNG":
            packed = _fast_ids(data, image.size)
        else:
            image.load()
            packed = np.array(image.convert("RGBA")).view("<u4")[..., 0]
    if packed is None:
        raise Rejected("panoptic_unreadable", f"{name}: truncated or corrupt")
    return np.bitwise_and(packed, np.uint32(0xFFFFFF), out=packed)


def _fast_ids(data: bytes, size: tuple[int, int]) -> Ids | None:
    """R + 256 G + 65536 B, and a fourth byte of any value, of a PNG of that (width, height). None if it is damaged."""
    import cv2  # imported here, so that `--help` does not load it

    # OpenCV is faster than Pillow here and also verifies the checksums in the file.
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.shape[1::-1] != size:
        return None
    # With a fourth byte a pixel is an integer: a view and a bit mask give the id.
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGBA).view("<u4")[..., 0]


def encode_ids(ids: Ids) -> bytes:
    """Encode panoptic ids (uint32 [H, W], all below 2**24) as a COCO panoptic PNG."""
    if ids.size and int(ids.max()) >= 1 << 24:
        raise ValueError(f"panoptic ids must be below 2**24, got {int(ids.max())}")
    rgb = np.stack([(ids >> shift & 255).astype(np.uint8) for shift in (0, 8, 16)], axis=-1)
    return _save(Pillow.fromarray(rgb), "PNG", optimize=True)


def encode_image(pixels: Image, icc: bytes | None = None) -> bytes:
    """Encode an image losslessly: as WebP with the fastest settings (docs/decisions.md), or as PNG if a side is longer
    than WebP allows."""
    extra = {"icc_profile": icc} if icc else {}
    if max(pixels.shape[:2]) > _WEBP_LONGEST:
        return encode_png(pixels, **extra)
    import cv2  # imported here, so that `--help` does not load it

    # Pillow and libwebp add a fourth byte to each pixel. Adding it here saves a copy.
    padded = cv2.cvtColor(pixels, cv2.COLOR_RGB2RGBA)
    image = Pillow.frombuffer("RGBX", pixels.shape[1::-1], padded, "raw", "RGBX", 0, 1)
    return _save(image, "WEBP", lossless=True, method=0, quality=20, **extra)


def encode_png(pixels: Image, **options: object) -> bytes:
    """Encode an image as PNG, fast rather than small."""
    return _save(Pillow.fromarray(pixels), "PNG", compress_level=1, **options)


def image_name(stem: str, data: bytes) -> str:
    """`stem` with the suffix of the file that `encode_image` returned."""
    return f"{stem}.{'webp' if data[:4] == b'RIFF' else 'png'}"


def encode_mask(mask: Mask) -> bytes:
    """Encode a mask as a 1-bit PNG."""
    return _save(Pillow.fromarray(mask), "PNG", compress_level=1)


def decode_mask(data: bytes, name: str = "mask", max_pixels: int = MAX_PIXELS) -> Mask:
    """Decode a mask file to bool [H, W]. Raises `Rejected` for grey values other than 0 and the maximum."""
    image = open_picture(data, name, "panoptic", max_pixels)
    if image.mode not in ("1", "L"):
        raise Rejected("panoptic_unreadable", f"{name}: expected a 1-bit or grey mask, got {image.mode}")
    with decoding("panoptic_unreadable", name):
        image.load()
        # np.asarray of a 1-bit image is not used: its True is the byte 255, which is not a valid bool.
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

    window: the part to resize, (left, top, right, bottom) in pixels, fractions allowed; by default the whole image.
    """
    return np.asarray(Pillow.fromarray(pixels).resize(size, Pillow.Resampling.LANCZOS, window))


def resize_ids(ids: Labels, size: tuple[int, int]) -> Labels:
    """Resize a panoptic map, index map or mask to (width, height), nearest neighbour, pixel centres."""
    rows = ((np.arange(size[1]) * 2 + 1) * ids.shape[0]) // (2 * size[1])
    columns = ((np.arange(size[0]) * 2 + 1) * ids.shape[1]) // (2 * size[0])
    return cast(Labels, ids[rows[:, None], columns[None, :]])


def working_size(width: int, height: int, size: int) -> tuple[int, int]:
    """(width, height) with the short side at `size`, aspect kept, rounded half up."""
    short = min(width, height)
    return (2 * width * size + short) // (2 * short), (2 * height * size + short) // (2 * short)
