"""Composing and its proof."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from olrd.arrays import decode_mask, decode_photo, encode_image, encode_mask
from olrd.config import BLENDS, BuildConfig
from olrd.errors import IntegrityError
from olrd.panoptic import Box, encode_rle
from olrd.sources import SourceSpec, open_source
from olrd.triplets.compose import Triplet, compose, cut_out, pixels_sha256, prove, transformed
from olrd.triplets.maker import TripletMaker
from olrd.triplets.recipe import PhotoRef, Recipe
from olrd.triplets.tally import Tally

Bits = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.uint8]
PHOTO = PhotoRef("1", "a.jpg", "")


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def recipe(box: Box, **change: Any) -> Recipe:
    standard = Recipe(
        id="x",
        background=PHOTO,
        donor=PHOTO,
        segment_id=1,
        size=None,
        source_bbox=box,
        rle="",
        scale=1.0,
        flip=False,
        position=(0, 0),
        blend="hard",
    )
    change.setdefault("params", dict(BLENDS.get(change.get("blend", "hard")).defaults))
    return replace(standard, **change)


def round_mask(height: int = 14, width: int = 18) -> Bits:
    y, x = np.mgrid[:height, :width]
    up, across = (height - 1) / 2, (width - 1) / 2
    inside: Bits = ((y - up) / (height / 2)) ** 2 + ((x - across) / (width / 2)) ** 2 <= 1
    return inside


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 7), st.integers(2, 8), st.just(3))), st.data())
def test_the_proof_catches_one_changed_value(background: Pixels, data: st.DataObject) -> None:
    mask = data.draw(hnp.arrays(np.bool_, background.shape[:2]))
    assume(mask.any() and not mask.all())
    image = background.copy()
    image[mask] = data.draw(hnp.arrays(np.uint8, (int(mask.sum()), 3)))
    prove(image, mask, background)
    y, x = data.draw(st.sampled_from(np.argwhere(~mask).tolist()))
    image[y, x, data.draw(st.integers(0, 2))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(IntegrityError, match="outside the mask"):
        prove(image, mask, background)


@pytest.mark.parametrize("value", [True, False])
def test_the_proof_refuses_masks_of_nothing_and_of_everything(value: bool) -> None:
    photo = noise(5, 6)
    with pytest.raises(IntegrityError, match="covers"):
        prove(photo.copy(), np.full((5, 6), value), photo)


@pytest.mark.parametrize("blend", BLENDS.names())
@pytest.mark.parametrize("corner", [(0, 0), (42, 0), (0, 36), (42, 36), (20, 18), (1, 35)])
def test_objects_at_the_frames_edge(blend: str, corner: tuple[int, int]) -> None:
    """The rim that lies outside the frame is left out; the rest is as anywhere."""
    background, donor = noise(50, 60), noise(50, 60, 1)
    box = Box(21, 20, 18, 14)
    made = compose(background, donor, round_mask(), recipe(box, blend=blend, position=corner))
    assert np.array_equal(made.image[~made.mask], background[~made.mask])
    x, y = corner
    assert made.mask[y : y + 14, x : x + 18][round_mask()].all()
    assert np.array_equal(made.background, background)


@pytest.mark.parametrize("box", [Box(0, 0, 18, 14), Box(42, 36, 18, 14), Box(42, 0, 18, 14)])
@pytest.mark.parametrize("blend", BLENDS.names())
def test_objects_cut_by_the_frame_can_be_cut_out(blend: str, box: Box) -> None:
    made = compose(noise(50, 60), noise(50, 60, 1), round_mask(), recipe(box, blend=blend, position=(8, 9)))
    assert made.mask[9:23, 8:26][round_mask()].all()


@given(st.integers(0, 42), st.integers(0, 36), st.booleans())
def test_hard_is_a_shift(x: int, y: int, flip: bool) -> None:
    """Each pasted pixel is the donor's pixel at the old place."""
    background, donor, mask = noise(50, 60), noise(50, 60, 1), round_mask()
    mask[:, :7] = False
    made = compose(background, donor, mask, recipe(Box(30, 10, 18, 14), position=(x, y), flip=flip))
    expected, cut = background.copy(), donor[10:24, 30:48]
    moved = mask[:, ::-1] if flip else mask
    expected[y : y + 14, x : x + 18][moved] = (cut[:, ::-1] if flip else cut)[moved]
    assert np.array_equal(made.image, expected)
    assert int(made.mask.sum()) == int(mask.sum())


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("scale", [0.4, 0.7, 1.0, 1.3, 2.0, 3.1])
@pytest.mark.parametrize("pad", [0, 3, 4])
def test_cut_out_and_its_mask_agree(pad: int, scale: float, flip: bool) -> None:
    """A white object on black, lopsided: its scaled pixels are white where its scaled mask is."""
    mask = round_mask(30, 40)
    mask[:15, 20:] = False
    donor = np.zeros((80, 90, 3), np.uint8)
    donor[25:55, 22:62][mask] = 255
    patch, cut = cut_out(donor, Box(22, 25, 40, 30), mask, pad, scale, flip)
    assert patch.shape == (*cut.shape, 3)
    assert not cut[:pad].any()
    assert np.array_equal(cut[pad : cut.shape[0] - pad, pad : cut.shape[1] - pad], transformed(mask, scale, flip))
    white = patch[..., 0] > 127
    overlap = (white & cut).sum() / (white | cut).sum()
    assert overlap > (0.999 if scale == 1.0 else 0.75)


