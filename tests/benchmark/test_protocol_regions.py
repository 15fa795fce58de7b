"""Protocols (everything that a number depends on is in the id) and regions against naive loops."""

from __future__ import annotations

import json
import tempfile
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged_json import damaged
from hypothesis import given
from hypothesis import strategies as st

from benchmark.datasets import Sample
from benchmark.protocol import FOLDER, Protocol, load_protocol
from benchmark.regions import REGIONS, regions_of
from benchmark.scoring import prepared
from olrd.arrays import Mask, resize_image
from olrd.errors import IntegrityError, UsageError
from olrd.masks import grown
from olrd.panoptic import Box

PLAIN = Protocol("test", 1)
CHANGED: dict[str, Any] = {
    "name": "other",
    "version": 2,
    "resize": "short",
    "size": 9,
    "mask_threshold": 0.4,
    "mask_dilate": 1,
    "ring": 15,
    "box_margin": 3,
    "outside_margin": 2,
    "metrics": ("psnr",),
    "bootstrap": 1,
    "seed": 4,
}


def written(path: Path, **changes: Any) -> str:
    path.write_text(json.dumps({"name": "mine", "version": 1} | changes))
    return str(path)


# --- protocols -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [field.name for field in fields(Protocol)])
def test_the_id_changes_with_every_field(name: str) -> None:
    assert replace(PLAIN, **{name: CHANGED[name]}).id != PLAIN.id


def test_the_order_of_metrics_is_part_of_the_id_and_the_order_of_the_file_is_not(tmp_path: Path) -> None:
    first = load_protocol(written(tmp_path / "a.json", ring=3, seed=2))
    (tmp_path / "b.json").write_text('{"seed": 2, "version": 1, "ring": 3, "name": "mine"}')
    assert load_protocol(str(tmp_path / "b.json")).id == first.id
    assert first.id.startswith("mine-1-")


@pytest.mark.parametrize("name", sorted(p.stem for p in FOLDER.glob("*.json")))
def test_every_protocol_that_ships_loads_under_its_own_name(name: str) -> None:
    protocol = load_protocol(name)
    assert protocol.name == name
    assert set(json.loads((FOLDER / f"{name}.json").read_text())) == {field.name for field in fields(Protocol)}


def test_what_is_stored_beside_results_loads_again(tmp_path: Path) -> None:
    stored = replace(PLAIN, ring=7).to_dict()
    (tmp_path / "p.json").write_text(json.dumps(stored))
    again = load_protocol(str(tmp_path / "p.json"))
    assert again == replace(PLAIN, ring=7)
    assert again.id == stored["id"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rings": 3}, "Did you mean 'ring'?"),
        ({"resize": "strech", "size": 9}, "Did you mean 'stretch'?"),
        ({"resize": "stretch"}, "does not fit size 0"),
        ({"size": 512}, "resize 'none' does not fit size 512"),
        ({"ring": -1}, "whole numbers of at least 0"),
        ({"ring": 1.5}, "whole numbers of at least 0"),
        ({"seed": True}, "whole numbers of at least 0"),
        ({"version": "1"}, "whole numbers of at least 0"),
        ({"metrics": "psnr"}, "metrics must be a list of different names"),
        ({"metrics": None}, "metrics must be a list of different names"),
        ({"metrics": ["psnr", 3]}, "metrics must be a list of different names"),
        ({"metrics": ["psnr", "ssim", "psnr"]}, "metrics must be a list of different names"),
        ({"mask_threshold": "0.5"}, "mask_threshold must be between 0 and 1"),
        ({"mask_threshold": 127}, "mask_threshold must be between 0 and 1"),
        ({"name": ""}, "name must be a text"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = written(tmp_path / "p.json", **changes)
    with pytest.raises(UsageError) as caught:
        load_protocol(path)
    assert said in str(caught.value)
    assert path in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '"native"', '{"version": 1}'])
def test_a_file_that_is_no_protocol_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(UsageError, match=r"p\.json"):
        load_protocol(str(tmp_path / "p.json"))


def test_an_unknown_protocol_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Did you mean 'native'\?"):
        load_protocol("natve")
    with pytest.raises(UsageError, match="cannot be read"):
        load_protocol(str(tmp_path / "none.json"))


# --- regions -------------------------------------------------------------------------------------


def naive_dilation(mask: Mask, radius: int) -> Mask:
    """A pixel is in if the mask holds one within sqrt(radius^2 + radius), about radius + 1/2."""
    grown = np.zeros_like(mask)
    points = list(zip(*np.nonzero(mask), strict=True))
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            grown[y, x] = any((y - v) ** 2 + (x - u) ** 2 <= radius**2 + radius for v, u in points)
    return grown


