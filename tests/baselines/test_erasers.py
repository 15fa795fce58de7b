"""One conformance suite over every registered eraser that can run here; networks are tiny and built
by the test."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from drawn_networks import write_lama, write_sd
from micro_magiceraser import write_magiceraser
from PIL import Image as Pillow

from baselines import ERASERS, open_eraser, state_of
from baselines.checkpoints import CHECKPOINT, license_of
from baselines.eraser import Eraser, Hints, WeightsMissingError, WeightsUnusableError, WrongOutputError
from baselines.finite import NotFiniteError
from baselines.weights import TRUST
from benchmark.metrics.pictures import check_picture
from olrd.arrays import Image, Mask
from olrd.errors import SourceError, UsageError
from olrd.panoptic import Box
from olrd.storage.files import file_name_of, sha256_file

CONTROLS = {"blur-fill", "copy-twin", "ground-truth", "identity", "mean-fill"}
BUILT_HERE = {"ffc-small", "folder", "lama", "magiceraser", "sd-inpainting"}
"""Erasers that need files, which the fixtures write, or that other packages register."""
READY = [name for name in set(ERASERS.builtin) - BUILT_HERE if state_of(name).word == "ready"]
RUNNABLE = sorted({*READY, *BUILT_HERE})


class Case(NamedTuple):
    """One input of the suite."""

    image: Image
    mask: Mask
    hint: Hints


def write_results(folder: Path) -> Path:
    """Write the results of another method for every case."""
    folder.mkdir()
    for number, one in enumerate(CASES.values()):
        pixels = drawn(*one.mask.shape, seed=500 + number)
        Pillow.fromarray(pixels).save(folder / f"{file_name_of(one.hint.key)}.png")
    return folder


def drawn(height: int, width: int, seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def case(name: str, image: Image, mask: Mask) -> Case:
    height, width = mask.shape
    twin = Box(0, 0, (width + 1) // 2, (height + 1) // 2)
    truth = drawn(height, width, 99)
    return Case(image, mask, Hints(f"set/{name}", "A photo of R* grass", "Long.", None, twin, truth))


def cases() -> dict[str, Case]:
    """Odd sizes, tiny and huge masks, a grey photo."""
    found = {}
    for number, (height, width) in enumerate([(1, 1), (5, 7), (65, 33)]):
        image = drawn(height, width, number)
        masks = {"empty": np.zeros((height, width), bool), "full": np.ones((height, width), bool)}
        if height > 1:
            masks["pixel"] = masks["empty"].copy()
            masks["pixel"][height // 2, width // 2] = True
            masks["all-but-one"] = masks["full"].copy()
            masks["all-but-one"][0, -1] = False
            masks["corner"] = masks["empty"].copy()
            masks["corner"][height // 2 :, width // 2 :] = True
        for kind, mask in masks.items():
            found[f"{width}x{height} {kind}"] = case(f"{width}x{height} {kind}", image, mask)
    grey = np.repeat(drawn(20, 31, 7)[..., :1], 3, axis=2)
    mask = np.zeros((20, 31), bool)
    mask[5:12, 9:20] = True
    return found | {"grey": case("grey", grey, mask)}


CASES = cases()
pytestmark = pytest.mark.filterwarnings("ignore:.*(torch.jit|torch_dtype):FutureWarning")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Run torch with one thread, because several threads slow such small networks down."""
    if find_spec("torch") is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Iterator[Any]:
    """Options of an eraser that needs files, which are written on first use."""
    root = tmp_path_factory.mktemp("erasers")
    known: dict[str, dict[str, str]] = {}

    def options(name: str) -> dict[str, str]:
        if name not in known:
            if name == "lama":
                tiny = write_lama(root / "tiny.pt")
                patch.setenv("LAMA_MODEL", str(tiny))
                patch.setenv(TRUST, sha256_file(tiny))
                known[name] = {}
            elif name == "sd-inpainting":
                folder = str(write_sd(root / "tiny-sd"))
                known[name] = {"checkpoint": folder, "steps": "2", "size": "64"}
            elif name == "magiceraser":
                folder = str(write_magiceraser(root / "micro"))
                known[name] = {"model": folder, "steps": "4", "initializer": "opencv-telea"}
            else:
                known[name] = {"path": str(write_results(root / "results"))} if name == "folder" else {}
        return known[name]

    with pytest.MonkeyPatch.context() as patch:
        yield options


LIGHT = ("identity", "mean-fill", "blur-fill", "copy-twin", "ground-truth", "opencv-telea", "opencv-ns", "folder")
"""Erasers without a network; the others are tested with the slow tests."""