@pytest.mark.parametrize("scale", [0.3, 0.4, 0.5, 0.7, 1.3, 2.0, 3.1])
@pytest.mark.parametrize("pad", [1, 3, 4, 7])
def test_surroundings_do_not_shift_the_object(pad: int, scale: float) -> None:
    """The object's pixels lie where its mask is, however much is cut out around it."""
    donor, box = np.zeros((90, 100, 3), np.uint8), Box(32, 35, 40, 30)
    donor[box.crop()] = 255
    patch, cut = cut_out(donor, box, np.ones((30, 40), np.bool_), pad, scale, False)
    for axis in (0, 1):
        places = np.arange(cut.shape[axis])
        white, inside = (grid.astype(float).sum(axis=1 - axis) for grid in (patch[..., 0], cut))
        shift = (white @ places) / white.sum() - (inside @ places) / inside.sum()
        assert abs(shift) < 0.25


@given(st.floats(0.3, 3))
def test_scaled_masks_keep_their_share(scale: float) -> None:
    mask = round_mask(40, 52)
    scaled = transformed(mask, scale, False)
    assert scaled.shape == (max(1, round(40 * scale)), max(1, round(52 * scale)))
    assert scaled.mean() == pytest.approx(mask.mean(), abs=0.05)


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_mirroring_twice_is_nothing(mask: Bits) -> None:
    once = transformed(mask, 1.0, True)
    assert np.array_equal(once, mask[:, ::-1])
    assert np.array_equal(transformed(once, 1.0, True), mask)
    assert transformed(mask, 1.0, False) is mask


def test_an_object_that_vanishes_when_scaled_does_not_stop_the_build(tmp_path: Path) -> None:
    """A thin diagonal pole is under half of every pixel at a third of its size."""
    ids = np.full((120, 160), 9, np.uint32)
    ids[30 + np.arange(80), 30 + np.arange(80)] = 4
    _write_one(tmp_path, ids)
    spec = SourceSpec("coco", str(tmp_path))
    rules = replace(BuildConfig(spec).rules, min_area=0.001)
    tally = Tally()
    maker = TripletMaker(open_source(spec), BuildConfig(spec, scale=(0.3, 0.3), rules=rules))
    list(maker.photo(0, tally))
    assert tally.balanced()


