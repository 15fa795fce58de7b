"""Loads published weights into our networks. Every name and every shape must match."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from baselines.eraser import WeightsUnusableError
from baselines.nets.official_pickle import read_pickle

MOST_REPEATED = 4
"""How much larger than their file tensors may be: networks may use one tensor under several names."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read tensors by name, as float32 on the CPU. No code in the file is executed.

    path: A .safetensors file, a .pkl file (the `G_ema` of a training snapshot), or a state dict of torch.save.
    Raises `WeightsUnusableError` if the file cannot be read.
    """
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        elif path.suffix == ".pkl":
            tensors = {name: tensor.clone().contiguous() for name, tensor in _sized(path, read_pickle(path)).items()}
        else:
            _check_archive(path)
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.float() for name, tensor in _sized(path, tensors).items()}
    except WeightsUnusableError:
        raise
    except Exception as error:  # torch and safetensors raise many kinds of errors
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsUnusableError(f"{path} has no weights that can be read: {first}") from error


def _check_archive(path: Path) -> None:
    """Refuse a compressed file of torch.save: torch compresses none, and a small file could fill the memory."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if (size := sum(entry.file_size for entry in archive.infolist())) > path.stat().st_size:
                raise ValueError(f"its {path.stat().st_size:,} bytes would become {size:,} bytes")


def _sized(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Refuse tensors that are larger than their file, as views that repeat one number can be."""
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if size > MOST_REPEATED * path.stat().st_size:
        raise ValueError(f"its {path.stat().st_size:,} bytes would become {size:,} bytes of tensors")
    return tensors


def load_network(build: Callable[[], Any], path: Path, device: str, optional: tuple[str, ...] = ()) -> Any:
    """Load a network for inference.

    Args:
        build: Creates the network; all its values are replaced.
        path: The weights, see `read_weights`.
        device: `cpu`, `cuda`, ...
        optional: Ends of names that a file may leave out, all of them together. Those values are then 0.

    Raises:
        WeightsUnusableError: If a weight is missing, unexpected or of another shape.
    """
    tensors = read_weights(path)
    with torch.device("meta"):
        network = build()
    if optional and not any(name.endswith(optional) for name in tensors):
        absent = {name: value for name, value in network.state_dict().items() if name.endswith(optional)}
        tensors |= {name: torch.zeros(value.shape) for name, value in absent.items()}
    try:
        network.load_state_dict(tensors, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsUnusableError(f"{path} does not fit the network: {str(error)[:500]}") from error
    return network.eval().requires_grad_(False).to(device)