def naive_regions(mask: Mask, protocol: Protocol) -> dict[str, Mask]:
    box = np.zeros_like(mask)
    rows, columns = np.nonzero(mask)
    grow = protocol.box_margin
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            box[y, x] = len(rows) > 0 and (
                rows.min() - grow <= y <= rows.max() + grow and columns.min() - grow <= x <= columns.max() + grow
            )
    return {
        "full": np.ones_like(mask),
        "mask": mask,
        "ring": naive_dilation(mask, protocol.ring) & ~mask,
        "box": box,
        "outside": ~naive_dilation(mask, protocol.outside_margin),
    }


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    share, seed = draw(st.sampled_from([0.0, 0.03, 0.2, 1.0])), draw(st.integers(0, 99))
    return np.random.default_rng(seed).random((height, width)) < share


@given(masks(), st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))
def test_regions_are_those_of_the_naive_loops(mask: Mask, ring: int, margin: int, outside: int) -> None:
    protocol = replace(PLAIN, ring=ring, box_margin=margin, outside_margin=outside)
    before = mask.copy()
    found, expected = regions_of(mask, protocol), naive_regions(mask, protocol)
    assert tuple(found) == REGIONS
    for name, where in expected.items():
        assert found[name].dtype == np.bool_
        np.testing.assert_array_equal(found[name], where, err_msg=name)
    np.testing.assert_array_equal(mask, before)


def test_the_regions_of_an_empty_and_a_full_mask() -> None:
    empty, full = np.zeros((9, 8), bool), np.ones((9, 8), bool)
    assert {k: v.sum() for k, v in regions_of(empty, PLAIN).items()} == {
        "full": 72,
        "mask": 0,
        "ring": 0,
        "box": 0,
        "outside": 72,
    }
    assert {k: v.sum() for k, v in regions_of(full, PLAIN).items()} == {
        "full": 72,
        "mask": 72,
        "ring": 0,
        "box": 72,
        "outside": 0,
    }


def test_the_effect_is_a_region_of_its_own_and_may_change() -> None:
    mask, effect = np.zeros((2, 20, 30), bool)
    mask[5:9, 5:12] = True
    effect[7:12, 5:25] = True
    protocol = replace(PLAIN, outside_margin=0)
    found, without = regions_of(mask, protocol, effect), regions_of(mask, protocol)
    assert tuple(found) == (*REGIONS, "effect") and tuple(without) == REGIONS
    np.testing.assert_array_equal(found["effect"], effect & ~mask)
    np.testing.assert_array_equal(found["outside"], ~(mask | effect))
    for name in ("full", "mask", "ring", "box"):
        np.testing.assert_array_equal(found[name], without[name])
    np.testing.assert_array_equal(regions_of(mask, protocol, effect & False)["outside"], without["outside"])


def test_a_ring_of_nothing_is_empty_and_outside_is_the_rest() -> None:
    mask = np.random.default_rng(0).random((9, 8)) < 0.4
    found = regions_of(mask, replace(PLAIN, ring=0))
    assert not found["ring"].any()
    np.testing.assert_array_equal(found["outside"], ~mask)


# --- the sample at the protocol's size -----------------------------------------------------------


def sample(height: int, width: int, seed: int = 0, share: float = 0.5, **more: Any) -> Sample:
    rng = np.random.default_rng(seed)
    image, truth = (rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(2))
    return Sample("a", "b", image, rng.random((height, width)) < share, truth, **more)


def naive_shares(mask: Mask, size: tuple[int, int]) -> np.ndarray:
    """Per new pixel the share of its area that the mask covers."""
    width, height = size
    across, down = mask.shape[1] / width, mask.shape[0] / height
    shares = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            for v in range(mask.shape[0]):
                for u in range(mask.shape[1]):
                    tall = min(v + 1, (y + 1) * down) - max(v, y * down)
                    wide = min(u + 1, (x + 1) * across) - max(u, x * across)
                    if tall > 0 and wide > 0 and mask[v, u]:
                        shares[y, x] += tall * wide / (down * across)
    return shares


