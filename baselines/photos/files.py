"""Photos as files: read in any mode, and written again in the same one with only the erased pixels changed.

Size, mode (grey, RGB, alpha, 16 bits), colour profile and EXIF data stay; the EXIF orientation is applied.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from olrd.arrays import MAX_PIXELS, Image, Mask, decode_photo, open_picture, photo_header, upright
from olrd.errors import OutputError, Rejected, SourceError, UsageError
from olrd.storage.files import read_regular, write_atomic
from olrd.trust import decoding

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg")
"""Names that results may have. PNG and WebP are written without loss."""
QUALITY = 95
"""Default quality of JPEG results."""
FEWEST = 64
"""Smallest number of masked pixels of which `doubt` says something."""
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258
_LONGEST = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}
"""Longest side of a picture in pixels, by the format of its name; a PNG has none that matters."""
_JPEG_EXIF, _JPEG_ICC = 65_533, 255 * 65_519
"""Most bytes of EXIF data and of a colour profile in a JPEG: those of one segment, and of 255."""


@dataclass(frozen=True)
class PhotoFile:
    """A decoded photo with what its file says beside the pixels.

    Attributes:
        pixels: uint8 [H, W, 3] RGB, what erasers see.
        own: The pixels in the photo's own mode: uint8 or uint16, [H, W], or [H, W, C] with C = 2 (grey, alpha),
            3 (RGB) or 4 (RGB, alpha).
        icc: The colour profile, or None.
        exif: The EXIF data with the orientation removed, or None.
        said: What was left out of the file, in words.
    """

    pixels: Image
    own: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    icc: bytes | None = None
    exif: bytes | None = None
    said: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def with_fill(self, fill: Image, where: Mask) -> npt.NDArray[Any]:
        """Return the photo in its own mode with new pixels in a mask. Alpha and all other pixels stay.

        Args:
            fill: uint8 [H, W, 3].
            where: bool [H, W], True = take the pixel of `fill`.
        """
        filled = self.own.copy()
        levels = fill[where].astype(self.own.dtype) * (257 if self.own.dtype == np.uint16 else 1)
        grey = self.own.ndim == 2 or self.own.shape[2] == 2
        if not grey:
            filled[..., :3][where] = levels
            return filled
        luminance = np.rint(levels.mean(axis=1)).astype(self.own.dtype)
        (filled if filled.ndim == 2 else filled[..., 0])[where] = luminance
        return filled


def read_photo(path: Path, max_pixels: int = MAX_PIXELS) -> PhotoFile:
    """Read a photo.

    Raises:
        SourceError: If the file cannot be read.
        Rejected: If it is not a photo that can be decoded, or has too many pixels.
    """
    data, name = read_input(path), str(path)
    header = photo_header(data, name, max_pixels)
    exif = _exif(header.image)
    with decoding("photo_unreadable", name):
        frames = getattr(header.image, "n_frames", 1)
    said = (f"{name}: the first of {frames} pictures in the file is taken",) if frames > 1 else ()
    own = _own_pixels(data, name, header.orientation, max_pixels)
    if own is None:
        pixels = decode_photo(data, name, max_pixels).pixels
        return PhotoFile(pixels, pixels, header.icc, exif, said)
    grey = header.image.mode in ("L", "LA") or header.image.mode.startswith("I")
    return PhotoFile(_as_rgb(own), own, header.image.info.get("icc_profile") if grey else header.icc, exif, said)


def _own_pixels(data: bytes, name: str, orientation: int, max_pixels: int) -> npt.NDArray[Any] | None:
    """The pixels of a photo that is grey, has alpha or has 16 bits; None for the others, which become RGB."""
    image = open_picture(data, name, "photo", max_pixels)
    with decoding("photo_unreadable", name):
        if _has_16_bits(image, data):
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
            if pixels is None or pixels.shape[:2] != image.size[::-1] or pixels.dtype != np.uint16:
                raise Rejected("photo_unreadable", f"{name}: truncated, corrupt or of an unusual kind with 16 bits")
            return _turned(_rgb_order(pixels), orientation)
        image = upright(image, orientation)
        if image.mode.startswith("I;16"):
            return np.asarray(image).astype(np.uint16)
        if image.mode in ("P", "PA", "RGB", "L") and image.has_transparency_data:
            image = image.convert("RGBA")
        if image.mode in ("L", "LA", "RGBA"):
            return np.asarray(image)
    return None


def _has_16_bits(image: Pillow.Image, data: bytes) -> bool:
    """Whether it is a PNG or an RGB TIFF of 16 bits, which Pillow would reduce to 8 without a word."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return data[24:25] == b"\x10"
    if image.format != "TIFF" or image.mode.startswith("I"):
        return False
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))
    return max(bits if isinstance(bits, tuple) else (bits,)) == 16


