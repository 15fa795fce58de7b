"""A photo at working size: decoded, resized if asked, and what its stored form will be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from olrd.arrays import MAX_PIXELS, Image, decode_photo, encode_image, image_name, resize_image
from olrd.files import sha256


@dataclass(frozen=True)
class WorkingPhoto:
    """pixels: uint8 [H, W, 3]. data: the photo's own file. icc: its colour profile, if any.
    original: whether every reader of `data` sees exactly `pixels`. full_size: (width, height)
    before resizing."""

    pixels: Image
    data: bytes
    file_name: str
    icc: bytes | None
    original: bool
    full_size: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) at working size."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def stored(self, name: str) -> dict[str, bytes | str]:
        """The `background` column: the photo's own file where that gives the same pixels, else (it
        was resized, or has an EXIF rotation that some readers ignore) a lossless copy."""
        if self.original:
            return {"bytes": self.data, "path": self.file_name.rpartition("/")[2]}
        return {"bytes": self.lossless, "path": image_name(f"{name}-background", self.lossless)}

    @cached_property
    def pixels_sha256(self) -> str:
        """The hash of the pixels' bytes."""
        return sha256(self.pixels.data)

    @cached_property
    def lossless(self) -> bytes:
        """The lossless copy, encoded once for all triplets on this photo."""
        return encode_image(self.pixels, self.icc)


def working_photo(
    data: bytes, file_name: str, size: int | None, max_pixels: int = MAX_PIXELS
) -> WorkingPhoto:
    """Decode a photo and bring its short side to `size` pixels. Raises `Rejected`."""
    photo = decode_photo(data, file_name, max_pixels)
    height, width = photo.pixels.shape[:2]
    if size is None or min(height, width) == size:
        return WorkingPhoto(
            photo.pixels, data, file_name, photo.icc, photo.as_stored, (width, height)
        )
    pixels = resize_image(photo.pixels, working_size(width, height, size))
    return WorkingPhoto(pixels, data, file_name, photo.icc, False, (width, height))


def working_size(width: int, height: int, size: int) -> tuple[int, int]:
    """(width, height) with the short side at `size`, aspect kept, rounded half up."""
    short = min(width, height)
    return (2 * width * size + short) // (2 * short), (2 * height * size + short) // (2 * short)
