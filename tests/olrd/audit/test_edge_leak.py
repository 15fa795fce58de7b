"""The edge leak: blind where there is nothing to see, sharp where there is a seam."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic_dataset import HEIGHT, WIDTH, draw_photo, write_dataset

from olrd.arrays import Image, Mask
from olrd.audit.classifier import clustered_auc
from olrd.audit.edge_leak import LeakPair, edge_leak, leak_pairs
from olrd.audit.rim import Outline, rim_features, trace
from olrd.audit.twins import paired_points
from olrd.dataset.folder import Dataset, row_triplet
from olrd.errors import UsageError
from olrd.masks import disc

PHOTOS = 24


def _seam(image: Image, mask: Mask) -> Image:
    """An exaggerated seam: the rim darkened by 40 levels, two pixels wide."""
    rim = mask & ~cv2.erode(mask.view(np.uint8), np.ones((5, 5), np.uint8)).astype(np.bool_)
    return np.where(rim[..., None], image // 2, image).astype(np.uint8)


def _shifted(mask: Mask, by: int) -> Mask:
    return np.roll(mask, by, axis=1)


@cache
def _untouched(number: int) -> LeakPair:
    """Two camera-fresh objects of the same shape in two frames: nothing has been pasted."""
    first, mask = draw_photo(number)
    # The same scene photographed again: other grain, and the whole frame moved along.
    again = np.roll(first.astype(np.int16), 40, axis=1)
    grain = np.random.default_rng(1000 + number).normal(0, 2, first.shape)
    second = np.clip(again + grain, 0, 255).astype(np.uint8)
    calm = np.clip(first + np.random.default_rng(2000 + number).normal(0, 2, first.shape), 0, 255)
    return LeakPair(str(number), second, _shifted(mask, 40), calm.astype(np.uint8), mask)


@pytest.mark.slow
def test_an_exaggerated_seam_is_found() -> None:
    def pairs() -> Iterator[LeakPair]:
        for number in range(PHOTOS):
            pair = _untouched(number)
            yield pair._replace(pasted_image=_seam(pair.pasted_image, pair.pasted_mask))

    result = edge_leak(pairs())
    assert result.auc is not None and result.auc_objects is not None
    assert result.auc.value > 0.97 and result.auc_objects.value > 0.99
    assert result.pairs_won is not None and result.pairs_won.low > 0.9
    assert result.logistic is not None and result.logistic.value > 0.97
    # What lies away from the rim was not changed, and the control says so.
    assert result.context is not None and result.context.low < 0.5 < result.context.high


@pytest.mark.slow
def test_untouched_against_untouched_is_even() -> None:
    result = edge_leak(_untouched(number) for number in range(PHOTOS))
    for interval in (result.auc, result.auc_objects, result.context, result.logistic):
        assert interval is not None
        assert interval.low <= 0.5 <= interval.high


@pytest.mark.slow
def test_swapped_labels_are_even() -> None:
    """Even a strong seam gives nothing when chance decides which side is called pasted."""

    def pairs() -> Iterator[LeakPair]:
        swap = np.random.default_rng(0).integers(0, 2, PHOTOS)
        for number in range(PHOTOS):
            pair = _untouched(number)
            seam = _seam(pair.pasted_image, pair.pasted_mask)
            if swap[number]:
                yield LeakPair(pair.group, pair.natural_image, pair.natural_mask, seam, pair.pasted_mask)
            else:
                yield pair._replace(pasted_image=seam)

    result = edge_leak(pairs())
    assert result.auc is not None and result.auc.low <= 0.5 <= result.auc.high


@pytest.mark.slow
def test_a_dataset_of_hard_pastes_leaks_and_is_deterministic(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", photos=PHOTOS, per_photo=1)
    result = edge_leak(leak_pairs(Dataset(folder)))
    assert result.auc is not None and result.auc.low > 0.5
    assert (result.photos, result.objects) == (PHOTOS, PHOTOS)
    assert result == edge_leak(leak_pairs(Dataset(folder)))
    assert result.to_json()["auc"]["value"] == result.auc.value


def test_pairs_show_the_paste_and_its_untouched_twin(tmp_path: Path) -> None:
    dataset = Dataset(write_dataset(tmp_path / "set", photos=3, per_photo=2))
    pairs = list(leak_pairs(dataset))
    assert [pair.group for pair in pairs] == [f"drawn/{row['image_id']}" for row in dataset.rows(["image_id"])]
    for pair, row in zip(pairs, dataset.rows(), strict=True):
        triplet = row_triplet(row)
        assert np.array_equal(pair.pasted_image, triplet.image)
        assert np.array_equal(pair.natural_image, triplet.background)
        assert np.array_equal(pair.pasted_mask, triplet.mask)  # `hard` touches the mask alone
        assert np.array_equal(pair.natural_mask, draw_photo(int(row["image_id"]))[1])
        # A hard paste is a copy of the twin's pixels.
        assert np.array_equal(pair.pasted_image[pair.pasted_mask], pair.natural_image[pair.natural_mask])


def test_another_donor_has_its_twin_in_the_donors_own_row(tmp_path: Path) -> None:
    dataset = Dataset(write_dataset(tmp_path / "set", photos=4, per_photo=1, donor="other"))
    pairs = list(leak_pairs(dataset))
    assert len(pairs) == 4
    for pair, row in zip(pairs, dataset.rows(), strict=True):
        assert pair.group == f"drawn/{row['donor_image_id']}"
        pixels, mask = draw_photo(int(row["donor_image_id"]))
        assert np.array_equal(pair.natural_image, pixels)
        assert np.array_equal(pair.natural_mask, mask)


def test_too_few_photos_give_null_and_say_so(tmp_path: Path) -> None:
    dataset = Dataset(write_dataset(tmp_path / "set", photos=4))
    result = edge_leak(leak_pairs(dataset))
    assert result.auc is None and result.context is None
    assert (result.photos, result.objects) == (4, 8)
    assert result.note.startswith(
        "8 objects of 4 photos are too few: at least 20 objects of 10 photos are needed; only"
    )
    nothing = edge_leak([])
    assert nothing.auc is None and nothing.patches == 0 and "0 objects of 0 photos are too few" in nothing.note


@pytest.mark.parametrize(
    ("photos", "per_photo", "said"),
    [(9, 3, "9 photos are too few: at least 10 are needed"), (10, 1, "10 objects are too few: at least 20 are needed")],
)
def test_what_is_too_few_is_named_alone(tmp_path: Path, photos: int, per_photo: int, said: str) -> None:
    dataset = Dataset(write_dataset(tmp_path / "set", photos=photos, per_photo=per_photo))
    assert edge_leak(leak_pairs(dataset)).note.startswith(f"{said}; only objects")


def test_recipes_are_refused(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", photos=1, form="recipes")
    with pytest.raises(UsageError, match="olrd rebuild"):
        next(leak_pairs(Dataset(folder)))


def test_objects_at_the_frame_are_skipped_and_counted() -> None:
    image = np.zeros((20, 20, 3), np.uint8)  # no patch of 21 x 15 fits
    mask = np.zeros((20, 20), np.bool_)
    mask[4:15, 4:15] = True
    result = edge_leak([LeakPair("a", image, mask, image, mask)])
    assert result.skipped == {"too_near_the_frame": 1} and result.objects == 0


def test_points_are_the_same_on_both_sides_and_inside_both_frames() -> None:
    _, natural = draw_photo(3)
    pasted = _shifted(natural, 85)
    new, old = paired_points(pasted, natural)
    assert np.array_equal(new.points - old.points, np.tile([85.0, 0.0], (len(old.points), 1)))
    assert np.array_equal(new.normals, old.normals)
    assert new.inside((HEIGHT, WIDTH)).all() and old.inside((HEIGHT, WIDTH)).all()


@pytest.mark.parametrize("flip", [False, True])
def test_scaled_and_mirrored_pastes_find_their_points(tmp_path: Path, flip: bool) -> None:
    dataset = Dataset(write_dataset(tmp_path / "set", photos=3, per_photo=1, scale=1.2, flip=flip))
    for pair in leak_pairs(dataset):
        new, old = paired_points(pair.pasted_mask, pair.natural_mask)
        assert len(new.points) >= 6
        # Corresponding normals point the same way, mirrored with the object.
        agreement = (new.normals * old.normals * (-1 if flip else 1, 1)).sum(axis=1)
        assert agreement.mean() > 0.95


def test_normals_point_outwards() -> None:
    _, mask = draw_photo(5)
    outline = trace(mask)
    x, y = np.rint(outline.points + 4 * outline.normals).astype(int).T
    assert not mask[y, x].any()
    x, y = np.rint(outline.points - 4 * outline.normals).astype(int).T
    assert mask[y, x].all()
    assert np.allclose(np.linalg.norm(outline.normals, axis=1), 1)


def test_features_do_not_change_when_picture_and_outline_are_mirrored() -> None:
    image, mask = draw_photo(7)
    outline = trace(mask)
    outline = Outline(*(part[outline.inside(mask.shape)] for part in outline))
    mirrored = Outline(outline.points * (-1, 1) + (WIDTH - 1, 0), outline.normals * (-1, 1))
    a = rim_features(image, mask, outline)
    b = rim_features(np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(mask[:, ::-1]), mirrored)
    # Half pixels round the other way in the mirror, hence nearly.
    close = np.isclose(a.seam, b.seam, rtol=0.15, atol=0.15).mean()
    assert close > 0.85
    assert a.seam.shape == b.seam.shape and a.context.shape == b.context.shape


def test_context_sees_nothing_near_the_outline() -> None:
    image, mask = draw_photo(9)
    outline = trace(mask)
    outline = Outline(*(part[outline.inside(mask.shape)] for part in outline))
    solid = mask.view(np.uint8)  # `matting`, the widest blend, reaches four pixels
    near = cv2.dilate(solid, disc(4)) != cv2.erode(solid, disc(4))
    other = np.where(near[..., None], 255 - image, image).astype(np.uint8)
    a, b = rim_features(image, mask, outline), rim_features(other, mask, outline)
    assert np.isclose(a.context, b.context).mean() > 0.99
    assert not np.isclose(a.seam, b.seam).all()


def test_clustered_auc_equals_the_plain_count() -> None:
    rng = np.random.default_rng(1)
    scores = np.round(rng.normal(0, 1, 120), 1)  # rounded, so that there are ties
    y, group = rng.integers(0, 2, 120), np.repeat(np.arange(12), 10)
    wins = [1.0 if p > n else 0.5 if p == n else 0.0 for p in scores[y == 1] for n in scores[y == 0]]
    interval = clustered_auc(scores, y, group, 0)
    assert interval.value == pytest.approx(np.mean(wins), abs=1e-4)
    assert interval.low < interval.value < interval.high
    # Oracle for the resampling: the same weights, one AUC after the other.
    drawn = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), 1000)
    values = []
    for weights in drawn[:1000]:
        index = np.concatenate([np.flatnonzero(group == g) for g in np.repeat(np.arange(12), weights)])
        s, t = scores[index], y[index]
        difference = s[t == 1][:, None] - s[t == 0][None]
        values.append(((np.sign(difference) + 1) / 2).mean())
    low, high = np.quantile(values, (0.025, 0.975))
    assert interval.low == pytest.approx(low, abs=1e-4)
    assert interval.high == pytest.approx(high, abs=1e-4)