def _rgb_order(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """OpenCV's order of channels, blue first, turned round; [H, W] stays."""
    if pixels.ndim == 2:
        return pixels
    order = (2, 1, 0, 3)[: pixels.shape[2]]
    return np.ascontiguousarray(pixels[..., order])


def _turned(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Apply an EXIF orientation to an array."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _as_rgb(own: npt.NDArray[Any]) -> Image:
    """What erasers see: 8 bits, without alpha."""
    levels = (own >> 8).astype(np.uint8) if own.dtype == np.uint16 else own
    if levels.ndim == 2:
        return np.repeat(levels[..., None], 3, axis=2)
    if levels.shape[2] == 2:
        return np.repeat(levels[..., :1], 3, axis=2)
    return np.ascontiguousarray(levels[..., :3])


def _exif(image: Pillow.Image) -> bytes | None:
    """The EXIF data without the orientation; None if there is none, or it is damaged."""
    # Damaged data raises many kinds of errors and warnings, and a photo is read without it.
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exif = image.getexif()
        if not len(exif):
            return None
        exif.pop(_ORIENTATION, None)
        return exif.tobytes() if len(exif) else None
    return None


class Written(NamedTuple):
    """A file that was written, and what had to be left out, in words."""

    path: Path
    said: tuple[str, ...]


def write_photo(out: Path, pixels: npt.NDArray[Any], photo: PhotoFile, quality: int = QUALITY) -> Written:
    """Write a result in the format of its name, with the photo's colour profile and EXIF data.

    Args:
        out: A name with one of `SUFFIXES`.
        pixels: As `PhotoFile.with_fill` returns them.
        photo: The photo that the result was made of.
        quality: Quality of a JPEG, from 1 to 100. PNG and WebP are lossless.

    Raises:
        OutputError: If the file cannot be written.
        UsageError: If the format has no pictures of this size.
    """
    suffix, said = out.suffix.lower(), []
    if (longest := max(pixels.shape[:2])) > _LONGEST.get(suffix, longest):
        raise UsageError(
            f"{out}: a {suffix} file has sides of at most {_LONGEST[suffix]:,} pixels, the photo has {longest:,}: give a "
            "name with .png"
        )
    if suffix != ".png" and pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
        said.append("the photo's 16 bits become 8; a .png keeps them")
    if suffix in (".jpg", ".jpeg"):
        if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
            pixels = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
            said.append("a JPEG has no alpha channel: it is left out; a .png or .webp keeps it")
        if len(photo.exif or b"") > _JPEG_EXIF:
            photo = replace(photo, exif=None)
            said.append(
                f"a JPEG has no room for EXIF data of over {_JPEG_EXIF:,} bytes: they are left out; a .png keeps them"
            )
        if len(photo.icc or b"") > _JPEG_ICC:
            photo = replace(photo, icc=None)
            said.append(f"a JPEG has no room for a colour profile of over {_JPEG_ICC:,} bytes: it is left out")
        options: dict[str, Any] = {"quality": quality, "subsampling": 0}
        data = _encoded(pixels, "JPEG", photo, options)
    elif suffix == ".webp":
        data = _encoded(pixels, "WEBP", photo, {"lossless": True, "exact": True, "method": 2})
    elif pixels.dtype == np.uint16:
        data = _deep_png(pixels, photo)
    else:
        data = _encoded(pixels, "PNG", photo, {"compress_level": 3})
    try:
        write_atomic(out, data)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from error
    return Written(out, tuple(said))


def _encoded(pixels: npt.NDArray[Any], form: str, photo: PhotoFile, options: dict[str, Any]) -> bytes:
    beside = {"icc_profile": photo.icc, "exif": photo.exif}
    if form == "WEBP" and pixels.ndim == 2:
        beside["icc_profile"] = None  # WebP is always RGB, to which a grey profile does not apply
    buffer = io.BytesIO()
    Pillow.fromarray(np.ascontiguousarray(pixels)).save(
        buffer, form, **options, **{name: value for name, value in beside.items() if value}
    )
    return buffer.getvalue()


def _deep_png(pixels: npt.NDArray[Any], photo: PhotoFile) -> bytes:
    """A PNG of 16 bits. Pillow cannot write RGB of 16 bits, and OpenCV no profile: it is put in before the pixels."""
    done, encoded = cv2.imencode(".png", _rgb_order(pixels))
    if not done:
        raise OutputError("OpenCV cannot encode the result as a PNG of 16 bits")
    data = encoded.tobytes()
    chunks = b""
    if photo.icc:
        chunks += _chunk(b"iCCP", b"icc\0\0" + zlib.compress(photo.icc))
    if photo.exif:
        chunks += _chunk(b"eXIf", photo.exif.removeprefix(b"Exif\0\0"))
    after_header = 8 + 4 + 4 + 13 + 4
    return data[:after_header] + chunks + data[after_header:]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def check_out(out: Path, force: bool, inputs: Sequence[Path | None] = ()) -> None:
    """Raise an error for a result that could not be written, or would replace an input, before any work.

    inputs: the files that are read. They are never overwritten, not even with `force`.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{out}: expected a name that ends in {', '.join(SUFFIXES)}; PNG and WebP are lossless")
    try:
        for path in inputs:
            if path is not None and path.exists() and out.exists() and out.samefile(path):
                raise UsageError(f"{out} is the same file as the input {path}: give another --out, so that it is kept")
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from error
    check_writable(out, force)


def check_writable(out: Path, force: bool) -> None:
    """Raise an error for a file that could not be written, or that exists already."""
    try:
        if out.is_dir():
            raise OutputError(f"{out} is a folder: give the name of a file as --out")
        if out.exists() and not out.is_file():
            raise OutputError(f"{out} is a pipe or a device: give the name of a file as --out")
        if (out.exists() or out.is_symlink()) and not force:
            raise OutputError(f"{out} exists already: give another --out, or --force to overwrite it")
        if not out.parent.is_dir():
            raise OutputError(f"{out.parent} is not a folder: make it first, or give another --out")
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror}") from error
    if not os.access(out.parent, os.W_OK | os.X_OK):
        raise OutputError(f"{out.parent} cannot be written to: give another --out")


def read_input(path: Path) -> bytes:
    """Read a file that the user names. Raises `SourceError` if it cannot be read, or is a pipe or a device."""
    try:
        return read_regular(path)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def doubt(photo: Image, mask: Mask, result: Image) -> str | None:
    """What makes a result look like a failure, in words; None for an ordinary one.

    A few pixels, or a photo of one colour, say nothing.
    """
    inside = result[mask]
    if len(inside) < FEWEST or (photo == photo[0, 0]).all():
        return None
    if (inside == photo[mask]).all():
        return "the result is the photo: no pixel of the mask has changed"
    if (inside == inside[0]).all():
        if mask.all():
            return "the mask with its rim covers the whole photo: there is nothing to fill it with"
        return f"the mask is filled with one flat colour, {tuple(inside[0].tolist())}: the model may be broken"
    return None
