"""One suite over every registered metric; then PSNR and SSIM against plain loops and torchmetrics."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from benchmark.metrics import METRICS, Erasure, ErasureMetric, MapMetric, SampleMetric, SetMetric, open_metric
from benchmark.metrics.inception import InceptionDistance
from benchmark.protocol import Protocol
from benchmark.regions import regions_of
from olrd.errors import UsageError

pytest.importorskip("torch", reason="pip install '.[benchmark]'")
from small_encoders import one_thread, put_all

KID = {"kid", "kid-box", "kid-alex-box"}
SAME_FEATURES = {"fid-box", "kid", "kid-box", "legacy:attentive-fid", "mind", "mind-box"}
ON_INCEPTION = {"fid-box", "kid", "kid-box", "mind", "mind-box"}
"""Their features are those of `fid`."""
SYMMETRIC = {"cmmd", "dists", "fid", "fid-box", "lpips-alex", "lpips-vgg", "mind", "psnr", "ssim"} | KID


def photo(seed: int, height: int = 48, width: int = 72) -> np.ndarray:
    """A smooth picture, uint8 [H, W, 3]."""
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def noisy(image: np.ndarray, strength: int, seed: int = 9) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(-strength, strength + 1, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module", autouse=True)
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with one_thread(), pytest.MonkeyPatch.context() as patch:
        for name, value in put_all(tmp_path_factory.mktemp("encoders")).items():
            patch.setenv(name, value)
        yield


LIGHT = ("psnr", "ssim", "lpips-alex", "legacy:brushnet-psnr", "legacy:ssh-psnr", "regrowth", "seam", "tone")
"""Metrics without a large network; the others are tested with the slow tests."""


@pytest.fixture(
    scope="module",
    params=[n if n in LIGHT else pytest.param(n, marks=pytest.mark.slow) for n in sorted(METRICS.builtin)],
)
def metric(request: pytest.FixtureRequest, encoders: None, known: dict[bytes, Any]) -> Iterator[Any]:
    if request.param == "dreamsim":
        pytest.importorskip("dreamsim", reason="pip install '.[dreamsim]'")
    opened = open_metric(request.param, "cpu")
    if request.param in ON_INCEPTION:
        assert isinstance(opened, InceptionDistance)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(opened, "features", partial(remembered, opened, known))
            yield opened
    else:
        yield opened


@pytest.fixture(scope="module")
def known() -> dict[bytes, Any]:
    """Inception's features of pictures. `fid` computes its own, and has all properties."""
    return {}


def remembered(metric: Any, known: dict[bytes, Any], images: list[np.ndarray]) -> np.ndarray:
    """The features of each picture, computed once for all metrics that have them from one network."""
    compute = InceptionDistance.features
    keys = [repr(image.shape).encode() + image.tobytes() for image in images]
    for key, image in zip(keys, images, strict=True):
        if key not in known:
            known[key] = compute(metric, [image])
    return np.concatenate([compute(metric, []), *(known[key] for key in keys)])


MASK = np.zeros((48, 72), bool)
MASK[10:30, 20:50] = True


def erasure(truth: np.ndarray | None, mask: np.ndarray = MASK) -> Erasure:
    """A photo with an object in the mask."""
    size = mask.shape
    image = np.where(mask[..., None], photo(5, *size), photo(1, *size) if truth is None else truth)
    return Erasure(image, regions_of(mask, Protocol("test", 1)), truth)


def judged(metric: Any, outputs: list[np.ndarray], truth: np.ndarray | None, mask: np.ndarray = MASK) -> Any:
    """The scores of a sample or an erasure metric."""
    if metric.info.kind == "erasure":
        return metric.judge(outputs, erasure(truth, mask))
    return metric.scores(outputs, mask, truth)


def scores(metric: Any, outputs: list[np.ndarray], truth: np.ndarray) -> list[float]:
    """One number per output, whatever the kind; for a set metric the set is several noisy copies."""
    if metric.info.kind == "map":
        maps = metric.maps(outputs, truth)
        return [metric.finish(float(m.mean(dtype=np.float64))).value for m in maps]
    if metric.info.kind in ("sample", "erasure"):
        return [score.value for score in judged(metric, outputs, truth)]
    truths = metric.features([noisy(truth, 3, seed) for seed in range(2)])
    copies = [metric.features([noisy(o, 3, 20 + seed) for seed in range(2)]) for o in outputs]
    return [metric.compare(some, truths).value for some in copies]


def test_info(metric: Any) -> None:
    info = metric.info
    assert info.name in METRICS.builtin
    assert {"map": "maps", "sample": "scores", "erasure": "judge", "set": "features"}[info.kind] in dir(metric)
    assert len(info.definition) > 20 and "\n" not in info.definition and info.revision


