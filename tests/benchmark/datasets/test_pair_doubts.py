"""What the samples of a set say about it, and where it is said."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_pairs import mask_of, photo_of, three, truth_of, write_pairs
from PIL import Image as Pillow

from benchmark.board.leaderboard import leaderboard
from benchmark.board.records import add_record
from benchmark.datasets import open_dataset
from benchmark.datasets.pair_doubts import DATA_DOUBTS, data_warnings, doubts_of
from benchmark.runner.request import Request
from benchmark.runner.run import run
from olrd.arrays import Image, Mask
from olrd.engines import EngineSpec
from olrd.errors import Rejected, UsageError
from olrd.storage.files import to_json


def as_jpeg(pixels: Image, quality: int = 80) -> Image:
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Pillow.open(buffer))


def brighter(pixels: Image) -> Image:
    return np.clip(pixels.astype(int) + 40, 0, 255).astype(np.uint8)


def test_a_sound_pair_has_no_doubts() -> None:
    for seed in range(5):
        assert doubts_of(photo_of(seed), mask_of(seed), truth_of(seed)) == {}
        assert doubts_of(photo_of(seed), mask_of(seed), as_jpeg(truth_of(seed))) == {}
        assert doubts_of(photo_of(seed), mask_of(seed), None) == {}


@pytest.mark.parametrize(
    ("truth", "mask", "fact"),
    [
        (lambda seed: photo_of(seed), mask_of, "truth_equals_input_in_mask"),
        (lambda seed: as_jpeg(photo_of(seed), 95), mask_of, "truth_equals_input_in_mask"),
        (truth_of, lambda seed: ~mask_of(seed), "mask_over_half"),
        (truth_of, lambda seed: np.zeros_like(mask_of(seed)), "mask_empty"),
        (lambda seed: brighter(truth_of(seed)), mask_of, "change_outside_mask"),
        (truth_of, lambda seed: np.roll(mask_of(seed), 30, 1) & ~mask_of(seed), "truth_equals_input_in_mask"),
    ],
)
def test_what_is_odd_is_a_fact(truth: Callable[[int], Image], mask: Callable[[int], Mask], fact: str) -> None:
    for seed in (1, 2, 3):
        facts = doubts_of(photo_of(seed), mask(seed), truth(seed))
        assert facts.keys() & DATA_DOUBTS == {fact}
        if fact == "change_outside_mask":
            assert facts["input_minus_truth_outside"] == pytest.approx(-40, abs=1)
            assert facts["input_truth_distance_outside"] == pytest.approx(40, abs=1)


def test_only_what_most_samples_show_is_said() -> None:
    same, empty = {"truth_equals_input_in_mask": 1.0}, {"mask_empty": 1.0}
    assert data_warnings([]) == () and data_warnings([{}, {}]) == () and data_warnings([same, {}]) == ()
    assert "in 2 of 3 samples: the truth still holds the object" in data_warnings([same, same, {}])[0]
    assert data_warnings([empty, {}, {}]) == ("the mask is empty in 1 of 3 samples: nothing is erased there",)


def request(root: Path, **more: object) -> Request:
    (root / "small.json").write_text(to_json({"name": "small", "version": 1, "metrics": ["psnr"], "bootstrap": 20}))
    return Request(method="identity", dataset="pairs", root=str(root), protocol=str(root / "small.json"), **more)  # type: ignore[arg-type]


def test_a_run_and_a_leaderboard_say_that_identity_ranks_first(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", three() | {f"gt/{k}.png": photo_of(k) for k in (1, 2, 3)})
    done = run(request(root), tmp_path / "out")
    (said,) = done.summary.dataset.warnings
    assert said.startswith("truth and input are equal inside the mask in 3 of 3 samples")
    assert done.summary.facts == {} and done.summary.warnings == ()
    add_record(done, tmp_path / "board")
    leaderboard(tmp_path / "board")
    assert said in (tmp_path / "board" / "pairs.md").read_text()


def test_the_change_outside_is_reported_in_grey_levels(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", three() | {f"gt/{k}.png": brighter(truth_of(k)) for k in (1, 2, 3)})
    summary = run(request(root), tmp_path / "out").summary
    assert "lies outside the mask in 3 of 3 samples (40.0 grey levels on average there" in summary.dataset.warnings[0]
    assert summary.facts["input_minus_truth_outside"] == pytest.approx(-40, abs=1)


@pytest.mark.slow
def test_a_sound_set_says_nothing_and_one_worker_or_two_say_the_same(tmp_path: Path) -> None:
    sound = run(request(write_pairs(tmp_path / "sound", three())), tmp_path / "out").summary
    assert sound.dataset.warnings == () and sound.facts == {}
    odd = write_pairs(tmp_path / "odd", three() | {"mask/2.png": np.zeros_like(mask_of(1))})
    one = run(request(odd), tmp_path / "one").summary.dataset
    two = run(request(odd), tmp_path / "two", EngineSpec("local", workers=2)).summary.dataset
    assert one == two and one.warnings == ("the mask is empty in 1 of 3 samples: nothing is erased there",)


@pytest.mark.parametrize(
    ("save", "said"),
    [
        (lambda mask: Pillow.fromarray(mask.astype(np.uint8)), ""),
        (lambda mask: Pillow.fromarray(mask.astype(np.uint8) * 255).convert("RGB"), ""),
        (lambda mask: alpha(np.full((*mask.shape, 3), (255, 0, 0), np.uint8), mask), "alpha of RGBA"),
        (lambda mask: alpha(np.tile(truth_of(9), (1, 1, 1)), ~mask), "hole in the alpha of RGBA"),
        (lambda mask: palette(mask), "palette entry 1"),
        (lambda mask: Pillow.fromarray(mask[..., None] * np.array([200, 0, 0], np.uint8)), "colour on black of RGB"),
    ],
)
def test_masks_of_editors_and_labelling_tools_are_read_and_it_is_said_how(
    save: Callable[[Mask], Pillow.Image], said: str, tmp_path: Path
) -> None:
    root = write_pairs(tmp_path / "data", three())
    for seed in (1, 2, 3):
        save(mask_of(seed)).save(root / "mask" / f"{seed}.png")
    data = open_dataset("pairs", str(root))
    for index, seed in enumerate((1, 2, 3)):
        np.testing.assert_array_equal(data.sample(index).mask, mask_of(seed))
    summary = run(request(root), tmp_path / "out").summary
    assert summary.facts == {}
    assert summary.dataset.warnings == ((f"masks are read as {said} in 3 of 3 samples",) if said else ())


def alpha(colours: Image, mask: Mask) -> Pillow.Image:
    return Pillow.fromarray(np.dstack([colours, mask.astype(np.uint8) * 255]))


def palette(mask: Mask) -> Pillow.Image:
    image = Pillow.fromarray(mask.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 128, 0, 0])
    return image


def test_a_mask_with_two_meanings_names_the_option_of_the_dataset(tmp_path: Path) -> None:
    root = write_pairs(tmp_path, three())
    labels = np.zeros(mask_of(1).shape, np.uint8)
    labels[:20], labels[20:30] = 3, 7
    Pillow.fromarray(labels).save(root / "mask" / "1.png")
    with pytest.raises(Rejected, match="--data-option mask_from=index:N"):
        open_dataset("pairs", str(root)).sample(0)
    one = open_dataset("pairs", str(root), {"mask_from": "index:7"})
    np.testing.assert_array_equal(one.sample(0).mask, labels == 7)
    assert one.fingerprint != open_dataset("pairs", str(root)).fingerprint
    with pytest.raises(UsageError, match="alpha, luminance or index:N, got 'red'"):
        open_dataset("pairs", str(root), {"mask_from": "red"})
