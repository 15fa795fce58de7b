"""MAT, Co-Mod-GAN and MI-GAN as erasers: any size, keyed draws, missing weights, small networks."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
pytest.importorskip("safetensors", reason="pip install '.[benchmark]'")

from keyed_networks import keyed_state  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from baselines import migan as migan_module  # noqa: E402
from baselines.comodgan import PLACES2, Square, open_comodgan  # noqa: E402
from baselines.eraser import EraserSpec, Hints, WeightsMissingError, WeightsUnknownError  # noqa: E402
from baselines.finite import NotFiniteError  # noqa: E402
from baselines.gan import Gan, Sampling, resize_hole  # noqa: E402
from baselines.mat import PLACES_512, Canvas, open_mat  # noqa: E402
from baselines.migan import open_migan  # noqa: E402
from baselines.nets import comodgan_generator, mat_generator  # noqa: E402
from baselines.weights import TRUST  # noqa: E402
from olrd.errors import MissingExtraError, SourceError, UsageError  # noqa: E402
from olrd.storage.files import sha256_file  # noqa: E402

SIZES = [(97, 131), (128, 128), (61, 40), (300, 129), (5, 3)]


def samples(seed: int = 0) -> tuple[list[Any], list[Any], list[Hints]]:
    """Photos of odd sizes, with a hole each, by key."""
    random = np.random.default_rng(seed)
    images = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    masks = [np.zeros(size, bool) for size in SIZES]
    for mask, (height, width) in zip(masks, SIZES, strict=True):
        mask[height // 4 : height // 2 + 1, width // 4 : width // 2 + 1] = True
    return images, masks, [Hints(key=str(number)) for number in range(len(SIZES))]


def gan(name: str, tmp_path: Path, seed: int = 0, longest: int = 128) -> Gan:
    """The eraser around a small network; longest: as the option of mat."""
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"small")
    network: Any
    if name == "mat":
        channels = dict.fromkeys((4, 8, 16, 32, 64, 128), 8)
        network = mat_generator.Generator(mat_generator.Shape(128, 16, 12, channels))
        frame: Any = Canvas(128, longest)
    else:
        network = comodgan_generator.Generator(comodgan_generator.Shape(64, 16, 16, 512, 8))
        frame = Square(64)
    network.load_state_dict(keyed_state(network))
    pinned = PLACES_512 if name == "mat" else PLACES2["256"]
    spec = EraserSpec(name, device="cpu", seed=seed)
    chosen = Sampling(1.0, "random")
    return Gan(spec, pinned, weights, load=lambda path, device: network.eval(), frame=frame, chosen=chosen, options={})


@pytest.fixture(params=["mat", "comodgan"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.slow
def test_any_size_and_inputs_stay(name: str, tmp_path: Path) -> None:
    images, masks, hints = samples()
    before = [image.copy() for image in images], [mask.copy() for mask in masks]
    results = gan(name, tmp_path, longest=256).erase(images, masks, hints)
    for result, image in zip(results, images, strict=True):
        assert result.shape == image.shape and result.dtype == np.uint8
        assert (result != image).any()
    for now, then in zip([*images, *masks], [*before[0], *before[1]], strict=True):
        assert np.array_equal(now, then)


@pytest.mark.slow
def test_results_depend_on_neither_batch_nor_order(name: str, tmp_path: Path) -> None:
    images, masks, hints = samples()
    eraser = gan(name, tmp_path)
    together = eraser.erase(images, masks, hints)
    backwards = eraser.erase(images[::-1], masks[::-1], hints[::-1])[::-1]
    alone = [gan(name, tmp_path).erase([i], [m], [h])[0] for i, m, h in zip(images, masks, hints, strict=True)]
    for one, two, three in zip(together, backwards, alone, strict=True):
        assert np.array_equal(one, two) and np.array_equal(one, three)


@pytest.mark.slow
def test_seed_and_key_change_the_draws(name: str, tmp_path: Path) -> None:
    (image, *_), (mask, *_), _ = samples()

    def run(seed: int, key: str) -> Any:
        return gan(name, tmp_path, seed).erase([image], [mask], [Hints(key=key)])[0]

    assert not np.array_equal(run(0, "a"), run(1, "a"))
    assert not np.array_equal(run(0, "a"), run(0, "b"))
    assert np.array_equal(run(0, ""), gan(name, tmp_path).erase([image], [mask])[0])


def test_empty_and_full_masks(name: str, tmp_path: Path) -> None:
    (image, *_), (mask, *_), _ = samples()
    eraser = gan(name, tmp_path)
    same, drawn = eraser.erase([image, image], [mask & False, mask | True])
    assert np.array_equal(same, image) and same is not image
    assert drawn.shape == image.shape and not np.array_equal(drawn, image)


@pytest.mark.slow
def test_the_photo_does_not_shine_through_the_mask(name: str, tmp_path: Path) -> None:
    images, masks, hints = samples()
    other = [image.copy() for image in images]
    for image, mask in zip(other, masks, strict=True):
        image[mask] = 255 - image[mask]
    # Resizing spreads colours over the edge of a mask; at the network's own size nothing may leak.
    index = 1 if name == "mat" else 4
    if name == "comodgan":
        images[index] = other[index] = np.zeros((64, 64, 3), np.uint8)
        masks[index] = np.zeros((64, 64), bool)
        masks[index][20:40, 20:40] = True
        other[index] = images[index].copy()
        other[index][20:40, 20:40] = 200
    eraser = gan(name, tmp_path)
    one = eraser.erase([images[index]], [masks[index]], [hints[index]])[0]
    two = eraser.erase([other[index]], [masks[index]], [hints[index]])[0]
    assert np.array_equal(one, two)


def test_numbers_that_are_not_finite_are_no_picture(name: str, tmp_path: Path) -> None:
    (image, *_), (mask, *_), _ = samples()
    eraser = gan(name, tmp_path)
    for value in eraser._network.parameters():
        value.data.mul_(1e30)
    with pytest.raises(NotFiniteError, match=f"{name}, set/7: .*NaN or infinite"):
        eraser.erase([image], [mask], [Hints("set/7")])


def test_mat_keeps_known_pixels_at_its_own_size(tmp_path: Path) -> None:
    images, masks, hints = samples()
    result = gan("mat", tmp_path).erase([images[1]], [masks[1]], [hints[1]])[0]
    assert np.array_equal(result[~masks[1]], images[1][~masks[1]])


@pytest.mark.slow
def test_canvas() -> None:
    canvas = Canvas(512, 1024)
    for size, inner, outer in [
        ((480, 640), (480, 640), (512, 1024)),
        ((512, 512), (512, 512), (512, 512)),
        ((100, 256), (200, 512), (512, 512)),
        ((3000, 2000), (1024, 683), (1024, 1024)),
    ]:
        image, mask = np.full((*size, 3), 7, np.uint8), np.zeros(size, bool)
        pixels, hole = canvas.enter(image, mask)
        assert pixels.shape == (*outer, 3) and hole.shape == outer
        assert not hole[: inner[0], : inner[1]].any() and hole.sum() == hole.size - inner[0] * inner[1]
        drawn = np.full((*outer, 3), 7 / 127.5 - 1, np.float32)
        back = canvas.leave(drawn, size)
        assert back.shape == image.shape and (back == 7).all()


def test_resized_holes_cover_what_they_covered() -> None:
    random = np.random.default_rng(0)
    for size in [(7, 5), (64, 64), (13, 90)]:
        mask = random.random((40, 50)) < 0.01
        small = resize_hole(mask, (size[1], size[0]))
        want = np.zeros(size, bool)
        for row, column in np.argwhere(mask):
            top, bottom = row * size[0] // 40, -(-(row + 1) * size[0] // 40)
            left, right = column * size[1] // 50, -(-(column + 1) * size[1] // 50)
            want[top:bottom, left:right] = True
        assert small.shape == size and np.array_equal(small, want)


@pytest.mark.parametrize(
    ("opener", "options"),
    [
        (open_mat, {"truncation": "2"}),
        (open_mat, {"noise": "loud"}),
        (open_mat, {"longest": "100"}),
        (open_mat, {"size": "512"}),
        (open_comodgan, {"size": "1024"}),
        (open_comodgan, {"truncation": "much"}),
        (open_comodgan, {"noise": ""}),
    ],
)
def test_wrong_options_are_usage_errors(opener: Any, options: dict[str, str]) -> None:
    with pytest.raises(UsageError) as raised:
        opener(EraserSpec(opener.__name__.removeprefix("open_"), options))
    assert not isinstance(raised.value, WeightsMissingError)


@pytest.mark.parametrize("opener", [open_mat, open_comodgan, open_migan])
def test_missing_weights_say_how_to_get_them(opener: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = opener.__name__.removeprefix("open_")
    if name == "migan":
        pytest.importorskip("onnxruntime", reason="pip install '.[migan]'")
    monkeypatch.setenv("OLRD_WEIGHTS", str(tmp_path))
    monkeypatch.delenv(f"{name.upper()}_MODEL", raising=False)
    with pytest.raises(WeightsMissingError, match=f"(benchmark fetch {name}|by hand from https).*{name.upper()}_MODEL"):
        opener(EraserSpec(name))
    monkeypatch.setenv(f"{name.upper()}_MODEL", str(tmp_path / "absent"))
    with pytest.raises(WeightsMissingError, match="absent"):
        opener(EraserSpec(name))


def test_comodgan_opens_published_files_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = comodgan_generator.Shape(256, 16, 16, 512, 4)
    path = tmp_path / "weights.safetensors"
    save_file(comodgan_generator.Generator(tiny).state_dict(), path)
    monkeypatch.setattr(comodgan_generator, "Shape", lambda side: tiny)
    monkeypatch.setenv("COMODGAN_MODEL", str(path))
    eraser = open_comodgan(EraserSpec("comodgan", {"size": "256"}, "cpu"))
    images, masks, hints = samples()
    assert eraser.erase(images[:1], masks[:1], hints[:1])[0].shape == images[0].shape
    assert eraser.info.name == "comodgan" and len(eraser.info.revision) == 12
    assert dict(eraser.info.options or {})["size"] == "256"


def test_mat_says_what_is_wrong_with_other_weights(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"a": torch.zeros(1)}, path)
    eraser = open_mat(EraserSpec("mat", {"weights": str(path)}, "cpu"))
    images, masks, _ = samples()
    with pytest.raises(SourceError, match="does not fit"):
        eraser.erase(images[:1], masks[:1])


NOISELESS = ("noise_const", "noise_strength")


def tiny_mat() -> Any:
    """MAT's network, small, with noise inputs that count."""
    torch.manual_seed(0)
    network = mat_generator.Generator(mat_generator.Shape(128, 16, 12, dict.fromkeys((4, 8, 16, 32, 64, 128), 8)))
    for name, value in network.named_parameters():
        if name.endswith("noise_strength"):
            value.data.fill_(0.5)
    return network


