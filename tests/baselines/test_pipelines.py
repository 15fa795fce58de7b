"""The eraser sd-inpainting on tiny pipelines of every family that it opens, from folders and from single files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_networks import write_sd
from tiny_pipelines import KINDS, write_pipeline, write_single_file

from baselines import open_eraser
from baselines.checkpoints import original_of
from baselines.eraser import Hints, WeightsMissingError, WeightsUnusableError
from baselines.pipelines import FAMILIES, family_of, left_out, parameters_of, pipeline_class, working_size
from baselines.placing import ROOM, place, weight_bytes
from baselines.variants import choose_variant, variants_in
from olrd.arrays import Image, Mask
from olrd.errors import UsageError

pytest.importorskip("torch", reason="pip install '.[benchmark]'")
pytest.importorskip("diffusers", reason="pip install '.[magiceraser]'")

PHOTO: Image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
HOLE: Mask = np.zeros((50, 70), bool)
HOLE[10:30, 20:40] = True
QUICK = {"size": "64", "steps": "2"}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Any:
    """Folder of a kind of pipeline, written on first use."""
    root = tmp_path_factory.mktemp("pipelines")

    def folder(kind: str) -> Path:
        place = root / kind
        if not place.exists():
            write_sd(place) if kind == "sd" else write_pipeline(place, kind)
        return place

    return folder


def opened(folder: Path, **options: str) -> Any:
    return open_eraser("sd-inpainting", {"checkpoint": str(folder), **QUICK, **options}, "cpu")


class Listens:
    """Stands before a pipeline's class and remembers the arguments of each call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
        import inspect

        self.calls: list[dict[str, Any]] = []
        real = kind.__call__

        def call(pipeline: Any, *args: Any, **options: Any) -> Any:
            self.calls.append(options)
            return real(pipeline, *args, **options)

        call.__signature__ = inspect.signature(real)  # type: ignore[attr-defined]
        monkeypatch.setattr(kind, "__call__", call)


