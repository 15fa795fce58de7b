"""The stream of batches: examples with their noise and timesteps, each keyed by (seed, step, place)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from magiceraser_ref.training.denoiser import Batch
from magiceraser_ref.training.examples import Examples
from olrd.draws import digest, draw_integer

Key = tuple[int, int]
"""(step, place in that step's batch)."""


def keyed_normal(shape: tuple[int, ...], *key: object) -> Tensor:
    """Normal noise, float32, a function of the key alone; made on the CPU, so the same on any device."""
    generator = torch.Generator("cpu").manual_seed(digest(*key) % (1 << 63))
    return torch.randn(shape, generator=generator)


class Stream:
    """A map-style torch data set over keys. timesteps: of the noise schedule. channels: of a latent."""

    def __init__(self, examples: Examples, timesteps: int, channels: int) -> None:
        self.examples, self.timesteps, self.channels = examples, timesteps, channels

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """One sample: an example, its noise and its timestep (uniform; ordinary)."""
        example, seed = self.examples.sample_at(*key), self.examples.rules.seed
        shape = (self.channels, *example.hole.shape)
        return {
            "target": torch.from_numpy(example.target),
            "masked": torch.from_numpy(example.masked),
            "hole": torch.from_numpy(example.hole).float()[None],
            "noise": keyed_normal(shape, seed, *key, "noise"),
            "posterior": keyed_normal((2, *shape), seed, *key, "posterior"),
            "timesteps": torch.tensor(draw_integer(self.timesteps, seed, *key, "timestep")),
            "prompts": example.prompt,
        }

    def batch(self, keys: list[Key]) -> Batch:
        """Several samples at once, made here."""
        return collated([self[key] for key in keys])


def collated(samples: list[dict[str, Any]]) -> Batch:
    """Samples as one batch; the posterior's noise has its pair of draws first."""
    parts = {name: torch.stack([sample[name] for sample in samples]) for name in Batch._fields if name != "prompts"}
    parts["posterior"] = parts["posterior"].transpose(0, 1)
    return Batch(**parts, prompts=[sample["prompts"] for sample in samples])


class KeyBatches:
    """The keys of one device's forward passes, in order: steps `start` to `stop`, `size` samples each.

    Pass p of device d takes the places (p * devices + d) * size onwards, so the union over devices is
    the same batch however many there are.
    """

    def __init__(self, start: int, stop: int, size: int, passes: int, rank: int, devices: int) -> None:
        self.steps, self.size, self.passes = range(start, stop), size, passes
        self.rank, self.devices = rank, devices

    def __iter__(self) -> Iterator[list[Key]]:
        for step in self.steps:
            for part in range(self.passes):
                first = (part * self.devices + self.rank) * self.size
                yield [(step, place) for place in range(first, first + self.size)]

    def __len__(self) -> int:
        return len(self.steps) * self.passes


def loader(stream: Stream, batches: KeyBatches, workers: int) -> Any:
    """A `DataLoader` over the keys. It draws nothing itself: its generator is its own and unused."""
    return torch.utils.data.DataLoader(
        stream,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collated,
        generator=torch.Generator(),
        pin_memory=torch.cuda.is_available(),
    )
