"""The LoRA for other programs: diffusers converts kohya's form back, and the weights change as with our own file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from micro_model import PLAIN, SETTINGS, trained_pipeline, unet_output, write_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from baselines.eraser import WeightsMissingError, WeightsUnusableError
from magiceraser_ref.cli.main import main
from magiceraser_ref.model.checkpoint import load, save
from magiceraser_ref.model.lora import FILE, read_lora
from magiceraser_ref.model.lora_export import Exported, export_lora, kohya_weights
from magiceraser_ref.model.settings import FILE as SETTINGS_FILE
from magiceraser_ref.small.architecture import MICRO, build_pipeline
from olrd.errors import SourceError, UsageError

PROMPT = "a photo of sky"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rank 4 and alpha 8: a reader that loses alpha is off by a factor of two."""
    return write_model(tmp_path_factory.mktemp("model") / "model")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["kohya", "diffusers"])
def test_diffusers_paints_with_the_exported_lora_as_we_do(model: Path, tmp_path: Path, form: str) -> None:
    found = export_lora(model, tmp_path / "x.safetensors", form)
    ours, theirs = load(model, device="cpu").pipeline, build_pipeline(MICRO)
    off = unet_output(theirs, PROMPT)
    theirs.load_lora_weights(tmp_path, weight_name=found.lora.name)
    expected = unet_output(ours, PROMPT)
    torch.testing.assert_close(unet_output(theirs, PROMPT), expected, rtol=0, atol=1e-5)
    assert (off - expected).abs().max() > 1e-3


def test_the_weights_change_as_comfyui_and_a1111_compute_it(model: Path, tmp_path: Path) -> None:
    """up @ down * alpha / rank on the module whose name, with underscores for dots, the key holds."""
    export_lora(model, tmp_path / "x.safetensors")
    stored = load_file(tmp_path / "x.safetensors")
    pipeline = trained_pipeline()
    modules = {
        f"lora_unet_{name.replace('.', '_')}": module
        for name, module in pipeline.unet.named_modules()
        if hasattr(module, "lora_A")
    }
    assert stored.keys() == {f"{n}.{x}" for n in modules for x in ("lora_down.weight", "lora_up.weight", "alpha")}
    assert "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_out_0.alpha" in stored
    for name, module in modules.items():
        up, down, alpha = (stored[f"{name}.{x}"] for x in ("lora_up.weight", "lora_down.weight", "alpha"))
        assert alpha.shape == () and float(alpha) == 8
        torch.testing.assert_close(up @ down * alpha / down.shape[0], module.get_delta_weight("magiceraser"))


def test_the_token_is_an_embedding_file(model: Path, tmp_path: Path) -> None:
    """Both programs take the only tensor of the file, [1, d], and the file's name as its word."""
    found = export_lora(model, tmp_path / "clean.safetensors")
    assert found == Exported(tmp_path / "clean.safetensors", tmp_path / "clean-token.safetensors", "clean-token")
    stored = load_file(tmp_path / "clean-token.safetensors")
    assert list(stored) == ["emb_params"] and stored["emb_params"].shape == (1, 16)
    pipeline = trained_pipeline()
    number = pipeline.tokenizer.convert_tokens_to_ids("R*")
    assert torch.equal(stored["emb_params"][0], pipeline.text_encoder.get_input_embeddings().weight[number])
    found = export_lora(model, tmp_path / "own.safetensors", "diffusers")
    assert found.word == "R*" and list(load_file(tmp_path / "own-token.safetensors")) == ["R*"]


@pytest.mark.slow
def test_diffusers_reads_the_token(model: Path, tmp_path: Path) -> None:
    export_lora(model, tmp_path / "x.safetensors")
    vector = load_file(tmp_path / "x-token.safetensors")["emb_params"][0]
    for file in (tmp_path / "x-token.safetensors", model / "learned_embeds.safetensors"):
        pipeline = build_pipeline(MICRO)
        pipeline.load_textual_inversion(file, token="<clean>")
        number = pipeline.tokenizer.convert_tokens_to_ids("<clean>")
        assert torch.equal(pipeline.text_encoder.get_input_embeddings().weight[number], vector)
        assert number in pipeline.tokenizer("a photo of <clean> sky").input_ids


