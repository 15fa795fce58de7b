"""What cards and Croissant files say of a set in which nothing is pasted: objects as photographed, backgrounds as seen."""

from __future__ import annotations

from typing import Any

from olrd.sources import SEEN
from olrd.trust import counted

CARD = (
    "photos of objects where they stood, and what was seen behind them at another time. `mask` is the object, `effect` all "
    "that changed with it, shadow and reflection too. `background` is the photo with a clean plate laid over the effect: "
    "outside `effect`, `image` equals `background` bit for bit. `image_id` names the clip or place, `donor_image_id` the "
    "photo."
)
DESCRIPTION = (
    "of the source {source} with an object. The truth is the photo with what was seen behind the object at another "
    "time, laid over all that changed with it."
)
COLUMNS = {
    "image": "the photo with the object",
    "mask": "1-bit; 1 = the object",
    "effect": "1-bit; 1 = all that changed with the object, shadow and reflection too; it contains the mask",
    "background": "the ground truth: equal to image outside the effect, and what was seen behind the object inside",
    "bbox": "x, y, width, height of the object in pixels",
    "source_bbox": "the same as bbox: the object was not moved",
    "license": "licence of the photo (SPDX where it has a code)",
    "donor_license": "the same as license",
}
STEPS = [
    "The pictures of a place were fitted to each other: motion and light were estimated and undone. The clean plate is, per "
    "pixel, what most of them show.",
    "Objects were found by the difference from the plate, or by the masks of the source where it has them. The effect is all "
    "that changed with the object. What could not be fitted, or was doubtful, was left out and counted.",
    "Outside the effect, the ground truth equals the photo bit for bit. The photo is stored as its own file, or as a lossless "
    "copy where it was resized, rotated or taken from a video.",
    "Splits are by clip or place.",
]
_FIELDS: dict[str, Any] = {
    "rai:dataPreprocessingProtocol": STEPS,
    "rai:dataManipulationProtocol": (
        "The photos with objects are not changed. The ground truth of each is manipulated: a clean plate was laid over the object "
        "and its effect: it shows a moment that was never photographed."
    ),
    "rai:dataAnnotationProtocol": [
        "Masks of objects and of their effects are computed from the difference of photo and plate, or are those of the source "
        "where it has some. No person labelled anything for this dataset."
    ],
    "rai:dataAnnotationAnalysis": [
        "`olrd verify` compares every effect with photo and ground truth, pixel by pixel. On scenes drawn in code, masks and effects "
        "overlap the true ones by 0.9 and 0.8 at least (intersection over union). Those of this dataset were not checked by people."
    ],
    "rai:annotationsPerItem": "2 masks, of the object and of its effect",
    "rai:dataLimitations": [
        "The plate was seen at another time: light, leaves and water can differ a little inside the effect.",
        "An object that looks like a shadow of the place, or has its colour, can be found in part.",
        "Things that touch, or whose shadows touch, are one object.",
        "A change that is weaker than the noise, such as the end of a soft shadow, stays in the ground truth.",
        "All photos of a clip show one place.",
    ],
    "rai:dataUseCases": [
        "Training and evaluating the removal of objects with their shadows and reflections: what is behind them was seen.",
        "Not for judging how a method treats places of other kinds than those of the clips.",
        "Not for detecting manipulated photos in the wild: all ground truths are made by one program.",
    ],
}
BIAS = "Only objects are used that come or go between pictures of a place, and whose background is seen often enough."
ROW = "a triplet: photo, mask, effect, ground truth"
RAW = "The photo of a row is stored unchanged, or as a lossless copy if it was resized, rotated or taken from a video."
PLACE, PLACES = "clip or place", "clips or places"


def places(number: int, background_kind: str) -> str:
    """The number of different `image_id`: photos, or what takes their place where the background was seen."""
    return counted(number, PLACE, PLACES) if background_kind == SEEN else counted(number, "photo")


def without(background_kind: str) -> str:
    """What photos that were read and not used are without."""
    return "without a triplet" if background_kind == SEEN else "without a movable object"


def fields(source: str) -> dict[str, Any]:
    """The RAI fields that differ from those of a set with pasted objects. source: its name as plain text."""
    return _FIELDS | {
        "rai:dataCollectionRawData": f"Pictures or videos of {source}; their hashes are in the recipes.",
        "rai:annotatorDemographics": [f"If people drew masks of {source}, who they were is not recorded in the build."],
    }
