"""The settings of a model and its configurations, with anything that a stranger may write into them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from micro_model import SETTINGS, write_model
from property_examples import examples

from baselines.eraser import WeightsUnusableError
from magiceraser_ref.erase.choices import Choices
from magiceraser_ref.model.locate import locate, native_side
from magiceraser_ref.model.settings import FILE, Settings
from olrd.errors import OlrdError

STRANGE = (
    None,
    "",
    "x",
    "\x1b[2J",
    [],
    {},
    -1,
    0,
    3.5,
    True,
    10**30,
    float("inf"),
    float("nan"),
    "../x",
    ["x"],
    [None],
)
CONFIGURATIONS = (FILE, "model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json")


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key or index) in JSON values."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield value, key
        yield from places(inner)


@st.composite
def mutated(draw: Any, text: str) -> str:
    """JSON with one value replaced, one key removed, or its end cut off."""
    record = json.loads(text)
    container, key = draw(st.sampled_from(list(places(record))))
    how = draw(st.sampled_from(["replace", "replace", "remove", "cut"]))
    if how == "replace":
        container[key] = draw(st.sampled_from(STRANGE))
    elif how == "remove":
        del container[key]
    changed = json.dumps(record)
    return changed[: draw(st.integers(0, len(changed)))] if how == "cut" else changed


@given(mutated(SETTINGS.to_json()))
@examples(80)
def test_any_settings_are_either_right_or_refused(text: str) -> None:
    try:
        found = Settings.from_json(text, "m/magiceraser.json")
    except WeightsUnusableError as error:
        assert "m/magiceraser.json" in str(error) and "\x1b" not in str(error)
        return
    with suppress(OlrdError):  # too few steps, for example
        Choices.of(found)
    assert Settings.from_json(found.to_json()) == found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "micro")


@given(data=st.data())
@examples(100)
def test_any_configuration_is_either_right_or_refused(model: Path, data: Any) -> None:
    path = model / data.draw(st.sampled_from(CONFIGURATIONS))
    honest = path.read_text()
    try:
        path.write_text(data.draw(mutated(honest)))
        with suppress(OlrdError):
            native_side(locate(model).base)
    finally:
        path.write_text(honest)
    locate(model)


def test_code_in_a_model_is_refused_before_it_is_loaded(model: Path, tmp_path: Path) -> None:
    evil = shutil.copytree(model, tmp_path / "evil")
    index = json.loads((evil / "model_index.json").read_text())
    (evil / "model_index.json").write_text(json.dumps(index | {"unet": ["evil", "Evil"]}))
    with pytest.raises(WeightsUnusableError, match="'unet' is of the library 'evil'"):
        locate(evil)
    shutil.copytree(model, tmp_path / "code")
    (tmp_path / "code" / "unet" / "evil.py").write_text("raise SystemExit")
    with pytest.raises(WeightsUnusableError, match=r"evil\.py"):
        locate(tmp_path / "code")