def test_the_same_model_gives_the_same_bytes_and_the_base_is_named(model: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        export_lora(model, tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.metadata() is None  # the micro model is no known base
    settings = json.loads((model / SETTINGS_FILE).read_text())
    settings["base_unet"]["cross_attention_dim"] = 768
    adapters = copied(model, tmp_path / "adapters")
    (adapters / SETTINGS_FILE).write_text(json.dumps(settings))
    export_lora(adapters, tmp_path / "c.safetensors")
    with safe_open(tmp_path / "c.safetensors", "pt") as file:
        assert file.metadata() == {"ss_base_model_version": "sd_v1"}


def copied(model: Path, folder: Path) -> Path:
    """The LoRA, the token and the settings alone: the base is not needed."""
    folder.mkdir()
    for name in (FILE, "learned_embeds.safetensors", SETTINGS_FILE):
        (folder / name).write_bytes((model / name).read_bytes())
    return folder


def with_settings(model: Path, folder: Path, **settings: Any) -> Path:
    """The model's LoRA with other settings in its file."""
    copied(model, folder)
    record = {"lora_adapter_metadata": json.dumps({f"unet.{k}": v for k, v in settings.items()})} if settings else None
    save_file(load_file(folder / FILE), folder / FILE, metadata=record)
    return folder


def test_scales_follow_the_settings_of_the_file(model: Path, tmp_path: Path) -> None:
    cases = {"none": ({}, 1.0), "alpha": ({"r": 4, "lora_alpha": 2}, 0.5)}
    cases["root"] = ({"r": 4, "lora_alpha": 8, "use_rslora": True}, 8 / math.sqrt(4))
    for name, (settings, scale) in cases.items():
        weights = read_lora(with_settings(model, tmp_path / name, **settings) / FILE)
        assert {factors.scale for factors in weights.values()} == {scale}, name
        alphas = {float(v) for k, v in kohya_weights(weights).items() if k.endswith(".alpha")}
        assert alphas == {4 * scale}, name


def test_what_cannot_be_exported_is_named(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.safetensors"
    with pytest.raises(UsageError, match="Did you mean 'kohya'"):
        export_lora(model, out, "kohja")
    with pytest.raises(UsageError, match=r"written as \.safetensors"):
        export_lora(model, tmp_path / "x.pt")
    with pytest.raises(UsageError, match="among the files of the model"):
        export_lora(model, model / FILE)
    save(tmp_path / "plain", build_pipeline(MICRO), PLAIN)
    with pytest.raises(SourceError, match="has no LoRA"):
        export_lora(tmp_path / "plain", out)
    with pytest.raises(WeightsMissingError, match="no folder"):
        export_lora(str(tmp_path / "nothing"), out)
    pattern = with_settings(model, tmp_path / "pattern", r=4, lora_alpha=8, alpha_pattern={"to_q": 4})
    with pytest.raises(WeightsUnusableError, match="one alpha per module"):
        export_lora(pattern, out)
    broken = copied(model, tmp_path / "broken")
    save_file({k: v * math.nan for k, v in load_file(model / FILE).items()}, broken / FILE)
    with pytest.raises(WeightsUnusableError, match="NaN or infinity"):
        export_lora(broken, out)
    twice = {f"unet.{m}.lora_{x}.weight": torch.ones(1, 1) for m in ("a.b", "a_b") for x in "AB"}
    save_file(twice, broken / FILE)
    with pytest.raises(WeightsUnusableError, match="two modules that kohya's form calls lora_unet_a_b"):
        export_lora(broken, out)
    assert not out.exists()


def test_the_command_writes_both_files_once(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.safetensors"
    command = ["export-lora", str(model), "--out", str(out)]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "format": "kohya",
        "lora": str(out),
        "token": str(tmp_path / "x-token.safetensors"),
        "word": "x-token",
    }
    out.unlink()  # the token alone is there already
    assert main(command) != 0 and "x-token.safetensors exists already" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0 and "the token in prompts: x-token" in capsys.readouterr().out
    assert SETTINGS.lora is not None and out.stat().st_mode & 0o077
