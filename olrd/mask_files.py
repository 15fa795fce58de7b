"""Masks as files: one rule for what editors, labelling tools and datasets write.

`read_mask` decides which part of a picture is the mask, says what it took, and refuses a picture with two meanings.
docs/formats.md has the table of everything that is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from olrd.arrays import MAX_PIXELS, Mask, open_picture, resize_ids, upright
from olrd.errors import Rejected, UsageError
from olrd.trust import decoding

Levels = npt.NDArray[Any]

SPREAD = 16
"""Largest difference of channels, in grey levels, within one colour: JPEG and resampling make that much."""
PLATEAU = 0.02, 0.1
"""A level between the lowest and the highest one that covers this share of the picture, and of what is not the lowest
level, is a label. The levels of a soft edge cover less."""
DARK = 48
"""Highest level of what counts as black beside coloured strokes."""


@dataclass(frozen=True)
class MaskChoice:
    """What a user says about masks that have more than one meaning.

    Attributes:
        part: `alpha`, `luminance`, `index:N` (the label N, or the palette's entry N), or None: the reader decides.
        invert: True pixels become False and the other way round.
        threshold: levels of 8 bits above it are True; None: half of the range.
    """

    part: str | None = None
    invert: bool = False
    threshold: int | None = None

    def __post_init__(self) -> None:
        if self.part is not None and not re.fullmatch(r"alpha|luminance|index:\d{1,5}", self.part):
            raise UsageError(f"--mask-from expects alpha, luminance or index:N, got '{self.part}'")
        if self.threshold is not None and not 0 <= self.threshold <= 254:
            raise UsageError(f"the mask threshold must be a grey level from 0 to 254, got {self.threshold}")


class MaskRead(NamedTuple):
    """A mask and what was read.

    Attributes:
        mask: bool [H, W], True = erase.
        kind: what was taken, e.g. `alpha of RGBA`.
        warnings: sentences about a mask that is probably not what is meant.
    """

    mask: Mask
    kind: str
    warnings: tuple[str, ...]

    @property
    def taken(self) -> str:
        """`alpha of RGBA, 3.1 % of the photo`. A share that would round to 0.0 has two digits: `0.012 %`."""
        percent = 100 * float(self.mask.mean()) if self.mask.size else 0.0
        share = f"{percent:.1f}" if percent >= 0.05 or not percent else f"{percent:.2g}"
        return f"{self.kind}, {share} % of the photo"


def read_mask(
    data: bytes,
    name: str = "mask",
    size: tuple[int, int] | None = None,
    choice: MaskChoice | None = None,
    max_pixels: int = MAX_PIXELS,
) -> MaskRead:
    """Read a mask file.

    Args:
        data: the file, in any of `olrd.trust.PICTURE_FORMATS`.
        name: of the file, for messages.
        size: (width, height) of the photo. A mask of the same shape in another size is resized (nearest).
        choice: what the user says about it.
        max_pixels: the largest number of pixels.

    Raises:
        Rejected: `panoptic_unreadable` if the file is damaged, is no mask, or has two meanings; then the message names
            both and the option that chooses. `panoptic_size` if its shape is not the photo's.
    """
    choice = choice or MaskChoice()
    picture = open_picture(data, name, "panoptic", max_pixels)
    with decoding("panoptic_unreadable", name):
        image = upright(picture)
    lossy = picture.format == "JPEG" or (picture.format == "WEBP" and data[12:16] == b"VP8 ")
    mask, kind = _chosen(image, choice, name) if choice.part else _Reader(name, lossy, choice.threshold).read(image)
    if choice.invert:
        mask, kind = ~mask, f"{kind}, inverted"
    if size is not None and mask.shape != size[::-1]:
        kind = f"{kind}, resized from {mask.shape[1]} x {mask.shape[0]}"
        mask = _fitted(mask, size, name)
    mask = np.ascontiguousarray(mask)
    return MaskRead(mask, kind, _warnings(mask))


@contextmanager
def options_named(flag: str) -> Iterator[None]:
    """Refusals of `read_mask` name the option `mask_from` of a source or of a data set, not that of `olrd-erase`.

    flag: what stands before it: `--source-option` or `--data-option`.
    """
    try:
        yield
    except Rejected as error:
        raise Rejected(error.code, str(error).replace("--mask-from ", f"{flag} mask_from=")) from error


def _refuse(name: str, text: str) -> Rejected:
    return Rejected("panoptic_unreadable", f"{name}: {text}")


def _warnings(mask: Mask) -> tuple[str, ...]:
    share = float(mask.mean()) if mask.size else 0.0
    if share == 0:
        return ("the mask covers nothing",)
    if share == 1:
        return ("the mask covers the whole photo",)
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    if share > 0.5 and border.mean() > 0.75:
        return (f"the mask covers {100 * share:.0f} % of the photo, with its border",)
    return ()


def _fitted(mask: Mask, size: tuple[int, int], name: str) -> Mask:
    """The mask in the size (width, height). Its aspect may differ by one pixel of rounding."""
    width, height = size
    if abs(mask.shape[0] * width / mask.shape[1] - height) > 1.0:
        raise Rejected(
            "panoptic_size",
            f"{name}: the mask is {mask.shape[1]} x {mask.shape[0]} pixels, the photo {width} x {height}: another shape",
        )
    return resize_ids(mask, size)


def _chosen(image: Pillow.Image, choice: MaskChoice, name: str) -> tuple[Mask, str]:
    """The part that the user names."""
    assert choice.part is not None
    part, _, number = choice.part.partition(":")
    above = 127 if choice.threshold is None else choice.threshold
    if part == "luminance":
        return np.asarray(_plain(image).convert("L")) > above, f"luminance of {image.mode}"
    if part == "alpha":
        if not image.has_transparency_data:
            raise _refuse(name, f"expected an alpha channel, got mode {image.mode}")
        return np.asarray(image.convert("RGBA"))[..., 3] > above, f"alpha of {image.mode}"
    if image.mode not in ("1", "L", "P", "I", "I;16", "I;16B", "I;16L"):
        raise _refuse(name, f"index:{number} needs a grey or palette picture, got mode {image.mode}")
    return np.asarray(image) == int(number), f"index {number} of {image.mode}"


def _plain(image: Pillow.Image) -> Pillow.Image:
    """The colours without alpha: what is transparent keeps its stored colour."""
    if image.mode == "P":
        return image.convert("RGB")
    return image.convert("L") if image.mode == "LA" else image.convert("RGB") if image.mode == "RGBA" else image


def _counted(levels: Levels) -> tuple[Levels, Levels]:
    """The different values and how often each occurs."""
    if levels.dtype == np.uint8:  # far faster than sorting
        counts = np.bincount(levels.ravel(), minlength=256)
        values = np.flatnonzero(counts)
        return values, counts[values]
    return np.unique(levels, return_counts=True)


def _packed(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Colours [..., 3] as numbers 0xRRGGBB."""
    wide = colours.astype(np.uint32)
    return np.bitwise_or(wide[..., 0] << np.uint32(16), wide[..., 1] << np.uint32(8)) | wide[..., 2]


def _one_colour(colours: npt.NDArray[np.uint8]) -> bool:
    """Whether there are colours [N, 3], and all are the same."""
    return bool(len(colours) and (colours == colours[0]).all())


@dataclass(frozen=True)
class _Reader:
    """Reads the mask of one picture. lossy: its levels are not those that were drawn."""

    name: str
    lossy: bool
    threshold: int | None

    def read(self, image: Pillow.Image) -> tuple[Mask, str]:
        """The mask and its kind."""
        mode = image.mode
        if mode == "1":
            return np.asarray(image.convert("L")) > 0, "1-bit"
        if image.has_transparency_data:
            return self.of_alpha(image)
        if mode == "P":
            return self.of_palette(image)
        if mode in ("L", "I", "F") or mode.startswith("I;16"):
            levels = np.asarray(image)
            deep = mode != "L" and bool(levels.size and levels.max(initial=0) > 255)
            return self.of_levels(levels, 65535 if deep else 255), "16-bit grey" if mode.startswith("I") else "grey"
        if mode in ("RGB", "CMYK", "YCbCr", "LAB", "HSV"):
            return self.of_colours(image.convert("RGB"), mode)
        raise _refuse(self.name, f"a picture of mode {mode} is no mask that can be read; save it as grey")

    def of_levels(self, levels: Levels, top: int) -> Mask:
        """The mask of grey levels from 0 to `top`: two values as they are, more values above half of the range."""
        values, counts = _counted(levels)
        if not np.isfinite(values).all():
            raise _refuse(self.name, "it holds values that are not finite")
        if self.threshold is not None:
            return levels > self.threshold * top / 255
        low, high = values[0], values[-1]
        if self.lossy and high <= SPREAD:
            return np.zeros(levels.shape, np.bool_)
        if len(values) <= 2 and not self.lossy:
            return levels == high if high > 0 else np.zeros(levels.shape, np.bool_)
        if high <= top // 2 or (not self.lossy and self._has_labels(counts, levels.size)):
            some = ", ".join(f"{value:g}" for value in values[:6])
            raise _refuse(
                self.name,
                f"the grey levels {some}{', ...' if len(values) > 6 else ''} may be labels or a soft mask. Choose with "
                "--mask-from index:N (one label) or --mask-from luminance (above half)",
            )
        return levels > top // 2 if low <= top // 2 else np.ones(levels.shape, np.bool_)

    def _has_labels(self, counts: Levels, size: int) -> bool:
        between, marked = counts[1:-1], counts[1:].sum()
        return bool((between >= max(PLATEAU[0] * size, PLATEAU[1] * marked)).any())

    def of_strokes(self, alpha: npt.NDArray[np.uint8]) -> Mask:
        """The mask of strokes of one colour: what is more opaque than half of the most opaque stroke.

        Brushes are often half transparent, and strokes that cross are more opaque than one alone.
        """
        if self.threshold is not None:
            return alpha > self.threshold
        values, counts = _counted(alpha)
        half = int(values[-1]) // 2
        if len(values) > 2 and self._has_labels(np.where(values > half, 0, counts), alpha.size):
            raise _refuse(
                self.name,
                f"its strokes have several opacities, from {values[values > 0][0]} to {values[-1]} of 255, so it does "
                "not say what is marked. Save opaque strokes, or take the most opaque ones with --mask-from alpha",
            )
        return alpha > half if len(values) > 2 else alpha == values[-1]

    def of_colours(self, image: Pillow.Image, mode: str) -> tuple[Mask, str]:
        """The mask of an RGB picture: grey, or coloured strokes on black."""
        pixels = np.asarray(image)
        high = pixels.max(axis=-1)
        if (high - pixels.min(axis=-1)).max(initial=0) <= (SPREAD if self.lossy else 0):
            return self.of_levels(np.asarray(image.convert("L")), 255), f"grey of {mode}"
        black = high <= DARK
        if not self.lossy and _one_colour(pixels[black]) and _one_colour(pixels[~black]):
            return ~black, f"colour on black of {mode}"
        between = (high > DARK) & (high < 128)
        if black.mean() < 0.1 or between.mean() > 0.1:
            raise _refuse(
                self.name,
                f"a picture of mode {mode} without much black or white is a photo and no mask. Expected white, or one colour, "
                "on black; for a photo with a hole save the alpha channel",
            )
        if not self.lossy and len(colours := self._plateaus(pixels, black)) > 1:
            shown = ", ".join(f"#{colour:06x}" for colour in colours[:4])
            raise _refuse(
                self.name,
                f"the colours {shown} on black may be several classes, or one mask. Save the class that you mean as "
                "white on black, or choose all of them with --mask-from luminance",
            )
        return high >= 128, f"colour on black of {mode}"

    def _plateaus(self, pixels: npt.NDArray[np.uint8], black: Mask) -> list[int]:
        """The colours, as 0xRRGGBB, that cover a share of the picture that no soft edge does."""
        packed = _packed(pixels)[~black]
        colours, counts = np.unique(packed, return_counts=True)
        least = max(PLATEAU[0] * black.size, PLATEAU[1] * packed.size)
        return [int(colour) for colour in colours[counts >= least]]

    def of_palette(self, image: Pillow.Image) -> tuple[Mask, str]:
        """The mask of a palette picture: its only entry other than 0. A palette of greys is read as grey."""
        indices = np.asarray(image)
        used = np.unique(indices).tolist()
        colours = np.asarray(image.convert("RGB"))
        if (colours.max(axis=-1) == colours.min(axis=-1)).all() and colours.max(initial=0) > 127:
            return self.of_levels(colours[..., 0], 255), "grey palette"
        marked = [index for index in used if index != 0]
        if len(marked) > 1:
            raise _refuse(
                self.name,
                f"the palette entries {', '.join(map(str, marked[:8]))} may be several objects or classes. Choose one "
                "with --mask-from index:N",
            )
        return indices != 0, f"palette entry {marked[0]}" if marked else "palette"

    def of_alpha(self, image: Pillow.Image) -> tuple[Mask, str]:
        """The mask of a picture with an alpha channel.

        Strokes of one colour on transparent ground are the mask. In a photo with a transparent hole, the hole is. An
        alpha channel that is the same everywhere says nothing.
        """
        pixels = np.asarray(image.convert("RGBA"))
        alpha, colours = pixels[..., 3], pixels[..., :3]
        if alpha.size and alpha.min() == alpha.max():
            if alpha.max() == 0:
                raise _refuse(self.name, "it is transparent everywhere, so it marks nothing")
            return self.read(_plain(image))
        visible = colours[alpha > 0].astype(np.int16)
        kind = f"alpha of {image.mode}"
        if np.ptp(visible, axis=0).max() <= SPREAD:
            return self.of_strokes(alpha), kind
        if len(np.unique(_packed(colours))) == 2:
            raise _refuse(
                self.name,
                "both its alpha and its colours are masks, and they differ. Choose with --mask-from alpha or "
                "--mask-from luminance",
            )
        return alpha <= 127, f"hole in the {kind}"