@pytest.mark.slow
def test_worse_pictures_score_worse(metric: Any) -> None:
    if metric.info.kind == "erasure":
        pytest.skip("has 0 and 1 only, or asks about edges: test_regrowth.py and test_surroundings.py")
    if metric.info.name in ("rc-s", "remove", "legacy:remove-64"):
        pytest.skip("needs real weights to mean anything; test_remove.py tests its parts")
    if metric.info.name == "legacy:attentive-fid":
        pytest.skip("it stretches to 512 pixels, which takes long; test_legacy.py compares it with its script")
    truth = photo(1)
    good, bad = scores(metric, [noisy(truth, 8), noisy(photo(2), 60)], truth)
    assert (good > bad) == metric.info.higher_is_better


def test_equal_pictures_score_best(metric: Any) -> None:
    if metric.info.name.startswith("legacy:"):
        pytest.skip("gives what its authors' script gave")
    truth = photo(1)
    if metric.info.kind == "map":
        for map_ in metric.maps([truth, truth.copy()], truth):
            score = metric.finish(float(map_.mean(dtype=np.float64)))
            best = {"psnr": (None, "identical"), "ssim": (1.0, "")}.get(metric.info.name, (0.0, ""))
            assert score == best
    elif metric.info.kind == "sample" and metric.info.needs_truth:
        assert metric.scores([truth], MASK, truth)[0].value == pytest.approx(0, abs=1e-7)
    elif metric.info.kind == "set":
        rows = metric.features([photo(seed) for seed in range(3)])
        best = metric.compare(rows, rows).value
        # The unbiased estimate leaves equal pairs out on one side only, and so lies below 0 here.
        assert best < 0 if metric.info.name in KID else best == pytest.approx(0, abs=1e-6)


def test_symmetry(metric: Any) -> None:
    if metric.info.name not in SYMMETRIC:
        pytest.skip("compares with nothing")
    a, b = photo(1), noisy(photo(2), 30)
    if metric.info.kind == "set":
        x, y = metric.features([a, b, photo(3)]), metric.features([photo(4), photo(5)])
        assert metric.compare(x, y).value == pytest.approx(metric.compare(y, x).value, rel=1e-6)
    else:
        assert scores(metric, [a], b)[0] == pytest.approx(scores(metric, [b], a)[0], rel=1e-5)


@pytest.mark.slow
def test_batch_and_order_change_nothing_and_inputs_stay(metric: Any) -> None:
    if metric.info.name in SAME_FEATURES:
        pytest.skip("its features are those of another metric, or compared with its script in test_legacy.py")
    images = [photo(1), noisy(photo(1), 30), photo(2)]
    truth = photo(3)
    kept = [image.copy() for image in (*images, truth)]
    for image in (*images, truth):
        image.flags.writeable = False
    if metric.info.kind == "map":
        together, alone = metric.maps(images, truth), [metric.maps([i], truth)[0] for i in images]
        turned = metric.maps(images[::-1], truth)[::-1]
        assert all(m.dtype == np.float32 and m.shape == truth.shape[:2] for m in together)
    elif metric.info.kind in ("sample", "erasure"):
        together = [s.value for s in judged(metric, images, truth)]
        alone = [judged(metric, [i], truth)[0].value for i in images]
        turned = [s.value for s in judged(metric, images[::-1], truth)[::-1]]
    else:
        together, turned = metric.features(images), metric.features(images[::-1])[::-1]
        alone = np.concatenate([metric.features([i]) for i in images])
        assert together.dtype == np.float64 and len(together) == 3
        assert metric.compare(together, alone).value == pytest.approx(
            metric.compare(together[::-1], alone).value, abs=1e-6
        )
    for other in (alone, turned):
        np.testing.assert_allclose(np.array(together, float), np.array(other, float), rtol=1e-5, atol=1e-6)
    assert all(np.array_equal(a, b) for a, b in zip(kept, (*images, truth), strict=True))


def test_nothing_in_nothing_out(metric: Any) -> None:
    if metric.info.kind == "map":
        assert metric.maps([], photo(1)) == []
    elif metric.info.kind in ("sample", "erasure"):
        assert judged(metric, [], photo(1)) == []
    else:
        none = metric.features([])
        assert none.shape == (0, metric.features([photo(1)]).shape[1])
        assert metric.compare(none, none) == (None, "too_few")


def test_wrong_pictures_are_named(metric: Any) -> None:
    grey = photo(1)[..., 0]
    floats = photo(1) / 255
    for wrong in (grey, floats):
        with pytest.raises(UsageError, match="uint8 \\[H, W, 3\\]"):
            if metric.info.kind == "map":
                metric.maps([wrong], photo(1))
            elif metric.info.kind in ("sample", "erasure"):
                judged(metric, [wrong], photo(1))
            else:
                metric.features([wrong])
    if metric.info.kind != "set":
        small = photo(1, 40, 40)
        with pytest.raises(UsageError, match="40 x 40"):
            if metric.info.kind == "map":
                metric.maps([small], photo(1))
            else:
                judged(metric, [small], photo(1))
    if metric.info.kind in ("sample", "erasure") and metric.info.needs_truth:
        with pytest.raises(UsageError, match="has none"):
            judged(metric, [photo(1)], None)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (40, 33)])
