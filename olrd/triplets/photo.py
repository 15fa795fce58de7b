"""A photo at working size: decoded on first use, resized if needed, and its stored form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from olrd.arrays import (
    MAX_PIXELS,
    Image,
    decode_photo,
    encode_image,
    image_name,
    photo_header,
    resize_image,
    working_size,
)
from olrd.errors import Rejected
from olrd.storage.files import sha256


@dataclass(frozen=True)
class WorkingPhoto:
    """A photo at working size.

    Attributes:
        data: the photo's own file.
        file_name: for messages.
        icc: its colour profile, if any.
        original: whether every reader of `data` sees exactly `pixels`.
        full_size: (width, height) before resizing.
        shape: (height, width) at working size.
        max_pixels: the limit on its size.
    """

    data: bytes
    file_name: str
    icc: bytes | None
    original: bool
    full_size: tuple[int, int]
    shape: tuple[int, int]
    max_pixels: int

    def decode(self) -> None:
        """Decode the pixels now. Raises `Rejected` for damaged data."""
        _ = self.pixels

    @cached_property
    def pixels(self) -> Image:
        """uint8 [H, W, 3]. Decoded on first use, because many photos have no room for an object and are never needed.
        Raises `Rejected` for damaged data."""
        pixels = decode_photo(self.data, self.file_name, self.max_pixels).pixels
        if pixels.shape[:2] == self.shape:
            return pixels
        return resize_image(pixels, (self.shape[1], self.shape[0]))

    @cached_property
    def file_sha256(self) -> str:
        """The hash of the photo's own file."""
        return sha256(self.data)

    @cached_property
    def pixels_sha256(self) -> str:
        """The hash of the pixels' bytes."""
        return sha256(self.pixels.data)

    @cached_property
    def lossless(self) -> bytes:
        """The lossless copy, encoded once for all triplets on this photo."""
        return encode_image(self.pixels, self.icc)

    def stored(self, name: str) -> dict[str, bytes | str]:
        """A column of pictures: the photo's own file if every reader sees the same pixels in it, else a lossless
        copy called `name` (the photo was resized or converted, or has an EXIF orientation that some readers ignore)."""
        if self.original:
            return {"bytes": self.data, "path": self.file_name.rpartition("/")[2]}
        return {"bytes": self.lossless, "path": image_name(name, self.lossless)}


def working_photo(data: bytes, file_name: str, size: int | None, max_pixels: int = MAX_PIXELS) -> WorkingPhoto:
    """Open a photo. size: its short side at working size, or None for the native size. Raises `Rejected`."""
    header = photo_header(data, file_name, max_pixels)
    width, height = full = header.size
    if size is not None and min(full) != size:
        width, height = working_size(*full, size)
        if width * height > max_pixels:
            raise Rejected(
                "photo_too_large",
                f"{file_name}: {full[0]} x {full[1]} becomes {width} x {height} with --size {size}, more than the "
                f"allowed {max_pixels} pixels (--max-pixels raises the limit)",
            )
    original = header.plain and header.orientation == 1 and (width, height) == full
    shape = height, width
    return WorkingPhoto(data, file_name, header.icc, original, full, shape, max_pixels)