@pytest.fixture(scope="module", params=[n if n in LIGHT else pytest.param(n, marks=pytest.mark.slow) for n in RUNNABLE])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def eraser(name: str, built: Any) -> Eraser:
    return open_eraser(name, built(name), "cpu")


def erased(eraser: Eraser, batch: list[Case]) -> list[Image]:
    return eraser.erase([c.image for c in batch], [c.mask for c in batch], [c.hint for c in batch])


@pytest.fixture(scope="module")
def together(eraser: Eraser) -> dict[str, Image]:
    """Every case in one batch."""
    return dict(zip(CASES, erased(eraser, list(CASES.values())), strict=True))


def test_every_output_is_a_picture_of_its_inputs_size(together: dict[str, Image]) -> None:
    for label, output in together.items():
        check_picture(label, output)
        assert output.shape == CASES[label].image.shape, label


def test_an_empty_mask_returns_the_photo(together: dict[str, Image]) -> None:
    empty = [label for label, one in CASES.items() if not one.mask.any()]
    assert len(empty) == 3
    for label in empty:
        np.testing.assert_array_equal(together[label], CASES[label].image, err_msg=label)


@pytest.mark.slow
def test_a_sample_depends_neither_on_its_batch_nor_on_the_order(eraser: Eraser, together: dict[str, Image]) -> None:
    labels = list(CASES)[::-1]
    turned = dict(zip(labels, erased(eraser, [CASES[k] for k in labels]), strict=True))
    for label, one in CASES.items():
        np.testing.assert_array_equal(erased(eraser, [one])[0], together[label], err_msg=label)
        np.testing.assert_array_equal(turned[label], together[label], err_msg=label)


def test_it_gives_the_same_bytes_when_opened_again(name: str, built: Any, together: dict[str, Image]) -> None:
    labels = ["7x5 corner", "33x65 corner", "grey"]
    again = erased(open_eraser(name, built(name), "cpu"), [CASES[k] for k in labels])
    for label, output in zip(labels, again, strict=True):
        np.testing.assert_array_equal(output, together[label], err_msg=label)


def test_inputs_are_only_read_and_may_be_views(eraser: Eraser, together: dict[str, Image]) -> None:
    """Parts of larger arrays, locked against writing; outputs share no memory with them."""
    one = CASES["33x65 corner"]
    large = np.zeros((130, 70, 3), np.uint8)
    image, mask = large[::2, 2:68:2], np.zeros((65, 66), bool)[:, ::2]
    image[:], mask[:] = one.image, one.mask
    image.flags.writeable = mask.flags.writeable = False
    (output,) = eraser.erase([image], [mask], [one.hint])
    np.testing.assert_array_equal(image, one.image)
    np.testing.assert_array_equal(mask, one.mask)
    np.testing.assert_array_equal(output, together["33x65 corner"])
    (same,) = eraser.erase([image], [np.zeros_like(mask)], [one.hint])
    assert not np.shares_memory(output, image)
    assert not np.shares_memory(same, image)


def test_no_samples_give_no_pictures(eraser: Eraser) -> None:
    assert eraser.erase([], [], []) == []


def test_the_results_say_what_ran(name: str, eraser: Eraser, built: Any) -> None:
    info = eraser.info
    assert info.name == ("results" if name == "folder" else name)
    assert info.revision and info.license
    assert info.control == (name in CONTROLS)
    assert info.device == "cpu"
    assert json.loads(json.dumps(dict(info.options or {}))) == info.options
    assert bool(info.needs) == (name in {"lama", "magiceraser", "sd-inpainting"})
    assert open_eraser(name, built(name), "cpu").info == info


def test_an_unknown_option_gets_the_nearest(name: str, built: Any) -> None:
    with pytest.raises(UsageError, match=f"no option of the eraser {name} is called 'sigme'"):
        open_eraser(name, built(name) | {"sigme": "3"}, "cpu")


