"""The learned token's file, as a stranger may write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from baselines.eraser import WeightsUnusableError
from magiceraser_ref.model.token import LARGEST_FILE, TOKEN, load_token, save_token


def test_a_token_comes_back(tmp_path: Path) -> None:
    save_token(tmp_path / "t", TOKEN, torch.arange(4.0))
    token, vector = load_token(tmp_path / "t")
    assert token == TOKEN and torch.equal(vector, torch.arange(4.0))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({TOKEN: torch.tensor([[1.0, float("nan")]])}, "NaN"),
        ({TOKEN: torch.tensor([float("inf")])}, "infinity"),
        ({"two words": torch.ones(4)}, "not the name of a token"),
        ({"\x1b[2J": torch.ones(4)}, "not the name of a token"),
        ({"x" * 101: torch.ones(4)}, "not the name of a token"),
        ({TOKEN: torch.ones(2, 4)}, "one vector"),
        ({"a": torch.ones(4), "b": torch.ones(4)}, "got 2 tensors"),
        ({TOKEN: torch.ones(LARGEST_FILE // 4)}, "a few thousand"),
    ],
)
def test_what_is_no_token_is_refused(tmp_path: Path, tensors: dict[str, Any], message: str) -> None:
    save_file(tensors, tmp_path / "t")
    with pytest.raises(WeightsUnusableError, match=message) as caught:
        load_token(tmp_path / "t")
    assert "\x1b" not in str(caught.value)
