"""Small models in the layouts of the hub's repositories: each loads, or is refused in the right words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers
from micro_model import box_mask, drawn, unet_output, write_plain
from safetensors.torch import load_file, save_file
from tiny_pipelines import write_pipeline

from baselines.eraser import WeightsUnusableError
from magiceraser_ref.erase.pipeline import MagicEraser
from magiceraser_ref.model.checkpoint import load
from magiceraser_ref.small.architecture import MICRO, build_pipeline, build_text, build_vae
from magiceraser_ref.small.vocabulary import known_words
from olrd.errors import SourceError, UsageError

PHOTO, MASK = drawn(40, 48), box_mask(40, 48, (14, 10, 16, 15))
MICRO_LENGTH = 32
"""Length of the micro model's prompts in tokens."""
WEIGHTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def variant(folder: Path, name: str, network: str, shift: float = 0.0) -> None:
    """Write a variant of a network's weights, in half precision if it is called fp16, else with other values."""
    weights = load_file(folder / network / f"{WEIGHTS[network]}.safetensors")
    if name == "fp16":
        weights = {key: value.half() if value.is_floating_point() else value for key, value in weights.items()}
    weights = {key: value + shift if value.is_floating_point() else value for key, value in weights.items()}
    save_file(weights, folder / network / f"{WEIGHTS[network]}.{name}.safetensors", metadata={"format": "pt"})


def legacy_tokenizer(folder: Path, source: Path) -> None:
    """Replace tokenizer.json by the files of older releases of transformers."""
    found = json.loads((source / "tokenizer.json").read_text())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in found["merges"]]
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(found["vocab"]))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    start, end = "<|startoftext|>", "<|endoftext|>"
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": end}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    config = special | {"model_max_length": MICRO_LENGTH, "tokenizer_class": "CLIPTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def sd15(folder: Path) -> Path:
    """As stable-diffusion-v1-5/stable-diffusion-inpainting: old tokenizer, PNDM, a safety checker, variants, extra files."""
    write_plain(folder)
    legacy_tokenizer(folder / "tokenizer", folder / "tokenizer")
    scheduler = {
        "_class_name": "PNDMScheduler",
        "_diffusers_version": "0.6.0",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "trained_betas": None,
    }
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    edit(
        folder / "model_index.json",
        _diffusers_version="0.6.0",
        scheduler=["diffusers", "PNDMScheduler"],
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=["transformers", "CLIPFeatureExtractor"],  # no longer in transformers
    )
    for part in ("safety_checker", "feature_extractor"):
        (folder / part).mkdir()
    (folder / "safety_checker" / "config.json").write_text('{"architectures": ["StableDiffusionSafetyChecker"]}')
    (folder / "feature_extractor" / "preprocessor_config.json").write_text('{"feature_extractor_type": "CLIP"}')
    for network in ("unet", "vae", "text_encoder"):
        variant(folder, "fp16", network)
        (folder / network / f"{WEIGHTS[network]}.bin").write_bytes(b"pickled, and never read")
    variant(folder, "non_ema", "unet", shift=0.01)
    (folder / "sd-v1-5-inpainting.ckpt").write_bytes(b"pickled, and never read")
    (folder / "README.md").write_text("---\nlicense: creativeml-openrail-m\n---\n")
    return folder


def erases(folder: Path, **options: Any) -> Any:
    eraser = MagicEraser.from_pretrained(folder, device="cpu", initializer="mean-fill", segmenter="none", **options)
    found = eraser.erase(PHOTO, MASK, steps=3)
    assert np.array_equal(found[~MASK], PHOTO[~MASK]) and not np.array_equal(found, PHOTO)
    return eraser.pipeline


