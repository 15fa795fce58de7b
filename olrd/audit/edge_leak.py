"""Edge leak: can a small classifier tell the rim of a pasted object from that of an untouched one?

0.5 means that the seam teaches nothing. An inpainting model trained on composites with a seam can
learn to find pasted objects by it instead of by what they are.

The comparison is paired. The object was cut from a photo where it still stands untouched, its twin.
Positives are patches along the outline of the paste, in the composite; negatives are patches at the
same outline points of the twin, in the photo. So both sides show the same object, the same mask
area, the same shape and the same annotation errors, and points whose patch leaves either frame are
dropped from both. Classifiers are cross-validated by photo, and the interval is a bootstrap over
photos.

What a classifier sees besides the seam: the pasted object lies on other background (the colours and
textures on both sides of the rim belong together less well), has no contact and no shadow, brings a
moved JPEG grid, and lands on background only, while up to a third of a twin's outline may touch other
objects. So even a perfect paste scores above 0.5. `context` measures that part: the same classifier
with the features that see nothing within five pixels of the outline. The seam itself is what the AUC
has above `context`; and the number is best read as a comparison of blends on the same photos.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask, decode_photo
from olrd.audit.rim import Floats, Outline, Rim, rim_features, trace
from olrd.audit.sampling import pick_evenly, rows_at
from olrd.compose import transformed
from olrd.dataset import Dataset, row_triplet
from olrd.errors import UsageError
from olrd.panoptic import decode_rle, mask_box
from olrd.progress import progress_bar
from olrd.recipe import Recipe

Ints = npt.NDArray[np.int64]

POINTS = 24
"""Outline points per object, spread evenly."""
LEAST_POINTS = 6
LEAST_PHOTOS, LEAST_OBJECTS = 10, 20
_FOLDS, _RESAMPLES = 5, 1000


class LeakPair(NamedTuple):
    """One object twice. group: its photo. image: uint8 [H, W, 3], mask: bool [H, W] of that image."""

    group: str
    pasted_image: Image
    pasted_mask: Mask
    natural_image: Image
    natural_mask: Mask


class Interval(NamedTuple):
    """A number in [0, 1] with its 95 % interval."""

    value: float
    low: float
    high: float


class LeakResult(NamedTuple):
    """auc: per patch, gradient boosting. auc_objects: per object, by its mean score. pairs_won: how
    often the paste scores above its own twin (ties half). context: per patch, from the surroundings
    alone. logistic: per patch, with logistic regression. All None, and `note` says why, if there are
    too few. skipped: pairs, by reason."""

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
        """Plain values: intervals become {value, low, high}."""
        return {
            name: value._asdict() if isinstance(value, Interval) else value
            for name, value in self._asdict().items()
        }


def leak_pairs(dataset: Dataset, limit: int = 400, seed: int = 0) -> Iterator[LeakPair]:
    """Pairs from a built dataset, at most `limit`, spread evenly over it.

    An object from the same photo has its twin in the row's own ground truth. One from another photo
    has it only if that photo is the ground truth of another row; other rows are left out. The group
    is the photo that the object comes from.
    """
    if dataset.form != "full":
        raise UsageError(f"{dataset.folder} holds recipes, not pictures: run `olrd rebuild` first")
    ids = dataset.table(["source", "image_id", "donor_image_id"]).to_pylist()
    home = {(row["source"], row["image_id"]): number for number, row in enumerate(ids)}
    twins = [home.get((row["source"], row["donor_image_id"])) for row in ids]
    usable = [number for number, twin in enumerate(twins) if twin is not None]
    chosen = [usable[k] for k in pick_evenly(len(usable), limit, seed)]
    for number, row in zip(chosen, rows_at(dataset, chosen), strict=True):
        image, _, background = row_triplet(row)
        if row["donor_image_id"] != row["image_id"]:
            twin = next(rows_at(dataset, [twins[number] or 0], ["background"]))
            background = decode_photo(twin["background"]["bytes"], row["id"]).pixels
        recipe = Recipe.from_json(row["recipe"])
        natural = decode_rle(recipe.rle, recipe.source_bbox.h, recipe.source_bbox.w)
        corner = recipe.source_bbox.x, recipe.source_bbox.y
        yield LeakPair(
            f"{row['source']}/{row['donor_image_id']}",
            image,
            _placed(transformed(natural, recipe.scale, recipe.flip), recipe.position, image),
            background,
            _placed(natural, corner, background),
        )


def _placed(mask: Mask, corner: tuple[int, int], image: Image) -> Mask:
    """`mask` with its corner at (x, y) in a frame of the image's size."""
    full = np.zeros(image.shape[:2], np.bool_)
    x, y = corner
    full[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return full


def paired_points(pasted: Mask, natural: Mask) -> tuple[Outline, Outline]:
    """The same outline points on both masks (bool [H, W] each), as long as their patches fit.

    Equal masks give points equal up to the shift. A scaled or mirrored mask is traced itself, and
    each natural point takes the nearest pasted one in coordinates relative to the box, mirrored if
    the shapes agree better that way.
    """
    old, new = mask_box(natural), mask_box(pasted)
    first = trace(natural)
    if np.array_equal(natural[old.crop()], pasted[new.crop()]):
        second = Outline(first.points + (new.x - old.x, new.y - old.y), first.normals)
    else:
        second = _nearest(first, trace(pasted), old, new)
    good = np.flatnonzero(first.inside(natural.shape) & second.inside(pasted.shape))
    if len(good) > POINTS:
        good = good[(np.arange(POINTS) * len(good)) // POINTS]
    return Outline(*(part[good] for part in second)), Outline(*(part[good] for part in first))


def _nearest(first: Outline, other: Outline, old: Any, new: Any) -> Outline:
    """For every point of `first` the corresponding one of `other`."""
    source = (first.points - (old.x, old.y)) / (max(old.w - 1, 1), max(old.h - 1, 1))
    target = (other.points - (new.x, new.y)) / (max(new.w - 1, 1), max(new.h - 1, 1))
    choices = []
    for mirrored in (False, True):
        wanted = source * (-1, 1) + (1, 0) if mirrored else source
        distance = ((wanted[:, None] - target[None]) ** 2).sum(axis=2)
        choices.append((float(distance.min(axis=1).mean()), distance.argmin(axis=1)))
    nearest = min(choices, key=lambda choice: choice[0])[1]
    return Outline(other.points[nearest], other.normals[nearest])


class _Patches(NamedTuple):
    """All patches. rim: features. y: int [n], 1 = pasted. object, photo: int [n], numbered from 0."""

    rim: Rim
    y: Ints
    object: Ints
    photo: Ints


def edge_leak(pairs: Iterable[LeakPair], seed: int = 0) -> LeakResult:
    """The edge leak over pairs (see the module's text). The same pairs always give the same result."""
    patches, skipped = _collect(pairs)
    if patches is None or (
        np.ptp(patches.photo) + 1 < LEAST_PHOTOS or np.ptp(patches.object) + 1 < LEAST_OBJECTS
    ):
        found = (
            (0, 0) if patches is None else (np.ptp(patches.object) + 1, np.ptp(patches.photo) + 1)
        )
        note = (
            f"{found[0]} objects of {found[1]} photos are too few: the edge leak needs {LEAST_OBJECTS} "
            f"objects of {LEAST_PHOTOS} photos, each with its untouched original in the dataset"
        )
        size = 0 if patches is None else len(patches.y)
        return LeakResult(*(None,) * 5, int(found[1]), int(found[0]), size, skipped, note)
    rim, y, owner, group = patches
    x = np.concatenate(rim, axis=1)
    scores = cross_validated(x, y, group, _boosting(seed))
    # One mean score per object and side; objects and photos are numbered in order of appearance.
    means = [
        np.bincount(owner[y == label], scores[y == label]) / np.bincount(owner[y == label])
        for label in (0, 1)
    ]
    home = group[np.unique(owner, return_index=True)[1]]
    sides = np.repeat([0, 1], len(home))
    return LeakResult(
        auc=clustered_auc(scores, y, group, seed),
        auc_objects=clustered_auc(np.concatenate(means), sides, np.tile(home, 2), seed),
        pairs_won=_clustered_mean((np.sign(means[1] - means[0]) + 1) / 2, home, seed),
        context=clustered_auc(
            cross_validated(rim.context, y, group, _boosting(seed)), y, group, seed
        ),
        logistic=clustered_auc(cross_validated(x, y, group, _logistic()), y, group, seed),
        photos=int(group.max()) + 1,
        objects=len(home),
        patches=len(y),
        skipped=skipped,
        note="",
    )


def _collect(pairs: Iterable[LeakPair]) -> tuple[_Patches | None, dict[str, int]]:
    """The patches of all pairs that have enough outline points, and how many have not."""
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


def _boosting(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=100,
        learning_rate=0.08,
        max_leaf_nodes=12,
        max_bins=63,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )


def _logistic() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=500))


