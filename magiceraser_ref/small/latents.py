"""Photos with holes as latents: encoded for every sample, or once into a pool that training reuses."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from olrd.draws import digest
from olrd.progress import progress_bar
from olrd.storage.files import atomic_path

TOGETHER = 32
"""Number of samples that are encoded at a time for a pool."""


class Encoder:
    """Encodes photos and their masked versions.

    The call takes pixels [b, 3, h, w] in -1..1 and holes [b, 1, h / cell, w / cell]. It returns (clean, masked)
    latents, float32 [b, channels, h / cell, w / cell], scaled.

    Latents are the mean of the posterior, because its noise is negligible compared with that of the diffusion. Inside
    the hole the masked photo is grey, as in diffusers.
    """

    def __init__(self, vae: Any, device: str) -> None:
        self.vae, self.device = vae, device

    def __call__(self, pixels: Any, hole: Any) -> tuple[Any, Any]:
        import torch

        pixels, hole = pixels.to(self.device), hole.to(self.device)
        cell = pixels.shape[-1] // hole.shape[-1]
        wide = hole.repeat_interleave(cell, -1).repeat_interleave(cell, -2)
        both = torch.cat([pixels, pixels * (1 - wide)])  # one pass for both pictures
        half = torch.autocast(self.device.partition(":")[0], torch.bfloat16)
        with torch.no_grad(), half:
            mean = self.vae.encode(both.contiguous(memory_format=torch.channels_last)).latent_dist.mean
        clean, masked = (mean.float() * self.vae.config.scaling_factor).chunk(2)
        return clean, masked


class LatentPool:
    """An endless torch dataset over the first `count` of `samples` (see `Holes`), which are encoded once.

    Every round through the pool has a different order, which depends on its number. The pool is a file in `folder`. Its
    name is a hash of everything that decides its content, so that a resumed training does not encode again.
    """

    def __init__(self, samples: Any, encoder: Encoder, count: int, folder: Path) -> None:
        self.samples, self.count = samples, count
        path = folder / f"pool-{_name(encoder.vae, samples, count)}.npy"
        if not path.exists():
            _encode(samples, encoder, count, path)
        self.latents = np.load(path)
        self._round, self._order = -1, np.arange(0)

    def __getitem__(self, n: int) -> dict[str, Any]:
        import torch

        which, place = divmod(n, self.count)
        if which != self._round:
            key = digest(self.samples.seed, "pool", which)
            self._order = np.argsort(np.random.Philox(key=key).random_raw(self.count), kind="stable")
            self._round = which
        pooled = int(self._order[place])
        clean, masked = torch.from_numpy(self.latents[pooled]).float()
        return self.samples.words(n, pooled) | {"clean": clean, "masked": masked, "hole": self.samples.hole(pooled)}


def _encode(samples: Any, encoder: Encoder, count: int, path: Path) -> None:
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    found = np.empty(0, np.float16)
    with progress_bar("latents", count, unit=" photos") as bar:
        for start in range(0, count, TOGETHER):
            batch = [samples[n] for n in range(start, min(start + TOGETHER, count))]
            pixels, holes = (torch.stack([one[k] for one in batch]) for k in ("pixels", "hole"))
            pairs = torch.stack(encoder(pixels, holes), 1).half().cpu().numpy()
            if not found.size:
                found = np.empty((count, *pairs.shape[1:]), np.float16)
            found[start : start + len(batch)] = pairs
            bar.update(len(batch))
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, found)


def _name(vae: Any, samples: Any, count: int) -> str:
    """Return 12 hex digits that identify the encoder's weights, the samples and their number."""
    known = hashlib.sha256(repr((samples.seed, samples.side, len(samples.photos), count)).encode())
    for tensor in vae.encoder.state_dict().values():
        known.update(tensor.float().cpu().numpy().tobytes())
    return known.hexdigest()[:12]