# --- what loads ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_sd15_inpainting_with_variants(tmp_path: Path) -> None:
    folder = sd15(tmp_path / "m")
    plain = unet_output(build_pipeline(MICRO), "sky")
    pipeline = erases(folder)
    assert type(pipeline.scheduler).__name__ == "DDIMScheduler" and not pipeline.scheduler.config.clip_sample
    assert pipeline.safety_checker is None and pipeline.tokenizer.model_max_length == MICRO_LENGTH
    assert torch.allclose(unet_output(pipeline, "sky"), plain, atol=1e-5)
    half = load(folder, device="cpu", variant="fp16").pipeline
    assert half.unet.dtype == torch.float32  # how it computes is another choice
    stored = load_file(folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")["conv_in.weight"]
    assert torch.equal(half.unet.conv_in.weight, stored.float())
    other = load(folder, device="cpu", variant="non_ema").pipeline
    assert torch.allclose(other.unet.conv_in.weight, pipeline.unet.conv_in.weight + 0.01)
    assert torch.equal(other.vae.encoder.conv_in.weight, pipeline.vae.encoder.conv_in.weight)
    with pytest.raises(UsageError, match="Did you mean 'fp16'"):
        load(folder, variant="fp61")


@pytest.mark.slow
def test_folders_with_half_precision_alone_or_in_some_networks(tmp_path: Path) -> None:
    folder = sd15(tmp_path / "m")
    (folder / "text_encoder" / "model.safetensors").unlink()
    mixed = load(folder, device="cpu").pipeline
    for network in ("unet", "vae"):
        (folder / network / "diffusion_pytorch_model.safetensors").unlink()
    assert torch.equal(mixed.unet.conv_in.weight, erases(folder).unet.conv_in.weight)
    (folder / "vae" / "diffusion_pytorch_model.fp16.safetensors").rename(
        folder / "vae" / "diffusion_pytorch_model.fp32.safetensors"
    )
    with pytest.raises(WeightsUnusableError, match="no variant covers all networks"):
        load(folder)


@pytest.mark.slow
def test_weights_in_several_files(tmp_path: Path) -> None:
    pipeline = build_pipeline(MICRO)
    pipeline.save_pretrained(tmp_path / "m", max_shard_size="50KB")
    assert len(list((tmp_path / "m" / "unet").glob("*-of-*.safetensors"))) > 1
    found = load(tmp_path / "m", device="cpu").pipeline
    assert torch.allclose(unet_output(found, "sky"), unet_output(pipeline, "sky"), atol=1e-5)


def sd2(folder: Path) -> Path:
    """As stable-diffusion-2-inpainting: linear projections, heads per level, another text encoder, v-prediction."""
    torch.manual_seed(0)
    tokenizer, text = build_text(MICRO, known_words())
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig.from_dict(text.config.to_dict() | {"hidden_act": "gelu", "projection_dim": 8})
    )
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=9,
        out_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        block_out_channels=(16, 32),
        cross_attention_dim=16,
        attention_head_dim=(2, 4),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        use_linear_projection=True,
    )
    diffusers.StableDiffusionInpaintPipeline(
        vae=build_vae(MICRO),
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=diffusers.DDIMScheduler(
            beta_schedule="scaled_linear",
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_sd2_inpainting_keeps_its_prediction(tmp_path: Path) -> None:
    scheduler = erases(sd2(tmp_path / "m")).scheduler
    assert scheduler.config.prediction_type == "v_prediction" and scheduler.config.timestep_spacing == "trailing"
    assert scheduler.config.rescale_betas_zero_snr and not scheduler.config.clip_sample
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == [999, 749, 499, 249]


def sdxl(folder: Path) -> Path:
    """As diffusers/stable-diffusion-xl-1.0-inpainting-0.1, with half precision alone."""
    torch.manual_seed(0)
    tokenizer, first = build_text(MICRO, known_words())
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=9,
        out_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        block_out_channels=(16, 32),
        cross_attention_dim=32,
        attention_head_dim=(2, 4),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16 + 6 * 8,
    )
    diffusers.StableDiffusionXLInpaintPipeline(
        vae=build_vae(MICRO),
        text_encoder=first,
        text_encoder_2=transformers.CLIPTextModelWithProjection(first.config),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(steps_offset=1),
    ).save_pretrained(folder)
    for network, stem in WEIGHTS.items():
        variant(folder, "fp16", network)
        (folder / network / f"{stem}.safetensors").unlink()
    edit(folder / "model_index.json", image_encoder=[None, None], feature_extractor=[None, None])
    return folder


@pytest.mark.slow
def test_sdxl_inpainting_with_two_text_encoders(tmp_path: Path) -> None:
    pipeline = erases(sdxl(tmp_path / "m"), torch_dtype=torch.float32)
    assert type(pipeline).__name__ == "StableDiffusionXLInpaintPipeline"
    assert pipeline.text_encoder_2.dtype == torch.float32


# --- what is refused -------------------------------------------------------------------------------


def only_pickled(folder: Path) -> Path:
    write_plain(folder)
    for network in ("unet", "vae", "text_encoder"):
        (weights,) = (folder / network).glob("*.safetensors")
        torch.save(load_file(weights), weights.with_suffix(".bin"))
        weights.unlink()
    return folder


def text_to_image(folder: Path) -> Path:
    pipeline = build_pipeline(MICRO)
    unet = diffusers.UNet2DConditionModel.from_config(pipeline.unet.config, in_channels=4)
    parts = {name: part for name, part in pipeline.components.items() if name != "image_encoder"} | {"unet": unet}
    diffusers.StableDiffusionPipeline(**parts, requires_safety_checker=False).save_pretrained(folder)
    return folder


def edits_by_instruction(folder: Path) -> Path:
    write_plain(folder)
    edit(folder / "unet" / "config.json", in_channels=8)
    return folder


def single_file(folder: Path) -> Path:
    folder.mkdir()
    save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(2, 2)}, folder / "community.safetensors")
    return folder / "community.safetensors"


def adapters_of_others(folder: Path) -> Path:
    folder.mkdir()
    save_file({"unet.x.lora_A.weight": torch.zeros(2, 2)}, folder / "pytorch_lora_weights.safetensors")
    return folder


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "bin": (only_pickled, r"only as diffusion_pytorch_model\.bin, which is pickled.*save_pretrained\(FOLDER"),
    "text to image": (
        text_to_image,
        r"ordinary text-to-image model: its UNet takes 4 channels, expected 9.*sd-inpaint",
    ),
    "instructions": (edits_by_instruction, "not an inpainting model: its UNet takes 8 channels"),
    "single file": (
        single_file,
        r"community\.safetensors is one file: expected a folder in diffusers' layout.*from_single_file.*sd-inpainting",
    ),
    "adapters": (adapters_of_others, r"neither model_index\.json .* nor a magiceraser\.json that names a base"),
    "flux": (lambda folder: write_pipeline(folder, "flux-fill"), r"FluxFillPipeline'?, which has a transformer"),
    "sd3": (lambda folder: write_pipeline(folder, "sd3"), r"StableDiffusion3Pipeline'?, which has a transformer"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_used_is_refused_in_the_right_words(tmp_path: Path, kind: str) -> None:
    write, message = REFUSED[kind]
    with pytest.raises(SourceError, match=message) as caught:
        MagicEraser.from_pretrained(write(tmp_path / "model"), device="cpu")
    if kind in ("flux", "sd3"):
        assert "sd-inpainting opens it: benchmark run --method sd-inpainting" in str(caught.value)
