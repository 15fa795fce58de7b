"""Checkpoints of strangers: a model folder does not run its own Python code."""

from __future__ import annotations

import io
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cases import every

from olrd.errors import SourceError, UsageError
from olrd.models.checkpoints import check_model_folder, choose_device, load_model, load_processor

INDEX = {
    "_class_name": "StableDiffusionInpaintPipeline",
    "_diffusers_version": "0.42.1",
    "requires_safety_checker": False,
    "feature_extractor": [None, None],
    "safety_checker": [None, None],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps(INDEX))
    (folder / "unet" / "config.json").write_text('{"_class_name": "UNet2DConditionModel", "in_channels": 9}')
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer_config.json").write_text('{"added_tokens_decoder": {"1": {"content": "a/b"}}}')
    return folder


def test_an_ordinary_model_passes(model: Path) -> None:
    check_model_folder(model)


def test_a_part_that_lies_in_a_folder_of_diffusers_passes(model: Path) -> None:
    """The published Stable Diffusion 1.5 names its safety checker so."""
    if find_spec("diffusers") is None:
        pytest.skip("pip install '.[sd]'")
    checker = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    (model / "model_index.json").write_text(json.dumps(INDEX | checker))
    check_model_folder(model)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"unet": ["evil_unet", "EvilUNet"]}, r"'unet' is of the library 'evil_unet'; expected one of diffusers"),
        ({"unet": ["os", "path"]}, "library 'os'"),
        ({"unet": ["diffusers.evil", "X"]}, r"library 'diffusers\.evil'"),
        ({"unet": ["../evil", "X"]}, r"library '\.\./evil'"),
        ({"unet": [["diffusers"], "X"]}, "library"),
        ({"../unet": ["diffusers", "X"]}, "not a plain file name"),
        ({"_class_name": ["evil_pipeline", "Evil"]}, "'_class_name' names code"),
        ({"_class_name": "evil/pipeline"}, "'_class_name' names code"),
        ({"custom_pipeline": "evil"}, "'custom_pipeline' names code"),
    ],
)
def test_an_index_that_names_other_code_is_refused(entry: dict[str, Any], said: str, model: Path) -> None:
    (model / "model_index.json").write_text(json.dumps(INDEX | entry))
    with pytest.raises(SourceError, match=r"model_index\.json.*" + said):
        check_model_folder(model)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "preprocessor_config.json"])
@pytest.mark.parametrize(
    "values",
    [
        {"auto_map": {"AutoModel": "evil.Evil"}},
        {"text_config": {"auto_map": {"AutoModel": "evil.Evil"}}},
        {"list": [{"custom_pipelines": {"x": {"impl": "evil.Evil"}}}]},
        {"_attn_implementation": "evil/kernel"},
    ],
)
def test_a_configuration_that_names_code_is_refused(name: str, values: dict[str, Any], model: Path) -> None:
    (model / "unet" / name).write_text(json.dumps(values))
    with pytest.raises(SourceError, match=rf"unet/{name}: the entry .* names code"):
        check_model_folder(model)


def test_a_network_that_takes_hours_to_build_is_refused(model: Path) -> None:
    (model / "unet" / "config.json").write_text('{"layers_per_block": [2, 1000000000]}')
    with pytest.raises(SourceError, match=r"unet/config\.json: 'layers_per_block' is 1,000,000,000, expected at most"):
        check_model_folder(model)


@pytest.mark.parametrize("place", ["None.py", "unet/diffusers.py", "tokenizer/anything.py"])
def test_python_files_are_refused(place: str, model: Path) -> None:
    (model / place).write_text("raise SystemExit")
    with pytest.raises(SourceError, match=rf"{place}: expected a model .* found Python code"):
        check_model_folder(model)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[]", "\0"])
def test_a_damaged_configuration_is_named_in_an_error_of_the_callers_kind(text: str, model: Path) -> None:
    (model / "unet" / "config.json").write_text(text)
    with pytest.raises(UsageError, match=r"unet/config\.json"):
        check_model_folder(model, UsageError)


# --- checkpoints of transformers ------------------------------------------------------------------


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the code of a stranger's checkpoint writes; and a user who would answer yes to every question."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    return tmp_path / "ran"


@pytest.mark.parametrize(
    "auto_class",
    every(2, {name: name for name in ("AutoImageProcessor", "AutoProcessor", "AutoModelForImageTextToText")}),
)
def test_code_of_a_checkpoint_is_never_run_and_nobody_is_asked(auto_class: str, marker: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="pip install '.[models]'")
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "proc.py").write_text(f"open({str(marker)!r}, 'w')\nclass P: pass\n")
    map_ = dict.fromkeys(("AutoConfig", "AutoProcessor", "AutoImageProcessor", auto_class), "proc.P")
    for name in ("config.json", "processor_config.json", "preprocessor_config.json"):
        (folder / name).write_text(json.dumps({"model_type": "mine", "processor_class": "P", "auto_map": map_}))
    load = load_model if "Model" in auto_class else load_processor
    with pytest.raises(SourceError, match="contains Python code, and olrd does not run code from checkpoints"):
        load(getattr(transformers, auto_class), str(folder), None)
    assert not marker.exists()


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_size": 10**9},
        {"vocab_size": 10**15},
        {"num_hidden_layers": "many"},
        {"num_hidden_layers": 10**9},
        {"hidden_size": -1},
        {"num_attention_heads": 0},
        {"hidden_size": None},
    ],
)
def test_an_absurd_configuration_is_an_error(values: dict[str, Any], tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="pip install '.[models]'")
    torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    from safetensors.torch import save_file

    tiny = {"model_type": "clip_text_model", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    tiny |= {"num_attention_heads": 1, "vocab_size": 9}
    (tmp_path / "config.json").write_text(json.dumps(tiny | values))
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SourceError):
        load_model(transformers.CLIPTextModel, str(tmp_path), None)


def test_a_header_of_absurd_size_is_an_error(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="pip install '.[models]'")
    (tmp_path / "config.json").write_text('{"model_type": "clip_text_model", "hidden_size": 8}')
    (tmp_path / "model.safetensors").write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    with pytest.raises(SourceError, match="cannot be loaded"):
        load_model(transformers.CLIPTextModel, str(tmp_path), None)


@pytest.mark.parametrize(
    ("cuda", "apple", "lacks", "chosen"),
    [
        (True, False, False, "cuda"),
        (True, True, False, "cuda"),
        (False, True, False, "mps"),
        (False, True, True, "cpu"),
        (False, False, False, "cpu"),
    ],
)
def test_auto_is_cuda_then_apples_gpu_then_the_cpu(
    cuda: bool, apple: bool, lacks: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)
    assert choose_device("auto", "a test", mps=not lacks) == chosen
    assert choose_device("cpu", "a test") == "cpu"
    if apple:
        assert choose_device("mps", "a test", mps=not lacks) == "mps"  # what the user says holds
    else:
        with pytest.raises(UsageError, match="'mps' is asked for, but torch sees no Apple GPU here"):
            choose_device("mps", "a test")
