"""The small initialiser: an FFC generator trained on general photos with random holes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from magiceraser_ref.extras import need
from magiceraser_ref.small.loop import Schedule, train
from magiceraser_ref.small.perceptual import perceptual_loss
from magiceraser_ref.small.photos import TrainingPhotos
from magiceraser_ref.small.vae_stage import to_tensor
from magiceraser_ref.training.masks import random_mask

KNOWN_WEIGHT = 0.5
"""Of the L1 loss outside the hole, where the photo is pasted back anyway; inside it is 1."""


class HoledPhotos:
    """A torch dataset without end: item n is a photo and a hole of its pixels.

    pixels: float32 [3, side, side] in -1..1. hole: float32 [1, side, side], 1 = hole.
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


def train_ffc(
    photos: TrainingPhotos,
    schedule: Schedule,
    folder: Path,
    device: str,
    sizes: Any = None,
    seed: int = 0,
    workers: int = 0,
    until: float | None = None,
) -> Any:
    """The trained `FfcGenerator`: L1, and LPIPS of the photo with the hole filled. sizes: `FfcSizes`.

    LaMa's adversarial loss is left out: it needs a longer training than this one (inferred)."""
    torch = need("torch", "training")
    from magiceraser_ref.ffc.network import FfcGenerator

    torch.manual_seed(seed)
    network = FfcGenerator(sizes).to(device, memory_format=torch.channels_last)
    perceptual = perceptual_loss(device)

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
    train({"ffc": network}, losses, samples, schedule, folder, device, workers, until)
    return network.eval().requires_grad_(False)
