"""What every latent diffusion pipeline needs: no value is clipped, and numbers that are not finite never become a picture."""

from __future__ import annotations

from typing import Any

from baselines.finite import NotFiniteError

REMEDY = "give --option dtype=float32, or another checkpoint"


def guard_decoder(pipeline: Any) -> None:
    """Make the pipeline's VAE refuse to decode to numbers that are not finite.

    The pipeline clips the picture, which would hide infinity. In half precision some VAEs overflow: then the latents
    are decoded once more in float32. The VAE raises `NotFiniteError` if that does not help.
    """
    import torch

    vae = getattr(pipeline, "vae", None)
    if vae is None:
        return
    decode = vae.decode

    def finite(values: Any) -> bool:
        return bool(torch.isfinite(values).all())

    def picture(decoded: Any) -> Any:
        return decoded[0]  # a tuple, or an output of diffusers, which can be read like one

    def guarded(latents: Any, *arguments: Any, **options: Any) -> Any:
        if not finite(latents):
            raise NotFiniteError(f"the network's output contains NaN or infinity, before it is decoded; {REMEDY}")
        decoded = decode(latents, *arguments, **options)
        if finite(picture(decoded)):
            return decoded
        kind = vae.dtype
        if kind != torch.float32:
            vae.to(dtype=torch.float32)
            try:
                decoded = decode(latents.float(), *arguments, **options)
            finally:
                vae.to(dtype=kind)
            if finite(picture(decoded)):
                return decoded
        raise NotFiniteError(
            "the picture that the VAE decoded contains NaN or infinity, also in float32; give a checkpoint with another "
            "VAE"
        )

    vae.decode = guarded


UNCLIPPED = {"clip_sample": False, "thresholding": False}
"""What a scheduler does to latents. Its classes clip to [-1, 1] by default, which is right for pixels alone; latents reach
beyond it. Many checkpoints' scheduler_config.json does not say it, so that the classes' default holds."""


def leave_unclipped(scheduler: Any) -> None:
    """Switch off what would cut the latents' values, in a scheduler of a latent diffusion model."""
    scheduler.register_to_config(**{name: value for name, value in UNCLIPPED.items() if name in scheduler.config})
