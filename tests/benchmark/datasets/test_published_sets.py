"""RealHM and Open Images as datasets: look-alikes written here, and the real ones where they are."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from sound_datasets import check, drawn

from benchmark.datasets import open_dataset
from benchmark.datasets.pair_doubts import drift
from olrd.errors import SourceError, UsageError

STEMS = ("vendor_testing_1/17-03.v2", "vendor_testing_1/a_b-c", "vendor_testing_3/deep/shot.final-2")
COLUMNS = "MaskPath ImageID LabelName BoxID BoxXMin BoxXMax BoxYMin BoxYMax PredictedIoU Clicks"


@pytest.fixture(scope="module", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Builds and `datasets` cache elsewhere."""
    datasets = pytest.importorskip("datasets")
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "hf")
        patch.setenv("OLRD_CACHE", str(cache / "olrd"))
        yield


# --- RealHM --------------------------------------------------------------------------------------


def smooth(seed: int) -> np.ndarray:
    """A picture that survives JPEG."""
    coarse = np.random.default_rng(seed).integers(40, 200, (3, 4, 3), dtype=np.uint8)
    resized = Pillow.fromarray(coarse).resize((96, 64), Pillow.Resampling.BICUBIC)
    return np.asarray(resized)


def write_realhm(root: Path, tone: int = 3) -> Path:
    """RealHM's layout; the artist made everything `tone` grey levels brighter."""
    for number, stem in enumerate(STEMS):
        path = root / stem
        path.parent.mkdir(parents=True, exist_ok=True)
        truth, mask = smooth(number), np.zeros((64, 96), np.uint8)
        mask[20:40, 30:60] = 255
        composed = np.where(mask[..., None] > 0, smooth(50 + number), truth + np.uint8(tone))
        files = {
            "": smooth(90),
            "_small": smooth(91),
            "_mask": mask,
            "_fore": truth,
            "_gt": composed,
            "_composite_noise25": drawn(9, 64, 96),
        }
        for suffix, pixels in files.items():
            Pillow.fromarray(pixels).save(f"{path}{suffix}.jpg", quality=92)
    return root


def test_realhm_is_found_by_its_small_files_whatever_the_stems(tmp_path: Path) -> None:
    root = write_realhm(tmp_path / "RealHM")
    data = open_dataset("realhm", str(root))
    check(data)
    assert data.ids() == sorted(STEMS)
    assert len(data.warnings) == 1
    assert "harmonised" in data.warnings[0] and "3 items instead of the published 216" in data.warnings[0]


def test_the_truth_is_the_file_called_fore_and_the_input_the_one_called_gt(tmp_path: Path) -> None:
    data = open_dataset("realhm", str(write_realhm(tmp_path / "RealHM")))
    for index, name in enumerate(data.ids()):
        number = STEMS.index(name)
        one = data.sample(index)
        assert one.truth is not None
        assert np.abs(one.truth.astype(int) - smooth(number)).mean() < 3
        inside = np.zeros((64, 96), bool)
        inside[24:36, 34:56] = True
        assert np.abs(one.image.astype(int) - smooth(50 + number))[inside].mean() < 4
        assert np.abs(one.mask.mean() - 600 / 6144) < 0.005
        assert one.facts["input_minus_truth_outside"] == pytest.approx(3, abs=0.4)
        assert 2.6 < one.facts["input_truth_distance_outside"] < 5


@pytest.mark.parametrize("part", ["gt", "mask", "fore"])
def test_a_missing_file_of_realhm_is_named(part: str, tmp_path: Path) -> None:
    root = write_realhm(tmp_path / "RealHM")
    (root / f"{STEMS[1]}_{part}.jpg").unlink()
    with pytest.raises(SourceError, match=f"a_b-c_{part}.jpg is missing"):
        open_dataset("realhm", str(root))


