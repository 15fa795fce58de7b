"""Maps that are computed only where output and truth differ, against maps of whole pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.metrics import open_metric
from benchmark.metrics.backbones import Conv, Tap
from benchmark.metrics.changed import Area, Span, Window, difference, hull, pixels_of
from benchmark.metrics.dists import DEVIATION, MEAN
from benchmark.metrics.grid import overlap
from benchmark.metrics.lpips import EPSILON
from benchmark.protocol import Protocol
from benchmark.regions import regions_of

torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
from small_encoders import one_thread, vgg16_file  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with one_thread(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("LPIPS_VGG_MODEL", str(vgg16_file(tmp_path_factory.mktemp("vgg"))))
        yield


def whole_map(metric: Any, output: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """LPIPS of whole pictures: all cells of all layers, each spread over its pixels."""
    (backbone, _, shift, scale), heads = metric._network
    pair = torch.from_numpy(np.stack([truth, output])).permute(0, 3, 1, 2).float()
    total = np.zeros(truth.shape[:2])
    with torch.inference_mode():
        for features, head in zip(backbone.taps((pair / 127.5 - 1 - shift) / scale), heads, strict=True):
            unit = features / (features.square().sum(1, keepdim=True).sqrt() + EPSILON)
            cells = torch.einsum("chw,c->hw", (unit[1] - unit[0]).square(), head).double().numpy()
            rows, columns = (overlap(p, c) for p, c in zip(truth.shape[:2], cells.shape, strict=True))
            total += rows @ cells @ columns.T
    return total


def hole(size: tuple[int, int], top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = True
    mask[top, left] = height * width == 1  # not a full rectangle
    return mask


HOLES = {
    "middle": hole((129, 161), 50, 60, 30, 41),
    "one pixel": hole((129, 161), 77, 91, 1, 1),
    "top left corner": hole((129, 161), 0, 0, 12, 9),
    "bottom right corner": hole((129, 161), 116, 144, 13, 17),
    "whole width": hole((110, 97), 60, 0, 5, 97),
    "two far apart": hole((121, 190), 5, 3, 9, 9) | hole((121, 190), 100, 160, 20, 30),
    "hardly larger than the network accepts": hole((31, 40), 10, 10, 8, 8),
    "last pixel, which some layers do not see": hole((64, 66), 63, 65, 1, 1),
}


FEW = ("bottom right corner", "hardly larger than the network accepts", "last pixel, which some layers do not see")


@pytest.mark.parametrize(
    ("name", "case"),
    [
        *(("lpips-alex", case) for case in FEW),
        *(pytest.param("lpips-alex", case, marks=pytest.mark.slow) for case in HOLES if case not in FEW),
        *(pytest.param("lpips-vgg", case, marks=pytest.mark.slow) for case in FEW),
    ],
)
def test_lpips_of_the_changed_part_is_that_of_whole_pictures(name: str, case: str) -> None:
    mask = HOLES[case]
    rng = np.random.default_rng(0)
    truth, drawn = rng.integers(0, 256, (2, *mask.shape, 3), dtype=np.uint8)
    composited = np.where(mask[..., None], drawn, truth)
    raw = (0.8 * composited + 0.2 * drawn).astype(np.uint8)  # differs everywhere
    metric: Any = open_metric(name, "cpu")
    small = len(truth) < 100
    for outputs in ([composited], [raw, truth, composited])[: 2 if small or name == "lpips-alex" else 1]:
        for output, found in zip(outputs, metric.maps(outputs, truth), strict=True):
            expected = whole_map(metric, output, truth)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=1e-5)
            for region, where in regions_of(mask, Protocol("test", 1)).items():
                if where.any():
                    assert found[where].mean(dtype=float) == pytest.approx(expected[where].mean(), abs=1e-6), region


def whole_dists(metric: Any, output: np.ndarray, truth: np.ndarray) -> float:
    """DISTS of whole pictures: all cells of all layers of both."""
    _, backbone, _, alpha, beta = metric._network
    pair = torch.from_numpy(np.stack([truth, output])).permute(0, 3, 1, 2).float() / 255
    hann = torch.tensor([0.25, 0.5, 0.25])
    layers, likeness = [pair], 0.0
    with torch.inference_mode():
        x = (pair - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]
        for step in backbone.layout.steps:
            if isinstance(step, Tap):
                layers.append(x)
            elif isinstance(step, Conv):
                weight, bias = backbone.weights[step.number]
                x = torch.conv2d(x, weight, bias, step.stride, step.padding).relu()
            else:
                window = (hann[:, None] * hann).expand(x.shape[1], 1, 3, 3)
                x = (torch.conv2d(x.square(), window, None, 2, 1, groups=x.shape[1]) + 1e-12).sqrt()
    for layer, a, b in zip(layers, alpha, beta, strict=True):
        t, o = layer.flatten(2).double().numpy()
        mean_t, mean_o = t.mean(1), o.mean(1)
        covariance = (t * o).mean(1) - mean_t * mean_o
        texture = (2 * mean_t * mean_o + 1e-6) / (mean_t**2 + mean_o**2 + 1e-6)
        structure = (2 * covariance + 1e-6) / (t.var(1) + o.var(1) + 1e-6)
        likeness += float(texture @ a.numpy() + structure @ b.numpy())
    return 1 - likeness


@pytest.mark.slow
@pytest.mark.parametrize("case", ["two far apart", "whole width", "top left corner", *FEW])
def test_dists_of_the_changed_part_is_that_of_whole_pictures(case: str) -> None:
    mask = HOLES[case]
    rng = np.random.default_rng(0)
    truth, drawn = rng.integers(0, 256, (2, *mask.shape, 3), dtype=np.uint8)
    composited = np.where(mask[..., None], drawn, truth)
    raw = (0.8 * composited + 0.2 * drawn).astype(np.uint8)  # differs everywhere
    metric: Any = open_metric("dists", "cpu")
    outputs = [raw, truth, composited]
    for output, found in zip(outputs, metric.scores(outputs, mask, truth), strict=True):
        assert found.value == pytest.approx(whole_dists(metric, output, truth), abs=1e-6)
    assert metric.scores([truth], mask, truth)[0].value == 0


@pytest.mark.parametrize("case", HOLES)
def test_ssim_of_the_changed_part_is_that_of_whole_pictures(case: str) -> None:
    """A third output that differs everywhere makes the metric compute the statistics of the whole truth."""
    mask = HOLES[case]
    rng = np.random.default_rng(0)
    truth, drawn = rng.integers(0, 256, (2, *mask.shape, 3), dtype=np.uint8)
    composited = np.where(mask[..., None], drawn, truth)
    ssim: Any = open_metric("ssim")
    (alone,) = ssim.maps([composited], truth)
    among = ssim.maps([255 - truth, composited], truth)[1]
    np.testing.assert_allclose(alone, among, atol=1e-6)


def test_only_the_changed_part_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work falls with the area: multiply-adds of the convolutions, counted."""
    metric: Any = open_metric("lpips-alex", "cpu")
    mask = hole((512, 512), 220, 220, 72, 72)  # 2 % of the picture
    truth = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    work = []
    inner = torch.nn.functional.conv2d

    def counted(x: Any, weight: Any, *rest: Any, **named: Any) -> Any:
        y = inner(x, weight, *rest, **named)
        work.append(y.numel() * weight[0].numel())
        return y

    monkeypatch.setattr(torch.nn.functional, "conv2d", counted)
    metric.maps([np.where(mask[..., None], 255 - truth, truth)], truth)
    some = sum(work)
    work.clear()
    whole_map(metric, 255 - truth, truth)
    assert some < 0.26 * sum(work)


