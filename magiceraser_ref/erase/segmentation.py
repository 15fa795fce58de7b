"""Panoptic maps: given with the photo, made by Mask2Former, or none.

The paper segments the *input*, which still contains the object (section 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from baselines.eraser import WeightsMissingError
from olrd.arrays import Ids, Image
from olrd.errors import SourceError, UsageError, did_you_mean
from olrd.panoptic import Category, PanopticMap, Segment
from olrd.progress import say

Categories = Mapping[int, Category]
"""Meaning of a map's category numbers."""
KINDS = ("given", "mask2former", "none")


class Mapped(NamedTuple):
    """A photo's panoptic map, or None, and the meaning of its category numbers."""

    panoptic: PanopticMap | None
    categories: Categories


class Found(Protocol):
    """The result of a network for one photo (`olrd.models.mask2former.Segmentation`)."""

    @property
    def ids(self) -> Ids: ...
    @property
    def segments(self) -> tuple[Segment, ...]: ...


class Network(Protocol):
    """A panoptic network (`olrd.models.mask2former.Mask2FormerSegmenter`)."""

    @property
    def categories(self) -> Sequence[Category]: ...

    def segment(self, photos: Sequence[Image]) -> Sequence[Found]:
        """Segment photos, uint8 [H, W, 3] each."""


class Segmenter:
    """Provides the panoptic maps of photos.

    Args:
        kind: `given` (the map that comes with a photo), `mask2former` (the given map, or else the network's) or `none`.
        device: Device of the network.
        open_network: Opens the network on first use; by default Mask2Former.
    """

    def __init__(
        self, kind: str = "given", device: str = "auto", open_network: Callable[[], Network] | None = None
    ) -> None:
        if kind not in KINDS:
            raise did_you_mean("segmenter", kind, KINDS)
        self.kind, self._device, self._open = kind, device, open_network or self._mask2former
        self._network: Network | None = None
        self._said = False

    def maps(
        self,
        images: Sequence[Image],
        panoptic: Sequence[PanopticMap | None] | None,
        categories: Categories | Sequence[Categories | None] | None,
    ) -> list[Mapped]:
        """Return one `Mapped` per photo.

        Args:
            images: uint8 [H, W, 3] each.
            panoptic: The given map of each photo, or None.
            categories: Meaning of the category numbers, for all photos or one per photo.

        Raises:
            UsageError: If a given map has no categories.
            WeightsMissingError: If the network has no weights. No map is never used in its place.
        """
        given: list[PanopticMap | None] = [None] * len(images)
        if panoptic is not None and self.kind != "none":
            given = list(panoptic)
        meanings: Sequence[Categories | None] = [None] * len(given)
        if isinstance(categories, Mapping):
            meanings = [categories] * len(given)
        elif categories is not None:
            meanings = categories
        found = []
        for one, meaning in zip(given, meanings, strict=True):
            if one is not None and not meaning:
                raise UsageError(
                    "a panoptic map needs categories: what its category numbers mean; for COCO's, "
                    "{c.id: c for c in olrd.models.coco_categories.coco_categories().values()}"
                )
            found.append(Mapped(one, meaning or {}))
        lacking = [number for number, one in enumerate(found) if one.panoptic is None]
        if lacking and self.kind == "mask2former":
            self._network = self._network or self._open()
            known = {category.id: category for category in self._network.categories}
            maps = self._network.segment([images[number] for number in lacking])
            for number, seen in zip(lacking, maps, strict=True):
                found[number] = Mapped(PanopticMap(seen.ids, seen.segments), known)
        return found

    def say_once(self) -> None:
        """Tell the user, once, that refocusing runs without a map."""
        if not self._said:
            self._said = True
            say(
                "no panoptic map of the photo: attention refocusing cannot avoid objects that are like the erased one; "
                "to change this, give a map (panoptic) or choose the segmenter mask2former"
            )

    def _mask2former(self) -> Network:
        from olrd.models.mask2former import CHECKPOINT, Mask2FormerSegmenter

        try:
            return Mask2FormerSegmenter(device=self._device, local_files_only=True)
        except SourceError as error:
            raise WeightsMissingError(
                f"the segmenter mask2former has no weights that can be used: {error}. Get them with `hf download "
                f"{CHECKPOINT}`, give a panoptic map, or give the segmenter none"
            ) from error