@pytest.mark.slow
def test_a_file_without_noise_is_the_network_whose_noise_has_no_strength(tmp_path: Path) -> None:
    """Such are the two files that can be fetched; the second one is in half precision."""
    from baselines.mat import NOISE
    from baselines.nets.checkpoint import load_network

    network = tiny_mat()
    without = {k: v.half() for k, v in network.state_dict().items() if not k.endswith(NOISELESS)}
    assert len(without) < len(network.state_dict())
    save_file(without, tmp_path / "noiseless.safetensors")

    def build() -> Any:
        return mat_generator.Generator(network.shape)

    found = load_network(build, tmp_path / "noiseless.safetensors", "cpu", optional=NOISE).state_dict()
    for name, value in network.state_dict().items():
        wanted = torch.zeros_like(value) if name.endswith(NOISELESS) else value.half().float()
        assert torch.equal(found[name], wanted), name
    with pytest.raises(SourceError, match="does not fit"):  # without leave
        load_network(build, tmp_path / "noiseless.safetensors", "cpu")
    save_file(
        without | {k: v for k, v in network.state_dict().items() if k.endswith("strength")},
        tmp_path / "half.safetensors",
    )
    with pytest.raises(SourceError, match=r"(?s)does not fit.*noise_const"):  # one kind of the two
        load_network(build, tmp_path / "half.safetensors", "cpu", optional=NOISE)


