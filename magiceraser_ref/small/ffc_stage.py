"""The small initialiser: an FFC generator trained on general photos with random holes."""

from __future__ import annotations

from typing import Any

from magiceraser_ref.extras import need
from magiceraser_ref.small.loop import Schedule, Session, train
from magiceraser_ref.small.photos import TrainingPhotos
from magiceraser_ref.small.vae_stage import to_tensor
from magiceraser_ref.training.masks import random_mask

KNOWN_WEIGHT = 0.5
"""Weight of the L1 loss outside the hole, where the photo is pasted back in any case. Inside, the weight is 1."""


class HoledPhotos:
    """An endless torch dataset. Item n is a dict with a photo and a hole:

    - pixels: float32 [3, side, side] in -1..1;
    - hole: float32 [1, side, side], 1 = hole.
    """

    def __init__(self, photos: TrainingPhotos, side: int, seed: int) -> None:
        self.photos, self.side, self.seed = photos, side, seed

    def __getitem__(self, n: int) -> dict[str, Any]:
        import torch

        key = (self.seed, "ffc", n)
        hole = random_mask(self.side, self.side, *key)
        return {
            "pixels": to_tensor(self.photos.crop(self.photos.draw(*key), self.side, *key)),
            "hole": torch.from_numpy(hole[None]).float(),
        }


def train_ffc(photos: TrainingPhotos, schedule: Schedule, session: Session, perceptual: Any, sizes: Any = None) -> Any:
    """Train an `FfcGenerator` with L1 and with LPIPS of the photo with the hole filled.

    LaMa's adversarial loss is left out: it needs a longer training than this one (inferred).

    Args:
        photos: The photos to train on.
        schedule: How long and how fast.
        session: Where.
        perceptual: LPIPS, see `perceptual_loss`.
        sizes: `FfcSizes`; by default those of the shipped network.
    """
    seed, device = session.seed, session.device
    torch = need("torch", "training")
    from magiceraser_ref.ffc.network import FfcGenerator

    torch.manual_seed(seed)
    network = FfcGenerator(sizes).to(device, memory_format=torch.channels_last)

    def losses(batch: Any, step: int) -> dict[str, Any]:
        pixels = batch["pixels"].to(device, memory_format=torch.channels_last)
        hole = batch["hole"].to(device)
        filled = network(pixels, hole).float()
        error = (filled - pixels).abs()
        inside = (error * hole).sum() / (3 * hole.sum())
        known = (error * (1 - hole)).sum() / (3 * (1 - hole).sum())
        seen = perceptual(filled * hole + pixels * (1 - hole), pixels).float().mean()
        return {"loss": inside + KNOWN_WEIGHT * known + seen, "l1": inside, "lpips": seen}

    samples = HoledPhotos(photos, photos.side, seed)
    train({"ffc": network}, losses, samples, schedule, session)
    return network.eval().requires_grad_(False)