def test_any_size_gives_a_score_or_a_reason(metric: Any, size: tuple[int, int]) -> None:
    truth, output, mask = photo(1, *size), noisy(photo(1, *size), 20), np.zeros(size, bool)
    mask[0, 0] = True
    if metric.info.kind == "set":
        assert np.isfinite(metric.features([truth])).all()
        return
    if metric.info.kind == "map":
        score = metric.finish(float(metric.maps([output], truth)[0].mean(dtype=np.float64)))
    else:
        score = judged(metric, [output], truth, mask)[0]
    assert np.isfinite(score.value) if score.value is not None else score.reason


def test_protocols(encoders: None) -> None:
    """Checked by mypy where it is given types, and by name here."""
    kinds = {"map": MapMetric, "sample": SampleMetric, "erasure": ErasureMetric, "set": SetMetric}
    absent = set() if find_spec("dreamsim") else {"dreamsim"}  # a package of its own: pip install '.[dreamsim]'
    for name in METRICS.builtin.keys() - absent:
        metric = open_metric(name, "cpu")
        wanted = {n for n in vars(kinds[metric.info.kind]) if not n.startswith("_")}
        assert wanted <= set(dir(metric)), name


@pytest.mark.slow
def test_importing_and_opening_imports_no_torch() -> None:
    code = (
        "import sys, benchmark.metrics as m; [m.open_metric(n) for n in ('psnr', 'ssim', 'lpips-alex')];"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# PSNR and SSIM ------------------------------------------------------------------------------------


def test_psnr_of_a_region_is_that_of_a_plain_loop() -> None:
    truth = photo(1)
    output = noisy(truth, 40)
    metric = open_metric("psnr")
    squares = [
        (int(output[y, x, c]) - int(truth[y, x, c])) ** 2
        for y, x in zip(*np.nonzero(MASK), strict=True)
        for c in range(3)
    ]
    expected = 10 * np.log10(255**2 / np.mean(squares))
    mean = float(metric.maps([output], truth)[0][MASK].mean(dtype=np.float64))
    assert metric.finish(mean).value == pytest.approx(expected, rel=1e-7)


def test_psnr_of_the_greatest_error_is_zero() -> None:
    black, white = np.zeros((4, 5, 3), np.uint8), np.full((4, 5, 3), 255, np.uint8)
    map_ = open_metric("psnr").maps([black], white)[0]
    assert (map_ == 65025).all() and open_metric("psnr").finish(65025).value == 0


def test_ssim_is_that_of_a_plain_loop() -> None:
    truth = photo(1, 17, 20)
    output = noisy(truth, 40)
    taps = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(taps, taps) / taps.sum() ** 2
    padded = [np.pad(i.astype(float), ((5, 5), (5, 5), (0, 0)), "reflect") for i in (output, truth)]
    expected = np.zeros((17, 20))
    for y in range(17):
        for x in range(20):
            for c in range(3):
                a, b = (p[y : y + 11, x : x + 11, c] for p in padded)
                ma, mb = (window * a).sum(), (window * b).sum()
                va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
                cov = (window * (a - ma) * (b - mb)).sum()
                c1, c2 = 2.55**2, 7.65**2
                expected[y, x] += (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)) / 3
    np.testing.assert_allclose(open_metric("ssim").maps([output], truth)[0], expected, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["noise", "patch", "corner", "dark", "flat"])
def test_ssim_is_that_of_torchmetrics(case: str) -> None:
    """Also where most of the picture is untouched, and where variances are smallest."""
    ssim = pytest.importorskip(
        "torchmetrics.functional.image", reason="pip install '.[dev]'"
    ).structural_similarity_index_measure
    import torch

    truth = {"dark": photo(1, 96, 130) // 40, "flat": np.full((96, 130, 3), 240, np.uint8)}.get(case, photo(1, 96, 130))
    output = noisy(truth, 1 if case in ("dark", "flat") else 50)
    if case == "patch":
        output = np.where((np.arange(96)[:, None, None] // 20 == 2), output, truth)
    if case == "corner":
        output[8:], output[:, 3:] = truth[8:], truth[:, 3:]
    double = [torch.from_numpy(i).permute(2, 0, 1)[None].double() for i in (output, truth)]
    whole = ssim(*double, data_range=255.0, return_full_image=True)[1][0].mean(0).numpy()
    np.testing.assert_allclose(open_metric("ssim").maps([output], truth)[0], whole, atol=1e-6)