def test_without_a_resize_the_sample_stays_and_only_the_mask_may_grow() -> None:
    given_ = sample(12, 15, share=0.05)
    before = given_.mask.copy()
    assert prepared(given_, PLAIN).mask.tolist() == before.tolist()
    grown = prepared(given_, replace(PLAIN, mask_dilate=2))
    np.testing.assert_array_equal(grown.mask, naive_dilation(before, 2))
    np.testing.assert_array_equal(grown.image, given_.image)
    np.testing.assert_array_equal(given_.mask, before)


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("kind", ["short", "stretch"])
def test_photos_are_resized_by_lanczos_and_masks_by_area(kind: str, threshold: float) -> None:
    """A threshold of 0 keeps every touched pixel, and still none that is not."""
    given_ = sample(24, 36, share=0.3)
    protocol = replace(PLAIN, resize=kind, size=8, mask_threshold=threshold)
    size = (12, 8) if kind == "short" else (8, 8)
    found = prepared(given_, protocol)
    assert given_.truth is not None and found.truth is not None
    np.testing.assert_array_equal(found.image, resize_image(given_.image, size))
    np.testing.assert_array_equal(found.truth, resize_image(given_.truth, size))
    shares = naive_shares(given_.mask, size)
    clear = np.abs(shares - max(threshold, 1e-6)) > 1e-5  # not a tie that rounding decides
    np.testing.assert_array_equal(found.mask[clear], (shares >= max(threshold, 1e-6))[clear])
    assert clear.mean() > 0.5
    assert found.mask.dtype == np.bool_


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(100, 150, (10, 15)), (150, 100, (15, 10)), (5, 7, (10, 14)), (10, 33, (10, 33)), (1, 4, (10, 40))],
)
def test_short_keeps_the_aspect(height: int, width: int, expected: tuple[int, int]) -> None:
    found = prepared(sample(height, width), replace(PLAIN, resize="short", size=10))
    assert found.mask.shape == expected
    assert found.image.shape == (*expected, 3)


def test_the_mask_grows_after_the_resize() -> None:
    given_ = sample(40, 40, share=0.0)
    given_.mask[20:24, 20:24] = True
    found = prepared(given_, replace(PLAIN, resize="stretch", size=10, mask_dilate=1))
    only = np.zeros((10, 10), bool)
    only[5, 5] = True
    np.testing.assert_array_equal(found.mask, naive_dilation(only, 1))
    assert grown(only, 1).sum() == 9  # sqrt(2) is within 1 + 1/2


def test_the_mask_of_the_effect_is_resized_with_the_mask_and_does_not_grow() -> None:
    mask, effect = np.zeros((2, 40, 60), bool)
    mask[10:20, 10:30] = True
    effect[20:30, 10:30] = True
    one = Sample("a", "a", np.zeros((40, 60, 3), np.uint8), mask, None, effect=effect)
    found = prepared(one, replace(PLAIN, resize="short", size=20, mask_dilate=2))
    assert found.effect is not None and found.effect.shape == (20, 30)
    assert found.effect.sum() == 50 and found.effect[10:15, 5:15].all()
    with pytest.raises(IntegrityError, match=r"a: the mask of the effect is \[40, 59\], the mask 60 x 40"):
        prepared(replace(one, effect=effect[:, 1:]), PLAIN)


def test_a_sample_without_truth_stays_without() -> None:
    found = prepared(replace(sample(9, 9), truth=None), replace(PLAIN, resize="stretch", size=5))
    assert found.truth is None


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30), st.sampled_from(["short", "stretch"]), st.data())
def test_a_twin_is_scaled_along_and_stays_inside(
    height: int, width: int, size: int, kind: str, data: st.DataObject
) -> None:
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    w, h = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
    given_ = sample(height, width, twin=Box(x, y, w, h))
    found = prepared(given_, replace(PLAIN, resize=kind, size=size))
    box, (new_height, new_width) = found.twin, found.mask.shape
    assert box is not None
    assert min(box.x, box.y) >= 0 and min(box.w, box.h) >= 1
    assert box.x + box.w <= new_width and box.y + box.h <= new_height
    across, down = new_width / width, new_height / height
    assert abs(box.x - x * across) <= 1 and abs(box.y - y * down) <= 1
    assert abs(box.w - w * across) <= 1.5 and abs(box.h - h * down) <= 1.5


@given(damaged(asdict(Protocol("p", 1, "short", 512)) | {"metrics": ["psnr"]}))
def test_a_damaged_protocol_is_read_or_a_usage_error(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.json"
        path.write_bytes(data)
        with suppress(UsageError):
            assert load_protocol(str(path)).id


@pytest.mark.parametrize("change", [{"resize": 5}, {"resize": []}, {"resize": "stretch", "size": 999_999}])
def test_a_wrong_resize_rule_is_named_with_its_file(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"name": "x", "version": 1} | change))
    with pytest.raises(UsageError, match=r"p\.json.*(resize|size)"):
        load_protocol(str(path))
