"""Mask2Former: a function from photos to panoptic maps."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from olrd.arrays import Ids, Image, resize_ids
from olrd.masks import mask_box
from olrd.models.checkpoints import choose_device, load_model, load_processor, local_folder, require
from olrd.models.coco_categories import label_categories
from olrd.panoptic import Category, Segment

CHECKPOINT = "facebook/mask2former-swin-base-coco-panoptic"
THRESHOLD = 0.8
"""Smallest score of a segment (from the official COCO panoptic configuration)."""
OVERLAP = 0.8
"""Smallest share of its mask that a segment must win against the others (official)."""
LONGEST_SIDE = 2048
"""Longest side at which maps are computed; maps of larger photos are enlarged. Nothing is lost, because the network's
masks are smaller (96 x 96 by default), and memory stays bounded."""


class Segmentation(NamedTuple):
    """A panoptic map (uint32 [H, W], 0 = void) and its segments with exact areas and boxes."""

    ids: Ids
    segments: tuple[Segment, ...]


class Mask2FormerSegmenter:
    """A loaded Mask2Former checkpoint.

    Args:
        checkpoint: hub name or local folder.
        revision: a commit, tag or branch to pin.
        device: auto, cpu, cuda, cuda:N, mps.
        threshold: smallest score of a segment, 0 to 1.
        things: names of the countable labels, for checkpoints whose configuration does not say.
        local_files_only: read the hub's cache alone. Otherwise what is missing there is downloaded.

    Raises:
        SourceError: the checkpoint cannot be loaded.
        UsageError: the device does not exist, or the things are not known.
        MissingExtraError: torch or transformers is not installed.
    """

    def __init__(
        self,
        checkpoint: str = CHECKPOINT,
        revision: str | None = None,
        device: str = "auto",
        threshold: float = THRESHOLD,
        things: Collection[str] | None = None,
        local_files_only: bool = False,
    ) -> None:
        what = "segmenting photos with Mask2Former"
        transformers = require("transformers", what)
        self.device, self.threshold = choose_device(device, what), threshold
        # The folder and not the name: transformers asks the hub about some files even with local_files_only.
        source = local_folder(checkpoint, revision) if local_files_only else checkpoint
        self._processor = load_processor(transformers.AutoImageProcessor, source, revision)
        model_class = transformers.Mask2FormerForUniversalSegmentation
        self._model = load_model(model_class, source, revision).to(self.device)
        config = self._model.config
        self.commit: str | None = getattr(config, "_commit_hash", None)
        stuff = getattr(config, "label_ids_to_fuse", None)
        self._labels = label_categories(checkpoint, config.id2label, things, stuff)

    @property
    def categories(self) -> list[Category]:
        """The categories that segments can have, in the order of their ids."""
        return sorted(self._labels.values())

    def segment(self, photos: Sequence[Image]) -> list[Segmentation]:
        """Segment photos (uint8 [H, W, 3], any sizes) in the order given."""
        import torch

        results: dict[int, Segmentation] = {}
        for numbers, pixels in _same_shape(self._prepare(photo) for photo in photos):
            with torch.inference_mode():
                outputs = self._model(pixel_values=torch.stack(pixels).to(self.device))
                for number, classes, masks in zip(
                    numbers, outputs.class_queries_logits, outputs.masks_queries_logits, strict=True
                ):
                    size = photos[number].shape[:2]
                    numbered, labels = panoptic_inference(
                        classes.float(), masks.float(), _bounded(size), self.threshold
                    )
                    results[number] = to_segmentation(numbered, labels, self._labels, size)
        return [results[number] for number in range(len(photos))]

    def _prepare(self, photo: Image) -> Any:
        """The network's input for one photo. Each photo is prepared alone, because a batch would pad it."""
        own = np.array(photo)  # a copy, because torch warns about read-only arrays
        inputs = self._processor(images=own, input_data_format="channels_last", return_tensors="pt")
        return inputs["pixel_values"][0]


