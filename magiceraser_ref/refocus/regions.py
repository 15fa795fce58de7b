"""Which part of a picture is m, p or n: the three regions of attention refocusing (section 5).

m: the hole. p: the background. n: objects that are like the erased one. The paper's figure calls them
"designed rules" and does not define them, so every rule here is inferred. All other pixels are neutral and keep
ordinary attention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from magiceraser_ref.refocus.settings import VOIDS
from olrd.arrays import Ids, Mask
from olrd.errors import UsageError, did_you_mean
from olrd.panoptic import Category, PanopticMap, Segment, check_categories

Embed = Callable[[Sequence[str]], npt.NDArray[np.floating]]
"""Maps k names to float [k, d], one text embedding per row. The embeddings need not have unit length."""

RULES = ("similar", "rest", "text")
THRESHOLD = 0.8
"""Cosine similarity at which the rule `text` treats two names as alike (inferred)."""

M, P, N, NEUTRAL = range(4)
"""Codes of the classes in the order of the block matrices in the figure. The class neutral is ours."""


class Regions(NamedTuple):
    """The regions of refocused attention: bool [H, W] each, disjoint. A place in none of them is neutral.

    The size is that of the photo, of the latents or of one attention layer.

    Attributes:
        m: The mask of the object to erase.
        p: Background, towards which attention is raised.
        n: Things like the object, away from which attention is lowered.
    """

    m: Mask
    p: Mask
    n: Mask

    @property
    def classes(self) -> npt.NDArray[np.uint8]:
        """The class of each place, uint8 [H, W]: M, P, N or NEUTRAL."""
        codes = np.full(self.m.shape, NEUTRAL, np.uint8)
        for code, region in zip((M, P, N), self, strict=True):
            codes[region] = code
        return codes


def regions_of(
    mask: Mask,
    panoptic: PanopticMap | None,
    categories: Mapping[int, Category],
    erased: str | None = None,
    rule: str = "similar",
    *,
    void: str = "neutral",
    embed: Embed | None = None,
    threshold: float = THRESHOLD,
) -> Regions:
    """Make the regions of one photo, bool [H, W] of the mask's size.

    m is the mask; it takes precedence everywhere. p is all stuff outside the mask. n are some of the things outside the
    mask (crowds are things too), by `rule` (all inferred):

    - `similar` (default, by the words of the summary): those of the erased object's category or supercategory;
    - `rest` (as in the figure): all of them;
    - `text`: those whose name has an embedding with a cosine similarity of at least `threshold` to that of the erased
      category's name.

    Without a panoptic map, p is everything outside m and n is empty.

    Args:
        mask: bool [H, W], True = erase.
        panoptic: Panoptic map of the same size, or None.
        categories: Categories by their number.
        erased: Name of the erased object's category. None takes the thing category with most pixels under the mask; if
            there is none, `similar` and `text` leave n empty.
        rule: `similar`, `rest` or `text`.
        void: `neutral`, or `n` if unlabelled pixels belong to n.
        embed: Text embeddings, for the rule `text`.
        threshold: Cosine similarity, for the rule `text`.

    Raises:
        UsageError: If the sizes differ, a name is unknown or `embed` is missing.
        Rejected: If a segment has an unknown category.
    """
    if rule not in RULES:
        raise did_you_mean("region rule", rule, RULES)
    if void not in VOIDS:
        raise did_you_mean("treatment of void", void, VOIDS)
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise UsageError(f"the mask must be bool [H, W], True = erase; got {mask.dtype} {list(mask.shape)}")
    if panoptic is None:
        return Regions(mask, ~mask, np.zeros_like(mask))
    if panoptic.ids.shape != mask.shape:
        (height, width), (rows, columns) = mask.shape, panoptic.ids.shape
        raise UsageError(
            f"the mask is {width} x {height} pixels, the panoptic map {columns} x {rows}: they must "
            "have one size; resize the map with olrd.arrays.resize_ids"
        )
    check_categories("the panoptic map", panoptic.segments, categories)
    segments = sorted(panoptic.segments, key=lambda segment: segment.id)
    places = _places(panoptic.ids, segments)
    target = _target(erased, categories, segments, places[mask])
    alike = _alike(rule, target, categories, embed, threshold)
    codes = [_code(categories[segment.category_id], alike) for segment in segments]
    codes.append(N if void == "n" else NEUTRAL)
    classes = np.array(codes, np.uint8)[places]
    classes[mask] = M
    return Regions(classes == M, classes == P, classes == N)


def _places(ids: Ids, segments: Sequence[Segment]) -> npt.NDArray[np.intp]:
    """Return per pixel the position of its segment in `segments` (sorted by id), or len(segments) for void."""
    numbers = np.array([segment.id for segment in segments], np.uint32)
    places = np.searchsorted(numbers, ids)
    known = np.append(numbers, np.uint32(0))[places] == ids
    return np.where(known, places, len(segments))


def _target(
    erased: str | None, categories: Mapping[int, Category], segments: Sequence[Segment], covered: npt.NDArray[np.intp]
) -> Category | None:
    """Return the erased object's category: the named one, or the thing category with most pixels under the mask."""
    if erased is not None:
        for category in categories.values():
            if category.name == erased:
                return category
        raise did_you_mean("category", erased, (c.name for c in categories.values()))
    pixels = np.bincount(covered.ravel(), minlength=len(segments) + 1)
    things: dict[int, int] = {}
    for segment, count in zip(segments, pixels.tolist(), strict=False):  # the last count is void's
        if count and categories[segment.category_id].isthing:
            things[segment.category_id] = things.get(segment.category_id, 0) + count
    if not things:
        return None
    return categories[min(things, key=lambda number: (-things[number], number))]