def cross_validated(x: Floats, y: Ints, group: Ints, model: Any) -> Floats:
    """Scores float64 [n], each from a model that saw no patch of the same photo."""
    from sklearn.base import clone
    from sklearn.model_selection import GroupKFold
    from threadpoolctl import threadpool_limits

    scores = np.zeros(len(y))
    # One thread: OpenMP's spinning threads are tens of times slower on a busy machine.
    with threadpool_limits(1):
        for train, test in GroupKFold(_FOLDS).split(x, y, group):
            scores[test] = clone(model).fit(x[train], y[train]).predict_proba(x[test])[:, 1]
    return scores


def clustered_auc(scores: Floats, y: Ints, group: Ints, seed: int) -> Interval:
    """AUC (Mann-Whitney, ties half) with a 95 % bootstrap interval over groups.

    With C[g, h] the wins of group g's positives over group h's negatives, a resample that takes
    group g w[g] times has the AUC w'Cw / (w'p)(w'n): exact, without scoring again.
    """
    count = int(group.max()) + 1
    wins = np.zeros((count, count))
    positive, owner = scores[y == 1], group[y == 1]
    for number in range(count):
        negative = np.sort(scores[(y == 0) & (group == number)])
        below = np.searchsorted(negative, positive, "left") + np.searchsorted(
            negative, positive, "right"
        )
        wins[:, number] = np.bincount(owner, below / 2, count)
    sizes = [np.bincount(group[y == label], minlength=count) for label in (1, 0)]
    weights = _resamples(count, seed)
    values = np.einsum("rg,gh,rh->r", weights, wins, weights, optimize=True)
    values = values / ((weights @ sizes[0]) * (weights @ sizes[1]))
    return _interval(values)


def _clustered_mean(values: Floats, group: Ints, seed: int) -> Interval:
    """Mean with a 95 % bootstrap interval over groups."""
    weights = _resamples(int(group.max()) + 1, seed)
    width = weights.shape[1]
    return _interval(
        (weights @ np.bincount(group, values, width))
        / (weights @ np.bincount(group, minlength=width))
    )


def _resamples(count: int, seed: int) -> Floats:
    """How often each group is taken: first once each (the estimate itself), then at random."""
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), _RESAMPLES)
    return np.concatenate([np.ones((1, count)), drawn.astype(np.float64)])


def _interval(values: Floats) -> Interval:
    """The first value, with the central 95 % of the others."""
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return Interval(*(round(float(v), 4) for v in (values[0], low, high)))
