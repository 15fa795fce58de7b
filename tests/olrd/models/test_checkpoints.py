"""Checkpoints of strangers: a model folder runs no Python of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from olrd.errors import SourceError, UsageError
from olrd.models.checkpoints import check_model_folder

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
    pytest.importorskip("diffusers")
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