@given(
    st.integers(1, 11),
    st.integers(1, 4),
    st.integers(0, 3),
    st.integers(11, 60),
    st.integers(0, 59),
    st.integers(1, 60),
)
def test_windows_touch_and_see_what_a_plain_loop_says(
    kernel: int, stride: int, padding: int, count: int, start: int, length: int
) -> None:
    window = Window(kernel, stride, min(padding, kernel - 1))
    cells = window.cells(count)
    views = [
        {i for i in range(j * stride - window.padding, j * stride - window.padding + kernel) if 0 <= i < count}
        for j in range(cells)
    ]
    span = Span(min(start, count - 1), min(start, count - 1) + min(length, count - min(start, count - 1)))
    touched = {j for j in range(cells) if views[j] & set(range(*span))}
    found = window.touched(span, count)
    assert set(range(*found)) >= touched  # kernels smaller than their stride leave positions out
    if kernel >= stride:
        assert set(range(*found)) == touched
    if touched:
        seen, (before, after) = window.seen(found, count)
        assert set(range(*seen)) >= set.union(*(views[j] for j in touched))
        assert before + after + seen.stop - seen.start == (found.stop - found.start - 1) * stride + kernel


def test_the_difference_is_the_exact_box() -> None:
    truth = np.zeros((20, 30, 3), np.uint8)
    output = truth.copy()
    assert difference(output, truth).empty and hull([difference(output, truth)]).empty
    output[3, 7, 2] = output[11, 9, 0] = 1
    assert difference(output, truth) == Area(Span(3, 12), Span(7, 10))


def test_pixels_of_cells_are_those_that_share_area() -> None:
    for cells, pixels in ((7, 23), (23, 23), (4, 61)):
        shared = overlap(pixels, cells)
        for start in range(cells):
            for stop in range(start + 1, cells + 1):
                area = Area(Span(start, stop), Span(0, 1))
                found = pixels_of(area, (cells, 1), (pixels, 5)).rows
                expected = np.flatnonzero(shared[:, start:stop].sum(1) > 1e-9)
                assert (found.start, found.stop) == (expected[0], expected[-1] + 1)
