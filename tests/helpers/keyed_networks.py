"""Weights, inputs and random draws that follow from names and numbers alone.

Two implementations of a network can use the same ones without exchanging files. NumPy's legacy streams never change.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch

from baselines.nets.stylegan_ops import Draws


def _normal(name: str, shape: Any) -> Any:
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    values = np.random.RandomState(seed).standard_normal(shape)
    return torch.from_numpy(np.asarray(values, np.float32))


def keyed_state(network: Any) -> dict[str, Any]:
    """Make a state dict for a network: normal values by name, scaled so that outputs are about +-1.

    The fixed filters and window masks do not change.
    """
    state = {}
    for name, tensor in network.state_dict().items():
        if name.endswith(("resample_filter", "attn_mask")):
            state[name] = tensor.clone()
            continue
        values = _normal(name, tuple(tensor.shape))
        if name.startswith("mapping.fc"):  # stored under a learning rate of 0.01
            values *= 100 if name.endswith("weight") else 10
        elif name.endswith(("bias", "noise_strength")):
            values *= 0.3
        elif name.endswith(("toRGB.conv.weight", "torgb.weight")):
            values *= 0.05
        state[name] = values + 1 if name.endswith("affine.bias") else values
    return state


def keyed_inputs(case: str, height: int, width: int, latent: int, share: float) -> tuple[Any, Any, Any]:
    """Make images in [-1, 1], `known` (0 or 1 in cells of 16 pixels, of which `share` are known) and z."""
    images = _normal(case + " image", (1, 3, height, width)).clamp(-1, 1)
    rank = _normal(case + " known", (1, 1, height // 16, width // 16)).flatten().argsort().argsort()
    known = (rank < share * len(rank)).float().view(1, 1, height // 16, width // 16)
    known = known.repeat_interleave(16, 2).repeat_interleave(16, 3)
    return images, known, _normal(case + " z", (1, latent))


class KeyedDraws(Draws):
    """Coins and normal numbers of NumPy's legacy streams."""

    def __init__(self, case: str, noise: str = "const") -> None:
        super().__init__(0, noise)
        self.case, self.count = case, 0

    def _next(self, shape: Any) -> Any:
        self.count += 1
        return _normal(f"{self.case} draw {self.count}", tuple(shape))

    def normal(self, *shape: int) -> Any:
        return self._next(shape)

    def coins(self, like: Any) -> Any:
        return (self._next(like.shape) > 0).to(like)


def names_hash(network: Any) -> str:
    """Hash all names and shapes of a state dict."""
    lines = [f"{name} {list(t.shape)}" for name, t in sorted(network.state_dict().items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def sampled(output: Any) -> list[float]:
    """Return 48 values spread over an output, and its mean absolute value."""
    flat = output.flatten().double()
    places = torch.linspace(0, len(flat) - 1, 48).long()
    return [round(float(v), 6) for v in [*flat[places], flat.abs().mean()]]
