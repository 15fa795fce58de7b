"""`magiceraser train --dry-run`: parameters, steps and memory of a training run, from configuration files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from magiceraser_ref.extras import need
from magiceraser_ref.model.locate import cell_pixels
from magiceraser_ref.training.config import Running, TrainConfig, micro_batches
from olrd.trust import counted

BYTES_TRAINED = 16
"""Bytes per trained number: the number, its gradient and AdamW's two averages, all float32."""
OVERHEAD = 1.5e9
"""Bytes for libraries, workspace and the VAE's passes on a GPU: a round number that was not measured."""


def estimate(base: Path, config: TrainConfig, running: Running, triplets: int, devices: int = 1) -> dict[str, Any]:
    """Estimate parameters, passes and memory of a training run.

    Memory is an estimate. Weights and optimiser are counted. What backpropagation keeps is counted on networks without
    data (torch's meta device), without score matrices, because fused attention does not store them. The rest is a round
    number.

    Args:
        base: Folder of a checked diffusers pipeline.
        config: What decides the trained weights.
        running: How the training run is executed.
        triplets: Number of triplets.
        devices: Number of devices.
    """
    parts = {name: _network(base / name) for name in ("unet", "vae", "text_encoder")}
    frozen = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    width = _json(base / "text_encoder")["hidden_size"]
    lora, cell = lora_parameters(parts["unet"], config), cell_pixels(base)
    size, passes = micro_batches(config.batch, running.micro_batch, devices)
    per_number = 4 if config.precision == "no" else 2
    kept = 0
    if not running.gradient_checkpointing:
        kept = saved_numbers(parts["unet"], config.resolution // cell) * per_number * size
    trained = lora + (width if config.token else 0)
    copies = 2 * frozen["unet"] if config.precision != "no" else 0  # autocast's, of the weights
    memory = 4 * sum(frozen.values()) + copies + BYTES_TRAINED * trained + kept + OVERHEAD
    return {
        "frozen_parameters": frozen,
        "trained_parameters": {"lora": lora, "token": width if config.token else 0},
        "steps": config.steps,
        "samples_per_step": config.batch,
        "samples_per_pass": size,
        "passes_per_step": passes,
        "triplets": triplets,
        "epochs": round(config.steps * config.batch / triplets, 2),
        "memory_gb_estimated": round(memory / 1e9, 1),
        "memory_note": "without activations: gradient checkpointing keeps few of them"
        if running.gradient_checkpointing
        else "estimated, not measured",
    }


def estimate_text(found: dict[str, Any]) -> str:
    """Format the estimate for the terminal."""
    trained, frozen = found["trained_parameters"], found["frozen_parameters"]
    return "\n".join(
        (
            f"trained: {counted(trained['lora'], 'number')} of LoRA, {trained['token']:,} of R*",
            "frozen: " + ", ".join(f"{count:,} of {name}" for name, count in frozen.items()),
            f"steps: {found['steps']:,} of {counted(found['samples_per_step'], 'sample')}, in "
            f"{counted(found['passes_per_step'], 'pass', 'passes')} of {found['samples_per_pass']}",
            f"triplets: {found['triplets']:,}, seen {found['epochs']:g} time{'' if found['epochs'] == 1 else 's'}",
            f"memory: about {found['memory_gb_estimated']} GB ({found['memory_note']})",
        )
    )


def lora_parameters(unet: Any, config: TrainConfig) -> int:
    """Count the numbers of a LoRA on the linear layers whose names end in one of the targets."""
    ends = tuple(f".{target}" for target in config.targets)
    return sum(
        config.rank * (module.in_features + module.out_features)
        for name, module in unet.named_modules()
        if name.endswith(ends) and hasattr(module, "in_features")
    )


def saved_numbers(unet: Any, side: int) -> int:
    """Count the numbers that one sample's forward pass keeps for the backward pass. Nothing is computed.

    side: Side of the latent.
    """
    torch = need("torch", "the estimate")
    unet = unet.to("meta").requires_grad_(False)
    config = unet.config
    stored: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        # Fused attention keeps no score matrices: square, tokens x tokens, and larger than the latent's side.
        scores = tensor.ndim > 2 and (tensor.shape[-1] == tensor.shape[-2] > side)
        if not isinstance(tensor, torch.nn.Parameter) and not scores:
            stored[tensor.untyped_storage()._cdata] = tensor
        return tensor

    z = torch.empty(1, config.in_channels, side, side, device="meta", requires_grad=True)
    text = torch.empty(1, 77, config.cross_attention_dim, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        unet(z, torch.zeros((), dtype=torch.long, device="meta"), text)
    return sum(tensor.untyped_storage().nbytes() // tensor.element_size() for tensor in stored.values())


def _network(folder: Path) -> Any:
    """Build a network without weights from its configuration file."""
    diffusers, torch = need("diffusers", "the estimate"), need("torch", "the estimate")
    transformers = need("transformers", "the estimate")
    config = _json(folder)
    with torch.device("meta"):
        if folder.name == "text_encoder":
            return transformers.CLIPTextModel(transformers.CLIPTextConfig(**config))
        return getattr(diffusers, config["_class_name"]).from_config(config)


def _json(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    return found
