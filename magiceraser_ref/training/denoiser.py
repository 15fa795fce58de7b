"""What is trained, and the loss: L = E || eps - eps_(theta,phi)(z'_t, t, tau(y), m) ||^2 (section 6).

theta, the base model, is frozen. phi is LoRA in the UNet's attention; v* is the embedding of R*. z'_t is
the noisy latent, the mask and the masked photo's latent (the order of Stable Diffusion Inpainting;
that this is what the paper means by z' is inferred).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from olrd.errors import SourceError


class Denoiser(nn.Module):  # type: ignore[misc]
    """eps_(theta,phi) with tau in front: one module, so that several devices share all gradients.

    token: the id of R*, or None to train LoRA alone. v* is a parameter of its own, float32 [1, D], that
    stands in for that one row of the embedding table: no other row can change.
    """

    def __init__(self, unet: nn.Module, text_encoder: nn.Module, token: int | None) -> None:
        super().__init__()
        self.unet, self.text_encoder, self.token = unet, text_encoder, token
        self.vector: nn.Parameter | None = None
        self._hook: Any = None
        if token is not None:
            table = text_encoder.get_input_embeddings()
            self.vector = nn.Parameter(table.weight[token : token + 1].detach().float().clone())
            self._hook = table.register_forward_hook(self._stand_in)

    def _stand_in(self, table: nn.Module, inputs: tuple[Tensor], embedded: Tensor) -> Tensor:
        assert self.vector is not None
        here = (inputs[0] == self.token)[..., None]
        return torch.where(here, self.vector.to(embedded.dtype), embedded)

    def forward(self, z: Tensor, timesteps: Tensor, ids: Tensor) -> Tensor:
        """z: [B, 9, h, w]. timesteps: int64 [B]. ids: int64 [B, L], a prompt's tokens. The predicted
        noise, [B, 4, h, w]."""
        return self.unet(z, timesteps, self.text_encoder(ids)[0]).sample

    def lora(self) -> list[nn.Parameter]:
        """phi."""
        return [p for p in self.unet.parameters() if p.requires_grad]

    def trained(self) -> list[nn.Parameter]:
        """phi and v*: everything that a training changes, in a fixed order."""
        return [*self.lora(), *([] if self.vector is None else [self.vector])]

    def write_vector(self) -> None:
        """Put v* into its row of the embedding table, and take the stand-in away."""
        if self.vector is not None:
            self._hook.remove()
            table = self.text_encoder.get_input_embeddings()
            with torch.no_grad():
                table.weight[self.token] = self.vector[0].to(table.weight.dtype)


class Batch(NamedTuple):
    """target, masked: float32 [B, 3, S, S] in -1..1. hole: float32 [B, 1, h, w], 1 = erase. noise: eps,
    float32 [B, 4, h, w]. posterior: the VAE's own noise, float32 [2, B, 4, h, w]. timesteps: int64 [B].
    prompts: B texts."""

    target: Tensor
    masked: Tensor
    hole: Tensor
    noise: Tensor
    posterior: Tensor
    timesteps: Tensor
    prompts: list[str]

    def to(self, device: Any) -> Batch:
        """The same on a device."""
        moved = {name: part.to(device) for name, part in self._asdict().items() if name != "prompts"}
        return self._replace(**moved)


def encoded(vae: Any, pixels: Tensor, noise: Tensor) -> Tensor:
    """Latents of pixels in -1..1: a draw from the VAE's posterior with this noise, scaled, float32."""
    posterior = vae.encode(pixels).latent_dist
    return (posterior.mean.float() + posterior.std.float() * noise) * vae.config.scaling_factor


def denoising_loss(denoiser: Any, vae: Any, scheduler: Any, batch: Batch, ids: Tensor) -> Tensor:
    """The loss of each sample, float32 [B]. scheduler: of the base model; where that predicts velocity
    instead of noise, the velocity is what is compared."""
    with torch.no_grad():
        clean = encoded(vae, batch.target, batch.posterior[0])
        seen = encoded(vae, batch.masked, batch.posterior[1])
    noisy = scheduler.add_noise(clean, batch.noise, batch.timesteps)
    aim = batch.noise
    if scheduler.config.prediction_type == "v_prediction":
        aim = scheduler.get_velocity(clean, batch.noise, batch.timesteps)
    z = torch.cat([noisy, batch.hole, seen], dim=1)
    predicted = denoiser(z, batch.timesteps, ids)
    return (aim - predicted.float()).square().mean(dim=(1, 2, 3))


def check_base(pipeline: Any, name: str) -> None:
    """Raise `SourceError` unless it is an inpainting model of one text encoder (Stable Diffusion 1, 2)."""
    if getattr(pipeline, "text_encoder_2", None) is not None:
        raise SourceError(
            f"{name}: expected a model with one text encoder (Stable Diffusion 1 or 2 Inpainting), "
            "got one with two; training SDXL is not supported"
        )
    latents = pipeline.vae.config.latent_channels
    if (got := pipeline.unet.config.in_channels) != 2 * latents + 1:
        raise SourceError(
            f"{name}: expected an inpainting UNet with {2 * latents + 1} input channels (latent, mask, "
            f"masked latent), got {got}: give an inpainting checkpoint as --base"
        )
    if (kind := pipeline.scheduler.config.prediction_type) not in ("epsilon", "v_prediction"):
        raise SourceError(f"{name}: expected a model that predicts noise or velocity, got '{kind}'")


def cell_pixels(vae: Any) -> int:
    """Pixels per latent cell, along a side."""
    return int(2 ** (len(vae.config.block_out_channels) - 1))
