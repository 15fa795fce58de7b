"""The folders of published sets of pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from olrd.errors import did_you_mean


class Layout(NamedTuple):
    """The folders of a published dataset.

    Attributes:
        photos, masks, truth: the folders; an empty `truth` for a set without truth.
        beside: masks may lie in the folder of the photos and are called `<photo>_mask...`; each mask is a sample with
            the mask's name as its id. The folders count only if they are there.
        invert: black means erase.
        effects: masks that hold the object's shadow or reflection. The folder counts only if it is there.
    """

    photos: str
    masks: str
    truth: str = ""
    beside: bool = False
    invert: bool = False
    effects: str = ""


LAYOUTS: Mapping[str, Layout] = {
    "plain": Layout("image", "mask", "gt"),
    "rord": Layout("img", "mask", "gt"),
    "removalbench": Layout("images", "masks", "gt"),
    "rorem": Layout("source", "mask", "GT"),
    "syn4removal": Layout("paste", "mask", "gt"),
    "lama": Layout("image", "mask", "gt", beside=True),
    "corne": Layout("shot", "mask_sam", "bg", effects="mask_eff"),
    "dor": Layout("images", "masks"),
    "mi-gan": Layout("images", "masks", invert=True),
}
"""The folders by the name of the dataset, or of the program whose evaluation reads them.

- `lama`: https://github.com/advimman/lama, saicinpainting/evaluation/data.py.
- `corne`: https://huggingface.co/datasets/QinmingZhou/CORNE-Val; `masks=mask_eff` erases the shadows too.
- `dor`: https://huggingface.co/datasets/qc1752/DOR-Bench.
- `mi-gan`: https://github.com/Picsart-AI-Research/MI-GAN, examples/; white is what is known, but for the masks of
  `places2_512_object` (`invert=no`).
"""

TRUTH_NAMES = {"gt", "truth", "ground_truth", "groundtruth", "target", "targets", "bg", "background", "clean"}
"""What a folder of truths is often called."""


def layout_of(name: str) -> Layout:
    """The layout of that name. Raises `UsageError` with the nearest one if there is none."""
    if name not in LAYOUTS:
        raise did_you_mean("layout", name, [*LAYOUTS, "ober"])
    return LAYOUTS[name]
