"""The eraser lama-onnx on a tiny graph with the interface of the published files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines import lama_onnx
from baselines.eraser import EraserSpec, Hints, WeightsMissingError, WeightsUnknownError, WeightsUnusableError
from baselines.finite import NotFiniteError
from baselines.lama_onnx import EXPORTS, SIDE, LamaOnnx, open_lama_onnx, window
from baselines.weights import TRUST
from olrd.arrays import Image, Mask
from olrd.errors import UsageError
from olrd.storage.files import sha256_file

pytest.importorskip("onnxruntime", reason="pip install '.[migan]'")

TINT = (0.25, 0.5, 0.75)
"""What the tiny network paints into the hole, by its own channel."""


def export(path: Path, shape: tuple[Any, ...] = (1, 3, SIDE, SIDE), inputs: str = "image", scale: float = 255) -> Path:
    """Write a graph: outside the mask the image, inside it `TINT`, times `scale`."""
    onnx = pytest.importorskip("onnx", reason="pip install onnx")
    make, kind = onnx.helper, onnx.TensorProto
    nodes = [
        make.make_node("Sub", ["one", "mask"], ["known"]),
        make.make_node("Mul", [inputs, "known"], ["outside"]),
        make.make_node("Mul", ["tint", "mask"], ["inside"]),
        make.make_node("Add", ["outside", "inside"], ["whole"]),
        make.make_node("Mul", ["whole", "scale"], ["output"]),
    ]
    constants = [
        make.make_tensor("one", kind.FLOAT, [1], [1.0]),
        make.make_tensor("scale", kind.FLOAT, [1], [scale]),
        make.make_tensor("tint", kind.FLOAT, [1, 3, 1, 1], TINT),
    ]
    ends = [
        make.make_tensor_value_info(inputs, kind.FLOAT, shape),
        make.make_tensor_value_info("mask", kind.FLOAT, (shape[0], 1, *shape[2:])),
    ]
    out = [make.make_tensor_value_info("output", kind.FLOAT, shape)]
    graph = make.make_graph(nodes, "lama", ends, out, constants)
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("graphs") / "tiny.onnx")


def opened(path: Path, monkeypatch: pytest.MonkeyPatch, **options: str) -> LamaOnnx:
    monkeypatch.setenv(TRUST, sha256_file(path))
    eraser = open_lama_onnx(EraserSpec("lama-onnx", {"weights": str(path), **options}, "cpu"))
    assert isinstance(eraser, LamaOnnx)
    return eraser


def sample(height: int, width: int, box: tuple[int, int, int, int], seed: int = 0) -> tuple[Image, Mask]:
    """A photo of noise, and a mask: top, left, bottom, right."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), bool)
    mask[box[0] : box[2], box[1] : box[3]] = True
    return image, mask


class Recorded:
    """A network that remembers what it got and paints every pixel in one colour, 0..255 by channel."""

    def __init__(self, colour: tuple[float, float, float]) -> None:
        self.colour, self.feeds = colour, list[dict[str, Any]]()

    def run(self, names: object, feed: dict[str, Any]) -> list[Any]:
        self.feeds.append(feed)
        return [np.broadcast_to(np.float32(self.colour)[None, :, None, None], (1, 3, SIDE, SIDE)).copy()]


