"""The eraser ffc-small with weights and sizes of a stranger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from micro_model import box_mask, drawn
from safetensors.torch import save_file

from baselines.eraser import EraserSpec, Hints, WeightsUnusableError
from baselines.finite import NotFiniteError
from magiceraser_ref.ffc.eraser import open_ffc
from magiceraser_ref.ffc.network import FfcGenerator, FfcSizes

SIZES: dict[str, Any] = {"widths": [16, 16, 32], "blocks": 1, "share": 0.75}
PHOTO, MASK = drawn(24, 32), box_mask(24, 32, (8, 6, 10, 9))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    network = FfcGenerator(FfcSizes((16, 16, 32), 1, 0.75))
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(SIZES))
    return tmp_path


def erase(folder: Path) -> Any:
    eraser = open_ffc(EraserSpec("ffc-small", {"model": str(folder)}, "cpu"))
    return eraser.erase([PHOTO], [MASK], [Hints("sheep")])[0]


def test_weights_that_overflow_are_an_error(folder: Path) -> None:
    assert np.array_equal(erase(folder)[~MASK], PHOTO[~MASK])
    network = FfcGenerator(FfcSizes((16, 16, 32), 1, 0.75))
    state = {k: torch.full_like(v, float("nan")) for k, v in network.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    with pytest.raises(NotFiniteError, match="ffc-small, sheep"):
        erase(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"widths": [10**9] * 3},
        {"widths": 3},
        {"widths": None},
        {"blocks": 10**9},
        {"share": "x"},
        {"share": 1e400},
        {"x": 1},
    ],
)
def test_sizes_that_do_not_fit_are_refused(folder: Path, changes: dict[str, Any]) -> None:
    (folder / "config.json").write_text(json.dumps(SIZES | changes))
    with pytest.raises(WeightsUnusableError, match=r"config\.json"):
        erase(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_sizes_that_are_no_object_are_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(WeightsUnusableError, match=r"config\.json"):
        erase(folder)