def test_the_published_size_is_that_of_our_network_in_half_precision() -> None:
    """The header of the format and every tensor but the noise's, in float16: the size of the file to the byte."""
    from baselines.mat import PLACES_512

    with torch.device("meta"):
        tensors = mat_generator.Generator().state_dict()
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in sorted(key for key in tensors if not key.endswith(NOISELESS)):
        start, end = end, end + 2 * tensors[name].numel()
        header[name] = {"dtype": "F16", "shape": list(tensors[name].shape), "data_offsets": [start, end]}
    text = len(json.dumps(header, separators=(",", ":")))
    assert 8 + text + -text % 8 + end == PLACES_512.size


def test_mat_takes_the_most_exact_file_of_the_weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLRD_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("MAT_MODEL", raising=False)
    names = ["MAT_Places512_G_fp16.safetensors", "Places_512_FullData_G.pth", "Places_512_FullData.pkl"]
    known = []
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
        known.append(sha256_file(tmp_path / name))
        monkeypatch.setenv(TRUST, ",".join(known))
        eraser: Any = open_mat(EraserSpec("mat", device="cpu"))
        assert eraser.weights.name == name


def test_mat_refuses_another_file_at_a_published_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLRD_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("MAT_MODEL", raising=False)
    monkeypatch.delenv(TRUST, raising=False)
    for name, kind, fetch in (
        ("MAT_Places512_G_fp16.safetensors", "sha256 309dd6ce", "mat"),
        ("Places_512_FullData_G.pth", "md5 8ca92783", "mat-float32"),
    ):
        (tmp_path / name).write_bytes(b"other")
        with pytest.raises(WeightsUnknownError, match=f"unknown file.*{kind}.*benchmark fetch {fetch}`"):
            open_mat(EraserSpec("mat"))


