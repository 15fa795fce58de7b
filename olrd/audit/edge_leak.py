"""Edge leak: can a small classifier tell the rim of a pasted object from that of an untouched one?

An AUC of 0.5 means that the seam reveals nothing. An inpainting model that is trained on composites with a visible seam
can learn to find pasted objects by their seam.

The comparison is paired. Every pasted object has a twin: the same object, untouched, in the photo that it was cut from.
Positives are patches along the outline of the paste, in the composite. Negatives are patches at the same outline points
of the twin, in the photo. So both sides show the same object with the same mask area, shape and annotation errors.
Points whose patch leaves one of the frames are dropped from both sides. Classifiers are cross-validated by photo, and
the interval is a bootstrap over photos.

A classifier sees more than the seam, so even a perfect paste scores above 0.5:

- The pasted object lies on a different background, and the colours and textures on both sides of the rim fit less well.
- It has no contact with the ground and no shadow.
- Its JPEG grid is shifted.
- It lies on background only, while up to a third of a twin's outline may touch other objects.

`context` measures this part: it is the AUC of the same classifier with features that see nothing within six pixels of
the outline. The difference between the AUC and `context` is due to the seam. The number is best used to compare blends
on the same photos.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from olrd.audit.classifier import (
    Floats,
    Interval,
    Ints,
    boosting,
    clustered_auc,
    clustered_mean,
    cross_validated,
    logistic,
)
from olrd.audit.rim import Rim, rim_features
from olrd.audit.twins import LeakPair, leak_pairs, paired_points
from olrd.dataset.folder import Dataset
from olrd.progress import progress_bar
from olrd.sources import SEEN
from olrd.trust import counted

__all__ = ["HeldOut", "Interval", "LeakPair", "LeakResult", "edge_leak", "held_out_leak", "leak_pairs"]

LEAST_POINTS = 6
LEAST_PHOTOS, LEAST_OBJECTS = 10, 20


class LeakResult(NamedTuple):
    """The edge leak. If there are too few pairs, the intervals are None and `note` says why.

    Attributes:
        auc: per patch, with gradient boosting.
        auc_objects: per object, by its mean score.
        pairs_won: share of pairs in which the paste scores above its twin; ties count half.
        context: per patch, from the surroundings alone.
        logistic: per patch, with logistic regression.
        skipped: number of skipped pairs by reason.
    """

    auc: Interval | None
    auc_objects: Interval | None
    pairs_won: Interval | None
    context: Interval | None
    logistic: Interval | None
    photos: int
    objects: int
    patches: int
    skipped: dict[str, int]
    note: str

    def to_json(self) -> dict[str, Any]:
        """JSON values; an interval is {value, low, high}."""
        return {
            name: value._asdict() if isinstance(value, Interval) else value for name, value in self._asdict().items()
        }


class _Patches(NamedTuple):
    """All patches. rim: their features. y: int [n], 1 = pasted. object, photo: int [n], numbers from 0."""

    rim: Rim
    y: Ints
    object: Ints
    photo: Ints


def dataset_leak(dataset: Dataset, seed: int = 0) -> LeakResult:
    """The edge leak of a built dataset. Without pasted objects there is none, and the note says so."""
    if dataset.record.source.background_kind == SEEN:
        return LeakResult(
            *(None,) * 5, 0, 0, 0, {}, "nothing is pasted: the objects stand where they were photographed"
        )
    return edge_leak(leak_pairs(dataset, seed=seed), seed)


def edge_leak(pairs: Iterable[LeakPair], seed: int = 0) -> LeakResult:
    """The edge leak over pairs (see the docstring of the module). Equal pairs give equal results."""
    patches, skipped = _collect(pairs)
    objects, photos = (0, 0) if patches is None else (int(np.ptp(patches.object)) + 1, int(np.ptp(patches.photo)) + 1)
    if patches is None or photos < LEAST_PHOTOS or objects < LEAST_OBJECTS:
        size = 0 if patches is None else len(patches.y)
        return LeakResult(*(None,) * 5, photos, objects, size, skipped, _too_few(objects, photos))
    rim, y, _, group = patches
    x = np.concatenate(rim, axis=1)
    scores = cross_validated(x, y, group, boosting(seed))
    means, home = _object_means(scores, patches)
    sides = np.repeat([0, 1], len(home))
    return LeakResult(
        auc=clustered_auc(scores, y, group, seed),
        auc_objects=clustered_auc(np.concatenate(means), sides, np.tile(home, 2), seed),
        pairs_won=clustered_mean((np.sign(means[1] - means[0]) + 1) / 2, home, seed),
        context=clustered_auc(cross_validated(rim.context, y, group, boosting(seed)), y, group, seed),
        logistic=clustered_auc(cross_validated(x, y, group, logistic()), y, group, seed),
        photos=int(group.max()) + 1,
        objects=len(home),
        patches=len(y),
        skipped=skipped,
        note="",
    )


def _too_few(objects: int, photos: int) -> str:
    """Which of the two numbers is too small, and what is counted."""
    if photos >= LEAST_PHOTOS:
        found, needed = counted(objects, "object is", "objects are"), f"{LEAST_OBJECTS}"
    elif objects >= LEAST_OBJECTS:
        found, needed = counted(photos, "photo is", "photos are"), f"{LEAST_PHOTOS}"
    else:
        found = f"{counted(objects, 'object')} of {counted(photos, 'photo is', 'photos are')}"
        needed = f"{LEAST_OBJECTS} objects of {LEAST_PHOTOS} photos"
    return (
        f"{found} too few: at least {needed} are needed; only objects whose untouched original is in the dataset count"
    )


class HeldOut(NamedTuple):
    """AUC per patch and per object on photos that the classifier did not learn from."""

    auc: Interval
    auc_objects: Interval
    objects: int
    photos: int


def held_out_leak(seen: Iterable[LeakPair], unseen: Iterable[LeakPair], seed: int = 0) -> HeldOut:
    """Learn from the pairs `seen`, and test on the pairs `unseen`. Raises `ValueError` if either has no usable pair."""
    learnt, patches = _collect(seen)[0], _collect(unseen)[0]
    if learnt is None or patches is None:
        raise ValueError("no pair has enough outline points")
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1):
        model = boosting(seed).fit(np.concatenate(learnt.rim, axis=1), learnt.y)
        scores = model.predict_proba(np.concatenate(patches.rim, axis=1))[:, 1]
    means, home = _object_means(scores, patches)
    sides = np.repeat([0, 1], len(home))
    return HeldOut(
        clustered_auc(scores, patches.y, patches.photo, seed),
        clustered_auc(np.concatenate(means), sides, np.tile(home, 2), seed),
        len(home),
        int(patches.photo.max()) + 1,
    )


def _object_means(scores: Floats, patches: _Patches) -> tuple[list[Floats], Ints]:
    """The mean score of every object on both sides, natural first, and the photo of every object."""
    y, owner = patches.y, patches.object
    means = [np.bincount(owner[y == label], scores[y == label]) / np.bincount(owner[y == label]) for label in (0, 1)]
    return means, patches.photo[np.unique(owner, return_index=True)[1]]


def _collect(pairs: Iterable[LeakPair]) -> tuple[_Patches | None, dict[str, int]]:
    """The patches of all pairs with enough outline points, and the number of pairs without."""
    rims: list[Rim] = []
    counts: list[int] = []
    groups: list[int] = []
    names: dict[str, int] = {}
    skipped: Counter[str] = Counter()
    with progress_bar("edge leak", 0, "object") as bar:
        for pair in pairs:
            bar.update()
            pasted, natural = paired_points(pair.pasted_mask, pair.natural_mask)
            if len(pasted.points) < LEAST_POINTS:
                skipped["too_near_the_frame"] += 1
                continue
            rims.append(rim_features(pair.pasted_image, pair.pasted_mask, pasted))
            rims.append(rim_features(pair.natural_image, pair.natural_mask, natural))
            counts.append(len(pasted.points))
            groups.append(names.setdefault(pair.group, len(names)))
    if not rims:
        return None, dict(skipped)
    rim = Rim(*(np.concatenate(side) for side in zip(*rims, strict=True)))
    twice = np.repeat(counts, 2)
    return _Patches(
        rim,
        np.repeat(np.tile([1, 0], len(counts)), twice),
        np.repeat(np.repeat(np.arange(len(counts)), 2), twice),
        np.repeat(np.repeat(groups, 2), twice),
    ), dict(skipped)
