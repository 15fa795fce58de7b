"""Stage 2 of the small model: the inpainter itself, on general photos with random masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from magiceraser_ref.extras import need
from magiceraser_ref.masks import random_mask
from magiceraser_ref.small.architecture import Sizes, assemble, build_text, build_unet
from magiceraser_ref.small.loop import Schedule, train
from magiceraser_ref.small.photos import TrainingPhotos
from magiceraser_ref.small.vae_stage import to_tensor
from magiceraser_ref.small.vocabulary import known_words
from olrd.draws import draw_share

UNPROMPTED = 0.15
"""Share of the samples that see an empty prompt, for classifier-free guidance (an ordinary value)."""
SNR_LIMIT = 5.0
"""Min-SNR weighting (Hang et al., ICCV 2023): the noise levels agree on what to learn, so it learns
three times as fast; the full method's own training uses the plain loss of the paper."""


class Holes:
    """A torch dataset without end: item n is a photo, a hole of whole latent cells, a prompt.

    pixels: float32 [3, side, side] in -1..1. hole: float32 [1, side / cell, side / cell], 1 = hole.
    tokens: int64 [length].
    """

    def __init__(
        self, photos: TrainingPhotos, side: int, cell: int, tokenizer: Any, seed: int
    ) -> None:
        self.photos, self.side, self.cell, self.seed = photos, side, cell, seed
        self.empty = tokens_of(tokenizer, "")
        prompts = {photos.prompt(i) for i in range(len(photos))}
        self.tokens = {prompt: tokens_of(tokenizer, prompt) for prompt in sorted(prompts)}

    def __getitem__(self, n: int) -> dict[str, Any]:
        import torch

        key = (self.seed, "base", n)
        photo = self.photos.draw(*key)
        cells = self.side // self.cell
        hole = random_mask(self.side, self.side, *key).reshape(cells, self.cell, cells, self.cell)
        silent = draw_share(*key, "prompt") < UNPROMPTED
        return {
            "pixels": to_tensor(self.photos.crop(photo, self.side, *key)),
            "hole": torch.from_numpy(np.asarray(hole.any(axis=(1, 3)))[None]).float(),
            "tokens": self.empty if silent else self.tokens[self.photos.prompt(photo)],
        }


def tokens_of(tokenizer: Any, prompt: str) -> Any:
    """int64 [length]: a prompt as the text encoder wants it."""
    found = tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt")
    return found.input_ids[0]


def train_base(
    sizes: Sizes, vae: Any, photos: TrainingPhotos, schedule: Schedule, folder: Path, device: str,
    seed: int = 0, workers: int = 0, until: float | None = None, start: tuple[Any, Any] | None = None,
) -> Any:  # fmt: skip
    """The trained pipeline. vae: from stage 1, frozen. start: (unet, text encoder) to go on from
    instead of random weights."""
    torch, diffusers = need("torch", "training"), need("diffusers", "training")
    torch.manual_seed(seed)
    tokenizer, text = build_text(sizes, known_words(photos.labels))
    unet = build_unet(sizes)
    if start:
        unet.load_state_dict(start[0].state_dict())
        text.load_state_dict(start[1].state_dict())
    unet = unet.to(device, memory_format=torch.channels_last).train()
    text, vae = text.to(device).train(), vae.to(device).eval()
    pipeline = assemble(vae, unet, text, tokenizer, diffusers)
    samples = Holes(photos, sizes.resolution, 2 ** (len(sizes.vae) - 1), tokenizer, seed)
    losses = BaseLoss(pipeline, device, seed)
    train({"unet": unet, "text": text}, losses, samples, schedule, folder, device, workers, until)
    unet.eval(), text.eval()
    return pipeline


class BaseLoss:
    """|| eps - eps_theta(z_t, mask, masked photo, t, text) ||^2 with min-SNR weights."""

    def __init__(self, pipeline: Any, device: str, seed: int) -> None:
        import torch

        self.vae, self.unet, self.text = pipeline.vae, pipeline.unet, pipeline.text_encoder
        self.device, self.seed = device, seed
        self.kept = pipeline.scheduler.alphas_cumprod.to(device)
        self.noise = torch.Generator(device)

    def latents(self, pixels: Any) -> Any:
        """Scaled latents, the posterior's mean: its noise is negligible beside the diffusion's."""
        import torch

        with torch.no_grad():
            mean = self.vae.encode(pixels).latent_dist.mean
        return mean * self.vae.config.scaling_factor

    def __call__(self, batch: dict[str, Any], step: int) -> dict[str, Any]:
        import torch

        pixels, hole = batch["pixels"].to(self.device), batch["hole"].to(self.device)
        cell = pixels.shape[-1] // hole.shape[-1]
        wide = hole.repeat_interleave(cell, -1).repeat_interleave(cell, -2)
        # One pass for both pictures. Inside the hole the masked photo is grey, as in diffusers.
        clean, masked = self.latents(torch.cat([pixels, pixels * (1 - wide)])).float().chunk(2)
        count = len(clean)
        self.noise.manual_seed(self.seed * 1_000_003 + step)
        noise = torch.randn(clean.shape, generator=self.noise, device=self.device)
        t = torch.randint(0, len(self.kept), (count,), generator=self.noise, device=self.device)
        kept = self.kept[t][:, None, None, None]
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
        words = self.text(batch["tokens"].to(self.device))[0]
        guess = self.unet(torch.cat([noisy, hole, masked], 1), t, words).sample.float()
        each = (guess - noise).square().mean((1, 2, 3))
        snr = (kept / (1 - kept)).flatten()
        weight = snr.clamp(max=SNR_LIMIT) / snr
        return {"loss": (weight * each).mean(), "eps": each.mean()}
