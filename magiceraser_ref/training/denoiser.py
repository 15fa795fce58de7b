"""The trained weights and the loss: L = E || eps - eps_(theta,phi)(z'_t, t, tau(y), m) ||^2 (section 6).

theta, the base model, is frozen. phi is the LoRA in the UNet's attention, and v* is the embedding of R*. z'_t is the
noisy latent, the mask and the masked photo's latent, in the order of Stable Diffusion Inpainting (that the paper means
this by z' is inferred).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from olrd.errors import SourceError


class Denoiser(nn.Module):  # type: ignore[misc]
    """eps_(theta,phi) together with the text encoder tau, as one module, so that devices exchange all gradients.

    v* is a separate parameter, float32 [1, D], that replaces one row of the embedding table. So no other row can
    change.

    token: Id of R*, or None to train the LoRA alone.
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
        """Predict the noise, [B, 4, h, w]. z: [B, 9, h, w]. timesteps: int64 [B]. ids: int64 [B, L], the prompts."""
        return self.unet(z, timesteps, self.text_encoder(ids)[0]).sample

    def lora(self) -> list[nn.Parameter]:
        """List the parameters of the LoRA, phi."""
        return [p for p in self.unet.parameters() if p.requires_grad]

    def trained(self) -> list[nn.Parameter]:
        """List phi and v*, which are all trained parameters, in a fixed order."""
        return [*self.lora(), *([] if self.vector is None else [self.vector])]

    def write_vector(self) -> None:
        """Write v* to its row of the embedding table and remove the hook that replaced the row."""
        if self.vector is not None:
            self._hook.remove()
            table = self.text_encoder.get_input_embeddings()
            with torch.no_grad():
                table.weight[self.token] = self.vector[0].to(table.weight.dtype)


class Batch(NamedTuple):
    """A batch of examples with their noise.

    Attributes:
        target: float32 [B, 3, S, S] in -1..1, the clean background.
        masked: float32 [B, 3, S, S] in -1..1, what the model may see; 0 in the hole.
        hole: float32 [B, 1, h, w], 1 = erase.
        noise: eps, float32 [B, 4, h, w].
        posterior: Noise of the VAE's posterior, float32 [2, B, 4, h, w].
        timesteps: int64 [B].
        prompts: B texts.
    """

    target: Tensor
    masked: Tensor
    hole: Tensor
    noise: Tensor
    posterior: Tensor
    timesteps: Tensor
    prompts: list[str]

    def to(self, device: Any) -> Batch:
        """Return the batch on a device."""
        moved = {name: part.to(device) for name, part in self._asdict().items() if name != "prompts"}
        return self._replace(**moved)


def encoded(vae: Any, pixels: Tensor, noise: Tensor) -> Tensor:
    """Encode pixels in -1..1: a draw from the VAE's posterior with the given noise, scaled, float32."""
    posterior = vae.encode(pixels).latent_dist
    return (posterior.mean.float() + posterior.std.float() * noise) * vae.config.scaling_factor


def denoising_loss(denoiser: Any, vae: Any, scheduler: Any, batch: Batch, ids: Tensor) -> Tensor:
    """Compute the loss of each sample, float32 [B].

    If the base model predicts velocity instead of noise, the loss compares velocities.

    Args:
        denoiser: The `Denoiser`.
        vae: The base model's VAE.
        scheduler: The base model's noise schedule.
        batch: The examples.
        ids: Tokens of the prompts, int64 [B, L].
    """
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
    """Raise `SourceError` unless it is an inpainting model with one text encoder (Stable Diffusion 1 or 2)."""
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
    """Return the side of a latent cell in pixels."""
    return int(2 ** (len(vae.config.block_out_channels) - 1))