@pytest.mark.parametrize(("name", "order"), [("opencv", [2, 1, 0]), ("carve", [0, 1, 2])])
@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((512, 512), (10, 20, 60, 90)),
        ((700, 900), (600, 800, 700, 900)),
        ((40, 30), (5, 5, 20, 20)),
        ((1, 1), (0, 0, 1, 1)),
        ((900, 64), (0, 0, 900, 64)),
    ],
)
def test_the_hole_gets_the_networks_colour_and_the_rest_stays(
    name: str,
    order: list[int],
    size: tuple[int, int],
    box: tuple[int, int, int, int],
    graph: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image, mask = sample(*size, box)
    before = image.copy()
    (result,) = opened(graph, monkeypatch, export=name).erase([image], [mask])
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(result[~mask], image[~mask])
    colour = np.rint(np.array(TINT) * 255)[order]
    inner = np.zeros_like(mask)  # where resizing blends nothing in
    inner[box[0] + 8 : box[2] - 8, box[1] + 8 : box[3] - 8] = True
    assert np.abs(result[inner & mask].astype(float) - colour).max(initial=0) <= 1
    if size == (512, 512):  # nothing is resized
        assert np.abs(result[mask].astype(float) - colour).max() == 0


@pytest.mark.parametrize("name", ["opencv", "carve"])
def test_the_network_gets_the_window_in_its_own_order(name: str, graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oracle: the window cut, turned and scaled by hand."""
    eraser = opened(graph, monkeypatch, export=name)
    network = Recorded((10, 20, 30))
    monkeypatch.setattr(eraser, "_network", network, raising=False)
    image, mask = sample(600, 800, (300, 400, 340, 440))
    (result,) = eraser.erase([image], [mask])
    top, left = 320 - 256, 420 - 256
    top = min(top, 600 - 512)
    part = image[top : top + 512, left : left + 512].astype(np.float32) / 255
    blue_first = name == "opencv"
    expected = part[..., ::-1] if blue_first else part
    np.testing.assert_array_equal(network.feeds[0]["image"], expected.transpose(2, 0, 1)[None])
    np.testing.assert_array_equal(network.feeds[0]["mask"][0, 0], mask[top : top + 512, left : left + 512])
    assert network.feeds[0]["image"].dtype == network.feeds[0]["mask"].dtype == np.float32
    assert (result[mask] == ((30, 20, 10) if blue_first else (10, 20, 30))).all()


def test_the_window_holds_the_mask_and_stays_in_the_photo() -> None:
    draw = np.random.default_rng(0)
    for _ in range(200):
        height, width = (int(v) for v in draw.integers(1, 1500, 2))
        top, left = int(draw.integers(height)), int(draw.integers(width))
        mask = np.zeros((height, width), bool)
        mask[top : top + int(draw.integers(1, 400)), left : left + int(draw.integers(1, 400))] = True
        rows, columns = window(mask, 2.0)
        assert mask[rows, columns].sum() == mask.sum()
        assert 0 <= rows.start < rows.stop <= height and 0 <= columns.start < columns.stop <= width
        assert rows.stop - rows.start >= min(height, 512) and columns.stop - columns.start >= min(width, 512)


def test_a_large_mask_gets_a_large_window() -> None:
    mask = np.zeros((3000, 4000), bool)
    mask[1000:1400, 2000:2600] = True
    rows, columns = window(mask, 3.0)
    assert (rows, columns) == (slice(300, 2100), slice(1400, 3200))


def test_the_results_say_what_ran(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = opened(graph, monkeypatch, export="carve").info
    assert info.name == "lama-onnx" and info.license == "Apache-2.0" and info.device == "cpu"
    assert info.revision == sha256_file(graph)[:12]
    assert info.options == {"export": "carve", "weights": "tiny.onnx", "context": "3"}


def test_a_free_batch_size_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export(tmp_path / "free.onnx", ("batch", 3, SIDE, SIDE))
    image, mask = sample(64, 64, (10, 10, 30, 30))
    (result,) = opened(path, monkeypatch).erase([image], [mask])
    np.testing.assert_array_equal(result[~mask], image[~mask])


def test_other_graphs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, mask = sample(64, 64, (10, 10, 30, 30))
    other = export(tmp_path / "other.onnx", inputs="picture")
    small = export(tmp_path / "small.onnx", (1, 3, 256, 256))
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"junk")
    for path, message in ((other, "picture"), (small, "256"), (junk, "not an ONNX model")):
        with pytest.raises(WeightsUnusableError, match=message):
            opened(path, monkeypatch).erase([image], [mask])


def test_numbers_that_are_not_finite_give_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = export(tmp_path / "infinite.onnx", scale=float("inf"))
    image, mask = sample(64, 64, (10, 10, 30, 30))
    with pytest.raises(NotFiniteError, match=r"lama-onnx, set/7: .*NaN or infinite"):
        opened(path, monkeypatch).erase([image], [mask], [Hints("set/7")])


def test_a_file_that_nobody_trusts_is_not_run(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TRUST, raising=False)
    with pytest.raises(WeightsUnknownError, match="unknown file"):
        open_lama_onnx(EraserSpec("lama-onnx", {"weights": str(graph)}, "cpu"))


@pytest.mark.parametrize("name", sorted(EXPORTS))
def test_missing_weights_say_how_to_get_them(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLRD_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("LAMA_ONNX_MODEL", raising=False)
    pinned = EXPORTS[name].pinned
    with pytest.raises(WeightsMissingError, match=f"benchmark fetch {pinned.eraser}`.*LAMA_ONNX_MODEL"):
        open_lama_onnx(EraserSpec("lama-onnx", {"export": name}))


@pytest.mark.parametrize(
    "options", [{"export": "opencv2"}, {"context": "0.5"}, {"context": "wide"}, {"context": "nan"}]
)
def test_wrong_options_are_usage_errors(options: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        open_lama_onnx(EraserSpec("lama-onnx", options))


def test_a_device_that_onnxruntime_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="runs on cpu and cuda, not on 'mps'"):
        open_lama_onnx(EraserSpec("lama-onnx", {}, "mps"))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(EXPORTS))
def test_the_published_file_keeps_a_plain_wall_plain(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs where the published file is present."""
    from baselines.weights import weights_folder

    path = weights_folder() / EXPORTS[name].pinned.file_name
    if not path.is_file():
        pytest.skip(f"benchmark fetch {EXPORTS[name].pinned.eraser}")
    image = np.full((512, 512, 3), (200, 120, 60), np.uint8)
    image[200:300, 200:300] = (0, 255, 0)
    mask = np.zeros((512, 512), bool)
    mask[190:310, 190:310] = True
    (result,) = lama_onnx.open_lama_onnx(EraserSpec("lama-onnx", {"export": name}, "cpu")).erase([image], [mask])
    assert np.abs(result[mask].astype(int) - (200, 120, 60)).mean() < 10
