"""Stage 1 of the small model: the autoencoder, on crops of general photos."""

from __future__ import annotations

from typing import Any

from magiceraser_ref.extras import need
from magiceraser_ref.small.architecture import Sizes, build_vae
from magiceraser_ref.small.loop import Schedule, Session, train
from magiceraser_ref.small.photos import TrainingPhotos

CROP = 64
"""Side of the training crops in pixels. The network is convolutional; small crops are cheap."""
KL_WEIGHT = 1e-6
"""Weight of the KL term, as in latent diffusion (Rombach et al., CVPR 2022): just enough to bound the latents."""
MEASURED = 128
"""Number of photos on which the scale of the latents is measured."""


class Crops:
    """An endless torch dataset: item n is float32 [3, CROP, CROP] in -1..1."""

    def __init__(self, photos: TrainingPhotos, seed: int) -> None:
        self.photos, self.seed = photos, seed

    def __getitem__(self, n: int) -> Any:
        key = (self.seed, "vae", n)
        return to_tensor(self.photos.crop(self.photos.draw(*key), CROP, *key))


def to_tensor(image: Any) -> Any:
    """Convert uint8 [h, w, 3] to float32 [3, h, w] in -1..1."""
    import torch

    return torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 127.5 - 1


def train_vae(sizes: Sizes, photos: TrainingPhotos, schedule: Schedule, session: Session, perceptual: Any) -> Any:
    """Train the autoencoder with L1 + LPIPS + a little KL.

    Its `scaling_factor` brings the latents to standard deviation 1, as in Stable Diffusion.

    Args:
        sizes: Sizes of the network.
        photos: The photos to train on.
        schedule: How long and how fast.
        session: Where.
        perceptual: LPIPS, see `perceptual_loss`.
    """
    seed, device = session.seed, session.device
    torch = need("torch", "training")
    torch.manual_seed(seed)
    vae = build_vae(sizes).to(device, memory_format=torch.channels_last)
    noise = torch.Generator(device)

    def losses(batch: Any, step: int) -> dict[str, Any]:
        batch = batch.to(device, memory_format=torch.channels_last)
        posterior = vae.encode(batch).latent_dist
        noise.manual_seed(seed * 1_000_003 + step)
        restored = vae.decode(posterior.sample(noise)).sample
        one = (restored.float() - batch).abs().mean()
        seen = perceptual(restored, batch).float().mean()
        kl = posterior.kl().float().mean()
        return {"loss": one + seen + KL_WEIGHT * kl, "l1": one, "lpips": seen, "kl": kl}

    train({"vae": vae}, losses, Crops(photos, seed), schedule, session)
    vae.eval().requires_grad_(False)
    vae.register_to_config(scaling_factor=1 / latent_deviation(vae, photos, device))
    return vae


def latent_deviation(vae: Any, photos: TrainingPhotos, device: str) -> float:
    """Measure the standard deviation of the latents on whole training crops."""
    import torch

    with torch.inference_mode():
        found = [
            vae.encode(
                to_tensor(photos.crop(i % len(photos), photos.side, "scale", i))[None].to(device)
            ).latent_dist.mean
            for i in range(MEASURED)
        ]
    return float(torch.cat(found).float().std())
