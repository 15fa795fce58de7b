"""Which part of a picture is m, p or n: the three regions of attention refocusing (section 5).

m: the hole. p: the semantics of the background. n: what is like the erased object. The paper's figure
calls them "designed rules" and does not spell them out, so every rule here is inferred; what none of
them claims is neutral and keeps ordinary attention.
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
"""k names to float [k, d], one text embedding a row; they need not have unit length."""

RULES = ("similar", "rest", "text")
THRESHOLD = 0.8
"""Cosine similarity from which the rule `text` calls two names alike (inferred)."""

M, P, N, NEUTRAL = range(4)
"""Codes of the classes, in the order of the figure's block matrices; neutral is ours."""


class Regions(NamedTuple):
    """bool [H, W] each, disjoint; a place in none of them is neutral. The size is that of the photo,
    of the latents or of one attention layer."""

    m: Mask
    p: Mask
    n: Mask

    @property
    def classes(self) -> npt.NDArray[np.uint8]:
        """uint8 [H, W]: M, P, N or NEUTRAL."""
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
    """The regions of one photo, bool [H, W] of the mask's size.

    m is the mask, and wins everywhere. p is all stuff outside it. n are, among the things outside it
    (crowds are things too), by `rule` (all inferred):

    - `similar` (default, by the summary's words): those of the erased object's category or supercategory;
    - `rest` (as the figure looks): all of them;
    - `text`: those whose name's embedding has a cosine similarity of at least `threshold` to that of
      the erased category's name.

    Without a panoptic map p is everything outside m, and n is empty: refocusing without n.

    mask: bool [H, W], True = erase. panoptic: of the same size, or None. categories: by id. erased: the
    name of the erased object's category; None takes the thing category with most pixels under the mask,
    and if there is none, `similar` and `text` leave n empty. void: unlabelled pixels are `neutral`, or
    belong to `n`. embed: for `text`. Raises `UsageError` for another size, an unknown name or a missing
    `embed`, and `Rejected` for a segment of an unknown category.
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
    """Per pixel the position of its segment in `segments` (sorted by id); their number means void."""
    numbers = np.array([segment.id for segment in segments], np.uint32)
    places = np.searchsorted(numbers, ids)
    known = np.append(numbers, np.uint32(0))[places] == ids
    return np.where(known & (ids != 0), places, len(segments))


def _target(
    erased: str | None, categories: Mapping[int, Category], segments: Sequence[Segment], covered: npt.NDArray[np.intp]
) -> Category | None:
    """The erased object's category: as named, or the thing category that the mask covers most."""
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
    """The ids of the thing categories that count as like the erased object."""
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
    # Label sets of one's own have no supercategories; an empty one is shared by nobody.
    family = target.supercategory or None
    return {c.id for c in things if c.id == target.id or c.supercategory == family}


def _similarity(embed: Embed, target: Category, things: Sequence[Category]) -> npt.NDArray[np.float64]:
    """float64 [k]: cosine of each thing's name with the target's; 0 where an embedding is zero."""
    names = [target.label, *(category.label for category in things)]
    vectors = np.asarray(embed(names), np.float64)
    if vectors.ndim != 2 or len(vectors) != len(names):
        raise UsageError(f"embed must return one row per name, [{len(names)}, d]; got {list(vectors.shape)}")
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(length > 0, length, 1.0)
    # Rounding shall not part a name from itself at a threshold of 1.
    return np.asarray(np.round(unit[1:] @ unit[0], 12), np.float64)


def _code(category: Category, alike: set[int]) -> int:
    if not category.isthing:
        return P
    return N if category.id in alike else NEUTRAL


def at_resolution(regions: Regions, size: tuple[int, int]) -> Regions:
    """The regions on another grid, size = (height, width) in cells; enlarging works too.

    A cell takes the strongest class among all pixels that it touches: m, else n, else p, else neutral
    (inferred; nearest neighbour would lose thin regions). So no part of the hole goes unseen, and a
    region vanishes from a cell only under a stronger one. Where the sizes do not divide, a pixel on an
    edge counts for both cells.
    """
    height, width = size
    m, p, n = (_any_in_cell(_any_in_cell(r, height).T, width).T for r in regions)
    return Regions(m, p & ~n & ~m, n & ~m)


def _any_in_cell(region: Mask, count: int) -> Mask:
    """bool [count, W]: whether any row within each of `count` equal stretches is set."""
    length = len(region)
    edges = np.empty(2 * count, np.intp)
    edges[0::2] = np.arange(count) * length // count
    edges[1::2] = -(-np.arange(1, count + 1) * length // count)
    # `reduceat` needs every end to be an index. The stretches between end and start are dropped.
    padded = np.concatenate([region, np.zeros_like(region[:1])])
    reduced: Mask = np.logical_or.reduceat(padded, edges, axis=0)[::2]
    return reduced


def halved(regions: Regions) -> Regions:
    """At half the size, rounded up, as a convolution of stride 2 and padding 1 leaves it: cell i
    covers the places 2i and 2i + 1, in an odd size the last cell covers only one."""
    height, width = regions.m.shape
    even = Regions(*(np.pad(r, ((0, height % 2), (0, width % 2))) for r in regions))
    return at_resolution(even, (-(-height // 2), -(-width // 2)))
