"""Where a pipeline's networks lie while it runs: all on the device, or each one only while it works.

The second is called offloading. It needs the device's memory for the largest network only, and moves weights for every
photo.
"""

from __future__ import annotations

from typing import Any

from olrd.errors import UsageError
from olrd.progress import say, size_text

OFFLOADS = ("auto", "on", "off")
ROOM = 2_000_000_000
"""Bytes that are kept free beside the weights, for what the networks compute."""


def place(pipeline: Any, device: str, offload: str) -> Any:
    """Put a pipeline on a device.

    Args:
        pipeline: A pipeline of diffusers, on the CPU.
        device: A device of torch.
        offload: `on`, `off`, or `auto`: on a CUDA device, if the weights do not fit into its free memory. `auto`
            says so.

    Returns:
        The pipeline.

    Raises:
        UsageError: For `on` on the CPU or on Apple's GPU, where there is no memory to move networks out of.
    """
    if offload == "on" and device.partition(":")[0] in ("cpu", "mps"):
        raise UsageError(
            f"sd-inpainting: offload=on moves networks out of a GPU's memory and needs cuda; found {device}. Leave the "
            "option out"
        )
    if offload == "on" or (offload == "auto" and _too_large(pipeline, device)):
        pipeline.enable_model_cpu_offload(device=device)
        return pipeline
    return pipeline.to(device)


def weight_bytes(pipeline: Any) -> int:
    """Return the size in bytes of all weights of a pipeline."""
    networks = [one for one in pipeline.components.values() if hasattr(one, "parameters")]
    tensors = [tensor for one in networks for tensor in (*one.parameters(), *one.buffers())]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _too_large(pipeline: Any, device: str) -> bool:
    if device.partition(":")[0] != "cuda":
        return False
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    size = weight_bytes(pipeline)
    if size + ROOM <= free:
        return False
    say(
        f"sd-inpainting: the weights are {size_text(size)} and {device} has {size_text(free)} free, so each network is "
        "on it only while it works (slower). --option offload=off keeps all there"
    )
    return True