@pytest.mark.parametrize("missing", sorted(set(ERASERS.builtin) - set(READY)))
def test_an_eraser_that_cannot_run_says_what_to_do(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMA_MODEL", raising=False)
    state = state_of(missing)
    if state.word == "ready":
        pytest.skip(f"{missing} is installed here")
    assert state.word in {"weights missing", "extra not installed", "needs an option"}
    assert missing in state.advice
    assert any(
        remedy in state.advice for remedy in ("--option", "pip install", "benchmark fetch", "by hand from https://")
    )


def test_the_controls_and_the_erasers_of_opencv_run_everywhere() -> None:
    assert {*CONTROLS, "opencv-telea", "opencv-ns"} <= set(READY)


# --- what is particular to one of them -----------------------------------------------------------


def test_lama_fills_the_hole_as_its_network_says_and_keeps_the_rest(built: Any) -> None:
    one = CASES["33x65 corner"]
    (output,) = erased(open_eraser("lama", built("lama"), "cpu"), [one])
    padded = np.pad(one.image, ((0, 7), (0, 7), (0, 0)), "symmetric").astype(np.float64)
    fill = 0.8 * padded.mean(axis=(0, 1)) + 255 * 0.02 * (np.arange(33) % 5)[:, None]
    expected = np.where(one.mask[..., None], fill[None], one.image)
    # The library truncates, as our code does: a grey level of the photo may become one lower.
    assert np.abs(output - (expected - 0.5)).max() <= 0.5 + 0.01


def test_a_file_that_is_no_torchscript_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    (tmp_path / "other.pt").write_bytes(b"no network at all")
    monkeypatch.setenv(TRUST, sha256_file(tmp_path / "other.pt"))
    eraser = open_eraser("lama", {"weights": str(tmp_path / "other.pt")}, "cpu")
    assert eraser.info.revision == hashlib.sha256(b"no network at all").hexdigest()[:12]
    with pytest.raises(SourceError, match=r"other\.pt is not a TorchScript file"):
        erased(eraser, [CASES["grey"]])


@pytest.mark.slow
def test_diffusion_draws_by_seed_and_key_and_listens_to_its_prompt(built: Any) -> None:
    one = CASES["7x5 corner"]

    def painted(key: str = "a", seed: int = 0, text: str = "R* grass", kind: str = "short") -> bytes:
        options = built("sd-inpainting") | {"prompt": kind}
        eraser = open_eraser("sd-inpainting", options, "cpu", seed)
        hint = Hints(key, text, caption="A wall.")
        return eraser.erase([one.image], [one.mask], [hint])[0].tobytes()

    first = painted()
    assert painted(text="grass") == first  # R* means nothing to a plain model
    assert painted(key="b") != first
    assert painted(seed=1) != first
    assert painted(text="R* snow") != first
    assert painted(kind="caption") == painted(text="A wall.")
    assert painted(kind="empty") == painted(text="")


@pytest.mark.slow
def test_the_revision_of_a_checkpoint_of_ones_own_follows_its_weights(built: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(built("sd-inpainting")["checkpoint"], tmp_path / "mine")
    options = {"checkpoint": str(folder)}
    first = open_eraser("sd-inpainting", options, "cpu").info.revision
    assert first == open_eraser("sd-inpainting", built("sd-inpainting"), "cpu").info.revision
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert open_eraser("sd-inpainting", options, "cpu").info.revision != first


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (None, "see the checkpoint"),
        ("# No head\n\nlicense: mit\n", "see the checkpoint"),
        ("---\nlicense: openrail++\ntags: [x]\n---\n# Card\n", "openrail++"),
        ("---\nlicense: other\nlicense_name: house-licence\n---\n", "house-licence"),
        ("---\nlicense: other\n---\n", "other"),
        ("---\nlicense: [a, b]\n---\n", "see the checkpoint"),
        ("---\nlicense: [a\n---\n", "see the checkpoint"),
    ],
)
def test_the_licence_is_that_of_the_checkpoint(card: str | None, said: str, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="pip install '.[magiceraser]'")
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert license_of(str(tmp_path), tmp_path) == said
    assert license_of(CHECKPOINT, tmp_path) == "CreativeML OpenRAIL-M"


@pytest.mark.slow
def test_the_licence_reaches_the_table(built: Any) -> None:
    info = open_eraser("sd-inpainting", built("sd-inpainting"), "cpu").info
    assert info.license == "see the checkpoint"  # the test's own pipeline has no card


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("prompt", "long"),
        ("steps", "0"),
        ("steps", "many"),
        ("guidance", "-1"),
        ("strength", "2"),
        ("size", "8"),
        ("size", "nan"),
        ("dtype", "float23"),
    ],
)
def test_a_setting_of_diffusion_out_of_its_range_is_refused(option: str, value: str, built: Any) -> None:
    with pytest.raises(UsageError, match=f"sd-inpainting: {option} is .*'{value}'"):
        open_eraser("sd-inpainting", built("sd-inpainting") | {option: value}, "cpu")


def test_a_checkpoint_that_is_nowhere_names_the_command_that_gets_it(tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="pip install '.[magiceraser]'")
    for checkpoint in (str(tmp_path / "none"), "nobody/no-such-checkpoint"):
        with pytest.raises(WeightsMissingError, match="hf download") as caught:
            open_eraser("sd-inpainting", {"checkpoint": checkpoint}, "cpu")
        assert checkpoint in str(caught.value)