def test_an_empty_folder_says_where_realhm_comes_from(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no data licence: never redistribute"):
        open_dataset("realhm", str(tmp_path))


def test_the_fingerprint_of_realhm_follows_pixels_names_and_threshold(tmp_path: Path) -> None:
    root = write_realhm(tmp_path / "RealHM")
    found = [open_dataset("realhm", str(root)).fingerprint]
    found.append(open_dataset("realhm", str(root), {"threshold": "10"}).fingerprint)
    for part in ("gt", "mask", "fore"):
        Pillow.fromarray(drawn(5, 64, 96)).save(root / f"{STEMS[0]}_{part}.jpg")
        found.append(open_dataset("realhm", str(root)).fingerprint)
    for path in sorted(root.glob("vendor_testing_1/17-03.v2*")):
        path.rename(path.with_name(path.name.replace("17-03", "17-04")))
    found.append(open_dataset("realhm", str(root)).fingerprint)
    assert len(set(found)) == len(found)
    (root / "vendor_testing_1" / "a_b-c_composite_noise25.jpg").unlink()  # not part of the set
    assert open_dataset("realhm", str(root)).fingerprint == found[-1]


def test_drift_is_measured_farther_than_eight_pixels_from_the_mask() -> None:
    image = np.full((40, 50, 3), 100, np.uint8)
    truth, mask = image.copy(), np.zeros((40, 50), bool)
    mask[18:22, 20:30] = True
    truth[10:30, 12:38] = 0  # all of it within eight pixels
    truth[0, 0] = 90
    truth[1, 0] = 130
    far = 40 * 50 - 20 * 26
    assert drift(image, truth, mask) == {
        "input_minus_truth_outside": pytest.approx((10 - 30) / far),
        "input_truth_distance_outside": pytest.approx((10 + 30) / far),
    }
    assert drift(image, truth, np.ones((40, 50), bool)) == {}


@pytest.mark.slow
def test_the_look_alike_beside_the_repository_has_the_drift_it_was_made_with(shared_data: Path) -> None:
    """Twelve items; the tone differs by -2.6 to 3.6 grey levels outside the mask."""
    root = shared_data / "realhm_lookalike"
    if not root.is_dir():
        pytest.skip("the look-alike is not here")
    data = open_dataset("realhm", str(root))
    check(data)
    samples = [data.sample(k) for k in range(12)]
    assert len(data.ids()) == 12
    drifts = [one.facts["input_minus_truth_outside"] for one in samples]
    assert -2.65 <= min(drifts) < -2 and 3 < max(drifts) <= 3.65
    assert all(0.03 < one.mask.mean() < 0.2 for one in samples)
    low = open_dataset("realhm", str(root), {"threshold": "0"})
    grown = [low.sample(k).mask.sum() / samples[k].mask.sum() for k in range(12)]
    assert all(1.04 < g < 1.14 for g in grown)  # soft JPEG edges


# --- Open Images ---------------------------------------------------------------------------------


def meadow(seed: int, boxes: list[tuple[int, int, int, int]]) -> Pillow.Image:
    """Even ground with room for its objects."""
    grain = np.random.default_rng(seed).normal(0, 3, (120, 160, 3))
    pixels = np.array([90, 140, 70]) + grain
    for left, top, right, bottom in boxes:
        pixels[top:bottom, left:right] += [90, -60, 20]
    return Pillow.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def openimages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos with two, one and no instances; the masks are larger than the photos."""
    root = tmp_path_factory.mktemp("openimages")
    (root / "test").mkdir()
    (root / "test-masks").mkdir()
    rows: list[list[Any]] = []
    for number, (name, boxes) in enumerate(
        {
            "00a1ab47b5439e8c": [(20, 60, 40, 84), (100, 62, 118, 80)],
            "00d5eb460eab4613": [],
            "0ad5ae737f7390b4": [(60, 50, 80, 76)],
        }.items()
    ):
        meadow(number, boxes).save(root / "test" / f"{name}.jpg", quality=95)
        for k, (left, top, right, bottom) in enumerate(boxes):
            mask = np.zeros((180, 240), np.bool_)
            mask[top * 3 // 2 : bottom * 3 // 2, left * 3 // 2 : right * 3 // 2] = True
            label, box_id = ("m0bt9lr", "m0663v")[k], f"{k}a041d5{k}"
            file = f"{name}_{label}_{box_id}.png"
            Pillow.fromarray(mask).save(root / "test-masks" / file)
            corners = [left / 160, right / 160, top / 120, bottom / 120]
            rows.append([file, name, f"/m/{label[1:]}", box_id, *corners, "", ""])
    with (root / "test-annotations-object-segmentation.csv").open("w", newline="") as table:
        csv.writer(table).writerows([COLUMNS.split(), *rows])
    return root


def test_the_legacy_reading_has_one_sample_an_instance_and_warns(openimages: Path) -> None:
    """What no mask covers is no instance, so it is never erased."""
    data = open_dataset("openimages-original", str(openimages))
    check(data)
    assert len(data.ids()) == 3
    assert data.warnings and "doing nothing scores best" in data.warnings[0]
    samples = [data.sample(k) for k in range(3)]
    assert [one.cluster for one in samples] == ["00a1ab47b5439e8c"] * 2 + ["0ad5ae737f7390b4"]
    assert {one.category for one in samples} == {"/m/0bt9lr", "/m/0663v"}
    for one in samples:
        np.testing.assert_array_equal(one.image, one.truth)
        assert one.image.shape == (120, 160, 3)
    expected = np.zeros((120, 160), bool)
    expected[60:84, 20:40] = True
    np.testing.assert_array_equal(samples[0].mask, expected)


@pytest.mark.slow
def test_shifted_instances_have_an_exact_truth(openimages: Path) -> None:
    data = open_dataset("openimages-shift", str(openimages))
    check(data)
    assert data.name == "openimages-shift" and data.warnings == ()
    for index in range(len(data.ids())):
        one = data.sample(index)
        assert one.truth is not None and one.mask.any()
        np.testing.assert_array_equal(one.image[~one.mask], one.truth[~one.mask])


@pytest.mark.parametrize("name", ["openimages-shift", "openimages-original"])
@pytest.mark.slow
def test_a_smaller_draw_is_part_of_the_whole_and_always_the_same(name: str, openimages: Path) -> None:
    whole = open_dataset(name, str(openimages))
    draws = [open_dataset(name, str(openimages), {"size": "2"}) for _ in range(2)]
    assert draws[0].ids() == draws[1].ids()
    assert len(draws[0].ids()) == 2
    assert set(draws[0].ids()) < set(whole.ids())
    assert draws[0].fingerprint == draws[1].fingerprint != whole.fingerprint
    assert draws[0].sample(0).id == draws[0].ids()[0]
    for wrong in ("0", "many", "-3"):
        with pytest.raises(UsageError, match=f"size must be 'all' or .* got '{wrong}'"):
            open_dataset(name, str(openimages), {"size": wrong})


@pytest.mark.slow
def test_the_real_photos_beside_the_repository_open_in_both_readings(shared_data: Path) -> None:
    """Ten real masks, each of another size than its photo; three photos have none."""
    root = shared_data / "openimages"
    if not root.is_dir():
        pytest.skip("the Open Images photos are not here")
    original = open_dataset("openimages-original", str(root))
    check(original)
    assert len(original.ids()) == 10
    for index in range(10):
        one = original.sample(index)
        with Pillow.open(next((root / "test-masks").glob(f"{one.cluster}_*"))) as mask:
            assert mask.size != (one.image.shape[1], one.image.shape[0])
        assert 0.001 < one.mask.mean() < 0.5
    shift = open_dataset("openimages-shift", str(root))
    check(shift)
    assert {one.split("-")[1] for one in shift.ids()} <= {one.split("-")[0] for one in original.ids()}