def _write_one(root: Path, ids: npt.NDArray[np.uint32]) -> None:
    """A dataset of one photo: segment 9 is grass, segment 4 a pair of skis."""
    (root / "annotations" / "panoptic_val2017").mkdir(parents=True)
    (root / "val2017").mkdir()
    height, width = ids.shape
    Image.fromarray(noise(height, width)).save(root / "val2017" / "1.jpg")
    packed = np.stack([ids, ids * 0, ids * 0], axis=-1).astype(np.uint8)
    Image.fromarray(packed).save(root / "annotations" / "panoptic_val2017" / "1.png")
    segments = []
    for number, kind in ((9, 193), (4, 35)):
        ys, xs = np.nonzero(ids == number)
        box = [int(v) for v in (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)]
        segments.append({"id": number, "category_id": kind, "area": len(ys), "bbox": box})
    document = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": width, "height": height}],
        "annotations": [{"image_id": 1, "file_name": "1.png", "segments_info": segments}],
        "categories": [
            {"id": 35, "name": "skis", "supercategory": "sports", "isthing": 1},
            {"id": 193, "name": "grass-merged", "supercategory": "plant", "isthing": 0},
        ],
    }
    (root / "annotations" / "panoptic_val2017.json").write_text(json.dumps(document))


def triplet() -> Triplet:
    box = Box(21, 20, 18, 14)
    asked = recipe(box, blend="matting", position=(30, 9), rle=encode_rle(round_mask()))
    return compose(noise(50, 60), noise(50, 60, 1), round_mask(), asked)


def test_the_proof_and_the_hash_together_see_every_pixel_and_mask_bit() -> None:
    made = triplet()
    seen = {pixels_sha256(made)}
    for y, x in [(0, 0), (49, 59), (16, 38)]:
        mask = made.mask.copy()
        mask[y, x] ^= True
        seen.add(pixels_sha256(made._replace(mask=mask)))
        for name in ("image", "background"):
            pixels = getattr(made, name).copy()
            pixels[y, x, 1] ^= 1
            other = made._replace(**{name: pixels})
            if not made.mask[y, x]:  # the composite alone, or the background alone: not equal now
                with pytest.raises(IntegrityError):
                    prove(other.image, other.mask, other.background)
            if made.mask[y, x] or name == "background":
                seen.add(pixels_sha256(other))
    assert made.mask[16, 38]
    assert len(seen) == 1 + 3 + 3 + 1


def test_the_hash_depends_on_nothing_else() -> None:
    """Not on the memory layout, or on the byte that stands for True."""
    made = triplet()
    expected = pixels_sha256(made)
    other = Triplet(np.asfortranarray(made.image), np.asfortranarray(made.mask), made.background)
    assert pixels_sha256(other) == expected
    loud = (made.mask.astype(np.uint8) * 255).view(np.bool_)
    assert pixels_sha256(made._replace(mask=loud)) == expected


def test_the_hash_covers_the_ground_truth_under_the_object() -> None:
    made = triplet()
    changed = made.background.copy()
    changed[tuple(np.argwhere(made.mask)[0])] ^= 1
    assert pixels_sha256(made._replace(background=changed)) != pixels_sha256(made)


def test_the_hash_is_frozen() -> None:
    """The background's hash, mask bits (row by row, the first pixel in the highest bit), then the
    composite's pixels under the mask."""
    image = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    mask = np.zeros((3, 4), np.bool_)
    mask[1, 2] = True
    under = sha256(bytes(range(36))).hexdigest()
    expected = sha256(under.encode() + bytes([0b00000010, 0, 18, 19, 20])).hexdigest()
    assert pixels_sha256(Triplet(image, mask, image)) == expected
    assert pixels_sha256(Triplet(image, mask, image), under) == expected


def test_a_round_trip_through_the_files_keeps_the_hash() -> None:
    made = triplet()
    image = decode_photo(encode_image(made.image)).pixels
    back = Triplet(image, decode_mask(encode_mask(made.mask)), made.background)
    assert pixels_sha256(back) == pixels_sha256(made)
