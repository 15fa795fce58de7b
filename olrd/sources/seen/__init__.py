"""Sources whose background is seen: a picture with an object, and pictures of the same place without it.

Nothing is pasted. The ground truth is the picture itself outside the object's effect, and a clean plate inside. The
plate is a pure function of its layers: other pictures of the place, each with the motion and the tone that fit it to
the picture. A recipe holds them, so that the pixels can be made again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from olrd.arrays import Image, Mask
from olrd.errors import UsageError
from olrd.panoptic import Box, Category, Record
from olrd.sources.seen.alignment import Motion
from olrd.sources.seen.tones import Tone
from olrd.trust import one_line

OBJECT = 1
"""The category id of the objects of a set without classes."""


def seen_categories(name: str) -> dict[int, Category]:
    """The categories of a set whose objects have one class. Raises `UsageError` for an empty name."""
    name = one_line(name)
    if not name:
        raise UsageError("source option category: expected a name, got none")
    both = Category(OBJECT, name, "object", True), Category(OBJECT + 1, "background", "unlabelled", False)
    return {category.id: category for category in both}


class PictureRef(NamedTuple):
    """Where a picture is.

    Attributes:
        file_name: relative to the root of the source.
        part: empty for a whole file, `frame:17` for a frame of a video, `row:17:COLUMN` for a cell of a Parquet file.
        sha256: of the file; of the picture's bytes for a cell.
    """

    file_name: str
    part: str
    sha256: str


class Layer(NamedTuple):
    """A picture of the place, and how it is fitted to the picture with the object.

    Attributes:
        picture: where it is.
        motion: from the coordinates of the picture with the object to those of this one; None if they are equal.
        tone: from the levels of this picture to those of the one with the object; None if they are equal.
    """

    picture: PictureRef
    motion: Motion | None
    tone: Tone | None


class Change(NamedTuple):
    """An object, found by what it changes. mask and effect: bool [H, W]; the effect contains the mask."""

    mask: Mask
    effect: Mask


class Seen(NamedTuple):
    """What is known of a picture and its place.

    Attributes:
        layers: of the plate.
        tolerance: see `olrd.sources.seen.plate.plate_of`.
        changes: the objects that can be used.
        rejected: the number of other changes, by reason.
        plate: the plate inside a box, uint8 [h, w, 3]: what `plate_of` gives for the layers.
    """

    layers: tuple[Layer, ...]
    tolerance: int
    changes: tuple[Change, ...]
    rejected: Counter[str]
    plate: Callable[[Box], Image]


class SeenSource(Protocol):
    """Pictures with objects in front of a background that is seen elsewhere, addressed by index in a fixed order.

    `background_kind` is `olrd.sources.SEEN`. The other members are those of `olrd.sources.Source`, without `panoptic`.
    """

    name: str
    background_kind: str
    fingerprint: str
    categories: Mapping[int, Category]

    def __len__(self) -> int:
        """Number of pictures with objects."""

    def image_id(self, index: int) -> str:
        """The id of picture `index`."""

    def scene_id(self, index: int) -> str:
        """The id of its scene (a clip, a place). All pictures of a scene are of one split."""

    def record(self, index: int) -> Record:
        """What is known of picture `index` without opening it."""

    def picture(self, index: int) -> PictureRef:
        """Where picture `index` is."""

    def photo_bytes(self, record: Record) -> bytes:
        """The picture's own file; a lossless copy if it is a frame of a video."""

    def skipped(self, index: int) -> str | None:
        """The reason to leave picture `index` out without opening it, or None."""

    def seen(self, index: int, pixels: Image, size: int | None) -> Seen:
        """The objects of picture `index` and its plate.

        Args:
            index: of the picture.
            pixels: the picture at working size, uint8 [H, W, 3].
            size: the short side at working size, or None.

        Raises:
            Rejected: the picture does not fit its place; the message has the figure.
        """
