"""LPIPS as a training loss: the network of the library `lpips` with the official weights from a safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from baselines.nets.checkpoint import read_weights
from olrd.models.checkpoints import require

SLICES = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}
"""The slice of the library's AlexNet that holds each convolution."""


def perceptual_loss(weights: Path, device: str) -> Any:
    """Load LPIPS v0.1 (alex) as a frozen module.

    Args:
        weights: `lpips_v0.1_alex.safetensors`: AlexNet's convolutions and the linear heads.
        device: `cpu`, `cuda`, ...

    Returns:
        A module that takes two batches of pictures, float [n, 3, h, w] in -1..1, and returns distances [n, 1, 1, 1].
    """
    lpips = require("lpips", "training the autoencoder of the small model", "dev")
    tensors = read_weights(weights)
    state = {f"lin{i}.model.1.weight": tensors[f"lin{i}.model.1.weight"] for i in range(5)}
    for number, part in SLICES.items():
        for kind in ("weight", "bias"):
            state[f"net.slice{part}.{number}.{kind}"] = tensors[f"features.{number}.{kind}"]
    network = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
    own = network.state_dict()
    state |= {name: own[name] for name in own if name.startswith("scaling_layer")}
    state |= {name.replace("lin", "lins.", 1): state[name] for name in list(state) if name.startswith("lin")}
    network.load_state_dict({name: state[name].float() for name in own})
    return network.to(device).eval().requires_grad_(False)