def test_a_folder_that_is_no_pipeline_is_named(tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="pip install '.[magiceraser]'")
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(SourceError, match="is not a diffusers inpainting pipeline"):
        open_eraser("sd-inpainting", {"checkpoint": str(tmp_path)}, "cpu")


# --- checkpoints of strangers, and pictures that are none ------------------------------------------


@pytest.fixture
def diffusion(built: Any) -> Any:
    """The small pipeline as an eraser of its own, opened and loaded, to damage."""

    def opened(dtype: str = "float32") -> Any:
        return open_eraser("sd-inpainting", built("sd-inpainting") | {"dtype": dtype}, "cpu").eraser

    return opened


class Calls:
    """Pickles as a call that makes a file."""

    def __init__(self, target: str) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (self.target,)


def painted_once(eraser: Any) -> Image:
    one = CASES["7x5 corner"]
    return erased(eraser, [one._replace(hint=Hints("set/7"))])[0]


@pytest.mark.slow
def test_latents_that_are_not_finite_are_no_picture(diffusion: Any) -> None:
    eraser = diffusion()
    eraser._pipeline.unet.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(NotFiniteError, match=r"sd-inpainting, set/7: .*NaN or infinity.*dtype=float32"):
        painted_once(eraser)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_decoded_picture_that_is_not_finite_is_no_picture(wrong: float, diffusion: Any) -> None:
    """The pipeline clips its pictures, so infinity would become white."""
    eraser = diffusion()
    eraser._pipeline.vae.decoder.conv_out.bias.data.fill_(wrong)
    with pytest.raises(NotFiniteError, match=r"sd-inpainting, set/7: the picture that the VAE decoded .*another VAE"):
        painted_once(eraser)


@pytest.mark.slow
def test_a_vae_that_overflows_in_half_precision_decodes_again_in_float32(diffusion: Any) -> None:
    import torch

    half, full = diffusion("float16"), diffusion()
    for eraser in (half, full):
        first = eraser._pipeline.vae.decoder.conv_in
        first.weight.data.mul_(3e5)  # the normalization after it brings the numbers back
    dtypes: list[torch.dtype] = []
    half._pipeline.vae.decoder.register_forward_pre_hook(lambda _, inputs: dtypes.append(inputs[0].dtype))
    picture = painted_once(half)
    assert dtypes == [torch.float16, torch.float32]
    assert half._pipeline.vae.dtype == torch.float16
    assert np.abs(picture.astype(int) - painted_once(full)).max() <= 8
    assert picture.std() > 1


def test_a_black_picture_of_a_safety_checker_is_no_result(
    built: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("diffusers", reason="pip install '.[magiceraser]'")
    eraser = open_eraser("sd-inpainting", built("sd-inpainting"), "cpu").eraser
    black = SimpleNamespace(images=[np.zeros((64, 64, 3), np.float32)], nsfw_content_detected=[True])
    monkeypatch.setattr(eraser, "_painted", lambda *_: black)
    with pytest.raises(WrongOutputError, match=r"set/7: expected a picture, found a black one .*safety checker"):
        painted_once(eraser)
    assert "set/7: the checkpoint's safety checker replaced the picture" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["code", "header", "width", "unet/diffusion_pytorch", "text_encoder/pytorch"])
def test_a_checkpoint_of_a_stranger_does_no_harm(damage: str, built: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(built("sd-inpainting")["checkpoint"], tmp_path / "strange")
    if damage == "code":
        (folder / "unet" / "evil_unet.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass EvilUNet: pass\n")
        index = json.loads((folder / "model_index.json").read_text())
        (folder / "model_index.json").write_text(json.dumps(index | {"unet": ["evil_unet", "EvilUNet"]}))
    elif damage == "header":
        (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    elif "/" in damage:  # a pickle in place of the safetensors
        import torch

        path = folder / f"{damage}_model.bin"
        for safe in path.parent.glob("*.safetensors"):
            safe.unlink()
        torch.save(Calls(str(tmp_path / "ran")), path)
    else:
        config = json.loads((folder / "unet" / "config.json").read_text())
        (folder / "unet" / "config.json").write_text(json.dumps(config | {"cross_attention_dim": 10**9}))
    with pytest.raises(WeightsUnusableError, match="strange"):
        painted_once(open_eraser("sd-inpainting", {"checkpoint": str(folder)}, "cpu"))
    assert not (tmp_path / "ran").exists()
