"""Published weights into our networks: every name and shape must fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from baselines.eraser import WeightsUnusableError
from baselines.nets.official_pickle import g_ema


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name, float32 on the CPU, from .safetensors, .pkl (a snapshot's `G_ema`) or a state
    dict of torch.save. Executes nothing that the file holds. `WeightsUnusableError` if it cannot be read."""
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        elif path.suffix == ".pkl":
            tensors = g_ema(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.float() for name, tensor in tensors.items()}
    except WeightsUnusableError:
        raise
    except Exception as error:  # torch and safetensors raise many kinds
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsUnusableError(f"{path} holds no weights that can be read: {first}") from error


def load_network(build: Callable[[], Any], path: Path, device: str) -> Any:
    """A network for inference. build: makes it, with any values; they are all replaced. Raises
    `WeightsUnusableError` if a weight is missing, left over or of another shape."""
    tensors = read_weights(path)
    with torch.device("meta"):
        network = build()
    try:
        network.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsUnusableError(f"{path} does not fit the network: {str(error)[:500]}") from error
    return network.eval().requires_grad_(False).to(device)