def pipeline(path: Path, inputs: tuple[str, str] = ("image", "mask"), *, infinite: bool = False) -> Path:
    """An ONNX model with the pipeline's signature: known pixels stay, others become 255 - mask = 255
    less the photo. uint8 [1, 3, H, W] and [1, 1, H, W] to uint8 [1, 3, H, W].

    infinite: the result is float instead, and infinity."""
    onnx = pytest.importorskip("onnx", reason="pip install onnx")
    make, kind = onnx.helper, onnx.TensorProto
    image, mask = inputs
    nodes = [
        make.make_node("Cast", [image], ["photo"], to=kind.INT32),
        make.make_node("Cast", [mask], ["known"], to=kind.INT32),
        make.make_node("Equal", ["known", "top"], ["keep"]),
        make.make_node("Sub", ["top", "photo"], ["negative"]),
        make.make_node("Where", ["keep", "photo", "negative"], ["whole"]),
        make.make_node("Cast", ["whole"], ["result"], to=kind.UINT8),
    ]
    if infinite:
        nodes[-1:] = [
            make.make_node("Cast", ["whole"], ["numbers"], to=kind.FLOAT),
            make.make_node("Cast", ["known"], ["zeros"], to=kind.FLOAT),
            make.make_node("Div", ["numbers", "zeros"], ["result"]),
        ]
    top = make.make_tensor("top", kind.INT32, [1], [255])
    ends = [
        make.make_tensor_value_info(
            name, kind.FLOAT if infinite and name == "result" else kind.UINT8, ["n", channels, "h", "w"]
        )
        for name, channels in ((image, 3), (mask, 1), ("result", 3))
    ]
    graph = make.make_graph(nodes, "pipeline", ends[:2], ends[2:], [top])
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def test_migan_feeds_the_pipeline_as_it_defines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="pip install '.[migan]'")
    small = pipeline(tmp_path / "small.onnx")
    monkeypatch.setenv("MIGAN_MODEL", str(small))
    monkeypatch.setenv(TRUST, sha256_file(small))
    eraser = open_migan(EraserSpec("migan", device="cpu"))
    images, masks, hints = samples()
    images, masks = [*images, images[0], images[4][:1, :1]], [*masks, masks[0] & False, masks[4][:1, :1] | True]
    before = [image.copy() for image in images]
    for result, image, then, mask in zip(
        eraser.erase(images, masks, [*hints, Hints(), Hints()]), images, before, masks, strict=True
    ):
        assert result.shape == image.shape and result.dtype == np.uint8
        assert np.array_equal(result, np.where(mask[..., None], 255 - image, image))
        assert np.array_equal(image, then) and result is not image
    assert eraser.info.device == "cpu" and len(eraser.info.revision) == 12


def test_migan_refuses_other_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="pip install '.[migan]'")
    images, masks, _ = samples()
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"junk")
    other = pipeline(tmp_path / "other.onnx", ("picture", "mask"))
    monkeypatch.setenv(TRUST, f"{sha256_file(junk)},{sha256_file(other)}")
    for path, message in ((junk, "not an ONNX model"), (other, "not the published pipeline")):
        eraser = open_migan(EraserSpec("migan", {"weights": str(path)}, "cpu"))
        with pytest.raises(SourceError, match=message):
            eraser.erase(images[:1], masks[:1])


def test_migan_at_its_place_must_be_the_published_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="pip install '.[migan]'")
    monkeypatch.setenv("OLRD_WEIGHTS", str(tmp_path))
    monkeypatch.delenv("MIGAN_MODEL", raising=False)
    path = pipeline(tmp_path / migan_module.PIPELINE.file_name)
    for options in ({}, {"weights": str(path)}):
        with pytest.raises(WeightsUnknownError, match="unknown file"):
            open_migan(EraserSpec("migan", options, "cpu"))


def test_migan_whose_numbers_are_not_finite_gives_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="pip install '.[migan]'")
    path = pipeline(tmp_path / "infinite.onnx", infinite=True)
    monkeypatch.setenv(TRUST, sha256_file(path))
    images, masks, _ = samples()
    with pytest.raises(NotFiniteError, match=r"migan, set/7: .*NaN or infinite"):
        open_migan(EraserSpec("migan", {"weights": str(path)}, "cpu")).erase(images[:1], masks[:1], [Hints("set/7")])


def test_migan_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(module: str) -> Any:
        if module == "onnxruntime":
            raise ImportError(module)
        return import_module(module)

    monkeypatch.setattr("baselines.onnx_session.import_module", absent)
    with pytest.raises(MissingExtraError, match=r"olrd\[migan\]"):
        open_migan(EraserSpec("migan"))
