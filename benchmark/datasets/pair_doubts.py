"""Signs that a set of pairs is not what it seems: what the samples show, and the sentences about it.

A sample carries them as facts, and a run counts them wherever its samples were read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from olrd.arrays import Image, Mask
from olrd.masks import grown

EMPTY, WIDE, SAME, ELSEWHERE = "mask_empty", "mask_over_half", "truth_equals_input_in_mask", "change_outside_mask"
DATA_DOUBTS = frozenset({EMPTY, WIDE, SAME, ELSEWHERE})
TAKEN = "mask: "
"""The beginning of the fact that says how a mask is read."""
_PLAIN = ("1-bit", "grey", "palette")
"""Beginnings of the ways to read a mask that need no word."""
FAR = 8
"""Pixels from the mask, from where on input and truth should be equal."""
NOISE = 2.0
"""Mean difference in grey levels up to which two pictures are the same one, stored twice."""
WINDOW = 9
"""Side in pixels of the windows over which pictures are averaged before they are compared."""


def doubts_of(image: Image, mask: Mask, truth: Image | None) -> dict[str, float]:
    """What is odd about a sample, as facts; empty if nothing is.

    Args:
        image, truth: uint8 [H, W, 3]; the truth may be None.
        mask: bool [H, W], True = erase.
    """
    facts: dict[str, float] = {}
    covered = int(np.count_nonzero(mask))
    if not covered:
        return {EMPTY: 1.0}
    if 2 * covered > mask.size:
        facts[WIDE] = 1.0
    if truth is None:
        return facts
    # Averaged over small windows, a picture that was stored twice as JPEG equals itself; an object stays.
    smooth = cv2.absdiff(cv2.blur(image, (WINDOW, WINDOW)), cv2.blur(truth, (WINDOW, WINDOW)))
    difference = cv2.absdiff(image, truth)
    inside, outside = _total(difference, mask), _total(difference, ~mask)
    if WIDE in facts and outside > NOISE * (mask.size - covered):
        return facts  # an inverted mask: what else is odd follows from it
    if _total(smooth, mask) <= NOISE * covered:
        return facts | {SAME: 1.0}
    far = drift(image, truth, mask) if outside > inside else {}
    return facts | far | {ELSEWHERE: 1.0} if far.get("input_truth_distance_outside") else facts


def _total(difference: Image, where: Mask) -> float:
    """The sum over a region of the mean over RGB."""
    return float(np.mean(cv2.mean(difference, where.view(np.uint8))[:3])) * int(np.count_nonzero(where))


def drift(image: Image, truth: Image, mask: Mask) -> dict[str, float]:
    """The difference of photo and truth farther than 8 pixels from the mask, where they should be equal.

    Returns:
        The mean signed and the mean absolute difference in grey levels; empty if no pixel is that far from the mask.
    """
    far = ~grown(mask, FAR, square=True)
    if not far.any():
        return {}
    difference = image[far].astype(np.int16) - truth[far].astype(np.int16)
    return {
        "input_minus_truth_outside": float(difference.mean()),
        "input_truth_distance_outside": float(np.abs(difference).mean()),
    }


def taken_fact(kind: str) -> dict[str, float]:
    """The fact that a mask is read in an unusual way. kind: of `olrd.mask_files.MaskRead`."""
    kind = kind.partition(", resized")[0]
    plain = kind.startswith(_PLAIN) and not kind.startswith("palette entry")
    return {} if plain else {f"{TAKEN}{kind}": 1.0}


def is_count(fact: str) -> bool:
    """Whether a fact is a number of samples."""
    return fact in DATA_DOUBTS or fact.startswith(TAKEN)


def data_warnings(samples: Sequence[Mapping[str, float]]) -> tuple[str, ...]:
    """The sentences about a set. samples: the facts of each sample that could be read."""
    count = {name: sum(name in facts for facts in samples) for name in DATA_DOUBTS}
    n = len(samples)
    of_all = f"of {n} sample" if n == 1 else f"of {n} samples"
    taken = Counter(name for facts in samples for name in facts if name.startswith(TAKEN))
    found = [f"masks are read as {name.removeprefix(TAKEN)} in {k} {of_all}" for name, k in sorted(taken.items())]
    if count[SAME] * 2 > n:
        found.append(
            f"truth and input are equal inside the mask in {count[SAME]} {of_all}: the truth still holds the "
            "object, and an eraser that does nothing scores best"
        )
    if count[ELSEWHERE] * 2 > n:
        far = [facts["input_truth_distance_outside"] for facts in samples if ELSEWHERE in facts]
        found.append(
            f"most of the difference between input and truth lies outside the mask in {count[ELSEWHERE]} "
            f"{of_all} ({np.mean(far):.1f} grey levels on average there; see facts): scores of the full picture measure "
            "it, not the eraser"
        )
    if count[EMPTY]:
        found.append(f"the mask is empty in {count[EMPTY]} {of_all}: nothing is erased there")
    if count[WIDE] * 2 > n:
        found.append(
            f"the mask covers over half of the picture in {count[WIDE]} {of_all}: check which colour means erase "
            "(--data-option invert=yes for black, invert=no for white)"
        )
    return tuple(found)