def _same_shape(inputs: Iterable[Any]) -> list[tuple[list[int], list[Any]]]:
    """Group network inputs (tensors) by shape, each with the number of its photo."""
    groups: dict[tuple[int, ...], tuple[list[int], list[Any]]] = {}
    for number, tensor in enumerate(inputs):
        numbers, tensors = groups.setdefault(tuple(tensor.shape), ([], []))
        numbers.append(number)
        tensors.append(tensor)
    return list(groups.values())


def _bounded(size: tuple[int, ...]) -> tuple[int, int]:
    """(height, width), reduced if the longer side is above `LONGEST_SIDE`."""
    scale = min(1.0, LONGEST_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def panoptic_inference(
    class_logits: Any, mask_logits: Any, size: tuple[int, int], threshold: float
) -> tuple[npt.NDArray[np.int32], dict[int, int]]:
    """The rule of the Mask2Former authors from queries to segments: one segment per query, stuff not yet fused.

    `post_process_panoptic_segmentation` of transformers differs in two ways that harm cut-outs. A segment gets every
    pixel that it wins, even outside its own mask, so that there is no void. And with fused stuff two segments can
    get the same id (its issue 23461).

    Args:
        class_logits: [Q, labels + 1]; the last column is "no object".
        mask_logits: [Q, h, w].
        size: (height, width) of the map.

    Returns:
        The map, 0 = void, and the label of each value k > 0.
    """
    import torch

    numbered = torch.zeros(size, dtype=torch.int32, device=mask_logits.device)
    found: dict[int, int] = {}
    scores, labels = class_logits.softmax(-1).max(-1)
    kept = (labels != class_logits.shape[-1] - 1) & (scores > threshold)
    if kept.any():
        logits = mask_logits[kept][None]
        masks = torch.nn.functional.interpolate(logits, size, mode="bilinear")[0].sigmoid_()
        winner = (masks * scores[kept, None, None]).argmax(0)
        for number, label in enumerate(labels[kept].tolist()):
            inside, won = masks[number] >= 0.5, winner == number
            segment = inside & won
            if segment.any() and won.sum() >= OVERLAP * inside.sum():
                found[len(found) + 1] = label
                numbered.masked_fill_(segment, len(found))
    return numbered.cpu().numpy(), found


def to_segmentation(
    numbered: npt.NDArray[Any], labels: Mapping[int, int], categories: Mapping[int, Category], size: tuple[int, ...]
) -> Segmentation:
    """One segment for each thing and one for each class of stuff, at the photo's size.

    Args:
        numbered: [h, w]; values above 0 are keys of `labels`, the rest is void.
        labels: the label of each value.
        categories: the category of each label.
        size: the photo's (height, width, ...).
    """
    segment_of: dict[tuple[int, int], int] = {}
    table = np.zeros(max(labels, default=0) + 1, np.uint32)
    for number, label in labels.items():
        category = categories[label]
        key = (category.id, number if category.isthing else 0)
        table[number] = segment_of.setdefault(key, len(segment_of) + 1)
    small = table[np.maximum(numbered, 0).astype(np.intp)]
    index = small if small.shape == tuple(size[:2]) else resize_ids(small, (size[1], size[0]))
    ids = np.zeros(index.shape, np.uint32)
    segments = []
    for (category_id, _), number in segment_of.items():
        mask = index == number
        if mask.any():
            np.copyto(ids, np.uint32(colour_id(number)), where=mask)
            area = int(np.count_nonzero(mask))
            segments.append(Segment(colour_id(number), category_id, area, mask_box(mask)))
    return Segmentation(ids, tuple(segments))


def colour_id(number: int) -> int:
    """A segment id for 1, 2, 3, ... whose colour in the PNG differs visibly from its neighbours'.

    Multiplying by an odd number is one-to-one below 2**24 and never gives 0.
    """
    return number * 0x9E3779 % (1 << 24)