def _alike(
    rule: str, target: Category | None, categories: Mapping[int, Category], embed: Embed | None, threshold: float
) -> set[int]:
    """Return the ids of the thing categories that count as like the erased object."""
    things = [category for category in categories.values() if category.isthing]
    if rule == "rest":
        return {category.id for category in things}
    if rule == "text" and embed is None:
        raise UsageError(
            "the region rule 'text' compares names by their embeddings: give embed, a function from "
            "names to float [k, d], or choose the rule 'similar'"
        )
    if target is None:
        return set()
    if embed is not None and rule == "text":
        near = _similarity(embed, target, things) >= threshold
        return {category.id for category, similar in zip(things, near, strict=True) if similar}
    # A custom set of labels may have no supercategories. Categories with an empty one do not form a family.
    family = target.supercategory or None
    return {c.id for c in things if c.id == target.id or c.supercategory == family}


def _similarity(embed: Embed, target: Category, things: Sequence[Category]) -> npt.NDArray[np.float64]:
    """Return the cosine of each thing's name with the target's name, float64 [k]; 0 if an embedding is zero."""
    names = [target.label, *(category.label for category in things)]
    vectors = np.asarray(embed(names), np.float64)
    if vectors.ndim != 2 or len(vectors) != len(names):
        raise UsageError(f"embed must return one row per name, [{len(names)}, d]; got {list(vectors.shape)}")
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(length > 0, length, 1.0)
    # Rounded, so that a name is like itself at a threshold of 1.
    return np.asarray(np.round(unit[1:] @ unit[0], 12), np.float64)


def _code(category: Category, alike: set[int]) -> int:
    if not category.isthing:
        return P
    return N if category.id in alike else NEUTRAL


def at_resolution(regions: Regions, size: tuple[int, int]) -> Regions:
    """Resample the regions to another grid, smaller or larger. size: (height, width) in cells.

    A cell gets the strongest class among all pixels that it touches: m, then n, then p, then neutral (inferred; nearest
    neighbour would lose thin regions). So every part of the hole is seen, and a region disappears from a cell only if a
    stronger one is there. If the sizes do not divide, a pixel on the edge between two cells counts for both.
    """
    height, width = size
    m, p, n = (_any_in_cell(_any_in_cell(r, height).T, width).T for r in regions)
    return Regions(m, p & ~n & ~m, n & ~m)


def _any_in_cell(region: Mask, count: int) -> Mask:
    """Return bool [count, W]: whether any row within each of `count` equal intervals is set."""
    length = len(region)
    edges = np.empty(2 * count, np.intp)
    edges[0::2] = np.arange(count) * length // count
    edges[1::2] = -(-np.arange(1, count + 1) * length // count)
    # `reduceat` needs every end to be an index. The intervals between an end and the next start are dropped.
    padded = np.concatenate([region, np.zeros_like(region[:1])])
    reduced: Mask = np.logical_or.reduceat(padded, edges, axis=0)[::2]
    return reduced


def halved(regions: Regions) -> Regions:
    """Halve the size, rounded up, as a convolution with stride 2 and padding 1 does.

    Cell i covers the places 2i and 2i + 1. If the size is odd, the last cell covers only one place.
    """
    height, width = regions.m.shape
    even = Regions(*(np.pad(r, ((0, height % 2), (0, width % 2))) for r in regions))
    return at_resolution(even, (-(-height // 2), -(-width // 2)))