CLASSES = {
    "sd": "StableDiffusionInpaintPipeline",
    "sdxl": "StableDiffusionXLInpaintPipeline",
    "sd3": "StableDiffusion3InpaintPipeline",
    "sd3-no-t5": "StableDiffusion3InpaintPipeline",
    "flux": "FluxInpaintPipeline",
    "flux-fill": "FluxFillPipeline",
    "klein": "Flux2KleinInpaintPipeline",
    "klein-distilled": "Flux2KleinInpaintPipeline",
    "qwen": "QwenImageInpaintPipeline",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sd", *KINDS])
def test_every_family_paints_with_the_arguments_that_it_takes(
    kind: str, written: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import diffusers

    listens = Listens(monkeypatch, getattr(diffusers, CLASSES[kind]))
    first, again = (opened(written(kind)).erase(PHOTO, HOLE) for _ in range(2))
    assert first.shape == PHOTO.shape and first.dtype == np.uint8 and first[HOLE].std() > 1
    np.testing.assert_array_equal(first, again)
    call = listens.calls[0]
    family = FAMILIES[CLASSES[kind]]
    assert (call["width"], call["height"]) == working_size(70, 50, 64, family.multiple)
    assert call["width"] % family.multiple == call["height"] % family.multiple == 0
    assert call["num_inference_steps"] == 2 and call["strength"] == 1
    assert call.get("guidance_scale") == (1 if kind == "klein-distilled" else family.guidance)
    assert call.get("true_cfg_scale") == {"qwen": 4.0, "flux": 1.0}.get(kind)
    assert call.get("negative_prompt") == (" " if kind == "qwen" else None)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_seed_key_and_prompt_change_the_picture_of_every_family(kind: str, written: Any) -> None:
    eraser = opened(written(kind))
    pictures = [eraser.erase([PHOTO], [HOLE], [Hints(key, text)])[0].tobytes() for key in "ab" for text in ("", "snow")]
    assert len(set(pictures)) == 4


@pytest.mark.slow
def test_a_crop_works_around_the_mask_and_keeps_the_rest(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import diffusers

    listens = Listens(monkeypatch, diffusers.StableDiffusionInpaintPipeline)
    photo = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    hole = np.zeros((64, 64), bool)
    hole[8:24, 8:24] = True
    result = opened(written("sd"), crop="4").erase(photo, hole)
    assert listens.calls[0]["padding_mask_crop"] == 4
    np.testing.assert_array_equal(result[~hole], photo[~hole])  # the pipeline pastes it back
    assert (result[hole] != photo[hole]).mean() > 0.5


@pytest.mark.slow
def test_a_setting_that_a_pipeline_would_ignore_is_refused(written: Any) -> None:
    for kind, options, said in (
        ("klein", {"negative": "a dog"}, "Flux2KleinInpaintPipeline takes no negative_prompt"),
        ("sdxl", {"true_cfg": "3"}, "StableDiffusionXLInpaintPipeline takes no true_cfg_scale"),
        ("flux-fill", {"crop": "8"}, "FluxFillPipeline takes no padding_mask_crop"),
        ("qwen", {"guidance": "3"}, "takes no guidance; give --option true_cfg"),
        ("flux", {"negative": "a dog"}, "only if true_cfg is above 1"),
    ):
        with pytest.raises(UsageError, match=said):
            opened(written(kind), **options).erase(PHOTO, HOLE)


@pytest.mark.slow
def test_flux_with_classifier_free_guidance_listens_to_the_negative_prompt(written: Any) -> None:
    hint = Hints("a", "snow")  # without a prompt there is nothing to guide to
    (plain,) = opened(written("flux")).erase([PHOTO], [HOLE], [hint])
    guided = [opened(written("flux"), true_cfg="3", negative=text) for text in ("", "a dog")]
    pictures = [eraser.erase([PHOTO], [HOLE], [hint])[0] for eraser in guided]
    assert not np.array_equal(pictures[0], plain)
    assert not np.array_equal(pictures[0], pictures[1])


def index(folder: Path, name: Any, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": name, **more}))
    return folder


@pytest.mark.parametrize(
    ("named", "opens"),
    [
        ("StableDiffusionPipeline", "StableDiffusionInpaintPipeline"),
        ("StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
        ("StableDiffusionXLPipeline", "StableDiffusionXLInpaintPipeline"),
        ("StableDiffusion3Pipeline", "StableDiffusion3InpaintPipeline"),
        ("FluxPipeline", "FluxInpaintPipeline"),
        ("FluxFillPipeline", "FluxFillPipeline"),
        ("Flux2KleinPipeline", "Flux2KleinInpaintPipeline"),
        ("QwenImagePipeline", "QwenImageInpaintPipeline"),
        ("ZImagePipeline", "ZImageInpaintPipeline"),
    ],
)
def test_the_class_follows_from_the_folders(named: str, opens: str, tmp_path: Path) -> None:
    assert pipeline_class(index(tmp_path, named)) == opens


@pytest.mark.parametrize(
    "named", ["PixArtAlphaPipeline", "StableDiffusionControlNetInpaintPipeline", "Nonsense", ["a", "b"]]
)
def test_a_class_that_cannot_inpaint_is_named(named: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsUnusableError) as caught:
        pipeline_class(index(tmp_path, named))
    assert (named if isinstance(named, str) else "['a', 'b']") in str(caught.value).replace('"', "'")


def test_every_known_family_is_in_this_diffusers_and_takes_photo_mask_and_prompt() -> None:
    import diffusers

    for name in FAMILIES:
        assert {"prompt", "image", "mask_image"} <= parameters_of(getattr(diffusers, name)), name


def test_a_pipeline_that_needs_more_is_refused() -> None:
    import diffusers

    with pytest.raises(WeightsUnusableError, match="needs also image_embeds, negative_image_embeds"):
        parameters_of(diffusers.KandinskyV22InpaintPipeline)
    with pytest.raises(WeightsUnusableError, match="takes no mask_image"):
        parameters_of(diffusers.FluxImg2ImgPipeline)


def test_a_distilled_klein_takes_four_steps_without_guidance(tmp_path: Path) -> None:
    plain = family_of("Flux2KleinInpaintPipeline", index(tmp_path, "Flux2KleinPipeline"))
    fast = family_of("Flux2KleinInpaintPipeline", index(tmp_path, "Flux2KleinPipeline", is_distilled=True))
    assert (plain.steps, plain.guidance) == (50, 4.0)
    assert (fast.steps, fast.guidance) == (4, 1.0)


def test_parts_that_a_folder_lacks_are_left_out(tmp_path: Path) -> None:
    import diffusers

    folder = index(tmp_path, "x", text_encoder_3=[None, None], vae=["diffusers", "AutoencoderKL"], odd=[None, None])
    assert left_out(folder, diffusers.StableDiffusion3InpaintPipeline) == {"text_encoder_3"}
    assert left_out(folder, diffusers.StableDiffusionInpaintPipeline) == {"safety_checker"}


@pytest.mark.parametrize("multiple", [8, 16])
def test_the_working_size_is_near_the_photos_and_within_the_area(multiple: int) -> None:
    for width, height in ((70, 50), (1, 1), (4000, 3000), (300, 3001), (1024, 1024)):
        found = working_size(width, height, 512, multiple)
        assert min(found) == 512 and all(side % multiple == 0 for side in found)
        assert abs(found[0] / found[1] / (width / height) - 1) < 0.03
        wide, high = working_size(width, height, 2048, multiple, area=1 << 20)
        assert 0.9 * (1 << 20) <= wide * high <= 1 << 20


# --- variants ------------------------------------------------------------------------------------


def weights(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    return root


PLAIN_AND_BOTH = ("unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.non_ema.safetensors")


def test_variants_are_read_from_the_names(tmp_path: Path) -> None:
    folder = weights(
        tmp_path,
        *PLAIN_AND_BOTH,
        "text_encoder/model.fp16.safetensors",
        "text_encoder_2/model.fp16-00001-of-00002.safetensors",
        "text_encoder_3/model-00001-of-00002.fp16.safetensors",
        "text_encoder_3/model.safetensors.index.fp16.json",
        "vae/diffusion_pytorch_model-00001-of-00002.bin",
        "tokenizer/vocab.json",
        "safety_checker/model.fp16.safetensors",
    )
    assert variants_in(folder) == {
        "unet": {"", "non_ema"},
        "text_encoder": {"fp16"},
        "text_encoder_2": {"fp16"},
        "text_encoder_3": {"fp16"},
        "vae": {""},
    }
    assert choose_variant(folder, "auto") == "fp16"
    assert choose_variant(folder, "fp16") == "fp16"
    with pytest.raises(UsageError, match=r"no variant of the weights is called 'fp61'\. Did you mean 'fp16'"):
        choose_variant(folder, "fp61")
    with pytest.raises(WeightsUnusableError, match=r"variant 'non_ema'.*text_encoder: fp16"):
        choose_variant(folder, "non_ema")


def test_plain_weights_come_first(tmp_path: Path) -> None:
    assert choose_variant(weights(tmp_path, *PLAIN_AND_BOTH), "auto") is None
    assert choose_variant(tmp_path, "non_ema") == "non_ema"


def test_networks_without_a_common_variant_are_named(tmp_path: Path) -> None:
    folder = weights(tmp_path, "unet/diffusion_pytorch_model.ema.bin", "vae/diffusion_pytorch_model.fp16.bin")
    with pytest.raises(WeightsUnusableError, match="unet: ema, vae: fp16"):
        choose_variant(folder, "auto")


@pytest.mark.slow
def test_a_mixed_folder_paints_what_the_plain_one_paints(written: Any, tmp_path: Path) -> None:
    mixed = shutil.copytree(written("sd"), tmp_path / "mixed")
    unet = mixed / "unet" / "diffusion_pytorch_model.safetensors"
    unet.rename(unet.with_name("diffusion_pytorch_model.fp16.safetensors"))
    (mixed / "unet" / "LICENSE.md").touch()
    np.testing.assert_array_equal(opened(mixed).erase(PHOTO, HOLE), opened(written("sd")).erase(PHOTO, HOLE))


@pytest.mark.slow
def test_the_variant_is_what_is_loaded(written: Any, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    both = shutil.copytree(written("sd"), tmp_path / "both")
    plain = both / "unet" / "diffusion_pytorch_model.safetensors"
    other = {key: value + 0.05 for key, value in load_file(plain).items()}
    save_file(other, plain.with_name("diffusion_pytorch_model.non_ema.safetensors"))
    eraser = opened(both, variant="non_ema").eraser
    found = eraser._pipeline.unet.state_dict()
    assert all((found[key] == value).all() for key, value in other.items())


# --- single files --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def single(written: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_single_file(written("sd"), tmp_path_factory.mktemp("single") / "community.safetensors")


@pytest.mark.slow
def test_a_single_file_paints_what_its_folder_paints(single: Path, written: Any, tmp_path: Path) -> None:
    """The configurations come from a folder without weights."""
    bare = shutil.copytree(written("sd"), tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    eraser = opened(single, config=str(bare))
    np.testing.assert_array_equal(eraser.erase(PHOTO, HOLE), opened(written("sd")).erase(PHOTO, HOLE))
    assert eraser.info.revision.startswith("local-")
    assert eraser.info.license == "see the checkpoint"


@pytest.mark.slow
def test_a_single_file_takes_its_configurations_from_the_original_in_the_cache(
    single: Path, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[Any] = []

    def cached(name: str, **options: Any) -> str:
        asked.append((name, options))
        return str(written("sd"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    np.testing.assert_array_equal(opened(single).erase(PHOTO, HOLE), opened(written("sd")).erase(PHOTO, HOLE))
    assert asked == [("stable-diffusion-v1-5/stable-diffusion-inpainting", {"local_files_only": True})]


def test_a_single_file_without_configurations_says_how_to_get_them(single: Path, tmp_path: Path) -> None:
    assert original_of(single) == "stable-diffusion-v1-5/stable-diffusion-inpainting"
    with pytest.raises(
        WeightsMissingError, match=r"hf download nobody/nothing --exclude .* or give --option config=FOLDER"
    ):
        opened(single, config="nobody/nothing")
    with pytest.raises(UsageError, match="config is for a checkpoint that is a file"):
        opened(tmp_path, config=str(tmp_path))


@pytest.mark.slow
def test_a_file_with_the_transformer_alone_takes_the_rest_from_the_folder(written: Any, tmp_path: Path) -> None:
    """The folder's own transformer is damaged, so that the file's is the one that paints."""
    folder = shutil.copytree(written("flux-fill"), tmp_path / "rest")
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.rename(tmp_path / "transformer.safetensors")
    weights.write_bytes(b"damaged")
    picture = opened(tmp_path / "transformer.safetensors", config=str(folder)).erase(PHOTO, HOLE)
    np.testing.assert_array_equal(picture, opened(written("flux-fill")).erase(PHOTO, HOLE))
    shutil.rmtree(folder / "vae")
    with pytest.raises(WeightsUnusableError, match=r"transformer\.safetensors is not a diffusers inpainting pipeline"):
        opened(tmp_path / "transformer.safetensors", config=str(folder)).erase(PHOTO, HOLE)


def test_a_single_file_has_no_variants(single: Path, written: Any) -> None:
    with pytest.raises(UsageError, match=r"community\.safetensors is a single file, which has no variants"):
        opened(single, config=str(written("sd")), variant="fp16").erase(PHOTO, HOLE)


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.ckpt").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(WeightsUnusableError, match=r"old\.ckpt: expected a \.safetensors file"):
        opened(tmp_path / "old.ckpt")
    (tmp_path / "bad.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    with pytest.raises(WeightsUnusableError, match=r"bad\.safetensors is not in the format of safetensors"):
        opened(tmp_path / "bad.safetensors")


@pytest.mark.slow
def test_a_file_of_another_network_than_its_configuration_is_refused(single: Path, written: Any) -> None:
    with pytest.raises(WeightsUnusableError, match=r"community\.safetensors is not a diffusers inpainting pipeline"):
        opened(single, config=str(written("sdxl"))).erase(PHOTO, HOLE)


# --- where it runs -------------------------------------------------------------------------------


class Part:
    """A network of a known size."""

    def __init__(self, count: int) -> None:
        import torch

        self.tensor = torch.zeros(count, dtype=torch.float16)

    def parameters(self) -> list[Any]:
        return [self.tensor]

    def buffers(self) -> list[Any]:
        return []


class Pipe:
    """Remembers where it was put."""

    def __init__(self) -> None:
        self.components = {"unet": Part(1000), "vae": Part(500), "tokenizer": object(), "image_encoder": None}
        self.put: list[str] = []

    def to(self, device: str) -> Pipe:
        self.put.append(f"to {device}")
        return self

    def enable_model_cpu_offload(self, device: str) -> None:
        self.put.append(f"offload {device}")


@pytest.mark.parametrize(
    ("device", "offload", "free", "put"),
    [
        ("cpu", "auto", 0, "to cpu"),
        ("mps", "auto", 0, "to mps"),
        ("cuda:0", "auto", ROOM + 3000, "to cuda:0"),
        ("cuda:0", "auto", ROOM + 2999, "offload cuda:0"),
        ("cuda:0", "off", 0, "to cuda:0"),
        ("cuda:0", "on", ROOM + 3000, "offload cuda:0"),
    ],
)
def test_weights_that_do_not_fit_are_offloaded(
    device: str, offload: str, free: int, put: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 10 * ROOM))
    pipe = Pipe()
    assert weight_bytes(pipe) == 3000
    assert place(pipe, device, offload) is pipe
    assert pipe.put == [put]
    said = capsys.readouterr().err
    assert ("the weights are 3.0 kB and cuda:0 has 2.0 GB free" in said) == (offload == "auto" and "offload" in put)


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_offloading_needs_cuda(device: str) -> None:
    with pytest.raises(UsageError, match=f"offload=on .* needs cuda; found {device}"):
        place(Pipe(), device, "on")


@pytest.mark.parametrize(
    ("kind", "device", "dtype", "used"),
    [
        ("StableDiffusionPipeline", "cpu", "auto", "float32"),
        ("StableDiffusionPipeline", "cuda", "auto", "float16"),
        ("FluxFillPipeline", "cpu", "auto", "float32"),
        ("FluxFillPipeline", "cuda", "auto", "bfloat16"),
        ("StableDiffusion3Pipeline", "mps", "auto", "bfloat16"),
        ("QwenImagePipeline", "cuda", "auto", "bfloat16"),
        ("QwenImagePipeline", "cuda", "float16", "float16"),
    ],
)
def test_the_type_of_the_weights_follows_the_family_and_the_device(
    kind: str, device: str, dtype: str, used: str, tmp_path: Path
) -> None:
    import torch

    eraser = opened(index(tmp_path, kind), dtype=dtype).eraser
    eraser.device = device
    assert eraser._dtype() == getattr(torch, used)


def test_the_options_say_what_the_model_chose(tmp_path: Path) -> None:
    options = open_eraser("sd-inpainting", {"checkpoint": str(index(tmp_path, "FluxFillPipeline"))}, "cpu").info.options
    assert options is not None
    assert {key: options[key] for key in ("steps", "guidance", "size")} == {
        "steps": "50",
        "guidance": "30",
        "size": "1024",
    }
    assert "offload" not in options


@pytest.mark.parametrize("name", ["lama", "mat", "comodgan", "sd-inpainting"])
def test_only_networks_that_apples_gpu_can_run_take_it_by_themselves(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import save_file

    from baselines.weights import TRUST
    from olrd.storage.files import sha256_file

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    monkeypatch.setenv(TRUST, sha256_file(tmp_path / "weights.safetensors"))
    options = {"weights": str(tmp_path / "weights.safetensors")}
    if name == "sd-inpainting":
        options = {"checkpoint": str(index(tmp_path, "StableDiffusionPipeline"))}
    assert open_eraser(name, options).eraser.device == ("mps" if name == "sd-inpainting" else "cpu")  # type: ignore[attr-defined]
