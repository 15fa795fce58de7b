"""The controls and OpenCV's erasers against hand-computed values, naive loops and the library."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from baselines import classic, open_eraser
from baselines.controls import blur_fill, copy_twin
from baselines.eraser import Hints
from baselines.fill import mean_fill
from baselines.folder import ResultError
from olrd.arrays import Image, Mask, encode_image
from olrd.errors import SourceError, UsageError
from olrd.panoptic import Box
from olrd.storage.files import file_name_of

NONE = Hints()


def photo(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def holes(height: int, width: int, seed: int, share: float) -> Mask:
    return np.random.default_rng(seed).random((height, width)) < share


def one(name: str, image: Image, mask: Mask, hint: Hints = NONE, **options: str) -> Image:
    (output,) = open_eraser(name, options, "cpu").erase([image], [mask], [hint])
    return output


def test_mean_fill_paints_the_rounded_mean_of_what_it_sees() -> None:
    image = np.array([[[0, 10, 255], [1, 20, 255]], [[99, 99, 99], [1, 31, 254]]], np.uint8)
    mask = np.array([[False, False], [True, False]])
    expected = image.copy()
    expected[1, 0] = [1, 20, 255]  # 2/3, 61/3, 764/3
    np.testing.assert_array_equal(one("mean-fill", image, mask), expected)


def test_mean_fill_paints_grey_where_nothing_is_seen() -> None:
    assert (one("mean-fill", photo(3, 4), np.ones((3, 4), bool)) == 128).all()


def naive_blur(image: Image, mask: Mask, sigma: float) -> Image:
    """Every masked pixel by a double loop over mirrored positions (edge pixels count twice)."""
    size = round(sigma * 8 + 1) | 1  # OpenCV's rule for float pictures
    reach = size // 2
    weights = [math.exp(-(k * k) / (2 * sigma * sigma)) for k in range(-reach, reach + 1)]
    total = sum(weights)
    height, width = mask.shape

    def mirrored(k: int, n: int) -> int:
        k %= 2 * n
        return k if k < n else 2 * n - 1 - k

    filled = mean_fill(image, mask, NONE)
    for y, x in zip(*np.nonzero(mask), strict=True):
        sums, weight = np.zeros(3), 0.0
        for dy in range(-reach, reach + 1):
            for dx in range(-reach, reach + 1):
                v, u = mirrored(int(y) + dy, height), mirrored(int(x) + dx, width)
                if not mask[v, u]:
                    w = weights[dy + reach] * weights[dx + reach] / total**2
                    sums, weight = sums + w * image[v, u], weight + w
        if weight > 1e-4:
            filled[y, x] = np.rint(sums / weight)
    return filled


@pytest.mark.parametrize(("height", "width", "sigma"), [(9, 7, 0.8), (4, 12, 1.3), (1, 6, 1.0)])
def test_blur_fill_is_the_naive_loop_within_rounding(height: int, width: int, sigma: float) -> None:
    image, mask = photo(height, width), holes(height, width, 3, 0.4)
    output = one("blur-fill", image, mask, sigma=str(sigma)).astype(int)
    assert np.abs(output - naive_blur(image, mask, sigma)).max() <= 1
    np.testing.assert_array_equal(output[~mask], image[~mask])


def test_blur_fill_takes_the_mean_colour_far_from_everything_it_sees() -> None:
    image, mask = photo(5, 60), np.ones((5, 60), bool)
    mask[:, :2] = False
    output = one("blur-fill", image, mask, sigma="1")
    assert (output[:, 40:] == np.rint(image[:, :2].reshape(-1, 3).mean(axis=0))).all()
    assert not (output[:, 2] == output[:, 40]).all()


@pytest.mark.parametrize("name", ["mean-fill", "blur-fill", "opencv-telea", "opencv-ns"])
def test_what_the_mask_covers_leaves_no_trace(name: str) -> None:
    image, mask = photo(20, 30), np.zeros((20, 30), bool)
    mask[6:14, 8:21] = True
    other = image.copy()
    other[mask] = 255 - other[mask]
    np.testing.assert_array_equal(one(name, image, mask), one(name, other, mask))


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000), st.floats(0, 1), st.floats(0.5, 9))
def test_a_fill_stays_in_the_range_of_the_colours_it_sees(
    height: int, width: int, seed: int, share: float, sigma: float
) -> None:
    image, mask = photo(height, width, seed), holes(height, width, seed, share)
    for filled in (mean_fill(image, mask, NONE), blur_fill(image, mask, sigma)):
        seen = image[~mask]
        low, high = (seen.min(axis=0), seen.max(axis=0)) if len(seen) else (128, 128)
        assert ((filled[mask] >= low) & (filled[mask] <= high)).all()
        np.testing.assert_array_equal(filled[~mask], image[~mask])


def test_identity_and_the_truth() -> None:
    image, truth, mask = photo(4, 5), photo(4, 5, 1), holes(4, 5, 0, 0.5)
    np.testing.assert_array_equal(one("identity", image, mask), image)
    np.testing.assert_array_equal(one("ground-truth", image, mask, Hints(truth=truth)), truth)


def test_the_truth_cannot_be_returned_where_there_is_none() -> None:
    with pytest.raises(UsageError, match="ground-truth needs a dataset with a truth"):
        one("ground-truth", photo(4, 5), np.ones((4, 5), bool))


def test_the_twin_is_painted_over_the_mask_alone() -> None:
    image = photo(10, 12)
    mask = np.zeros((10, 12), bool)
    mask[5:9, 7:11] = True
    mask[5, 7] = False
    expected = image.copy()
    for y in range(5, 9):
        for x in range(7, 11):
            if (y, x) != (5, 7):
                expected[y, x] = image[y - 4, x - 6]
    hint = Hints(twin=Box(1, 1, 4, 4))
    np.testing.assert_array_equal(one("copy-twin", image, mask, hint), expected)


def test_a_twin_of_another_size_is_scaled_by_area() -> None:
    image = np.zeros((6, 8, 3), np.uint8)
    image[:4, :4] = np.arange(16).reshape(4, 4, 1) * 10
    mask = np.zeros((6, 8), bool)
    mask[4:6, 6:8] = True
    output = copy_twin(image, mask, Hints(twin=Box(0, 0, 4, 4)))
    # Means of 2 x 2 blocks: 25, 45, 105, 125.
    np.testing.assert_array_equal(output[4:6, 6:8, 0], [[25, 45], [105, 125]])
    np.testing.assert_array_equal(output[~mask], image[~mask])


def test_without_a_twin_the_photo_stays() -> None:
    image = photo(4, 5)
    np.testing.assert_array_equal(one("copy-twin", image, np.ones((4, 5), bool)), image)


@pytest.mark.parametrize("radius", ["5", "2.5"])
@pytest.mark.parametrize(("name", "how"), [("opencv-telea", cv2.INPAINT_TELEA), ("opencv-ns", cv2.INPAINT_NS)])
def test_opencvs_erasers_are_opencvs(name: str, how: int, radius: str) -> None:
    image = photo(40, 50)
    for share in (0.1, 0.9):
        mask = holes(40, 50, 5, share)
        expected = cv2.inpaint(image, mask.astype(np.uint8), float(radius), how)
        np.testing.assert_array_equal(one(name, image, mask, radius=radius), expected)
        np.testing.assert_array_equal(expected[~mask], image[~mask])
    assert open_eraser(name, {}, "cpu").info.revision == f"opencv-{cv2.__version__}"


def test_biharmonic_is_the_librarys() -> None:
    restoration = pytest.importorskip("skimage.restoration", reason="pip install '.[benchmark]'")
    image, mask = photo(20, 24), np.zeros((20, 24), bool)
    mask[5:12, 6:15] = True
    solved = restoration.inpaint_biharmonic(image, mask, channel_axis=-1)
    expected = np.where(mask[..., None], np.rint(np.clip(solved, 0, 1) * 255), image)
    np.testing.assert_array_equal(one("biharmonic", image, mask), expected)


def test_biharmonic_solves_large_holes_at_a_smaller_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A smooth ramp survives; a glaring object under the mask leaves no trace."""
    pytest.importorskip("skimage", reason="pip install '.[benchmark]'")
    monkeypatch.setattr(classic, "LIMIT", 300)
    ramp = np.linspace(20, 220, 90).astype(np.uint8)
    clean = np.repeat(np.repeat(ramp[None, :, None], 80, axis=0), 3, axis=2)
    mask = np.zeros((80, 90), bool)
    mask[20:60, 25:65] = True
    image = clean.copy()
    image[mask] = 255
    output = one("biharmonic", image, mask).astype(int)
    np.testing.assert_array_equal(output[~mask], image[~mask])
    assert np.abs(output - clean)[mask].mean() < 6


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("blur-fill", {"sigm": "3"}, "Did you mean 'sigma'?"),
        ("blur-fill", {"sigma": "0.4"}, "sigma must be between 0.5 and 500 pixels, got '0.4'"),
        ("blur-fill", {"sigma": "wide"}, "got 'wide'"),
        ("blur-fill", {"sigma": "nan"}, "got 'nan'"),
        ("opencv-telea", {"radios": "3"}, "Did you mean 'radius'?"),
        ("opencv-ns", {"radius": "0"}, "opencv-ns: radius is a number from 1 to 100"),
        ("opencv-telea", {"radius": "x"}, "not 'x'"),
        ("identity", {"sigma": "3"}, "no option of the eraser identity is called 'sigma'"),
        ("lama", {"weigths": "3"}, "Did you mean 'weights'?"),
        ("lama", {"runtime": "fast"}, "runtime is auto, library or direct, not 'fast'"),
        ("folder", {"pth": "3"}, "Did you mean 'path'?"),
        ("folder", {}, "--option path=FOLDER"),
    ],
)
def test_a_wrong_option_is_named_with_the_right_one(name: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_eraser(name, options)
    assert said in str(caught.value)


def test_an_unknown_eraser_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no eraser is called 'meanfill'\. Did you mean 'mean-"):
        open_eraser("meanfill")


def test_options_are_stored_as_resolved() -> None:
    assert open_eraser("blur-fill").info.options == {"sigma": "12"}
    assert open_eraser("opencv-ns", {"radius": "3"}).info.options == {"radius": "3"}


# --- the folder of somebody else's results -------------------------------------------------------


def results(folder: Path, **pictures: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for stem, pixels in pictures.items():
        (folder / f"{stem}.webp").write_bytes(encode_image(pixels))
    return folder


def test_results_are_matched_by_sample_id(tmp_path: Path) -> None:
    image, mask = photo(4, 5), np.ones((4, 5), bool)
    folder = results(tmp_path / "theirs", a_1=photo(4, 5, 1), b=photo(4, 5, 2))
    eraser = open_eraser("folder", {"path": str(folder)})
    outputs = eraser.erase([image, image], [mask, mask], [Hints("b"), Hints("a/1")])
    np.testing.assert_array_equal(outputs[0], photo(4, 5, 2))
    np.testing.assert_array_equal(outputs[1], photo(4, 5, 1))


def test_a_missing_or_wrongly_sized_result_is_named(tmp_path: Path) -> None:
    folder = results(tmp_path / "theirs", small=photo(3, 5))
    eraser = open_eraser("folder", {"path": str(folder)})
    image, mask = photo(4, 5), np.ones((4, 5), bool)
    with pytest.raises(ResultError, match=r"holds no gone\.png .* for sample gone"):
        eraser.erase([image], [mask], [Hints("gone")])
    with pytest.raises(ResultError, match=r"small\.webp: expected 5 x 4 .* got 5 x 3"):
        eraser.erase([image], [mask], [Hints("small")])
    with pytest.raises(UsageError, match="pass hints with keys"):
        eraser.erase([image], [mask])
    with pytest.raises(SourceError, match="is not a folder"):
        open_eraser("folder", {"path": str(tmp_path / "none")})


def test_the_revision_of_a_folder_follows_its_pixels(tmp_path: Path) -> None:
    """Files that are no pictures do not count; name, revision and licence may be given."""
    folder = results(tmp_path / "theirs", a=photo(4, 5, 1))
    path = {"path": str(folder)}
    first = open_eraser("folder", path).info
    assert (first.name, first.license) == ("theirs", "unknown")
    (folder / "notes.txt").write_text("hello")
    assert open_eraser("folder", path).info == first
    data = bytearray((folder / "a.webp").read_bytes())
    data[-1] ^= 1  # as long as before
    (folder / "a.webp").write_bytes(data)
    assert open_eraser("folder", path).info.revision != first.revision
    said = open_eraser("folder", path | {"name": "X", "revision": "2", "license": "MIT"}).info
    assert (said.name, said.revision, said.license) == ("X", "2", "MIT")


@given(st.text(max_size=20))
@pytest.mark.slow
def test_a_sample_id_becomes_a_plain_file_name(key: str) -> None:
    stem = file_name_of(key)
    assert len(stem) == len(key)
    assert all(kept == c or (kept == "_" and not c.isalnum()) for kept, c in zip(stem, key, strict=True))
    assert not set(stem) & set('/\\:*?"<>| \0\n')


@pytest.mark.parametrize("name", ["a_1.PNG", "a_1.Jpeg", "a/1.png", "a/1.WEBP"])
def test_results_have_any_case_of_suffix_and_may_lie_in_subfolders(name: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs" / name
    path.parent.mkdir(parents=True)
    flat = np.full((16, 16, 3), 90, np.uint8)
    Pillow.fromarray(flat).save(path, lossless=True)
    (path.parent / f"._{path.name}").write_bytes(b"AppleDouble")
    eraser = open_eraser("folder", {"path": str(tmp_path / "theirs")})
    (output,) = eraser.erase([photo(16, 16)], [np.ones((16, 16), bool)], [Hints("a/1")])
    np.testing.assert_array_equal(output, flat)
    assert eraser.info.options == {"name": "theirs"}


def test_results_of_another_size_are_resized_when_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = results(tmp_path / "theirs", a=photo(8, 10), b=photo(8, 10))
    image, mask = photo(4, 5), np.ones((4, 5), bool)
    with pytest.raises(ResultError, match="resize=yes resizes it"):
        open_eraser("folder", {"path": str(folder)}).erase([image], [mask], [Hints("a")])
    eraser = open_eraser("folder", {"path": str(folder), "resize": "yes"})
    outputs = eraser.erase([image] * 2, [mask] * 2, [Hints("a"), Hints("b")])
    assert [output.shape for output in outputs] == [(4, 5, 3)] * 2
    assert capsys.readouterr().err.count("it is resized") == 1
    assert eraser.info.options == {"name": "theirs", "resize": "yes"}
    with pytest.raises(UsageError, match="resize must be yes or no, got 'true'"):
        open_eraser("folder", {"path": str(folder), "resize": "true"})


@pytest.mark.parametrize("options", [{}, {"revision": "3"}])
def test_a_folder_without_a_picture_is_no_result(options: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "._a.png").write_bytes(b"AppleDouble")
    with pytest.raises(SourceError, match="holds no picture"):
        open_eraser("folder", {"path": str(tmp_path)} | options)


def test_a_missing_result_shows_a_found_name(tmp_path: Path) -> None:
    folder = results(tmp_path / "theirs", other=photo(4, 5))
    with pytest.raises(ResultError, match=r"holds no a\.png .* for sample a; it holds e\.g\. other\.webp"):
        open_eraser("folder", {"path": str(folder)}).erase([photo(4, 5)], [np.ones((4, 5), bool)], [Hints("a")])


@pytest.mark.parametrize("name", ["a_inpainted", "a-result", "a_mask001", "a_mask001_inpainted", "a_out"])
def test_words_that_programs_add_to_names_are_understood(name: str, tmp_path: Path) -> None:
    folder = results(tmp_path / "theirs", **{name: photo(4, 5, 1), "b": photo(4, 5, 2), "b_out": photo(4, 5, 3)})
    eraser = open_eraser("folder", {"path": str(folder)})
    outputs = eraser.erase([photo(4, 5)] * 2, [np.ones((4, 5), bool)] * 2, [Hints("a"), Hints("b")])
    np.testing.assert_array_equal(outputs, [photo(4, 5, 1), photo(4, 5, 2)])


def test_two_results_of_one_sample_are_not_chosen_between(tmp_path: Path) -> None:
    folder = results(tmp_path / "theirs", a_mask001=photo(4, 5, 1), a_mask002=photo(4, 5, 2))
    with pytest.raises(ResultError, match=r"holds no a\.png"):
        open_eraser("folder", {"path": str(folder)}).erase([photo(4, 5)], [np.ones((4, 5), bool)], [Hints("a")])
