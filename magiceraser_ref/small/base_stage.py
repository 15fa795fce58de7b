"""Stage 2 of the small model: the inpainter itself, on general photos with random masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from magiceraser_ref.extras import need
from magiceraser_ref.small.architecture import Sizes, assemble, build_text, build_unet, plain_attention
from magiceraser_ref.small.latents import Encoder, LatentPool
from magiceraser_ref.small.loop import Schedule, Session, train
from magiceraser_ref.small.photos import TrainingPhotos
from magiceraser_ref.small.vae_stage import to_tensor
from magiceraser_ref.small.vocabulary import known_words
from magiceraser_ref.training.masks import random_mask
from olrd.draws import draw_share

UNPROMPTED = 0.15
"""Share of samples with an empty prompt, for classifier-free guidance (an ordinary value)."""
SNR_LIMIT = 5.0
"""Limit of min-SNR weighting (Hang et al., ICCV 2023), with which training is about three times as fast.

The training of the full method (`magiceraser train`) uses the paper's plain loss."""


class Holes:
    """An endless torch dataset. Item n is a dict with a photo, a hole of whole latent cells and a prompt:

    - pixels: float32 [3, side, side] in -1..1;
    - hole: float32 [1, side / cell, side / cell], 1 = hole;
    - tokens: int64 [length].
    """

    def __init__(self, photos: TrainingPhotos, side: int, cell: int, tokenizer: Any, seed: int) -> None:
        self.photos, self.side, self.cell, self.seed = photos, side, cell, seed
        self.empty = tokens_of(tokenizer, "")
        prompts = {photos.prompt(i) for i in range(len(photos))}
        self.tokens = {prompt: tokens_of(tokenizer, prompt) for prompt in sorted(prompts)}

    def __getitem__(self, n: int) -> dict[str, Any]:
        pixels = to_tensor(self.photos.crop(self._photo(n), self.side, *self._key(n)))
        return self.words(n, n) | {"pixels": pixels, "hole": self.hole(n)}

    def hole(self, n: int) -> Any:
        """Return the hole of item n."""
        import torch

        cells = self.side // self.cell
        mask = random_mask(self.side, self.side, *self._key(n))
        mask = mask.reshape(cells, self.cell, cells, self.cell)
        return torch.from_numpy(np.asarray(mask.any(axis=(1, 3)))[None]).float()

    def words(self, n: int, pixels: int) -> dict[str, Any]:
        """Return the prompt of item n if its picture is that of item `pixels`."""
        silent = draw_share(*self._key(n), "prompt") < UNPROMPTED
        prompt = self.photos.prompt(self._photo(pixels))
        return {"tokens": self.empty if silent else self.tokens[prompt]}

    def _key(self, n: int) -> tuple[object, ...]:
        return self.seed, "base", n

    def _photo(self, n: int) -> int:
        return self.photos.draw(*self._key(n))


def tokens_of(tokenizer: Any, prompt: str) -> Any:
    """Convert a prompt to the text encoder's input, int64 [length]."""
    found = tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt")
    return found.input_ids[0]


def train_base(
    sizes: Sizes,
    vae: Any,
    photos: TrainingPhotos,
    schedule: Schedule,
    session: Session,
    *,
    start: tuple[Any, Any] | None = None,
    pool: int = 0,
) -> Any:
    """Train the inpainting pipeline.

    Args:
        sizes: Sizes of the networks.
        vae: The autoencoder of stage 1; it is not trained further.
        photos: The photos to train on.
        schedule: How long and how fast.
        session: Where.
        start: (UNet, text encoder) to start from instead of random weights.
        pool: Number of photos with holes that are encoded once and then reused; 0 encodes every sample when it is used.
    """
    seed, device = session.seed, session.device
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
    encoder = Encoder(vae, device)
    samples: Any = Holes(photos, sizes.resolution, 2 ** (len(sizes.vae) - 1), tokenizer, seed)
    if pool:
        samples = LatentPool(samples, encoder, pool, session.folder)
    with plain_attention(unet, device):
        train({"unet": unet, "text": text}, BaseLoss(pipeline, encoder, seed), samples, schedule, session)
    unet.eval(), text.eval()
    return pipeline


class BaseLoss:
    """|| eps - eps_theta(z_t, mask, masked photo, t, text) ||^2 with min-SNR weights."""

    def __init__(self, pipeline: Any, encoder: Encoder, seed: int) -> None:
        import torch

        self.unet, self.text = pipeline.unet, pipeline.text_encoder
        self.encoder, self.device, self.seed = encoder, encoder.device, seed
        self.kept = pipeline.scheduler.alphas_cumprod.to(self.device)
        self.noise = torch.Generator(self.device)

    def __call__(self, batch: dict[str, Any], step: int) -> dict[str, Any]:
        import torch

        hole = batch["hole"].to(self.device)
        if "pixels" in batch:
            clean, masked = self.encoder(batch["pixels"], hole)
        else:
            clean, masked = batch["clean"].to(self.device), batch["masked"].to(self.device)
        count = len(clean)
        self.noise.manual_seed(self.seed * 1_000_003 + step)
        noise = torch.randn(clean.shape, generator=self.noise, device=self.device)
        t = torch.randint(0, len(self.kept), (count,), generator=self.noise, device=self.device)
        kept = self.kept[t][:, None, None, None]
        noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
        words = self.text(batch["tokens"].to(self.device))[0]
        seen = torch.cat([noisy, hole, masked], 1).contiguous(memory_format=torch.channels_last)
        guess = self.unet(seen, t, words).sample.float()
        each = (guess - noise).square().mean((1, 2, 3))
        snr = (kept / (1 - kept)).flatten()
        weight = snr.clamp(max=SNR_LIMIT) / snr
        return {"loss": (weight * each).mean(), "eps": each.mean()}
