"""LoRA: on differs from off, diffusers reads ours, another base is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from micro_model import trained_pipeline, unet_output
from safetensors.torch import load_file, save_file

from baselines.eraser import WeightsUnusableError
from magiceraser_ref.model.lora import FILE, TARGETS, add_lora, has_lora, load_lora, lora_parameters, save_lora
from magiceraser_ref.small.architecture import MICRO, build_pipeline
from olrd.errors import SourceError, UsageError

PROMPT = "a photo of sky"


def test_a_new_lora_changes_nothing_and_a_trained_one_does() -> None:
    pipeline = build_pipeline(MICRO)
    before = unet_output(pipeline, PROMPT)
    add_lora(pipeline.unet)
    assert torch.equal(unet_output(pipeline, PROMPT), before)
    for values in lora_parameters(pipeline.unet):
        values.data += 0.1
    assert not torch.allclose(unet_output(pipeline, PROMPT), before, atol=1e-3)


def test_only_the_lora_is_trained_in_self_and_cross_attention() -> None:
    unet = build_pipeline(MICRO).unet
    layers = [n for n, _ in unet.named_modules() if n.endswith(TARGETS) and ".attn" in n]
    add_lora(unet, rank=4)
    trained = [n for n, values in unet.named_parameters() if values.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    assert len(trained) == 2 * len(layers) == len(lora_parameters(unet))
    assert any(".attn1." in n for n in trained) and any(".attn2." in n for n in trained)


def test_first_values_depend_on_the_seed_alone() -> None:
    def values(seed: int) -> list[torch.Tensor]:
        unet = build_pipeline(MICRO).unet
        torch.manual_seed(torch.seed())
        add_lora(unet, seed=seed)
        return [v.detach() for v in lora_parameters(unet)]

    first, again, other = values(3), values(3), values(4)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.slow
def test_a_stored_lora_comes_back_and_diffusers_reads_it(tmp_path: Path) -> None:
    """alpha is not rank here, so a reader that loses it would be off by a factor of two."""
    pipeline = trained_pipeline()
    save_lora(tmp_path, pipeline.unet)
    ours, theirs = build_pipeline(MICRO), build_pipeline(MICRO)
    load_lora(ours, tmp_path)
    theirs.load_lora_weights(tmp_path)
    expected = unet_output(pipeline, PROMPT)
    torch.testing.assert_close(unet_output(ours, PROMPT), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(unet_output(theirs, PROMPT), expected, rtol=0, atol=1e-6)
    off = unet_output(build_pipeline(MICRO), PROMPT)
    assert (off - expected).abs().max() > 1e-3


def test_the_same_lora_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_lora(tmp_path / name, trained_pipeline().unet)
    assert (tmp_path / "a" / FILE).read_bytes() == (tmp_path / "b" / FILE).read_bytes()


def test_a_lora_for_another_width_names_the_mismatch(tmp_path: Path) -> None:
    save_lora(tmp_path, trained_pipeline().unet)
    wider = build_pipeline(replace(MICRO, unet=(16, 48)))
    with pytest.raises(SourceError, match=r"another base: .*attn\d.* is 32 -> 32 .* 48 -> 48"):
        load_lora(wider, tmp_path)
    assert not has_lora(wider.unet)


def test_a_lora_for_other_modules_names_the_first(tmp_path: Path) -> None:
    save_lora(tmp_path, trained_pipeline().unet)
    shallow = build_pipeline(replace(MICRO, attention=(False, True)))
    with pytest.raises(SourceError, match=r"another base: it changes the module down_blocks\.0"):
        load_lora(shallow, tmp_path)


@pytest.mark.slow
def test_a_file_that_is_no_lora_is_named(tmp_path: Path) -> None:
    pipeline = build_pipeline(MICRO)
    with pytest.raises(SourceError, match="not a safetensors file"):
        load_lora(pipeline, tmp_path)
    save_file({"unet.x.weight": torch.zeros(2, 2)}, tmp_path / FILE)
    with pytest.raises(SourceError, match="contains no LoRA"):
        load_lora(pipeline, tmp_path)
    save_lora(tmp_path, trained_pipeline().unet)
    half = {k: v for k, v in load_file(tmp_path / FILE).items() if "lora_A" in k}
    save_file(half, tmp_path / FILE)
    with pytest.raises(SourceError, match="pairs of lora_A and lora_B"):
        load_lora(pipeline, tmp_path)


def test_what_cannot_be_added_or_saved_is_refused(tmp_path: Path) -> None:
    unet = build_pipeline(MICRO).unet
    with pytest.raises(UsageError, match="no LoRA to save"):
        save_lora(tmp_path, unet)
    with pytest.raises(UsageError, match="at least 1"):
        add_lora(unet, rank=0)
    with pytest.raises(UsageError, match="no module of this UNet is named to_w"):
        add_lora(unet, targets=("to_w",))
    add_lora(unet)
    with pytest.raises(UsageError, match="already has a LoRA"):
        add_lora(unet)


# --- files of strangers --------------------------------------------------------------------------


def _with(path: Path, **settings: object) -> None:
    metadata = {"lora_adapter_metadata": json.dumps({f"unet.{k}": v for k, v in settings.items()})}
    save_file(load_file(path), path, metadata=metadata)


@pytest.fixture(scope="module")
def trained_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    save_lora(folder, trained_pipeline().unet)
    return folder / FILE


@pytest.fixture
def saved(trained_file: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copy(trained_file, tmp_path))


@pytest.fixture(scope="module")
def untrained() -> Any:
    """A pipeline for weights that are refused: it stays as it was."""
    return build_pipeline(MICRO)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("r", 10**9),
        ("r", "4"),
        ("r", True),
        ("lora_alpha", 1e400),
        ("lora_alpha", [8]),
        ("target_modules", "(a+)+$"),
        ("target_modules", ["(a+)+$"]),
        ("rank_pattern", {"to_q": 10**9}),
        ("alpha_pattern", {"(a+)+$": 8}),
        ("megatron_config", {"hidden_size": 1}),
        ("megatron_core", "evil"),
        ("peft_type", "LOHA"),
        ("init_lora_weights", "pissa"),
        ("colour", "red"),
    ],
)
def test_settings_that_could_run_code_or_fill_memory_are_refused(
    saved: Path, untrained: Any, name: str, value: object
) -> None:
    _with(saved, **{"r": 4, "lora_alpha": 8, "target_modules": list(TARGETS)} | {name: value})
    with pytest.raises(WeightsUnusableError, match=f"'unet.{name}'"):
        load_lora(untrained, saved.parent)


@pytest.mark.parametrize("text", ["{", "3", "[]", "[" * 100_000])
def test_settings_that_are_no_object_are_refused(saved: Path, untrained: Any, text: str) -> None:
    save_file(load_file(saved), saved, metadata={"lora_adapter_metadata": text})
    with pytest.raises(WeightsUnusableError, match="pytorch_lora_weights"):
        load_lora(untrained, saved.parent)


def test_the_settings_that_peft_writes_are_read(saved: Path) -> None:
    config = trained_pipeline().unet.peft_config["magiceraser"].to_dict()
    usual = {k: sorted(v) if isinstance(v, set) else getattr(v, "value", v) for k, v in config.items()}
    _with(saved, **usual | {"lora_dropout": 0.1})
    pipeline = build_pipeline(MICRO)
    load_lora(pipeline, saved.parent)
    torch.testing.assert_close(unet_output(pipeline, PROMPT), unet_output(trained_pipeline(), PROMPT))


def _numbers(weights: dict[str, Any]) -> None:
    next(iter(weights.values()))[0, 0] = float("nan")


def _rank(weights: dict[str, Any]) -> None:
    for name, values in weights.items():
        other = 2048, values.shape[1]
        weights[name] = torch.zeros(other if "lora_A" in name or "down" in name else (values.shape[0], 2048))


def _flat(weights: dict[str, Any]) -> None:
    for name, values in weights.items():
        weights[name] = values.flatten()


@pytest.mark.parametrize(("spoil", "message"), [(_numbers, "NaN"), (_rank, "a rank from 1 to"), (_flat, "expected")])
def test_weights_that_are_no_lora_are_refused(
    saved: Path, untrained: Any, spoil: Callable[[dict[str, Any]], None], message: str
) -> None:
    weights = load_file(saved)
    spoil(weights)
    save_file(weights, saved)
    with pytest.raises(WeightsUnusableError, match=message):
        load_lora(untrained, saved.parent)
